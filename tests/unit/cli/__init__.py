# SPDX-License-Identifier: Apache-2.0
"""Test the command ``manila-aspects``."""
