# SPDX-License-Identifier: Apache-2.0
"""The share manager and the share API with hooks, to name in ``manila.conf``."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import wrapt

if TYPE_CHECKING:
    from aspects.manila.api import ShareAPI
    from aspects.manila.manager import ShareManager

__all__ = ["ShareAPI", "ShareManager"]

# Imported at their first use, because Manila's API must not import the share manager.
_MODULES = {"ShareAPI": "aspects.manila.api", "ShareManager": "aspects.manila.manager"}

# With another share manager too, the hooks of a woven driver stop with its service.
wrapt.register_post_import_hook(
    lambda _: importlib.import_module("aspects.manila.service"), "manila.service"
)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)
