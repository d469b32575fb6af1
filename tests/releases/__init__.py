# SPDX-License-Identifier: Apache-2.0
"""The supported releases of Manila: pinned versions, and the results of their tests."""
