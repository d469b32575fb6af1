# SPDX-License-Identifier: Apache-2.0
"""Log the errors of hooks that do not reach the caller."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oslo_log import log

from aspects.core.breaker import health_of, hook_name
from aspects.errors import Veto
from aspects.operations import Operation
from aspects.secrets import text_of

LOG = log.getLogger(__name__)


def suppressed(
    switch: bool,
    hook: object,
    action: str,
    error: Exception,
    operation: str,
    context: Any = None,
    args: tuple[Any, ...] = (),
    kwargs: Mapping[str, Any] | None = None,
) -> bool:
    """Tell whether an error of a hook's action stops here, and log it if so.

    :param switch: whether errors of that action are suppressed; a veto never is
    :param hook: the hook that raised
    :param action: ``pre``, ``post`` or ``periodic``
    :param error: what it raised
    :param operation: the operation, with its backend where it knows one
    :param context: the context that the action had
    :param args: the positional arguments of the call
    :param kwargs: the keyword arguments of the call
    """
    if not switch or (action == "pre" and isinstance(error, Veto)):
        return False
    log_failure(hook, action, operation, error, context, args, kwargs)
    return True


def log_failure(
    hook: object,
    action: str,
    operation: str,
    error: BaseException,
    context: Any = None,
    args: tuple[Any, ...] = (),
    kwargs: Mapping[str, Any] | None = None,
) -> None:
    """Log and count an error that goes no further, without the secrets in it.

    :param hook: the hook that raised
    :param action: ``pre``, ``post``, ``error`` or ``periodic``
    :param operation: the operation, with its backend where it knows one
    :param error: what it raised
    :param context: the context that the action had
    :param args: the positional arguments of the call
    :param kwargs: the keyword arguments of the call
    """
    health_of(hook).failed(action)
    LOG.warning(
        "Suppressed an error of the %(action)s action of hook %(hook)s of backend "
        "%(backend)s in %(operation)s: %(type)s: %(error)s",
        {
            "action": action,
            "hook": hook_name(hook),
            "backend": getattr(operation, "backend", None),
            "operation": operation,
            "type": type(error).__name__,
            "error": text_of(
                error,
                context,
                {
                    **arguments_of(operation, args, kwargs),
                    "secrets": secret_options(getattr(hook, "configuration", None)),
                },
            ),
        },
    )


def secret_options(configuration: Any) -> list[str]:
    """Return the values of a hook's secret options, which no log is to have.

    :param configuration: what the hook is configured by
    """
    options = getattr(configuration, "options", None)
    if not isinstance(options, dict):
        return []
    return [
        str(value)
        for option in options.values()
        if option.secret and (value := configuration.safe_get(option.dest))
    ]


def arguments_of(
    operation: str, args: tuple[Any, ...], kwargs: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return the arguments of a call by name, as far as the names are known.

    :param operation: the operation, which knows the names if it is an Operation
    :param args: the positional arguments of the call
    :param kwargs: its keyword arguments
    """
    named = dict(kwargs or {})
    if isinstance(operation, Operation):
        return operation.arguments(args, named)
    return {**named, "args": args} if args else named
