# SPDX-License-Identifier: Apache-2.0
"""Hooks, and objects that are not hooks, for entries of ``hook_drivers`` in tests."""
