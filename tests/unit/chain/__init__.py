# SPDX-License-Identifier: Apache-2.0
"""The call protocol, its hooks and their switches."""
