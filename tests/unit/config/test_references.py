# SPDX-License-Identifier: Apache-2.0
"""``$name`` in the values and defaults of a hook's options."""

from __future__ import annotations

from typing import Any

import pytest
from oslo_config import cfg

import aspects

STATE = cfg.StrOpt("state_path", default="/var/lib/manila")


def path(default: Any = "$h_base/log") -> list[cfg.Opt]:
    """Return an option that refers to another option, which is declared after it."""
    return [cfg.StrOpt("h_log", default=default), cfg.StrOpt("h_base", default="/a")]


def test_default_refers_to_an_option_of_the_service(new_backend):
    backend = new_backend(cfg.StrOpt("h_log", default="$state_path/h.log"))
    backend.conf.register_opt(STATE)
    backend.weave()
    assert backend.values("h_log") == ["/var/lib/manila/h.log"]
    assert backend.conf.alpha.h_log == "/var/lib/manila/h.log"


@pytest.mark.parametrize(
    ("sections", "alpha", "value"),
    [
        ("", "", "/a/log"),
        ("", "h_base = /b", "/b/log"),
        ("[DEFAULT]\nh_base = /d", "", "/d/log"),
        ("[DEFAULT]\nh_base = /d", "h_base = /b", "/b/log"),
        ("[alpha:ops]\nh_base = /c", "h_base = /b", "/c/log"),
        # The section of the referring value does not matter.
        ("[alpha:ops]\nh_base = /c", "h_log = ${h_base}.x", "/c.x"),
        ("[DEFAULT]\nh_log = $h_base/x\n[alpha:ops]\nh_base = /c", "", "/c/x"),
        ("[alpha:ops]\nh_log = $h_base/x", "h_base = /b", "/b/x"),
        # $section.name refers to one section alone.
        ("[alpha:ops]\nh_base = $alpha.h_base/ops", "h_base = /b", "/b/ops/log"),
        ("[alpha:ops]\nh_base = $alpha.h_base/ops\n[DEFAULT]\nh_base = /d", "", None),
    ],
)
def test_reference_to_an_option_of_the_hook_has_the_value_that_the_hook_gets(
    new_backend, sections, alpha, value
):
    backend = new_backend(path(), sections=sections, alpha=alpha)
    backend.weave()
    # $alpha.h_base is the default if [alpha] does not set it, even if [DEFAULT] does.
    assert backend.values("h_log") == [value or "/a/ops/log"]


def test_option_of_the_service_is_read_from_the_backend_section_first(new_backend):
    backend = new_backend(
        path("$pool, $zone"),
        sections="[DEFAULT]\npool = p0\nzone = z0",
        alpha="pool = p1",
    )
    for group in (None, "alpha"):
        backend.conf.register_opt(cfg.StrOpt("pool", default="p"), group=group)
    backend.conf.register_opt(cfg.StrOpt("zone"))
    backend.weave()
    assert backend.values("h_log") == ["p1, z0"]
    assert backend.conf.alpha.h_log == "p1, z0"


def test_option_of_another_section_can_be_referred_to(new_backend):
    backend = new_backend(path("$database.url"), sections="[database]\nurl = here")
    backend.conf.register_opt(cfg.StrOpt("url"), group="database")
    backend.weave()
    assert backend.values("h_log") == ["here"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("$$h_base", "$h_base"),
        (r"\$h_base", "$h_base"),
        ("$$$h_base", "$/a"),
        ("100 $", "100 $"),
        ("$1 ${h_base", "$1 ${h_base"),
        ("${h_base}s", "/as"),
        ("$h_none", ""),
    ],
)
def test_escapes_are_those_of_oslo_config(new_backend, text, value):
    options = [*path(), cfg.StrOpt("h_none")]
    backend = new_backend(options, alpha=f"h_log = {text}")
    backend.weave()
    assert backend.values("h_log") == [value] == [backend.conf.alpha.h_log]


@pytest.mark.parametrize(
    ("option", "line", "value"),
    [
        (cfg.ListOpt("h", default=["$h_base", "b"]), "", ["/a", "b"]),
        (cfg.ListOpt("h", default="$h_base, b"), "", ["/a", "b"]),
        (cfg.ListOpt("h"), "h = $h_base, b", ["/a", "b"]),
        (cfg.DictOpt("h", default={"$h_base": "$h_base"}), "", {"/a": "/a"}),
        (cfg.DictOpt("h"), "h = k:$h_base", {"k": "/a"}),
        (cfg.MultiStrOpt("h", default=["$h_base", "b"]), "", ["/a", "b"]),
        (cfg.MultiStrOpt("h"), "h = $h_base\nh = b", ["/a", "b"]),
        (cfg.IntOpt("h", default="$h_size"), "", 4),
        (cfg.BoolOpt("h"), "h = $h_size", None),
    ],
)
def test_any_kind_of_option_can_refer_to_another(new_backend, option, line, value):
    backend = new_backend(
        [option, *path(), cfg.IntOpt("h_size", default=4)], alpha=line
    )
    if value is None:
        (problem,) = backend.problems()
        assert problem == ("alpha", "h", "$h_size", "Unexpected boolean value '4'", "")
        return
    backend.weave()
    assert backend.values("h") == [value] == [backend.conf.alpha.h]


@pytest.mark.parametrize(
    ("sections", "line", "section", "text", "cause"),
    [
        ("", "h_log = $none", "alpha", "$none", "no such option none in group"),
        ("[DEFAULT]\nh_log = a$none", "", "DEFAULT", "a$none", "no such option none"),
        ("", "h_log = $none.h_log", "alpha", "$none.h_log", "no such group [none]"),
        ("", "h_log = $alpha", "alpha", "$alpha", "substituting group alpha not"),
        ("", "h_log = $h_log", "alpha", "$h_log", "circular reference"),
        ("", "h_log = $alpha.h_log", "alpha", "$alpha.h_log", "circular reference"),
        ("", "h_log = $looping", "alpha", "$looping", "circular reference"),
        ("", "h_log = $broken", "alpha", "$broken", "broken: invalid literal for int"),
    ],
)
def test_invalid_reference_is_reported(
    new_backend, sections, line, section, text, cause
):
    backend = new_backend(path(), sections=sections, alpha=line)
    backend.conf.register_opt(cfg.StrOpt("looping", default="$looping"))
    backend.conf.register_opt(cfg.IntOpt("broken", default="$state_path"))
    backend.conf.register_opt(STATE)
    (problem,) = backend.problems()
    assert problem[:3] == (section, "h_log", text)
    assert problem.cause.startswith(cause) or cause in problem.cause


def test_two_options_that_refer_to_each_other_are_both_reported(new_backend):
    backend = new_backend(path(), sections="[alpha:ops]\nh_base = $h_log", alpha="")
    assert [str(problem) for problem in backend.problems()] == [
        "[alpha] h_log = $h_base/log: circular reference (the default)",
        "[alpha:ops] h_base = $h_log: circular reference",
    ]


def test_invalid_reference_in_a_default_is_reported_for_the_backend(new_backend):
    backend = new_backend(cfg.StrOpt("h_log", default="$none/h.log"))
    assert [str(problem) for problem in backend.problems()] == [
        "[alpha] h_log = $none/h.log: no such option none in group [DEFAULT] "
        "(the default)"
    ]
    # The default of an option that is set is not read.
    backend.file.mutate(backend.text(alpha="h_log = /h.log"))
    backend.weave()
    assert backend.values("h_log") == ["/h.log"]


def test_constructor_that_uses_an_invalid_default_adds_no_second_problem(new_backend):
    backend = new_backend(cfg.StrOpt("h_log", default="$none/h.log"))
    (cls,) = backend.classes

    def __init__(hook: Any, configuration: Any, host: str | None) -> None:
        super(cls, hook).__init__(configuration, host)
        hook.directory = hook.get_config_option("h_log").rpartition("/")[0]

    cls.__init__ = __init__
    assert [problem.option for problem in backend.problems()] == ["h_log"]


def test_invalid_reference_in_a_default_is_reported_for_section_default(new_backend):
    backend = new_backend(cfg.StrOpt("h_log", default="$none"))
    backend.file.mutate(backend.text().replace("[alpha]", "[DEFAULT]"))
    section = aspects.BackendSection(backend.conf, None)
    with pytest.raises(aspects.HookConfigError, match=r"^\[DEFAULT\] h_log = \$none: "):
        aspects.weave_from_config(object(), section, "node1")


def test_error_names_the_referenced_option(new_backend):
    options = [cfg.StrOpt("h_log"), cfg.IntOpt("h_size")]
    backend = new_backend(options, alpha="h_log = x$h_size\nh_size = big")
    assert [str(problem) for problem in backend.problems()] == [
        "[alpha] h_log = x$h_size: h_size: invalid literal for int() with base 10: "
        "'big'",
        "[alpha] h_size = big: invalid literal for int() with base 10: 'big'",
    ]


def test_each_option_in_a_chain_of_invalid_references_is_reported_once(new_backend):
    names = [f"h_{number}" for number in range(30)]
    options = [
        cfg.StrOpt(name, default=f"${following}$none")
        for name, following in zip(names, [*names[1:], "none"])
    ]
    (problem, *others) = new_backend(options).problems()
    assert len(others) == len(names) - 1
    # The look-up stops at the first error: there are 2 ** 30 paths of references.
    assert problem.cause.startswith("h_1: h_2: h_3: ")


def test_switches_can_refer_to_options_of_the_hook(new_backend):
    backend = new_backend(
        cfg.BoolOpt("h_active", default=True),
        alpha="enable_pre_hooks = $h_active\nhook_operations = $h_which",
        sections="[DEFAULT]\nh_which = create_*",
    )
    backend.conf.register_opt(cfg.StrOpt("h_which"))
    (hook,) = backend.weave()
    assert hook.pre_hooks_enabled is True
    assert hook.hook_operations == ["create_*"]


# -- options that a hook reads, and does not declare -----------------------------


@pytest.mark.parametrize(
    ("alpha", "sections", "value"),
    [
        ("", "", 1),
        ("pool = 2", "", 2),
        ("", "[DEFAULT]\npool = 3", 3),
        ("pool = 2", "[DEFAULT]\npool = 3", 2),
        # The value of [DEFAULT] is not valid, so the default of [alpha] applies.
        ("", "[DEFAULT]\npool = deep", 1),
        ("", "[DEFAULT]\npool = $pool", 1),
    ],
)
def test_undeclared_option_has_the_value_of_the_service(
    new_backend, alpha, sections, value
):
    backend = new_backend(path(), alpha=alpha, sections=sections)
    backend.conf.register_opt(cfg.IntOpt("pool", default=1), group="alpha")
    backend.conf.register_opt(cfg.IntOpt("pool", default=0))
    backend.conf.register_opt(cfg.StrOpt("zone", default="z"))
    backend.weave()
    assert backend.values("pool") == [value]
    assert backend.values("zone") == ["z"]
    assert backend.values("unknown_option") == [None]
