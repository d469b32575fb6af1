# SPDX-License-Identifier: Apache-2.0
"""The demo: a woven driver in a real Manila, from ``manila.conf`` to a share."""
