# SPDX-License-Identifier: Apache-2.0
"""Options with the same name in two hooks, or in a hook and the service."""

from __future__ import annotations

import logging

import pytest
from oslo_config import cfg, types

import aspects
from tests.support.entries.recording import Driver

BOUNDED = [
    (cfg.ListOpt("h"), cfg.StrOpt("h"), "a, b", ["a", "b"], "a, b"),
    (cfg.IntOpt("h"), cfg.StrOpt("h"), "0042", 42, "0042"),
    (cfg.BoolOpt("h"), cfg.StrOpt("h"), "on", True, "on"),
    (cfg.FloatOpt("h"), cfg.StrOpt("h"), "1.50", 1.5, "1.50"),
    (cfg.MultiStrOpt("h"), cfg.StrOpt("h"), "a", ["a"], "a"),
    (
        cfg.DictOpt("h"),
        cfg.ListOpt("h"),
        "a:1, b:2",
        {"a": "1", "b": "2"},
        ["a:1", "b:2"],
    ),
    (
        cfg.ListOpt("h", item_type=types.Integer(1, 9), bounds=True),
        cfg.StrOpt("h"),
        "[1, 2]",
        [1, 2],
        "[1, 2]",
    ),
    (cfg.IntOpt("h", max=5), cfg.IntOpt("h", min=5, default=9), "5", 5, 5),
    (cfg.StrOpt("h", choices=["a", "b"]), cfg.StrOpt("h", secret=True), "a", "a", "a"),
]


@pytest.mark.parametrize(
    ("one", "two", "text", "of_one", "of_two"), BOUNDED, ids=lambda value: ""
)
@pytest.mark.parametrize("swapped", [False, True])
def test_each_hook_has_its_own_type(
    new_backend, one, two, text, of_one, of_two, swapped
):
    hooks = [(one, of_one), (two, of_two)]
    hooks = hooks[::-1] if swapped else hooks
    backend = new_backend(*(option for option, _ in hooks), alpha=f"h = {text}")
    backend.weave()
    assert backend.values("h") == [value for _, value in hooks]
    # An edit does not change this.
    backend.edit(alpha=f"h = {text}", sections="[alpha:day]\nenable_pre_hooks = True")
    assert backend.values("h") == [value for _, value in hooks]


def test_each_hook_has_its_own_default_and_mutability(new_backend):
    backend = new_backend(
        cfg.StrOpt("h", default="one"),
        cfg.StrOpt("h", default="two", mutable=True),
        cfg.IntOpt("h"),
    )
    before = backend.weave()
    assert backend.values("h") == ["one", "two", None]
    backend.edit(alpha="h = 3")
    assert backend.values("h") == ["3", "3", 3]
    assert [a is b for a, b in zip(before, backend.hooks)] == [False, True, False]


def test_value_that_is_invalid_for_one_of_the_hooks_is_reported(new_backend):
    options = cfg.FloatOpt("h"), cfg.IntOpt("h"), cfg.StrOpt("h", choices=["1.9"])
    backend = new_backend(*options, alpha="h = 1.9")
    assert [str(problem) for problem in backend.problems()] == [
        "[alpha] h = 1.9: invalid literal for int() with base 10: '1.9'"
    ]
    # The section of the instance can set another value.
    backend.file.mutate(backend.text(alpha="h = 1.9", sections="[alpha:day]\nh = 2"))
    backend.weave()
    assert backend.values("h") == [1.9, 2, "1.9"]


def test_value_that_a_nearer_section_overrides_is_not_checked(new_backend):
    sections = "[alpha:ops]\nh = 3\n[DEFAULT]\nh = deepest\n"
    backend = new_backend(cfg.IntOpt("h"), alpha="h = deep", sections=sections)
    backend.weave()
    assert backend.values("h") == [3]


def test_values_are_checked_up_to_the_first_that_is_valid(new_backend):
    sections = "[alpha:ops]\nh = deeper\n[DEFAULT]\nh = deepest\n"
    backend = new_backend(cfg.IntOpt("h"), alpha="h = 3", sections=sections)
    assert [problem[:3] for problem in backend.problems()] == [
        ("alpha:ops", "h", "deeper")
    ]


@pytest.mark.parametrize("group", [None, "alpha", "alpha:ops"])
@pytest.mark.parametrize("before", [True, False])
def test_service_and_hook_can_have_an_option_of_one_name_and_two_types(
    new_backend, group, before
):
    service_option = cfg.IntOpt("debug_level", default=1)
    sections = f"[{group or 'DEFAULT'}]\ndebug_level = 3"
    backend = new_backend(cfg.ListOpt("debug_level"), sections=sections)
    if before:
        backend.conf.register_opt(service_option, group=group)
    backend.weave()
    assert backend.values("debug_level") == [["3"]]
    if group is None:
        # The service can register its option after the hook has registered its own.
        backend.conf.register_opt(service_option)
    if before or group is None:
        assert (backend.conf[group] if group else backend.conf).debug_level == 3
        assert not service_option.mutable


def test_hook_can_be_constructed_directly_beside_one_of_the_same_options(new_backend):
    options = [cfg.IntOpt("h", default=1), cfg.StrOpt("h_name", required=True)]
    backend = new_backend(options, alpha="h_name = x")
    backend.weave()
    # This registers the same options in the same section, and not as mutable.
    section = aspects.BackendSection(backend.conf, "alpha")
    by_hand = backend.classes[0](section, "node1@alpha")
    assert by_hand.get_config_option("h") == 1
    with pytest.raises(cfg.DuplicateOptError):
        section.append_config_values([cfg.StrOpt("h", default="2")])


def test_options_of_a_class_are_not_modified(new_backend):
    option = cfg.StrOpt("h", required=True, default="x", deprecated_name="old")
    before = dict(vars(option))
    backend = new_backend(option, alpha="enable_pre_hooks = $h_active")
    backend.problems()
    backend.file.mutate(backend.text(alpha="old = y"))
    backend.weave()
    backend.edit(alpha="h = z")
    assert dict(vars(option)) == before


def test_first_of_two_options_of_one_name_in_a_class_is_used(new_backend):
    backend = new_backend([cfg.StrOpt("h", default="a"), cfg.StrOpt("h", default="b")])
    backend.weave()
    assert backend.values("h") == ["a"]


class Foreign:
    """A configuration that does not read the global ``CONF``."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self.config_group = "alpha"
        self._conf = conf

    def safe_get(self, key):
        try:
            return self._conf.alpha[key]
        except cfg.NoSuchOptError:
            return None

    def append_config_values(self, options):
        self._conf.register_opts(options, group="alpha")


@pytest.fixture
def foreign(new_backend, monkeypatch):
    def weave(*options, **of_file):
        monkeypatch.setattr(cfg, "CONF", cfg.ConfigOpts())
        backend = new_backend(*options, **of_file)
        section = Foreign(backend.conf)
        backend.woven = aspects.weave_from_config(Driver(), section, "node1@alpha")
        return backend

    return weave


def test_two_types_of_one_option_in_a_foreign_configuration_are_an_error(foreign):
    # The hooks get the value that it returns, which has one type.
    with pytest.raises(aspects.HookConfigError) as rejected:
        foreign(cfg.IntOpt("h"), cfg.StrOpt("h"), alpha="h = 0042")
    (problem,) = rejected.value.problems
    assert problem.option == "hook_drivers"
    assert "DuplicateOptError: duplicate option: h" in problem.cause


def test_invalid_value_in_a_foreign_configuration_is_reported(foreign):
    with pytest.raises(aspects.HookConfigError) as rejected:
        foreign(cfg.IntOpt("h"), alpha="h = big")
    (problem,) = rejected.value.problems
    assert problem == (
        *("alpha", "h", "?", "invalid literal for int() with base 10: 'big'"),
        "",
    )


def test_required_option_of_a_foreign_configuration_has_to_be_set(foreign):
    option = cfg.StrOpt("h", required=True)
    backend = foreign(option, alpha="h = x")
    assert backend.values("h") == ["x"]
    with pytest.raises(aspects.HookConfigError, match="required option is not set"):
        foreign(option)


def test_foreign_configuration_may_ignore_the_options_that_are_added(monkeypatch):
    monkeypatch.setattr(Foreign, "append_config_values", lambda section, options: None)
    section = Foreign(cfg.ConfigOpts())
    section.safe_get = lambda key: (
        ["h=builtins:none"] if key == "hook_drivers" else None
    )
    with pytest.raises(aspects.HookConfigError) as rejected:
        aspects.weave_from_config(Driver(), section, "node1@alpha")
    assert [problem.option for problem in rejected.value.problems] == ["hook_drivers"]


def test_default_applies_where_a_foreign_configuration_has_no_value(foreign):
    assert foreign(cfg.StrOpt("h", default="$hook_dispatch!")).values("h") == [
        "inline!"
    ]


# -- secrets ---------------------------------------------------------------------

SECRET = cfg.StrOpt("h_secret", secret=True)


def test_error_does_not_repeat_a_secret_that_the_value_refers_to(new_backend):
    options = [SECRET, cfg.IntOpt("h_port"), cfg.StrOpt("h_via")]
    lines = "h_secret = hunter2-Zq9\nh_via = $h_secret\nh_port = $h_via"
    (problem,) = new_backend(options, alpha=lines).problems()
    assert problem == ("alpha", "h_port", "***", "not a valid value", "")


def test_error_does_not_repeat_a_secret_of_the_service(new_backend):
    backend = new_backend(cfg.IntOpt("h_port"), alpha="h_port = $password")
    backend.conf.register_opt(
        cfg.StrOpt("password", secret=True, default="hunter2-Zq9"), group="alpha"
    )
    (problem,) = backend.problems()
    assert problem == ("alpha", "h_port", "***", "not a valid value", "")


def test_option_whose_value_refers_to_a_secret_is_secret(new_backend):
    options = [SECRET, cfg.StrOpt("h_url"), cfg.StrOpt("h_plain", default="x")]
    lines = "h_secret = hunter2-Zq9\nh_url = http://a:$h_secret@b"
    backend = new_backend(options, alpha=lines)
    (hook,) = backend.weave()
    assert backend.values("h_url") == ["http://a:hunter2-Zq9@b"]
    secret = {o.dest for o in hook.configuration.options.values() if o.secret}
    assert secret == {"h_secret", "h_url"}


@pytest.mark.parametrize("swapped", [False, True])
def test_option_that_is_secret_for_one_hook_is_secret_for_all(new_backend, swapped):
    options = [SECRET, cfg.IntOpt("h_secret")]
    backend = new_backend(
        *options[:: -1 if swapped else 1], alpha="h_secret = hunter2-Zq9"
    )
    (problem,) = backend.problems()
    assert problem == ("alpha", "h_secret", "***", "not a valid value", "")


def test_error_does_not_repeat_a_password_in_an_address(new_backend):
    option = cfg.URIOpt("h_url", schemes=["https"])
    (problem,) = new_backend(option, alpha="h_url = http://a:hunter2-Zq9@b").problems()
    assert problem[:3] == ("alpha", "h_url", "http://a:***@b")
    assert "hunter2" not in problem.cause


def test_each_invalid_value_of_a_secret_is_reported(new_backend):
    option = cfg.IntOpt("h_pin", secret=True)
    sections = "[alpha:ops]\nh_pin = hunter2-Zq9"
    backend = new_backend(option, alpha="h_pin = hunter3-Zq9", sections=sections)
    assert [str(problem) for problem in backend.problems()] == [
        "[alpha:ops] h_pin = ***: not a valid value",
        "[alpha] h_pin = ***: not a valid value",
    ]


def test_error_does_not_repeat_the_value_of_an_option_named_password(new_backend):
    backend = new_backend(cfg.IntOpt("h_password"), alpha="h_password = hunter2-Zq9")
    (problem,) = backend.problems()
    assert problem[:3] == ("alpha", "h_password", "***")
    assert "hunter2" not in problem.cause


def test_required_secret_has_to_be_set(new_backend):
    option = cfg.StrOpt("h_secret", secret=True, required=True)
    (problem,) = new_backend(option).problems()
    assert str(problem) == "[alpha:ops] h_secret: required option is not set"


def test_reload_does_not_log_a_secret(new_backend, caplog):
    backend = new_backend(cfg.StrOpt("h_secret", secret=True, mutable=True))
    backend.weave()
    with caplog.at_level(logging.DEBUG):
        backend.edit(alpha="h_secret = hunter2-Zq9")
        backend.edit(alpha="h_secret = hunter3-Zq9\nhook_dispatch = $h_secret")
    assert backend.values("h_secret") == ["hunter2-Zq9"]
    assert "hook_dispatch" in caplog.text
    assert "-Zq9" not in caplog.text


# -- values that oslo.config accepts ---------------------------------------------


@pytest.mark.parametrize(
    ("option", "text", "cause"),
    [
        (cfg.IntOpt("h", default=1), "", "empty value"),
        (cfg.FloatOpt("h"), "nan", "not a finite number"),
        (cfg.ListOpt("h", item_type=types.Float()), "1, -inf", "not a finite number"),
        (cfg.Opt("h", type=types.Dict(types.Float())), "a:nan", "not a finite number"),
        (cfg.MultiOpt("h", item_type=types.Float()), "inf", "not a finite number"),
        (cfg.ListOpt("h", bounds=True), "1, 2", 'Value should start with "["'),
        (cfg.Opt("h", type=lambda text: text + 1), "x", "TypeError: can only"),
    ],
)
def test_value_that_is_not_valid_for_its_type_is_reported(
    new_backend, option, text, cause
):
    (problem,) = new_backend(option, alpha=f"h = {text}").problems()
    assert problem[:3] == ("alpha", "h", text)
    assert problem.cause.startswith(cause)


def test_empty_value_of_a_number_without_a_default_is_none(new_backend):
    backend = new_backend(cfg.IntOpt("h"), alpha="h =", sections="[DEFAULT]\nh = 3")
    backend.weave()
    assert backend.values("h") == [None]


def test_invalid_value_of_a_required_option_is_reported_once(new_backend):
    (problem,) = new_backend(cfg.IntOpt("h", required=True), alpha="h = x").problems()
    assert problem[:3] == ("alpha", "h", "x")


def test_switch_that_a_nearer_section_overrides_is_checked(new_backend):
    # Manila also reads its own option in [DEFAULT] when it logs all options.
    sections = "[DEFAULT]\nenable_pre_hooks = maybe"
    backend = new_backend([], alpha="enable_pre_hooks = True", sections=sections)
    (problem,) = backend.problems()
    assert problem[:3] == ("DEFAULT", "enable_pre_hooks", "maybe")


def test_each_hook_has_its_own_copy_of_a_default(new_backend):
    backend = new_backend(
        cfg.ListOpt("h", default=["a"]), cfg.ListOpt("h", default=["a"])
    )
    backend.weave()
    one, two = backend.values("h")
    assert one == two == ["a"]
    assert one is not two
