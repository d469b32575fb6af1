# SPDX-License-Identifier: Apache-2.0
"""Invalid values: each is one problem, with section, option, value and cause."""

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
    full_problems_in,
    hooks_in,
    problems_in,
    section_with,
    text_with,
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
def test_value_of_the_wrong_type_is_reported(
    configured, what, section, option, value, cause
):
    file = configured(text_with(section, what, f"{option} = {value}\n"))
    (problem,) = problems_in(file)
    assert problem[:3] == (section, option, value)
    assert cause in problem.cause
    # The cause does not repeat the option, which is a field of the problem.
    assert option not in problem.cause
    assert "is not valid" not in problem.cause


@pytest.mark.parametrize("value", ["often", "0", "-1", "1.5"])
def test_invalid_periodic_hooks_ticks_is_reported(configured, value):
    text = section_with([RECORDER], f"periodic_hooks_ticks = {value}\n")
    (problem,) = problems_in(configured(text))
    assert problem[:3] == ("alpha", "periodic_hooks_ticks", value)
    assert problem.cause


def test_method_that_the_driver_does_not_have_is_reported(configured):
    text = section_with([RECORDER], "hook_methods = further, futher, calls\n")
    one, two = full_problems_in(configured(text))
    cause = "the driver does not have this method"
    assert one == ("alpha", "hook_methods", "futher", cause, "did you mean further?")
    assert two == ("alpha", "hook_methods", "calls", cause, "")


@pytest.mark.parametrize("option", ["hook_drivers", "hook_methods", "color"])
@pytest.mark.parametrize("name", ["unknown", "alpha"])
def test_reference_to_an_unknown_option_is_reported(configured, option, name):
    # In oslo.config, $name is the value of another option.
    hooks = "" if option == "hook_drivers" else f"hook_drivers = {RECORDER}\n"
    (problem,) = problems_in(configured(f"[alpha]\n{hooks}{option} = ${name}\n"))
    assert problem[:3] == ("alpha", option, f"${name}")
    assert name in problem.cause


def test_hook_methods_can_refer_to_another_option(configured):
    file = configured(f"[alpha]\nhook_drivers = a={RECORDER}\nhook_methods = $a\n")
    file.conf.register_opt(cfg.StrOpt("a", default="further"))
    assert "further" in aspects.weaving(woven_in(file)).operations


def test_all_errors_are_reported_at_once(configured):
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
def test_invalid_switch_is_reported_beside_an_invalid_hook(configured, entry, section):
    file = configured(text_with(section, entry, "enable_pre_hooks = maybe\n"))
    problems = problems_in(file)
    assert {problem[:3] for problem in problems} == {
        ("alpha", "hook_drivers", f"a={entry}"),
        (section, "enable_pre_hooks", "maybe"),
    }


def test_invalid_value_that_two_hooks_read_is_reported_once(configured):
    text = section_with([RECORDER, UPSTREAM], "enable_pre_hooks = maybe\n")
    (problem,) = problems_in(configured(text))
    assert problem[:3] == ("alpha", "enable_pre_hooks", "maybe")


def test_invalid_values_in_all_sections_are_reported(configured):
    text = section_with([RECORDER], "depth = deep\n")
    text += "[alpha:a]\ndepth = deeper\n[DEFAULT]\ndepth = deepest\n"
    assert {problem[:3] for problem in problems_in(configured(text))} == {
        ("alpha:a", "depth", "deeper"),
        ("alpha", "depth", "deep"),
        ("DEFAULT", "depth", "deepest"),
    }


def test_problems_of_a_section_without_a_group_name_default(configured):
    file = configured("[DEFAULT]\nhook_drivers = nosuch\nperiodic_hooks_ticks = x\n")
    assert {problem[:3] for problem in problems_in(file, None)} == {
        ("DEFAULT", "hook_drivers", "nosuch"),
        ("DEFAULT", "periodic_hooks_ticks", "x"),
    }


def test_error_leaves_the_driver_unchanged(configured):
    driver = recording.Driver()
    before = dict(vars(driver))
    file = configured(f"[alpha]\nhook_drivers = {RECORDER}, nosuch\n")
    with pytest.raises(aspects.HookConfigError):
        woven_in(file, driver=driver)
    assert vars(driver) == before


@pytest.mark.parametrize("section", ["DEFAULT", "alpha", "alpha:a"])
def test_value_of_a_secret_option_is_not_shown(configured, section):
    file = configured(text_with(section, RECORDER, "pin = hunter2\n"))
    (problem,) = problems_in(file)
    assert problem == (section, "pin", "***", "not a valid value")


@pytest.mark.parametrize("value", ["1$nosuch", "1${nosuch.x}", "$$$nosuch", "$pin"])
def test_dollar_sign_in_a_secret_value_is_named(configured, value):
    file = configured(text_with("alpha", RECORDER, f"pin = {value}\n"))
    (problem,) = full_problems_in(file)
    assert problem[:3] == ("alpha", "pin", "***")
    assert "a $ in it begins a reference" in problem.cause
    assert problem.advice == "write $$ for a literal $"
    assert "nosuch" not in str(problem)


@pytest.mark.parametrize("value", ["hunter2", "1$$nosuch", r"1\$nosuch", "1$", "$1"])
def test_value_without_a_reference_needs_no_other_dollar_sign(configured, value):
    file = configured(text_with("alpha", RECORDER, f"pin = {value}\n"))
    (problem,) = full_problems_in(file)
    assert problem == ("alpha", "pin", "***", "not a valid value", "")


def test_secret_in_the_error_of_a_constructor_is_not_shown(configured):
    entry = f"{FIXTURES}.recording:Indiscreet"
    file = configured(section_with([entry], "key_phrase = hunter2\n"))
    (problem,) = problems_in(file)
    assert "LookupError" in problem.cause
    assert "hunter2" not in problem.cause


def test_password_in_the_text_of_an_import_error_is_not_shown(
    configured, tmp_path, monkeypatch
):
    (tmp_path / "indiscreet.py").write_text(
        "raise OSError(\"cannot log in with password='hunter2'\")\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    (problem,) = problems_in(configured("[alpha]\nhook_drivers = indiscreet:Hook\n"))
    assert "cannot log in" in problem.cause
    assert "hunter2" not in problem.cause


def test_cause_of_several_lines_is_reported_in_one(configured):
    entry = f"{FIXTURES}.fails_with_two_lines:Hook"
    (problem,) = problems_in(configured(f"[alpha]\nhook_drivers = {entry}\n"))
    assert "the license" in problem.cause
    assert "has run out" in problem.cause


def test_value_of_several_lines_is_reported_in_one(configured):
    file = configured(section_with([RECORDER], "enable_pre_hooks = may\n  be\n"))
    (problem,) = problems_in(file)
    assert problem[:2] == ("alpha", "enable_pre_hooks")
    assert "may" in problem.value
    assert "be" in problem.value


def test_problem_has_the_value_of_the_last_file_that_sets_it(tmp_path):
    texts = [
        section_with([RECORDER], "depth = deep\n"),
        "[alpha]\ndepth = deeper\n",
        # The last two files do not set the option.
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


def test_invalid_value_in_a_configuration_directory_is_reported(tmp_path):
    (tmp_path / "conf.d").mkdir()
    text = section_with([RECORDER], "depth = deep\n")
    file = ConfigFile(tmp_path / "conf.d" / "1.conf", text)
    file.conf([], default_config_files=[], default_config_dirs=[str(file.path.parent)])
    (problem,) = problems_in(file)
    assert problem[:3] == ("alpha", "depth", "deep")


def test_invalid_value_in_a_file_beside_a_directory_is_reported(tmp_path):
    file = ConfigFile(tmp_path / "1.conf", section_with([RECORDER], "depth = deep\n"))
    directory = tmp_path / "conf.d"
    directory.mkdir()
    (directory / "2.conf").write_text("[alpha]\ncolor = red\n")
    files, directories = [str(file.path)], [str(directory)]
    file.conf([], default_config_files=files, default_config_dirs=directories)
    (problem,) = problems_in(file)
    assert problem[:3] == ("alpha", "depth", "deep")


def test_problem_has_both_values_of_an_option_that_is_set_twice(configured):
    text = section_with([RECORDER], "depth = deep\ndepth = deeper\n")
    (problem,) = problems_in(configured(text))
    assert problem[:3] == ("alpha", "depth", "deep, deeper")


def test_invalid_override_is_reported(configured):
    file = configured(section_with([RECORDER]))
    hooks_in(file)
    file.conf.set_override("color", "$unknown", group="alpha")
    (problem,) = problems_in(file)
    assert problem[:3] == ("alpha", "color", "$unknown")


def test_invalid_value_in_the_environment_is_reported(configured, monkeypatch):
    monkeypatch.setenv("OS_ALPHA__ENABLE_PRE_HOOKS", "maybe")
    (problem,) = problems_in(configured(section_with([RECORDER])))
    assert problem[:3] == ("alpha", "enable_pre_hooks", "maybe")


class Counting(recording.Recorder):
    options = (cfg.IntOpt("slots", default=5),)

    def __init__(self, configuration: Any, host: str | None) -> None:
        super().__init__(configuration, host)
        self.slots = [None] * self.get_config_option("slots")


def test_empty_number_is_reported_once(configured):
    text = section_with([f"{__name__}:Counting"], "slots =\n[DEFAULT]\nslots = 7\n")
    (problem,) = problems_in(configured(text))
    # The constructor gets the default, so it does not fail too.
    assert problem == ("alpha", "slots", "", "empty value")


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("hook_queue_size =", "empty value"),
        ("hook_drain_timeout =", "empty value"),
        ("periodic_hooks_ticks =", "empty value"),
        ("hook_queue_timeout = nan", "not a finite number"),
        ("hook_slow_seconds = inf", "not a finite number"),
        ("hook_queue_size = 1000000000000", "Should be less than or equal to 100000"),
        ("hook_queue_timeout = 1e300", "Should be less than or equal to 86400"),
        ("hook_drain_timeout = 1e300", "Should be less than or equal to 86400"),
    ],
)
def test_invalid_number_is_reported(tmp_path, line, cause):
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


def test_optional_number_can_be_empty(tmp_path):
    text = "[alpha]\nhook_drivers = guard\nguard_max_size =\n"
    file = ConfigFile(tmp_path / "service.conf", text)
    section = aspects.BackendSection(file.conf, "alpha")
    woven = aspects.weave_from_config(recording.Driver(), section, "node1@alpha")
    assert len(aspects.weaving(woven).hooks) == 1
