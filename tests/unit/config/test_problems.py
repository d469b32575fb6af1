# SPDX-License-Identifier: Apache-2.0
"""Wrong values: each is one problem, with section, option, value and cause."""

from typing import Any

import pytest
from oslo_config import cfg

import aspects
from tests.support.config import ConfigFile
from tests.support.entries import recording

from .common import (
    FIXTURES,
    RECORDER,
    UPSTREAM,
    _in,
    advised_in,
    hooks_in,
    problems_in,
    section_with,
    woven_in,
)


@pytest.mark.parametrize("section", ["DEFAULT", "alpha", "alpha:a"])
@pytest.mark.parametrize(
    ("what", "option", "value", "cause"),
    [
        (RECORDER, "enable_pre_hooks", "maybe", "boolean"),
        (RECORDER, "suppress_periodic_hooks_errors", "2", "boolean"),
        (UPSTREAM, "enable_post_hooks", "maybe", "boolean"),
        (RECORDER, "periodic_hooks_interval", "often", "float"),
        (RECORDER, "depth", "deep", "int"),
        (f"{FIXTURES}.recording:HandMade", "depth", "deep", "int"),
    ],
)
def test_value_of_the_wrong_type(configured, what, section, option, value, cause):
    file = configured(_in(section, what, f"{option} = {value}\n"))
    (problem,) = problems_in(file)
    assert problem[:3] == (section, option, value)
    assert cause in problem.cause
    # Nothing twice: section, option and value are told already.
    assert option not in problem.cause
    assert "is not valid" not in problem.cause


@pytest.mark.parametrize("value", ["often", "0", "-1", "1.5"])
def test_wrong_periodic_hooks_ticks(configured, value):
    text = section_with([RECORDER], f"periodic_hooks_ticks = {value}\n")
    (problem,) = problems_in(configured(text))
    assert problem[:3] == ("alpha", "periodic_hooks_ticks", value)
    assert problem.cause


def test_unknown_operation(configured):
    text = section_with([RECORDER], "hook_methods = further, futher, calls\n")
    one, two = advised_in(configured(text))
    cause = "unknown operation: the driver has no such method"
    assert one == ("alpha", "hook_methods", "futher", cause, "write further")
    assert two == ("alpha", "hook_methods", "calls", cause, "")


@pytest.mark.parametrize("option", ["hook_drivers", "hook_methods", "color"])
@pytest.mark.parametrize("name", ["nobody", "alpha"])
def test_reference_to_what_is_no_option(configured, option, name):
    # oslo.config's own way to write the value of another option.
    hooks = "" if option == "hook_drivers" else f"hook_drivers = {RECORDER}\n"
    (problem,) = problems_in(configured(f"[alpha]\n{hooks}{option} = ${name}\n"))
    assert problem[:3] == ("alpha", option, f"${name}")
    assert name in problem.cause


def test_reference_to_another_option(configured):
    file = configured(f"[alpha]\nhook_drivers = a={RECORDER}\nhook_methods = $a\n")
    file.conf.register_opt(cfg.StrOpt("a", default="further"))
    assert "further" in aspects.weaving(woven_in(file)).operations


def test_all_that_is_wrong_is_told_at_once(configured):
    file = configured(
        f"""
        [DEFAULT]
        suppress_pre_hooks_errors = sometimes
        [alpha]
        hook_drivers = no_such.module:Hook, nosuch, a={RECORDER}, a={RECORDER},
            {FIXTURES}.recording:Incomplete, {FIXTURES}.fails_on_import:Hook,
            {FIXTURES}.recording:Choosy, {FIXTURES}.recording:Nothing
        hook_methods = fly
        enable_pre_hooks = maybe
        periodic_hooks_ticks = zero
        [alpha:a]
        depth = deep
        """
    )
    problems = problems_in(file)
    assert len(set(problems)) == len(problems)
    assert {problem[:3] for problem in problems} == {
        ("alpha", "hook_drivers", "no_such.module:Hook"),
        ("alpha", "hook_drivers", "nosuch"),
        ("alpha", "hook_drivers", f"a={RECORDER}"),
        ("alpha", "hook_drivers", f"{FIXTURES}.recording:Incomplete"),
        ("alpha", "hook_drivers", f"{FIXTURES}.fails_on_import:Hook"),
        ("alpha", "hook_drivers", f"{FIXTURES}.recording:Choosy"),
        ("alpha", "hook_drivers", f"{FIXTURES}.recording:Nothing"),
        ("alpha", "hook_methods", "fly"),
        ("alpha", "enable_pre_hooks", "maybe"),
        ("alpha", "periodic_hooks_ticks", "zero"),
        ("alpha:a", "depth", "deep"),
        ("DEFAULT", "suppress_pre_hooks_errors", "sometimes"),
    }


@pytest.mark.parametrize(
    "entry",
    [
        "no_such.module:Hook",
        "nosuch",
        f"{FIXTURES}.recording:Incomplete",
        f"{FIXTURES}.recording:Driver",
        f"{FIXTURES}.recording:Choosy",
    ],
)
@pytest.mark.parametrize("section", ["DEFAULT", "alpha", "alpha:a"])
def test_wrong_switch_beside_a_wrong_hook(configured, entry, section):
    file = configured(_in(section, entry, "enable_pre_hooks = maybe\n"))
    problems = problems_in(file)
    assert {problem[:3] for problem in problems} == {
        ("alpha", "hook_drivers", f"a={entry}"),
        (section, "enable_pre_hooks", "maybe"),
    }


def test_one_wrong_value_of_two_hooks_is_told_once(configured):
    text = section_with([RECORDER, UPSTREAM], "enable_pre_hooks = maybe\n")
    (problem,) = problems_in(configured(text))
    assert problem[:3] == ("alpha", "enable_pre_hooks", "maybe")


def test_wrong_values_of_one_option_in_all_its_sections(configured):
    text = section_with([RECORDER], "depth = deep\n")
    text += "[alpha:a]\ndepth = deeper\n[DEFAULT]\ndepth = deepest\n"
    assert {problem[:3] for problem in problems_in(configured(text))} == {
        ("alpha:a", "depth", "deeper"),
        ("alpha", "depth", "deep"),
        ("DEFAULT", "depth", "deepest"),
    }


def test_wrong_backend_section_without_a_group_is_called_default(configured):
    file = configured("[DEFAULT]\nhook_drivers = nosuch\nperiodic_hooks_ticks = x\n")
    assert {problem[:3] for problem in problems_in(file, None)} == {
        ("DEFAULT", "hook_drivers", "nosuch"),
        ("DEFAULT", "periodic_hooks_ticks", "x"),
    }


def test_driver_is_left_as_it_is_when_something_is_wrong(configured):
    driver = recording.Driver()
    before = dict(vars(driver))
    file = configured(f"[alpha]\nhook_drivers = {RECORDER}, nosuch\n")
    with pytest.raises(aspects.HookConfigError):
        woven_in(file, driver=driver)
    assert vars(driver) == before


@pytest.mark.parametrize("section", ["DEFAULT", "alpha", "alpha:a"])
def test_value_of_a_secret_option_is_not_shown(configured, section):
    file = configured(_in(section, RECORDER, "pin = hunter2\n"))
    (problem,) = problems_in(file)
    assert problem == (section, "pin", "***", "not a valid value")


def test_secret_option_is_not_shown_by_a_constructors_error(configured):
    entry = f"{FIXTURES}.recording:Indiscreet"
    file = configured(section_with([entry], "key_phrase = hunter2\n"))
    (problem,) = problems_in(file)
    assert "unknown phrase" in problem.cause
    assert "hunter2" not in problem.cause


def test_password_in_the_text_of_an_import_error(configured, tmp_path, monkeypatch):
    (tmp_path / "indiscreet.py").write_text(
        "raise OSError(\"cannot log in with password='hunter2'\")\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    (problem,) = problems_in(configured("[alpha]\nhook_drivers = indiscreet:Hook\n"))
    assert "cannot log in" in problem.cause
    assert "hunter2" not in problem.cause


def test_cause_of_several_lines_is_one_line(configured):
    entry = f"{FIXTURES}.fails_with_two_lines:Hook"
    (problem,) = problems_in(configured(f"[alpha]\nhook_drivers = {entry}\n"))
    assert "the license" in problem.cause
    assert "has run out" in problem.cause


def test_value_of_several_lines_is_one_line(configured):
    file = configured(section_with([RECORDER], "enable_pre_hooks = may\n  be\n"))
    (problem,) = problems_in(file)
    assert problem[:2] == ("alpha", "enable_pre_hooks")
    assert "may" in problem.value
    assert "be" in problem.value


def test_value_is_that_of_the_last_file(tmp_path):
    texts = [
        section_with([RECORDER], "depth = deep\n"),
        "[alpha]\ndepth = deeper\n",
        # These have the section alone, and not even that.
        "[alpha]\ncolor = red\n",
        "[beta]\ndepth = 1\n",
    ]
    files = [
        ConfigFile(tmp_path / f"{number}.conf", text)
        for number, text in enumerate(texts)
    ]
    paths = [str(file.path) for file in files]
    files[0].conf([], default_config_files=paths, default_config_dirs=[])
    (problem,) = problems_in(files[0])
    assert problem[:3] == ("alpha", "depth", "deeper")


def test_value_may_stand_in_a_directory_of_files(tmp_path):
    (tmp_path / "conf.d").mkdir()
    text = section_with([RECORDER], "depth = deep\n")
    file = ConfigFile(tmp_path / "conf.d" / "1.conf", text)
    file.conf([], default_config_files=[], default_config_dirs=[str(file.path.parent)])
    (problem,) = problems_in(file)
    assert problem[:3] == ("alpha", "depth", "deep")


def test_value_may_stand_in_a_file_beside_a_directory(tmp_path):
    file = ConfigFile(tmp_path / "1.conf", section_with([RECORDER], "depth = deep\n"))
    directory = tmp_path / "conf.d"
    directory.mkdir()
    (directory / "2.conf").write_text("[alpha]\ncolor = red\n")
    files, directories = [str(file.path)], [str(directory)]
    file.conf([], default_config_files=files, default_config_dirs=directories)
    (problem,) = problems_in(file)
    assert problem[:3] == ("alpha", "depth", "deep")


def test_value_that_is_written_twice(configured):
    text = section_with([RECORDER], "depth = deep\ndepth = deeper\n")
    (problem,) = problems_in(configured(text))
    assert problem[:3] == ("alpha", "depth", "deep, deeper")


def test_value_that_code_has_set(configured):
    file = configured(section_with([RECORDER]))
    hooks_in(file)
    file.conf.set_override("color", "$nobody", group="alpha")
    (problem,) = problems_in(file)
    assert problem[:3] == ("alpha", "color", "$nobody")


def test_value_may_stand_in_the_environment(configured, monkeypatch):
    monkeypatch.setenv("OS_ALPHA__ENABLE_PRE_HOOKS", "maybe")
    (problem,) = problems_in(configured(section_with([RECORDER])))
    assert problem[:3] == ("alpha", "enable_pre_hooks", "maybe")


class Counting(recording.Recorder):
    options = (cfg.IntOpt("slots", default=5),)

    def __init__(self, configuration: Any, host: str | None) -> None:
        super().__init__(configuration, host)
        self.slots = [None] * self.get_config_option("slots")


def test_a_number_that_is_none_is_told_once(configured):
    text = section_with([f"{__name__}:Counting"], "slots =\n[DEFAULT]\nslots = 7\n")
    (problem,) = problems_in(configured(text))
    # Not also that its constructor cannot do with it.
    assert problem == ("alpha", "slots", "", "the value is empty")


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("hook_queue_size =", "the value is empty"),
        ("hook_drain_timeout =", "the value is empty"),
        ("periodic_hooks_ticks =", "the value is empty"),
        ("hook_queue_timeout = nan", "not a finite number"),
        ("hook_slow_seconds = inf", "not a finite number"),
        ("hook_queue_size = 1000000000000", "Should be less than or equal to 100000"),
        ("hook_queue_timeout = 1e300", "Should be less than or equal to 86400"),
        ("hook_drain_timeout = 1e300", "Should be less than or equal to 86400"),
    ],
)
def test_numbers_that_are_none(tmp_path, line, cause):
    hook = "tests.support.entries.recording:Recorder"
    text = f"[alpha]\nhook_drivers = a={hook}\nhook_dispatch = background\n{line}\n"
    file = ConfigFile(tmp_path / "service.conf", text)
    section = aspects.BackendSection(file.conf, "alpha")
    with pytest.raises(aspects.HookConfigError) as caught:
        aspects.weave_from_config(recording.Driver(), section, "node1@alpha")
    (problem,) = caught.value.problems
    option, _, value = line.partition(" =")
    assert (problem.section, problem.option) == ("alpha", option)
    assert problem.cause == cause
    assert problem.value in (value.strip(), "1e+300")


def test_number_that_is_left_empty_where_there_need_be_none(tmp_path):
    text = "[alpha]\nhook_drivers = guard\nguard_max_size =\n"
    file = ConfigFile(tmp_path / "service.conf", text)
    section = aspects.BackendSection(file.conf, "alpha")
    woven = aspects.weave_from_config(recording.Driver(), section, "node1@alpha")
    assert len(aspects.weaving(woven).hooks) == 1
