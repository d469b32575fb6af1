# SPDX-License-Identifier: Apache-2.0
"""The weaving core: how a call runs through a chain of hooks."""
