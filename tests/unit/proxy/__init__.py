# SPDX-License-Identifier: Apache-2.0
"""The woven driver is indistinguishable from its driver."""
