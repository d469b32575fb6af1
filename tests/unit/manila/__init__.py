# SPDX-License-Identifier: Apache-2.0
"""What is for Manila alone; without it there is nothing to test."""
