# SPDX-License-Identifier: Apache-2.0
"""The contract of a hook."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator
from typing import Any

import pytest
from oslo_config import cfg

import aspects
from tests.support.drivers import Driver
from tests.support.hooks import NOT_SUPPRESSED, Recorder

CONTEXT = object()

SWITCHES = {
    "pre_hooks_enabled": "enable_pre_hooks",
    "post_hooks_enabled": "enable_post_hooks",
    "periodic_hooks_enabled": "enable_periodic_hooks",
    "suppress_pre_hooks_errors": "suppress_pre_hooks_errors",
    "suppress_post_hooks_errors": "suppress_post_hooks_errors",
    "suppress_periodic_hooks_errors": "suppress_periodic_hooks_errors",
}


class Configuration:
    """A double of Manila's ``Configuration``."""

    config_group = "alpha"

    def __init__(self, **values: Any) -> None:
        self.values = values
        self.registered: list[str] = []

    def append_config_values(self, options: Any) -> None:
        self.registered += [option.name for option in options]

    def safe_get(self, key: str) -> Any:
        return self.values.get(key)


class Minimal(aspects.HookBase):
    def _execute_pre_hook(
        self, context: Any, func_name: Any, *args: Any, **kwargs: Any
    ) -> Any:
        return "pre", context, func_name, args, kwargs

    def _execute_post_hook(
        self,
        context: Any,
        func_name: Any,
        pre_hook_data: Any,
        driver_action_results: Any,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        data = pre_hook_data, driver_action_results
        return "post", context, func_name, *data, args, kwargs

    def _execute_periodic_hook(
        self, context: Any, periodic_hook_data: Any, *args: Any, **kwargs: Any
    ) -> Any:
        return "periodic", context, periodic_hook_data, args, kwargs


@pytest.fixture
def on() -> Minimal:
    return Minimal(Configuration(**dict.fromkeys(SWITCHES.values(), True)), "host")


@pytest.fixture
def _clean_conf() -> Iterator[None]:
    yield
    cfg.CONF.reset()
    for option in SWITCHES.values():
        if option in cfg.CONF:
            cfg.CONF.clear_override(option)


@pytest.mark.parametrize(
    "missing", ["_execute_pre_hook", "_execute_post_hook", "_execute_periodic_hook"]
)
def test_three_methods_are_abstract(missing: str) -> None:
    methods = {
        name: getattr(Minimal, name)
        for name in (
            "_execute_pre_hook",
            "_execute_post_hook",
            "_execute_periodic_hook",
        )
        if name != missing
    }
    incomplete = type("Incomplete", (aspects.HookBase,), methods)
    with pytest.raises(TypeError, match=missing):
        incomplete(None, None)


def test_the_error_method_is_optional() -> None:
    hook = Minimal(None, None)
    hook.pre_hooks_enabled = hook.post_hooks_enabled = True

    def fail(*args: Any) -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        aspects.weave(Driver(fail), [hook]).create_share(CONTEXT, "share")


@pytest.mark.parametrize(
    ("method", "parameters"),
    [
        ("_execute_pre_hook", "self, context, func_name, *args, **kwargs"),
        (
            "_execute_post_hook",
            "self, context, func_name, pre_hook_data, driver_action_results, "
            "*args, **kwargs",
        ),
        (
            "_execute_periodic_hook",
            "self, context, periodic_hook_data, *args, **kwargs",
        ),
        (
            "_execute_error_hook",
            "self, context, func_name, pre_hook_data, error, *args, **kwargs",
        ),
    ],
)
def test_methods_have_manilas_parameters(method: str, parameters: str) -> None:
    signature = inspect.signature(getattr(aspects.HookBase, method))
    assert (
        ", ".join(
            {2: "*", 4: "**"}.get(parameter.kind, "") + parameter.name
            for parameter in signature.parameters.values()
        )
        == parameters
    )


def test_a_hook_knows_its_configuration_and_host() -> None:
    configuration = Configuration()
    hook = Minimal(configuration, "node@alpha")
    assert hook.configuration is configuration
    assert hook.host == "node@alpha"


@pytest.mark.parametrize(("switch", "option"), SWITCHES.items())
def test_each_option_sets_its_own_switch_only(switch: str, option: str) -> None:
    hook = Minimal(Configuration(**{option: True}), "host")
    assert {name for name in SWITCHES if getattr(hook, name)} == {switch}
    setattr(hook, switch, False)
    assert not any(getattr(hook, name) for name in SWITCHES)


@pytest.mark.usefixtures("_clean_conf")
def test_without_a_configuration_the_options_are_the_global_ones() -> None:
    hook = Minimal(None, None)
    assert not any(getattr(hook, name) for name in SWITCHES)
    cfg.CONF.set_override("enable_pre_hooks", True)
    assert hook.get_config_option("enable_pre_hooks") is True
    assert Minimal(None, None).pre_hooks_enabled is True


def test_get_config_option_reads_the_current_value() -> None:
    configuration = Configuration(limit=1)
    hook = Minimal(configuration, None)
    assert hook.get_config_option("limit") == 1
    configuration.values["limit"] = 2
    assert hook.get_config_option("limit") == 2
    assert hook.get_config_option("no_such_option") is None


def test_options_of_a_class_are_registered_beside_the_switches() -> None:
    class WithOptions(Minimal):
        options = [cfg.IntOpt("limit", default=5)]

    configuration = Configuration()
    WithOptions(configuration, None)
    assert {"limit", *SWITCHES.values()} <= set(configuration.registered)


def test_manilas_option_names_types_and_defaults_are_kept() -> None:
    conf = cfg.ConfigOpts()
    conf([])
    section = aspects.BackendSection(conf, "alpha")
    hook = Minimal(section, None)
    for option in SWITCHES.values():
        assert hook.get_config_option(option) is False
    assert hook.get_config_option("periodic_hooks_interval") == 300.0


# The execute_*_hook methods, which Manila's manager calls.


def run(hook: Any, method: str, **more: Any) -> Any:
    protocol = {
        "pre": {"context": 1, "func_name": "operation"},
        "post": {
            "context": 1,
            "func_name": "operation",
            "pre_hook_data": 2,
            "driver_action_results": 3,
        },
        "periodic": {"context": 1, "periodic_hook_data": 2},
        "error": {
            "context": 1,
            "func_name": "operation",
            "pre_hook_data": 2,
            "error": RuntimeError(),
        },
    }[method]
    return getattr(hook, f"execute_{method}_hook")(**protocol, **more)


def test_execute_hook_passes_all_arguments_to_the_method(on: Minimal) -> None:
    more = {"share": 5}
    assert run(on, "pre", **more) == ("pre", 1, "operation", (), more)
    assert run(on, "post", **more) == ("post", 1, "operation", 2, 3, (), more)
    assert run(on, "periodic", **more) == ("periodic", 1, 2, (), more)
    assert on.execute_pre_hook(1, "operation", 3, 4)[3] == (3, 4)
    assert on.execute_post_hook(1, "operation", 2, 3, 4, 5)[5] == (4, 5)
    assert on.execute_periodic_hook(1, 2, 3)[3] == (3,)
    assert run(on, "error") is None


@pytest.mark.parametrize("method", ["pre", "post", "periodic"])
def test_execute_hook_does_nothing_if_the_method_is_disabled(
    on: Minimal, method: str
) -> None:
    setattr(on, f"{method}_hooks_enabled", False)
    assert run(on, method) is None


def test_execute_error_hook_is_enabled_by_the_post_switch() -> None:
    hook = Recorder(enabled=["pre"], error="answer")
    assert run(hook, "error") is None
    assert hook.trace == []
    hook.post_hooks_enabled = True
    assert run(hook, "error") == "answer"
    assert hook.trace[0].data == 2


def test_execute_error_hook_logs_its_own_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    hook = Recorder("mine", error=ValueError("password=tops3cret"))
    assert run(hook, "error") is None
    assert "mine" in caplog.text
    assert "operation" in caplog.text
    assert "tops3cret" not in caplog.text


@pytest.mark.parametrize("method", ["pre", "post", "periodic"])
def test_execute_hook_suppresses_errors_if_its_switch_is_set(
    method: str, caplog: pytest.LogCaptureFixture
) -> None:
    error = ValueError("password=tops3cret of mine")
    hook = Recorder("mine", enabled=[method], **{method: error})
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        run(hook, method)
    assert caught.value is error
    assert caplog.text == ""
    setattr(hook, f"suppress_{method}_hooks_errors", True)
    assert run(hook, method) is error
    assert "mine" in caplog.text
    assert "tops3cret" not in caplog.text


@pytest.mark.parametrize(
    "call",
    [
        (({"access_key": "tops3cret"},), {}),
        ((), {"share": {"access_key": "tops3cret"}}),
    ],
    ids=["positional", "keyword"],
)
def test_secrets_in_the_arguments_of_execute_hook_are_masked_in_the_log(
    call: Any, caplog: pytest.LogCaptureFixture
) -> None:
    args, kwargs = call
    hook = Recorder(suppress=["pre"], pre=ValueError("bad key tops3cret"))
    hook.execute_pre_hook(None, "operation", *args, **kwargs)
    assert "bad key ***" in caplog.text
    assert "tops3cret" not in caplog.text


@pytest.mark.parametrize("kind", [aspects.Veto, *NOT_SUPPRESSED])
def test_execute_pre_hook_never_suppresses_a_veto_or_a_base_exception(
    kind: type[BaseException],
) -> None:
    hook = Recorder(suppress=["pre"], pre=kind())
    with pytest.raises(kind):
        run(hook, "pre")


# Return values, vetoes, copies and names.


def test_updated_results_have_the_results_as_an_attribute() -> None:
    results = object()
    updated = aspects.UpdatedResults(results)
    assert updated.results is results
    assert repr(aspects.UpdatedResults({"access_key": 5})) == "UpdatedResults(dict)"


def test_a_veto_is_an_exception_with_a_text() -> None:
    assert issubclass(aspects.Veto, Exception)
    assert str(aspects.Veto("no more shares")) == "no more shares"


def test_a_copy_of_a_hook_has_its_own_switches() -> None:
    hook = Recorder("one")
    woven = aspects.weave(Driver(), [hook])
    other = copy.copy(hook)
    other.instance_name = "two"
    other.calls = other.trace = []
    aspects.weave(Driver(), [other]).create_share(CONTEXT, "share")
    other.pre_hooks_enabled = False
    assert hook.trace == []
    woven.create_share(CONTEXT, "share")
    assert [seen.kind for seen in hook.trace] == ["pre", "post"]


def test_a_hook_is_ineffective_without_its_required_methods(on: Minimal) -> None:
    assert Minimal(Configuration(), None).ineffective() is None
    on.required_methods = ("pre", "periodic")  # type: ignore[misc]
    on.post_hooks_enabled = False
    assert on.ineffective() is None
    on.periodic_hooks_enabled = False
    assert on.ineffective() == (
        "the hook has no effect, since enable_periodic_hooks is False",
        "set enable_periodic_hooks = True",
    )


def test_hook_name_is_the_instance_name_or_the_class_name() -> None:
    class Notifier(aspects.HookBase):
        _execute_pre_hook = _execute_post_hook = _execute_periodic_hook = print

    hook = Notifier(None, None)
    assert aspects.hook_name(hook) == "Notifier"
    hook.instance_name = "ops"
    assert aspects.hook_name(hook) == "ops"
    # A hook of Manila's contract has no instance_name.
    assert aspects.hook_name(object()) == "object"
