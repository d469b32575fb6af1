# SPDX-License-Identifier: Apache-2.0
"""A module whose own import fails."""

raise RuntimeError("the license has run out")
