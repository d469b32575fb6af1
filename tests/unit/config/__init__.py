# SPDX-License-Identifier: Apache-2.0
"""Options, look-up order, loading of hooks, validation, hot reload."""
