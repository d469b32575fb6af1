# SPDX-License-Identifier: Apache-2.0
"""Watch all calls of woven drivers in this process, without a change to their chains.

A call is recorded from its beginning to its end, with the result or the exception that
the caller gets. An observer records each run of the driver's method and of each hook
method in between. It is in the plan of each operation, not in a chain. So it observes
hooks of any class, from the first call on and after each reload.
"""

from __future__ import annotations

import contextlib
import importlib
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any
from unittest import mock

import aspects
from aspects import periodic
from aspects.core import chain, snapshot
from aspects.core.log import arguments_of
from aspects.core.step import Switches
from aspects.demo import places
from aspects.demo.journal import TICK, Call, Failure, Journal, Run
from aspects.operations import is_coroutine
from aspects.secrets import secret_options, text_of, without_secrets
from hooks.events import outcome

#: The maximum number of characters of an item in a result, and of an error.
_SHOWN, _LONGEST_ERROR = 100, 1000

_current: ContextVar[Call | None] = ContextVar("current_call", default=None)


@contextlib.contextmanager
def watching(journal: Journal) -> Iterator[None]:
    """Record the calls of all drivers that are woven from now on.

    :param journal: the journal to write to
    """
    observer = Observer(journal)

    def watched_snapshot(hooks: tuple[Any, ...]) -> snapshot.Snapshot:
        created = _Snapshot(hooks)
        created.plans = _Plans(observer, created.hooks, created.switches)
        # The proxy would otherwise return the driver's own method.
        created.idle = False
        return created

    def watched_around(chain_: Any, operation: Any, method: Any) -> Any:
        run = chain.around(chain_, operation, method)

        def watched(*args: Any, **kwargs: Any) -> Any:
            call = Call(operation.backend or "", str(operation), operation.method)
            call.requested = operation.requested
            return _record(journal, call, lambda: run(*args, **kwargs))

        # A coroutine ends after the function has returned.
        return run if is_coroutine(method) else watched

    def watched_tick(weaving_: Any, operation: Any, *args: Any) -> None:
        call = Call(weaving_.backend or "", TICK, "", requested=False)
        _record(journal, call, lambda: _tick(weaving_, operation, *args))

    with (
        mock.patch.object(snapshot, "Snapshot", watched_snapshot),
        mock.patch.object(_weaving, "around", watched_around),
        mock.patch.object(periodic, "_run", watched_tick),
    ):
        yield


# The function aspects.weaving hides the module of that name.
_weaving = importlib.import_module("aspects.weaving")
_Snapshot, _tick = snapshot.Snapshot, periodic._run


def in_call_without_failure() -> bool:
    """Return whether this code runs in a call in which no method has raised."""
    call = _current.get()
    return call is not None and not any(run.failure for run in call.runs)


def _record(journal: Journal, call: Call, run: Callable[[], Any]) -> Any:
    token = _current.set(call)
    try:
        result = run()
        # A tick has no result.
        if call.operation != TICK:
            call.result = shown(result)
            _report(call, result)
        return result
    except BaseException as error:
        frames = places.frames_of(error)
        call.fail(error, Failure(_text(error), places.innermost_place(frames)))
        raise
    finally:
        _current.reset(token)
        journal.end(call)


def _report(call: Call, result: object) -> None:
    """Record the failure, or the unfinished work, that a result reports."""
    operation, args, kwargs = call.arguments
    reported = outcome.of_results(operation, args, kwargs, result)
    if reported.name != outcome.SUCCESS:
        call.reported = reported.name
    if reported.failed:
        text = f"{operation.method} returned: {reported.reason}"
        if reported.failed_items:
            text += f"; failed items: {', '.join(reported.failed_items)}"
        known = {
            **operation.manila_arguments(args, kwargs),
            "the driver's result": result,
        }
        call.reason = clipped(without_secrets(text, None, known), _LONGEST_ERROR)


class _Plans(snapshot.Plans):
    """The plans of one snapshot, with one more observer."""

    __slots__ = ("_observer",)

    def __init__(
        self,
        observer: Observer,
        hooks: tuple[Any, ...],
        switches: tuple[Switches, ...],
    ) -> None:
        super().__init__((observer, *hooks), (Switches.of(observer), *switches))
        self._observer = observer

    def __missing__(self, operation: str) -> snapshot.Plan:
        plan = super().__missing__(operation)
        plan.steps = tuple(s for s in plan.steps if s.hook is not self._observer)
        return plan


class Observer(aspects.HookBase):
    """Record each run of a driver method and of a hook method.

    :param journal: the journal to write to
    """

    def __init__(self, journal: Journal) -> None:
        # Without options, so without the constructor of the base class.
        self._journal = journal
        # A hook observes while one of its methods is enabled.
        self.pre_hooks_enabled = True

    @contextlib.contextmanager
    def observe(self, observed: aspects.Observed) -> Iterator[None]:
        """Record one run.

        :param observed: the run
        """
        call, began = _current.get(), time.perf_counter()
        raised: BaseException | None = None
        try:
            yield
        except BaseException as error:
            raised = error
            raise
        finally:
            if call is not None:
                hook = _name(observed.hook)
                run = Run(observed.kind, hook, time.perf_counter() - began)
                if raised is not None:
                    run.error, run.failure = raised, _failure(raised, observed)
                # That of update_access depends on the rules of the call.
                call.operation = str(observed.operation)
                if observed.kind == "driver":
                    call.arguments = observed.operation, observed.args, observed.kwargs
                self._journal.add(call, run)

    def _execute_pre_hook(self, *args: Any, **kwargs: Any) -> None:
        """Never run: the observer has no step in a plan."""

    _execute_post_hook = _execute_periodic_hook = _execute_pre_hook


def _name(hook: Any) -> str:
    return "" if hook is None else aspects.hook_name(hook)


def _failure(error: BaseException, observed: aspects.Observed) -> Failure:
    frames = places.frames_of(error)
    hook = observed.hook
    if hook is None:
        place = places.innermost_place(frames)
    else:
        place = places.place_in_hook(frames, hook, observed.kind)
    return Failure(
        _text(error, observed),
        place,
        places.lines_of(frames),
        veto=observed.kind == "pre" and aspects.Veto.within(error) is not None,
    )


def _text(error: BaseException, observed: aspects.Observed | None = None) -> str:
    text = text_of(error)
    if observed is not None:
        _, hook, operation, context, args, kwargs, results = observed
        arguments = arguments_of(operation, args, kwargs)
        arguments["the driver's result"] = results
        secrets = secret_options(getattr(hook, "configuration", None))
        text = text_of(error, context, arguments, secrets=secrets)
    return clipped(f"{type(error).__name__}: {text}", _LONGEST_ERROR)


def shown(result: object) -> str:
    """Return the result of a call as text for the screen.

    :param result: the result; of a dict, only the keys are shown, and of a record of
        Manila's database only the ID
    """
    try:
        if isinstance(result, list):
            return f"{len(result)} x {clipped(_first(result))}" if result else "[]"
        return clipped(_keys(result))
    except Exception:
        # A result may be any object, and str() of it may fail.
        return f"({type(result).__name__})"


def _first(result: list[Any]) -> object:
    """Return the first item; of export locations, the first path for users."""
    paths = [item for item in result if isinstance(item, dict) and "path" in item]
    if not paths:
        return _keys(result[0])
    for_users = [item for item in paths if not item.get("is_admin_only")]
    path: object = (for_users or paths)[0]["path"]
    return path


def _keys(value: object) -> object:
    """Return the keys of a dict, whose values may be secret, or the value itself.

    A record of Manila's database is shown as its class and its ID.
    """
    if hasattr(type(value), "__tablename__"):
        return f"{type(value).__name__} {getattr(value, 'id', '')}".rstrip()
    return "{" + ", ".join(map(str, value)) + "}" if isinstance(value, dict) else value


def clipped(value: object, length: int = _SHOWN) -> str:
    """Return a value as one line of limited length.

    :param value: the value
    :param length: the maximum number of characters
    """
    text = " ".join(str(value).split())
    # An error may repeat control characters, such as escape sequences.
    text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
    return text if len(text) <= length else text[: length - 3] + "..."
