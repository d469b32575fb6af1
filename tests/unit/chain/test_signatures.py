# SPDX-License-Identifier: Apache-2.0
"""A hook method with any signature gets the right arguments."""

from __future__ import annotations

import functools
import inspect
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from unittest import mock

import decorator
import pytest
import wrapt
from hypothesis import given, settings
from hypothesis import strategies as st

import aspects
from aspects.core.signature import PROTOCOLS, adapt_signature
from aspects.operations import Operation
from tests.support.hooks import PlainRecorder

CONTEXT = "the context"


class Share:
    """A driver method with two parameters, and others by keyword."""

    def create_share(
        self, context: Any, share: Any, share_server: Any = None, **more: Any
    ) -> str:
        return "result"


#: The arguments that the protocol passes to each kind of hook method.
VALUES = {
    "context": CONTEXT,
    "func_name": Operation("create_share", function=Share().create_share),
    "pre_hook_data": "data",
    "driver_action_results": "result",
    "error": RuntimeError(),
    "periodic_hook_data": "periodic data",
}


def call(method: Any, kind: str, *args: Any, **kwargs: Any) -> Any:
    """Call a hook method like the chain."""
    protocol = PROTOCOLS[kind]
    adapted = adapt_signature(method, protocol)
    return adapted(*(VALUES[name] for name in protocol), *args, **kwargs)


def method_of(signature: str, returned: str = "locals()") -> Any:
    """Return a bound method with a signature that returns its arguments."""
    namespace: dict[str, Any] = {}
    returned = f"{{k: v for k, v in {returned}.items() if k != 'self'}}"
    exec(f"def method(self, {signature}):\n    return {returned}", namespace)
    return namespace["method"].__get__(object())


PRE = {"context": CONTEXT, "func_name": "create_share"}
BY_POSITION = {"args": ("share", "server"), "kwargs": {}}
BY_NAME = {"kwargs": {"share": "share", "share_server": "server"}}


@pytest.mark.parametrize(
    ("signature", "expected"),
    [
        ("context, func_name, *args, **kwargs", {**PRE, **BY_POSITION}),
        ("context, func_name, /, *args, **kwargs", {**PRE, **BY_POSITION}),
        ("func_name, context, *args, **kwargs", {**PRE, **BY_POSITION}),
        ("*args, context, func_name, **kwargs", {**PRE, **BY_POSITION}),
        ("func_name, *args, context, **kwargs", {**PRE, **BY_POSITION}),
        ("context=None, func_name=None, *args, **kwargs", {**PRE, **BY_POSITION}),
        ("context, func_name, **kwargs", {**PRE, **BY_NAME}),
        ("context, func_name, /, **kwargs", {**PRE, **BY_NAME}),
        ("func_name, context, /, **kwargs", {**PRE, **BY_NAME}),
        ("context, /, func_name, **kwargs", {**PRE, **BY_NAME}),
        ("*, func_name, context, **kwargs", {**PRE, **BY_NAME}),
        (
            "ctxt, name, *args, **kwargs",
            {"ctxt": CONTEXT, "name": "create_share", **BY_POSITION},
        ),
        (
            "ctxt, name, **kwargs",
            {"ctxt": CONTEXT, "name": "create_share", **BY_NAME},
        ),
        (
            "ctxt, func_name, *args, **kwargs",
            {"ctxt": CONTEXT, "func_name": "create_share", **BY_POSITION},
        ),
        (
            "ctxt, func_name, share, share_server=None",
            {
                "ctxt": CONTEXT,
                "func_name": "create_share",
                "share": "share",
                "share_server": "server",
            },
        ),
        (
            "*args, **kwargs",
            {"args": (CONTEXT, "create_share", "share", "server"), "kwargs": {}},
        ),
        (
            "context, *args, **kwargs",
            {
                "context": CONTEXT,
                "args": ("create_share", "share", "server"),
                "kwargs": {},
            },
        ),
        (
            "func_name, *args, **kwargs",
            {
                "func_name": "create_share",
                "args": ("share", "server"),
                "kwargs": {"context": CONTEXT},
            },
        ),
        ("**kwargs", {"kwargs": {**PRE, **BY_NAME["kwargs"]}}),
        (
            "context, **kwargs",
            {
                "context": CONTEXT,
                "kwargs": {"func_name": "create_share", **BY_NAME["kwargs"]},
            },
        ),
        (
            "context, func_name, share, *args, **kwargs",
            {**PRE, "share": "share", "args": ("server",), "kwargs": {}},
        ),
        (
            "context, func_name, share=None, **kwargs",
            {**PRE, "share": "share", "kwargs": {"share_server": "server"}},
        ),
        (
            "context, func_name, share_server, share, /",
            {**PRE, "share": "share", "share_server": "server"},
        ),
        (
            "context, share, **kwargs",
            {
                "context": CONTEXT,
                "share": "share",
                "kwargs": {"func_name": "create_share", "share_server": "server"},
            },
        ),
        (
            "func_name, share, *args, **kwargs",
            {
                "func_name": "create_share",
                "share": "share",
                "args": ("server",),
                "kwargs": {"context": CONTEXT},
            },
        ),
        (
            "context, share=None, func_name=None, **kwargs",
            {**PRE, "share": "share", "kwargs": {"share_server": "server"}},
        ),
        (
            "context, size=5, func_name=None, **kwargs",
            {**PRE, "size": 5, **BY_NAME},
        ),
    ],
)
def test_a_pre_method_receives_the_arguments(signature: str, expected: Any) -> None:
    assert call(method_of(signature), "pre", "share", "server") == expected


@pytest.mark.parametrize(
    ("kind", "signature", "expected"),
    [
        (
            "post",
            "context, *args, func_name, **kwargs",
            {
                "context": CONTEXT,
                "func_name": "create_share",
                "args": ("share",),
                "kwargs": {"pre_hook_data": "data", "driver_action_results": "result"},
            },
        ),
        (
            "post",
            "driver_action_results, **kwargs",
            {
                "driver_action_results": "result",
                "kwargs": {**PRE, "pre_hook_data": "data", "share": "share"},
            },
        ),
        (
            "post",
            "ctxt, name, data, /, results, *args",
            {
                "ctxt": CONTEXT,
                "name": "create_share",
                "data": "data",
                "results": "result",
                "args": ("share",),
            },
        ),
        (
            "error",
            "error, /, context, *, func_name, pre_hook_data=None, share",
            {
                **PRE,
                "pre_hook_data": "data",
                "error": VALUES["error"],
                "share": "share",
            },
        ),
    ],
)
def test_a_completion_receives_the_arguments(
    kind: str, signature: str, expected: Any
) -> None:
    assert call(method_of(signature), kind, "share") == expected


@pytest.mark.parametrize(
    "signature",
    [
        "context, periodic_hook_data, *args, **kwargs",
        "context, periodic_hook_data",
        "periodic_hook_data, context",
        "*, periodic_hook_data, context",
        "context, /, *, periodic_hook_data",
    ],
)
def test_a_periodic_method_receives_the_arguments(signature: str) -> None:
    got = call(method_of(signature), "periodic")
    assert got["context"] == CONTEXT
    assert got["periodic_hook_data"] == "periodic data"


def test_keyword_arguments_of_the_call_fill_positional_parameters() -> None:
    method = method_of("func_name, share, context, /, *args, **kwargs")
    assert call(method, "pre", share="share", more=1) == {
        **PRE,
        "share": "share",
        "args": (),
        "kwargs": {"more": 1},
    }


@pytest.mark.parametrize(
    ("signature", "message"),
    [
        ("func_name, *args", "context"),
        ("context, func_name", "share"),
        ("context, func_name, other, **kwargs", "other"),
        ("context, share_instance_id, **kwargs", "share_instance_id"),
    ],
)
def test_a_method_that_cannot_take_an_argument_raises_a_type_error(
    signature: str, message: str
) -> None:
    with pytest.raises(TypeError, match=message):
        call(method_of(signature), "pre", "share")


def test_an_argument_of_the_call_with_a_name_of_the_protocol_raises_a_type_error() -> (
    None
):
    for signature in ("context, func_name, **kwargs", "*args, func_name, **kwargs"):
        with pytest.raises(TypeError, match="multiple values"):
            call(method_of(signature), "pre", "share", func_name="other")


# Callables of all kinds.


def logged(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


@decorator.decorator
def by_decorator(function: Any, *args: Any, **kwargs: Any) -> Any:
    return function(*args, **kwargs)


@wrapt.decorator
def by_wrapt(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    return wrapped(*args, **kwargs)


def undocumented(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args, **kwargs: function(*args, **kwargs)


class Called:
    """A callable object."""

    def __call__(self, func_name: Any, context: Any, **kwargs: Any) -> Any:
        return context, func_name, kwargs


class Stated:
    """A callable object that states its signature."""

    __signature__ = inspect.signature(lambda *, func_name, context, **kwargs: None)

    def __call__(self, **kwargs: Any) -> Any:
        return kwargs.pop("context"), kwargs.pop("func_name"), kwargs


class Kinds:
    def reordered(self, func_name: Any, context: Any, **kwargs: Any) -> Any:
        return context, func_name, kwargs

    def in_order(self, ctxt: Any, name: Any, *args: Any, **kwargs: Any) -> Any:
        return ctxt, name, dict(zip(("share", "share_server"), args), **kwargs)

    @staticmethod
    def static(func_name: Any, context: Any, **kwargs: Any) -> Any:
        return context, func_name, kwargs

    @staticmethod
    def static_with_its_own_names(ctxt: Any, name: Any, /, **kwargs: Any) -> Any:
        return ctxt, name, kwargs

    @classmethod
    def of_class(cls, func_name: Any, context: Any, **kwargs: Any) -> Any:
        return context, func_name, kwargs

    def with_more(self, more: Any, func_name: Any, context: Any, **kwargs: Any) -> Any:
        return context, func_name, kwargs

    partial_method = functools.partialmethod(with_more, "more")
    partial = staticmethod(functools.partial(with_more, None, "more"))
    wrapped = logged(reordered)
    wrapped_in_order = logged(in_order)
    undocumented_in_order = undocumented(in_order)
    by_decorator = by_decorator(reordered)
    by_wrapt = by_wrapt(reordered)
    called = Called()
    stated = Stated()
    lambda_ = lambda self, *args, func_name, context, **kwargs: (  # noqa: E731
        context,
        func_name,
        dict(zip(("share", "share_server"), args)),
    )


KINDS = [
    *("reordered", "in_order", "static", "static_with_its_own_names", "of_class"),
    *("partial_method", "partial", "wrapped", "wrapped_in_order", "by_decorator"),
    *("undocumented_in_order", "by_wrapt", "called", "stated", "lambda_"),
]


@pytest.mark.parametrize("name", KINDS)
def test_a_callable_of_any_kind_receives_the_arguments(name: str) -> None:
    method = getattr(Kinds(), name)
    assert call(method, "pre", "share", "server") == (
        CONTEXT,
        "create_share",
        {"share": "share", "share_server": "server"},
    )


@pytest.mark.parametrize("method", [mock.Mock(), mock.MagicMock(), operator.itemgetter])
def test_a_method_without_names_of_the_protocol_is_called_by_position(
    method: Any,
) -> None:
    assert adapt_signature(method, PROTOCOLS["pre"]) is method


class Unreadable:
    """A callable object whose signature cannot be read."""

    __signature__ = "a text"

    def __call__(self, func_name: Any, context: Any) -> None:
        """Do nothing."""


@pytest.mark.parametrize("method", [max, Unreadable()])
def test_a_method_without_a_signature_is_called_by_position(method: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        inspect.signature(method)
    assert adapt_signature(method, PROTOCOLS["pre"]) is method


def test_a_mock_with_a_specification_gets_the_arguments_that_it_declares() -> None:
    method = mock.create_autospec(Kinds().reordered)
    call(method, "pre", "share")
    method.assert_called_once_with("create_share", CONTEXT, share="share")


@pytest.mark.parametrize("kind", PROTOCOLS)
def test_a_method_with_the_declared_signature_is_not_wrapped(kind: str) -> None:
    name = f"_execute_{kind}_hook"
    method = getattr(PlainRecorder(), name)
    assert adapt_signature(method, PROTOCOLS[kind]) == method


def test_a_woven_driver_calls_a_hook_of_another_signature() -> None:
    class Hook(PlainRecorder):
        @staticmethod
        def _execute_pre_hook(ctxt: Any, name: Any, /, **kwargs: Any) -> Any:  # type: ignore[override]
            return ctxt, name, kwargs

        def _execute_post_hook(  # type: ignore[override]
            self, pre_hook_data: Any, *, share: Any, **kwargs: Any
        ) -> None:
            self.trace.append((pre_hook_data, share, kwargs))

    hook = Hook()
    assert aspects.weave(Share(), [hook]).create_share(CONTEXT, 1, 2) == "result"
    assert hook.trace == [
        (
            (CONTEXT, "create_share_instance", {"share": 1, "share_server": 2}),
            1,
            {
                "context": CONTEXT,
                "func_name": "create_share_instance",
                "driver_action_results": "result",
                "share_server": 2,
            },
        )
    ]


# Any signature, against a model.

P = inspect.Parameter


@st.composite
def signatures(draw: Any, protocol: Sequence[str]) -> inspect.Signature:
    """Return a signature with names of the protocol, of the call and others."""
    names = draw(
        st.lists(
            st.sampled_from([*protocol, "share", "share_server", "own", "ctxt"]),
            unique=True,
            max_size=6,
        )
    )
    kinds = sorted(
        draw(
            st.sampled_from(
                (P.POSITIONAL_ONLY, P.POSITIONAL_OR_KEYWORD, P.KEYWORD_ONLY)
            )
        )
        for _ in names
    )
    first_default = draw(st.integers(0, len(names)))
    parameters = []
    for place, (name, kind) in enumerate(zip(names, kinds)):
        optional = place >= first_default
        parameters.append(P(name, kind, default="default" if optional else P.empty))
    takes_args, takes_kwargs = draw(st.booleans()), draw(st.booleans())
    if takes_args:
        at = sum(kind is not P.KEYWORD_ONLY for kind in kinds)
        parameters.insert(at, P("args", P.VAR_POSITIONAL))
    if takes_kwargs:
        parameters.append(P("kwargs", P.VAR_KEYWORD))
    return inspect.Signature(parameters)


def expected_by(
    method: Any,
    signature: inspect.Signature,
    protocol: Sequence[str],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
) -> Any:
    """Return the result of a call of a method by the rule, or TypeError."""
    parameters = signature.parameters
    kinds = [parameter.kind for parameter in parameters.values()]
    takes_args, takes_kwargs = P.VAR_POSITIONAL in kinds, P.VAR_KEYWORD in kinds
    positional = [
        name
        for name, parameter in parameters.items()
        if parameter.kind in (P.POSITIONAL_ONLY, P.POSITIONAL_OR_KEYWORD)
    ]
    # The protocol's arguments.
    got: dict[str, Any] = {}
    by_keyword = {}
    in_order = takes_args
    names_some = any(name in parameters for name in protocol)
    for place, argument in enumerate(protocol):
        at_its_place = positional[place] if place < len(positional) else None
        is_renamed = at_its_place is not None and at_its_place not in protocol
        if argument in parameters:
            got[argument] = VALUES[argument]
            in_order &= at_its_place == argument
        elif is_renamed and (takes_args or not takes_kwargs or not names_some):
            got[at_its_place] = VALUES[argument]
        else:
            by_keyword[argument] = VALUES[argument]
            in_order &= at_its_place is None
    if in_order:
        values = [VALUES[name] for name in protocol]
        return outcome(method, *values, *args, **kwargs)
    # The call's arguments.
    if takes_args:
        named, waiting = dict(kwargs), list(args)
    else:
        named, waiting = {**dict(zip(DRIVERS_NAMES, args)), **kwargs}, []
    for name in positional:
        if name not in got and waiting:
            got[name] = waiting.pop(0)
        elif name not in got and name in named:
            got[name] = named.pop(name)
        elif name not in got:
            got[name] = parameters[name].default
    if P.empty in got.values():
        return TypeError
    values = [got.pop(name) for name in positional]
    return outcome(method, *values, *waiting, **{**got, **by_keyword}, **named)


#: The parameter names of the driver method.
DRIVERS_NAMES = ("share", "share_server")


def outcome(method: Any, *args: Any, **kwargs: Any) -> Any:
    """Return the result of a call, or TypeError if it raises one."""
    try:
        return method(*args, **kwargs)
    except TypeError:
        return TypeError


@pytest.mark.slow
@settings(max_examples=500)
@given(data=st.data())
def test_a_method_with_any_signature_gets_the_arguments_of_the_rule(
    data: st.DataObject,
) -> None:
    kind = data.draw(st.sampled_from(["pre", "post", "error"]))
    signature = data.draw(signatures(PROTOCOLS[kind]))
    args = data.draw(st.sampled_from([(), ("share",), ("share", "server")]))
    names = [*DRIVERS_NAMES[len(args) :], "own"]
    kwargs = data.draw(st.dictionaries(st.sampled_from(names), st.just("named")))
    method = method_of(str(signature)[1:-1])
    got = outcome(call, method, kind, *args, **kwargs)
    assert got == expected_by(method, signature, PROTOCOLS[kind], args, kwargs)
