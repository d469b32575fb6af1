# SPDX-License-Identifier: Apache-2.0
"""The status of a woven driver, as data for JSON, and the values of queues in it."""

from __future__ import annotations

import contextlib
import datetime
from typing import Any

import aspects

#: The values of the queue and of the outbox of a hook.
QUEUE = ("pending", "dropped")
OUTBOX = (
    *("pending", "oldest_age", "dead_letters"),
    *("delivered", "rejected", "given_up", "unreadable"),
)


def status_of(weaving: aspects.Weaving, configuration: Any) -> dict[str, Any]:
    """Return the status of a woven driver.

    :param weaving: the hooks around the driver
    :param configuration: that of a hook, whose secrets are masked
    """
    driver = type(weaving.driver)
    return {
        "backend": weaving.backend or "DEFAULT",
        "host": weaving.host,
        "driver": f"{driver.__module__}:{driver.__qualname__}",
        "ticks": weaving.ticks,
        "periodic_hooks_ticks": weaving.periodic_hooks_ticks,
        "last_reload": _reload(weaving.last_reload, configuration),
        "chain": [
            aspects.hook_status(hook)
            | {
                "queue": _values(hook, "dispatcher", QUEUE),
                "outbox": _values(hook, "outbox", OUTBOX),
            }
            for hook in weaving.hooks
        ],
    }


def _reload(reload: Any, configuration: Any) -> dict[str, Any] | None:
    if reload is None:
        return None
    time = datetime.datetime.fromtimestamp(reload.time, datetime.timezone.utc)
    return {
        "time": time.isoformat(timespec="seconds"),
        "problems": [
            aspects.without_secrets(problem, None, {}, configuration=configuration)
            for problem in reload.problems
        ],
    }


def _values(hook: Any, part: str, names: tuple[str, ...]) -> dict[str, Any] | None:
    if getattr(hook, part, None) is None:
        return None
    return {name: value_of(hook, part, name) for name in names}


def value_of(hook: Any, part: str, name: str) -> float | None:
    """Return a value of the queue or the outbox of a hook.

    :param hook: any hook
    :param part: ``dispatcher`` or ``outbox``
    :param name: the attribute or method that has the value
    :return: the value; None if the hook has none, or if it cannot be read
    """
    # An error of one hook must not affect the values of the others.
    with contextlib.suppress(Exception):
        value: Any = getattr(getattr(hook, part, None), name, None)
        number = float(value() if callable(value) else value)
        return int(number) if number.is_integer() else round(number, 3)
    return None
