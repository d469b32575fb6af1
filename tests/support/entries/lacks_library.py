# SPDX-License-Identifier: Apache-2.0
"""A module that is there, and imports one that is not."""

import a_missing_library  # noqa: F401
