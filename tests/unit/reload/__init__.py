# SPDX-License-Identifier: Apache-2.0
"""Hot reload: the chain follows the file."""
