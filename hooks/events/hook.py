# SPDX-License-Identifier: Apache-2.0
"""Base class of the hooks that emit events."""

from __future__ import annotations

import abc
import time
from collections.abc import Mapping
from typing import Any

import aspects
from hooks.events import outcome
from hooks.events.event import END, ERROR, START, data_of, event_of, periodic_event_of


class EventHook(aspects.HookBase):
    """Base class of the hooks whose methods each emit an event."""

    @abc.abstractmethod
    def _emit(
        self, kind: str, event: dict[str, Any], context: Any, operation: Any, *call: Any
    ) -> Mapping[str, Any] | None:
        """Emit an event.

        :param kind: the hook method: ``pre``, ``post``, ``error`` or ``periodic``
        :param event: attributes of CloudEvents 1.0 and ``data``
        :param context: the request's context
        :param operation: the operation; ``periodic`` for a tick
        :param call: the ``args`` and ``kwargs`` that the hook method received
        :return: for ``pre``, new values for arguments of the call, by parameter name;
            None to change nothing
        """

    def _execute_pre_hook(
        self, context: Any, func_name: Any, *args: Any, **kwargs: Any
    ) -> float | aspects.UpdatedArguments:
        call = (context, func_name, args, kwargs)
        data = data_of(*call, configuration=self.configuration)
        # A call has no outcome and no duration before it runs.
        del data["outcome"], data["duration"]
        event = event_of(START, data)
        changes = self._emit("pre", event, context, func_name, args, kwargs)
        began = time.monotonic()
        return aspects.UpdatedArguments(changes, began) if changes else began

    def _execute_post_hook(
        self,
        context: Any,
        func_name: Any,
        pre_hook_data: Any,
        driver_action_results: Any,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        results = driver_action_results
        reported = outcome.of_results(func_name, args, kwargs, results)
        data = data_of(
            *(context, func_name, args, kwargs, None, _since(pre_hook_data)),
            configuration=self.configuration,
            results=results,
            outcome=reported,
        )
        phase = ERROR if reported.failed else END
        self._emit("post", event_of(phase, data), context, func_name, args, kwargs)

    def _execute_error_hook(
        self,
        context: Any,
        func_name: Any,
        pre_hook_data: Any,
        error: BaseException,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        call = (context, func_name, args, kwargs, error, _since(pre_hook_data))
        data = data_of(*call, configuration=self.configuration)
        # Manila takes some exceptions for success.
        phase = END if data["outcome"] == outcome.SUCCESS else ERROR
        self._emit("error", event_of(phase, data), context, func_name, args, kwargs)

    def _execute_periodic_hook(
        self, context: Any, periodic_hook_data: Any, *args: Any, **kwargs: Any
    ) -> None:
        backend = getattr(self.configuration, "config_group", None)
        event = periodic_event_of(context, periodic_hook_data, backend, self.host)
        self.report(context, event)

    def report(self, context: Any, event: dict[str, Any]) -> None:
        """Emit an event of a tick, which may be that of another hook.

        :param context: the context of the tick
        :param event: attributes of CloudEvents 1.0 and ``data``
        """
        backend = getattr(self.configuration, "config_group", None)
        tick = aspects.Operation("periodic", backend=backend, host=self.host)
        self._emit("periodic", event, context, tick, (), {})


def _since(began: Any) -> float | None:
    # pre_hook_data is the pre method's error if that was suppressed.
    return time.monotonic() - began if isinstance(began, float) else None
