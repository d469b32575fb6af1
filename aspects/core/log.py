# SPDX-License-Identifier: Apache-2.0
"""Log the errors and vetoes of hooks; mask their secrets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oslo_log import log

from aspects.operations import Operation
from aspects.secrets import secret_options, text_of

LOG = log.getLogger(__name__)


def hook_name(hook: object) -> str:
    """Return the name of a hook instance that an operator knows.

    :param hook: a hook, or a hook of Manila's contract
    :return: its name in ``hook_drivers``, or else the name of its class
    """
    return getattr(hook, "instance_name", None) or type(hook).__name__


def log_failure(
    hook: object,
    kind: str,
    operation: str,
    error: BaseException,
    context: Any = None,
    args: tuple[Any, ...] = (),
    kwargs: Mapping[str, Any] | None = None,
    results: Any = None,
) -> None:
    """Log an error of a hook method that does not reach the caller.

    :param hook: the hook that raised
    :param kind: ``pre``, ``post``, ``error``, ``periodic`` or ``observe``
    :param operation: the operation, with its backend where it is an Operation
    :param error: the exception
    :param context: the context that the method had
    :param args: the positional arguments of the call, less the context
    :param kwargs: the keyword arguments of the call, less the context
    :param results: the driver's result, if the method had it
    """
    LOG.warning(
        "Suppressed an error of the %(kind)s method of hook %(hook)s of backend "
        "%(backend)s in %(operation)s: %(type)s: %(error)s",
        _fields(hook, operation, error, context, args, kwargs, results, kind=kind),
    )


def log_veto(
    hook: object,
    operation: str,
    veto: BaseException,
    reason: str,
    context: Any = None,
    args: tuple[Any, ...] = (),
    kwargs: Mapping[str, Any] | None = None,
) -> None:
    """Log a veto that is not enforced, so that the call proceeds.

    :param hook: the hook that raised
    :param operation: the operation, with its backend where it is an Operation
    :param veto: the veto
    :param reason: why it is not enforced
    :param context: the context that the method had
    :param args: the positional arguments of the call, less the context
    :param kwargs: the keyword arguments of the call, less the context
    """
    LOG.warning(
        "Hook %(hook)s of backend %(backend)s would have denied %(operation)s "
        "(%(reason)s): %(error)s",
        _fields(hook, operation, veto, context, args, kwargs, None, reason=reason),
    )


def log_failed_request(
    hook: object,
    kind: str,
    operation: str,
    error: BaseException,
    context: Any,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    results: Any,
) -> None:
    """Log an error of a hook method because of which a request fails.

    :param hook: the hook that raised
    :param kind: ``pre`` or ``post``
    :param operation: the operation
    :param error: the exception
    :param context: the context of the request
    :param args: the positional arguments of the call, less the context
    :param kwargs: the keyword arguments of the call, less the context
    :param results: the result of the request, if the method had it
    """
    LOG.error(
        "Failed %(operation)s by an error of the %(kind)s method of hook %(hook)s of "
        "backend %(backend)s: %(type)s: %(error)s",
        _fields(hook, operation, error, context, args, kwargs, results, kind=kind),
    )


def log_denied_request(
    hook: object,
    operation: str,
    veto: BaseException,
    context: Any,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> str:
    """Log a veto that denies a request.

    :param hook: the hook that raised
    :param operation: the operation
    :param veto: the veto
    :param context: the context of the request
    :param args: the positional arguments of the call, less the context
    :param kwargs: the keyword arguments of the call, less the context
    :return: the text of the veto, without secrets
    """
    fields = _fields(hook, operation, veto, context, args, kwargs, None)
    LOG.info(
        "Hook %(hook)s of backend %(backend)s denied %(operation)s: %(error)s", fields
    )
    return str(fields["error"])


def _fields(
    hook: object,
    operation: str,
    error: BaseException,
    context: Any,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any] | None,
    results: Any,
    **more: str,
) -> dict[str, Any]:
    secrets = secret_options(getattr(hook, "configuration", None))
    arguments = arguments_of(operation, args, kwargs)
    arguments["the driver's result"] = results
    return {
        "hook": hook_name(hook),
        "backend": getattr(operation, "backend", None),
        "operation": operation,
        "type": type(error).__name__,
        "error": text_of(error, context, arguments, secrets=secrets),
        **more,
    }


def arguments_of(
    operation: str, args: tuple[Any, ...], kwargs: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return the arguments of a call by name, if the names are known.

    :param operation: the operation; the names are known if it is an Operation
    :param args: the positional arguments of the call
    :param kwargs: its keyword arguments
    """
    named = dict(kwargs or {})
    if isinstance(operation, Operation):
        return operation.arguments(args, named)
    return {**named, "args": args} if args else named
