# SPDX-License-Identifier: Apache-2.0
"""Ready hooks, one a module."""
