# SPDX-License-Identifier: Apache-2.0
"""Read values of the arguments and results of calls."""

from __future__ import annotations

from typing import Any


def get(thing: Any, name: str) -> Any:
    """Return a value of a dict, a database model or another object.

    :param thing: the dict or object
    :param name: the key or attribute
    :return: the value; None if there is none, or if reading it fails
    """
    # Reading a column of a database model may load it, and fail. A hook must not fail
    # because a value is missing.
    try:
        return thing[name] if hasattr(thing, "__getitem__") else getattr(thing, name)
    except Exception:
        return None
