# SPDX-License-Identifier: Apache-2.0
"""Test the demo without Manila: the calls that it records, and its output."""
