# SPDX-License-Identifier: Apache-2.0
"""Helpers shared by the tests of operations."""

from __future__ import annotations

from typing import Any

CONTEXT = object()


def driver_with(*names: str) -> Any:
    """Return a plain object with these methods."""

    def method(self: Any, context: Any, *args: Any, **kwargs: Any) -> str:
        return "result"

    return type("Plain", (), dict.fromkeys(names, method))()


class Shapes:
    def create_share(
        self, context: Any, share: Any, share_server: Any = None, **more: Any
    ) -> None: ...

    def delete_share(
        self, share: Any, context: Any, /, *, force: bool = False
    ) -> None: ...

    def create_snapshot(self, context: Any = None, *snapshots: Any) -> None: ...

    def extend_share(self, share: Any, new_size: int) -> None: ...

    def do_setup(self, context: Any) -> None: ...
