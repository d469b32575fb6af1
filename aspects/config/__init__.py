# SPDX-License-Identifier: Apache-2.0
"""Configuration: the hooks of a backend section."""
