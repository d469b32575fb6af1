# SPDX-License-Identifier: Apache-2.0
"""Driver methods and operations."""
