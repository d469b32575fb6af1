# SPDX-License-Identifier: Apache-2.0
"""A module whose import fails with a text of several lines."""

raise RuntimeError("the license\nhas run out")
