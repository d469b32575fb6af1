# SPDX-License-Identifier: Apache-2.0
"""Demonstrate a woven driver in a real Manila."""
