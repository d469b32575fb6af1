# SPDX-License-Identifier: Apache-2.0
"""Sources of a value: deprecated names, environment, code, and files."""

from __future__ import annotations

import logging

import pytest
from oslo_config import cfg, sources
from oslo_log import versionutils

import aspects
from tests.support.config import ConfigFile

# -- deprecated names ------------------------------------------------------------

URL = cfg.StrOpt("h_url", default="default", deprecated_name="url")
LEGACY = cfg.StrOpt(
    "h_url", default="default", deprecated_opts=[cfg.DeprecatedOpt("url", "legacy")]
)
OF_DEFAULT = cfg.StrOpt(
    "h_url", default="default", deprecated_opts=[cfg.DeprecatedOpt("url", "DEFAULT")]
)
OF_ALPHA = cfg.StrOpt(
    "h_url", default="default", deprecated_opts=[cfg.DeprecatedOpt("url", "Alpha")]
)
MOVED = cfg.StrOpt("h_url", default="default", deprecated_group="legacy")


@pytest.mark.parametrize(
    ("option", "alpha", "sections", "section", "name"),
    [
        (URL, "url = here", "", "alpha", "url"),
        (URL, "url = x\nh_url = here", "", "alpha", "h_url"),
        # The nearer section takes precedence, whichever name it uses.
        (URL, "h_url = x", "[alpha:ops]\nurl = here", "alpha:ops", "url"),
        (URL, "url = x", "[alpha:ops]\nh_url = here", "alpha:ops", "h_url"),
        (URL, "url = here", "[DEFAULT]\nh_url = x", "alpha", "url"),
        (URL, "", "[DEFAULT]\nurl = here", "DEFAULT", "url"),
        (URL, "", "[ALPHA:Ops]\nurl = here", "alpha:ops", "url"),
        # A deprecated name in another section has the lowest precedence.
        (LEGACY, "", "[legacy]\nurl = here", "legacy", "url"),
        (LEGACY, "h_url = here", "[legacy]\nurl = x", "alpha", "h_url"),
        (
            LEGACY,
            "",
            "[legacy]\nurl = x\n[alpha:ops]\nh_url = here",
            "alpha:ops",
            "h_url",
        ),
        (LEGACY, "", "[legacy]\nurl = x\n[DEFAULT]\nh_url = here", "DEFAULT", "h_url"),
        (LEGACY, "url = x", "", None, None),
        (MOVED, "", "[legacy]\nh_url = here", "legacy", "h_url"),
        (MOVED, "h_url = here", "[legacy]\nh_url = x", "alpha", "h_url"),
        # A deprecated name in a section of the look-up has the precedence of it.
        (OF_DEFAULT, "", "[DEFAULT]\nurl = here", "DEFAULT", "url"),
        (OF_DEFAULT, "url = x", "[DEFAULT]\nurl = here", "DEFAULT", "url"),
        (OF_DEFAULT, "h_url = here", "[DEFAULT]\nurl = x", "alpha", "h_url"),
        (OF_ALPHA, "url = here", "[DEFAULT]\nh_url = x", "alpha", "url"),
        (OF_ALPHA, "url = here", "[alpha:ops]\nurl = x", "alpha", "url"),
    ],
)
def test_deprecated_name_has_the_precedence_of_its_section(
    new_backend, option, alpha, sections, section, name
):
    backend = new_backend(option, alpha=alpha, sections=sections)
    (hook,) = backend.weave()
    assert backend.values("h_url") == ["default" if section is None else "here"]
    origin = hook.configuration.origin("h_url")
    if section is None:
        assert origin is None
    else:
        assert (origin.section.lower(), origin.name, origin.text) == (
            *(section.lower(), name),
            "here",
        )
    assert hook.configuration.where("h_url").lower() == (section or "alpha").lower()


def test_deprecated_name_is_reported_by_oslo_config(new_backend, caplog, monkeypatch):
    # oslo.log logs each deprecation once.
    monkeypatch.setattr(versionutils, "_deprecated_messages_sent", {})
    new_backend(URL, alpha="url = here").weave()
    assert [r.getMessage() for r in caplog.records] == [
        'Deprecated: Option "url" from group "alpha" is deprecated. Use option "h_url" '
        'from group "alpha".'
    ]


def test_error_of_a_value_names_its_deprecated_name(new_backend):
    option = cfg.IntOpt("h_size", deprecated_opts=[cfg.DeprecatedOpt("size", "legacy")])
    (problem,) = new_backend(option, sections="[legacy]\nsize = big").problems()
    assert str(problem) == (
        "[legacy] size = big: invalid literal for int() with base 10: 'big' (size is a "
        "deprecated name of h_size)"
    )


def test_values_under_all_names_of_a_multi_option_are_joined(new_backend):
    option = cfg.MultiStrOpt("h_urls", deprecated_name="h_url")
    backend = new_backend(option, alpha="h_url = 1\nh_urls = 2\nh_urls = 3")
    backend.weave()
    assert backend.values("h_urls") == [["1", "2", "3"]] == [backend.conf.alpha.h_urls]


# -- the environment -------------------------------------------------------------

NEAREST_FIRST = ("alpha:ops", "alpha", "DEFAULT")


@pytest.mark.parametrize("variable", NEAREST_FIRST)
@pytest.mark.parametrize("in_file", NEAREST_FIRST)
def test_variable_overrides_the_file_in_its_own_section(
    new_backend, monkeypatch, variable, in_file
):
    monkeypatch.setenv(f"OS_{variable.upper()}__H_URL", "variable")
    backend = new_backend(URL, sections=f"[{in_file}]\nh_url = file")
    (hook,) = backend.weave()
    nearer = NEAREST_FIRST.index(in_file) < NEAREST_FIRST.index(variable)
    assert backend.values("h_url") == ["file" if nearer else "variable"]
    origin = hook.configuration.origin("h_url")
    assert origin.section == (in_file if nearer else variable)
    assert origin.in_environment == (not nearer)
    detail = str(backend.file.path) if nearer else f"OS_{variable.upper()}__H_URL"
    assert origin.detail == detail


def test_variable_can_refer_to_another_option(new_backend, monkeypatch):
    monkeypatch.setenv("OS_ALPHA__H_URL", "$h_host/x")
    backend = new_backend([URL, cfg.StrOpt("h_host", default="here")])
    backend.weave()
    assert backend.values("h_url") == ["here/x"]


def test_invalid_value_in_a_variable_is_reported(new_backend, monkeypatch):
    monkeypatch.setenv("OS_ALPHA:OPS__H_SIZE", "big")
    (problem,) = new_backend(cfg.IntOpt("h_size"), alpha="h_size = 4").problems()
    assert problem[:3] == ("alpha:ops", "h_size", "big")


def test_variable_is_ignored_if_the_service_ignores_the_environment(
    new_backend, monkeypatch
):
    monkeypatch.setenv("OS_ALPHA__H_SIZE", "5")
    backend = new_backend(cfg.IntOpt("h_size"), alpha="h_size = big")
    files = [str(backend.file.path)]
    backend.conf([], default_config_files=files, default_config_dirs=[], use_env=False)
    (problem,) = backend.problems()
    assert problem[:3] == ("alpha", "h_size", "big")


def test_variable_that_is_set_later_takes_effect_on_a_reload(new_backend, monkeypatch):
    backend = new_backend(cfg.IntOpt("h_size", default=1, mutable=True))
    (hook,) = backend.weave()
    monkeypatch.setenv("OS_ALPHA__H_SIZE", "5")
    assert backend.values("h_size") == [1]
    backend.edit()
    assert backend.values("h_size") == [5]
    assert backend.hooks == [hook]


# -- code ------------------------------------------------------------------------


@pytest.mark.parametrize("group", ["alpha:ops", "alpha", None])
def test_override_has_the_precedence_of_its_section(new_backend, group):
    backend = new_backend(URL, alpha="h_url = file")
    backend.conf.register_opt(URL, group=group)
    backend.conf.set_override("h_url", "code", group=group)
    backend.weave()
    assert backend.values("h_url") == ["file" if group is None else "code"]
    backend.conf.clear_override("h_url", group=group)
    backend.edit()
    (hook,) = backend.hooks
    assert backend.values("h_url") == ["default"]
    assert hook.configuration.origin("h_url") is None


def test_override_can_be_none(new_backend):
    backend = new_backend(URL, alpha="h_url = file")
    backend.conf.register_opt(URL, group="alpha")
    backend.conf.set_override("h_url", None, group="alpha")
    backend.weave()
    assert backend.values("h_url") == [None]


def test_override_can_refer_to_another_option(new_backend):
    backend = new_backend([URL, cfg.StrOpt("h_host", default="here")])
    backend.conf.register_opt(URL, group="alpha")
    backend.conf.set_override("h_url", "$h_host/x", group="alpha")
    backend.weave()
    assert backend.values("h_url") == ["here/x"]


@pytest.mark.parametrize("kind", ["override", "default"])
@pytest.mark.parametrize(("value", "expected"), [("7", 7), ("seven", None)])
def test_override_or_default_of_another_type_is_converted(
    new_backend, kind, value, expected
):
    backend = new_backend(cfg.IntOpt("h_size"))
    backend.conf.register_opt(cfg.StrOpt("h_size"), group="alpha")
    getattr(backend.conf, f"set_{kind}")("h_size", value, group="alpha")
    if expected is None:
        (problem,) = backend.problems()
        assert problem[:2] == ("alpha", "h_size")
        assert "invalid literal" in problem.cause
    else:
        backend.weave()
        assert backend.values("h_size") == [expected]


def test_override_of_the_same_type_is_not_converted_again(new_backend):
    def once(text: str) -> tuple[str, ...]:
        return tuple(text.split("+"))

    option = cfg.Opt("h_sum", type=once)
    backend = new_backend(option)
    backend.conf.register_opt(option, group="alpha")
    backend.conf.set_override("h_sum", "1+2", group="alpha")
    backend.weave()
    assert backend.values("h_sum") == [("1", "2")]


@pytest.mark.parametrize(
    ("group", "sections", "value"),
    [
        ("alpha:ops", "", "code"),
        ("alpha", "", "code"),
        (None, "", "code"),
        # A value in any section overrides a default of any section.
        ("alpha:ops", "[DEFAULT]\nh_url = file", "file"),
        (None, "[alpha:ops]\nh_url = file", "file"),
    ],
)
def test_set_default_has_lower_precedence_than_any_value(
    new_backend, group, sections, value
):
    backend = new_backend(URL, sections=sections)
    backend.conf.register_opt(URL, group=group)
    backend.conf.set_default("h_url", "code", group=group)
    (hook,) = backend.weave()
    assert backend.values("h_url") == [value]
    assert (hook.configuration.origin("h_url") is None) == (value == "code")


def test_set_default_of_the_nearest_section_takes_precedence(new_backend):
    backend = new_backend(URL)
    for group in (None, "alpha", "alpha:ops"):
        backend.conf.register_opt(URL, group=group)
        backend.conf.set_default("h_url", f"of {group}", group=group)
    backend.weave()
    assert backend.values("h_url") == ["of alpha:ops"]


def test_override_of_a_switch_in_default_takes_effect_on_a_reload(new_backend):
    backend = new_backend(URL)
    backend.weave()
    backend.conf.set_override("enable_pre_hooks", True)
    backend.edit()
    assert backend.hooks[0].pre_hooks_enabled is True


# -- files -----------------------------------------------------------------------


def test_last_of_several_files_takes_precedence(tmp_path, new_backend):
    backend = new_backend(URL, alpha="h_url = first")
    last = ConfigFile(tmp_path / "last.conf", "[alpha]\nurl = last\n")
    paths = [str(backend.file.path), str(last.path)]
    backend.conf([], default_config_files=paths, default_config_dirs=[])
    (hook,) = backend.weave()
    # As in oslo.config, a later file overrides an earlier one under any name.
    assert backend.values("h_url") == ["last"] == [backend.conf.alpha.h_url]
    assert hook.configuration.origin("h_url")[:4] == (
        *("alpha", "url", "last"),
        str(last.path),
    )


def test_invalid_value_in_a_configuration_directory_is_reported(tmp_path, new_backend):
    backend = new_backend(cfg.IntOpt("h_size"))
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "1.conf").write_text("[alpha:ops]\nh_size = big\n")
    backend.conf(
        ["--config-file", str(backend.file.path), "--config-dir", f"{tmp_path}/conf.d"]
    )
    (problem,) = backend.problems()
    assert problem[:3] == ("alpha:ops", "h_size", "big")


def test_section_can_have_a_space_in_its_name(tmp_path):
    entry = "tests.support.entries.recording:Recorder"
    text = f"[my alpha]\nhook_drivers = ops={entry}\n[my alpha:ops]\ncolor = red\n"
    conf = ConfigFile(tmp_path / "service.conf", text).conf
    section = aspects.BackendSection(conf, "my alpha")
    woven = aspects.weave_from_config(object(), section, "node1@alpha")
    (hook,) = aspects.weaving(woven).hooks
    assert hook.get_config_option("color") == "red"


def test_value_of_another_source_is_read(new_backend):
    class Source:
        value = "big"

        def get(self, group_name, option_name, opt):
            there = (group_name, option_name) == ("alpha", "h_size")
            return (self.value if there else sources._NoValue), None

    backend = new_backend([cfg.IntOpt("h_size"), cfg.IntOpt("h_depth")])
    backend.conf._sources.append(Source())
    (problem,) = backend.problems()
    assert problem[:3] == ("alpha", "h_size", "big")
    Source.value = "8"
    (hook,) = backend.weave()
    assert (backend.values("h_size"), backend.values("h_depth")) == ([8], [None])
    assert hook.configuration.where("h_size") == "alpha"


def test_options_without_files_have_their_defaults(new_backend, monkeypatch):
    monkeypatch.setattr(cfg, "CONF", cfg.ConfigOpts())
    backend = new_backend(URL)
    backend.weave()
    section = aspects.BackendSection(cfg.ConfigOpts(), "alpha")
    hook = backend.classes[0](section, "node1@alpha")
    assert hook.get_config_option("h_url") == "default"


@pytest.mark.parametrize("name", ["alpha", "project_name"])
def test_option_can_have_the_name_of_its_backend(new_backend, name):
    backend = new_backend(
        cfg.StrOpt(name, default="x"), sections=f"[DEFAULT]\n{name} = y"
    )
    backend.weave()
    assert backend.values(name) == ["y"]


# -- oslo.config's own log -------------------------------------------------------


def test_reload_logs_each_changed_option(new_backend, caplog):
    options = [
        cfg.StrOpt("h_address", default="a"),
        cfg.IntOpt("h_size", required=True),
    ]
    backend = new_backend(options, URL, alpha="h_size = 1")
    # Manila registers these options as immutable.
    manila_options = [cfg.BoolOpt("enable_pre_hooks", default=False, help="Of Manila.")]
    backend.conf.register_opts(manila_options)
    backend.conf.register_opts(
        [cfg.ListOpt("hook_drivers", help="Of Manila.")], group="alpha"
    )
    backend.weave()
    backend.classes.pop()
    with caplog.at_level(logging.DEBUG):
        backend.edit(
            alpha="h_size = 2\nh_address = b\nhook_queue_size = 7",
            sections="[DEFAULT]\nenable_pre_hooks = True\n"
            "[alpha:ops]\nhook_queue_timeout = 2",
        )
    ops, day = (
        f"{cls.lower()}=tests.unit.config.support:{cls}" for cls in ("Ops", "Day")
    )
    logged = {r.getMessage() for r in caplog.records if r.name == "oslo_config.cfg"}
    assert logged == {
        f"Option alpha.hook_drivers changed from [{ops}, {day}] to [{ops}]",
        "Option DEFAULT.enable_pre_hooks changed from [None] to [True]",
        "Option alpha.h_size changed from [1] to [2]",
        "Option alpha.h_address changed from [None] to [b]",
        "Option alpha.hook_queue_size changed from [None] to [7]",
        "Option alpha:ops.hook_queue_timeout changed from [None] to [2]",
    }
    assert backend.hooks[0].pre_hooks_enabled is True
    assert backend.values("h_address") == ["b"]


@pytest.mark.parametrize("option", ["hook_methods", "periodic_hooks_interval"])
def test_reload_warns_about_a_change_of_a_start_up_option(new_backend, caplog, option):
    backend = new_backend(URL)
    backend.weave()
    with caplog.at_level(logging.WARNING):
        backend.edit(alpha=f"{option} = 7")
    assert "Ignoring change to immutable option" in caplog.text
    assert option in caplog.text
