# SPDX-License-Identifier: Apache-2.0
"""The share API with hooks: ``share_api_class = aspects.manila.ShareAPI``.

Manila's processes share one configuration file, and import the class that it names. The
hooks are for the process that answers HTTP requests; the others get Manila's own
object.
"""

from __future__ import annotations

import atexit
import functools
import os
import sys
from typing import Any

import webob.exc  # type: ignore[import-untyped]
import wrapt
from manila import service
from manila.share import api
from manila.share.configuration import Configuration
from oslo_config import cfg

from aspects.config.plan import plan
from aspects.config.weave import weave_plan
from aspects.core.log import hook_name, log_denied_request, log_failed_request
from aspects.core.step import RaisedBy, raised_by
from aspects.errors import Veto
from aspects.hook import Method
from aspects.manila.context import new_context
from aspects.manila.shutdown import wait_for_last_call
from aspects.manila.startup import reject
from aspects.operations import Operation
from aspects.requests import API, SECTION
from aspects.weaving import Weaving, weaving

#: Manila's routers. Only the process that answers HTTP requests imports one; it does so
#: before it creates the controllers, which create the API objects.
ROUTERS = ("manila.api.v2.router", "manila.api.v1.router")


class ShareAPI(api.API):  # type: ignore[misc]
    """Manila's share API, with the hooks of ``[share_api]`` around each request.

    A call of the class returns Manila's own object, woven where HTTP requests are
    answered. There, all calls return the same object, so that all users of the share
    API share one chain.
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        if any(name in sys.modules for name in ROUTERS):
            return woven_api()
        return api.API(*args, **kwargs)


class RequestWeaving(Weaving):
    """The hooks around the share API.

    The hooks start with the first request in a process, if the service has not started
    them before: a WSGI server may load the application before it forks its workers.
    """

    __slots__ = ("_started_in",)

    interface = API

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._started_in: int | None = None

    def start(self) -> None:
        """Start the hooks, in the process that answers the requests."""
        super().start()
        if self._started_in != os.getpid():
            self._started_in = os.getpid()
            atexit.register(self.stop)

    def around(self, operation: Operation, method: Method) -> Method:
        """Put the chain around a method, and answer for the hooks over HTTP.

        :param operation: its operation
        :param method: the method of the share API
        """
        run = super().around(operation, method)

        def request(*args: Any, **kwargs: Any) -> Any:
            if self._started_in != os.getpid():
                self.start()
            try:
                return run(*args, **kwargs)
            except Exception as error:
                origin = raised_by(error)
                if origin is None:
                    raise
                call = operation.of_call(args, kwargs)
                raise _answer(origin, error, *call) from error

        return request


def _answer(
    origin: RaisedBy,
    error: Exception,
    operation: Operation,
    context: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> webob.exc.HTTPException:
    """Return the HTTP error for an error of a hook, and log the error.

    :param origin: the hook that raised
    :param error: the exception
    :param operation: the operation
    :param context: the context of the request
    :param args: the positional arguments of the call, less the context
    :param kwargs: the keyword arguments of the call, less the context
    :return: 403 with the reason of a veto, or 503 with the name of the hook
    """
    hook, kind, results = origin
    name = hook_name(hook)
    if kind == "pre" and (veto := Veto.within(error)):
        reason = log_denied_request(hook, operation, veto, context, args, kwargs)
        return webob.exc.HTTPForbidden(explanation=reason or f"denied by hook {name}")
    log_failed_request(hook, kind, operation, error, context, args, kwargs, results)
    when = "before" if kind == "pre" else "after"
    return webob.exc.HTTPServiceUnavailable(
        explanation=f"hook {name} failed {when} {operation}"
    )


@functools.cache
def woven_api() -> Any:
    """Return the woven share API of this process.

    :raises SystemExit: if the hooks of the section are misconfigured
    """
    conf = cfg.CONF
    conf.register_group(cfg.OptGroup(SECTION))
    section = Configuration([], config_group=SECTION)
    share_api = api.API()
    planned = plan(section, conf.host, share_api, interface=API)
    reject(planned.problems)
    # Even without hooks, since the controllers keep the object, and a reload may add
    # hooks.
    return weave_plan(
        share_api,
        section,
        conf.host,
        planned,
        new_context=new_context,
        kind=RequestWeaving,
    )


def requests() -> Weaving | None:
    """Return the hooks around the share API of this process, or None if it has none."""
    return weaving(woven_api()) if woven_api.cache_info().currsize else None


# -- the service of manila-api -----------------------------------------------------


@wrapt.patch_function_wrapper(service.WSGIService, "start")  # type: ignore[untyped-decorator]
def _start_hooks(
    start: Any, worker: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    """Start the hooks in a worker of ``manila-api``, before it accepts requests."""
    if woven := requests():
        woven.start()
    start(*args, **kwargs)


@wrapt.patch_function_wrapper(service.WSGIService, "stop")  # type: ignore[untyped-decorator]
def _stop_hooks(
    stop: Any, worker: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    """Stop the hooks in a worker of ``manila-api``, after its last request.

    Manila does not notify the share API, and its processes call ``os._exit`` after
    this function.
    """
    try:
        stop(*args, **kwargs)
        wait_for_last_call(worker.server)
    finally:
        if woven := requests():
            woven.stop()
