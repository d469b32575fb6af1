# SPDX-License-Identifier: Apache-2.0
"""Hooks ready to use."""
