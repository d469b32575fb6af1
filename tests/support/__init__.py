# SPDX-License-Identifier: Apache-2.0
"""Test doubles and tools that several tests share."""
