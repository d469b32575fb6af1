# SPDX-License-Identifier: Apache-2.0
"""What the hooks that report events share."""
