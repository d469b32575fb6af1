# SPDX-License-Identifier: Apache-2.0
"""The tick counter and the periodic hook methods."""
