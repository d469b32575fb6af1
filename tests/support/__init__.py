# SPDX-License-Identifier: Apache-2.0
"""Test doubles and helpers shared by the test suites."""
