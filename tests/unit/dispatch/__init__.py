# SPDX-License-Identifier: Apache-2.0
"""Hook methods in the background."""
