# SPDX-License-Identifier: Apache-2.0
"""What configuration files in the tests name: hooks, and what is not one."""
