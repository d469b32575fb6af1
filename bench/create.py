# SPDX-License-Identifier: Apache-2.0
"""A real ``create_share`` through Manila's manager, and the time of its hooks.

One process runs Manila with three backends of the ``DummyDriver``, whose delays are
0; they have no hook, one and eight. A create is one call of the manager's
``create_share_instance`` for a share in the database. It is timed as a whole, and by
two stopwatches: one between manager and woven driver, one on the driver's own method.
Their difference is the time of the hooks; without hooks it is the time that the
stopwatches take themselves.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from time import perf_counter
from typing import Any

import wrapt

import aspects
from aspects.demo.service import DUMMY_DRIVER, ManilaService

#: The number of hooks of each backend.
COUNTS = (0, 1, 8)

Take = Callable[[], dict[str, float]]


class _Stopwatch(wrapt.ObjectProxy):  # type: ignore
    """Times ``create_share`` between the manager and its driver."""

    def __init__(self, driver: Any) -> None:
        super().__init__(driver)
        self._self_taken = 0.0

    def create_share(self, *args: Any, **kwargs: Any) -> Any:
        start = perf_counter()
        try:
            return self.__wrapped__.create_share(*args, **kwargs)
        finally:
            self._self_taken = perf_counter() - start


def _backend(count: int) -> dict[str, object]:
    entries = (f"noop{i}=bench.subjects:NoopHook" for i in range(count))
    return {
        **DUMMY_DRIVER,
        "hook_drivers": ",".join(entries),
        "enable_pre_hooks": True,
        "enable_post_hooks": True,
    }


@contextlib.contextmanager
def creates() -> Iterator[list[Take]]:
    """Run Manila; yield for each backend a function that creates and times a share."""
    backends = {f"hooks{count}": _backend(count) for count in COUNTS}
    defaults = {"share_manager": "aspects.manila.ShareManager"}
    with ManilaService(backends, defaults=defaults) as service:
        service.stop_ticks()
        yield [_taker(count, service.managers[f"hooks{count}"]) for count in COUNTS]


def _taker(count: int, manager: Any) -> Take:
    from manila import context as manila_context
    from manila import db
    from oslo_utils import uuidutils

    context = manila_context.get_admin_context()
    woven = manager.driver
    driver = aspects.unweave(woven) if aspects.is_woven(woven) else woven
    create_share = driver.create_share
    within = [0.0]

    @functools.wraps(create_share)
    def timed(*args: Any, **kwargs: Any) -> Any:
        start = perf_counter()
        try:
            return create_share(*args, **kwargs)
        finally:
            within[0] = perf_counter() - start

    driver.create_share = timed
    stopwatch = manager.driver = _Stopwatch(woven)

    def take() -> dict[str, float]:
        share = db.share_create(
            context,
            {
                "project_id": uuidutils.generate_uuid(dashed=False),
                "user_id": uuidutils.generate_uuid(dashed=False),
                "size": 1,
                "share_proto": "NFS",
                "status": "creating",
                "host": f"{manager.host}#hooks{count}",
            },
        )
        start = perf_counter()
        manager.create_share_instance(context, share.instance["id"])
        whole = perf_counter() - start
        return {
            f"create/{count}": whole,
            f"create/hooks/{count}": stopwatch._self_taken - within[0],
        }

    return take
