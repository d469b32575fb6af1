# SPDX-License-Identifier: Apache-2.0
"""A module that imports a library that is not installed."""

import a_library_that_is_not_installed  # noqa: F401
