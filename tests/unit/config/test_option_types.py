# SPDX-License-Identifier: Apache-2.0
"""Types of options, required options, duplicate and invalid names."""

import pytest
from oslo_config import cfg

import aspects
from tests.support.entries import recording

from .common import (
    ENABLED,
    RECORDER,
    full_problems_in,
    hooks_in,
    problems_in,
    section_with,
    woven_in,
)


class Demanding(recording.Recorder):
    options = (cfg.StrOpt("target", required=True, mutable=True),)


DEMANDING = f"{__name__}:Demanding"


def _hexadecimal(value: str) -> int:
    return int(value, 16)


class Masked(recording.Recorder):
    options = (cfg.Opt("mask", type=_hexadecimal),)


def test_custom_type_converts_a_value_once(configured):
    # A second conversion, int(255, 16), raises TypeError.
    file = configured(section_with([f"{__name__}:Masked"], "mask = ff\n"))
    (hook,) = hooks_in(file)
    assert hook.get_config_option("mask") == 255


@pytest.mark.parametrize("section", ["alpha:a", "alpha", "DEFAULT"])
def test_required_option_can_be_set_in_any_of_its_sections(configured, section):
    text = section_with([DEMANDING]) + f"[{section}]\ntarget = there\n"
    file = configured(text)
    (hook,) = hooks_in(file)
    assert hook.get_config_option("target") == "there"
    # A reload finds it too: oslo.config itself requires it in each section where it is
    # registered.
    file.mutate(text.replace("there", "elsewhere"))
    assert hook.get_config_option("target") == "elsewhere"


def test_required_option_that_is_not_set_is_reported(configured):
    (problem,) = problems_in(configured(section_with([DEMANDING])))
    assert problem == ("alpha:a", "target", "", "required option is not set")


class WithNumber(recording.Recorder):
    options = (cfg.IntOpt("number", default=1),)


class WithText(recording.Recorder):
    options = (cfg.StrOpt("number", default="one"),)


NUMBER, TEXT = f"{__name__}:WithNumber", f"{__name__}:WithText"


@pytest.mark.parametrize("entries", [[NUMBER, TEXT], [TEXT, NUMBER]])
def test_two_hooks_can_have_options_of_one_name_and_two_types(configured, entries):
    hooks = hooks_in(configured(section_with(entries, "number = 5\n")))
    assert {type(hook): hook.get_config_option("number") for hook in hooks} == {
        WithNumber: 5,
        WithText: "5",
    }
    file = configured(section_with(entries, "[alpha]\nnumber = five\n"))
    assert ("alpha", "number", "five") in [problem[:3] for problem in problems_in(file)]


def test_instance_names_that_differ_only_in_case_are_duplicates(configured):
    # oslo.config ignores case in the names of sections.
    text = f"[alpha]\nhook_drivers = A={RECORDER}, a={RECORDER}\n"
    (problem,) = problems_in(configured(text))
    assert problem.value == f"a={RECORDER}"
    assert problem.cause == "duplicate instance name 'a'"


def test_error_in_the_class_of_a_duplicate_name_is_reported(configured):
    text = f"[alpha]\nhook_drivers = a={RECORDER}, a=no.such:Hook\n"
    (problem,) = problems_in(configured(text))
    assert problem.cause == "no module named 'no'"


@pytest.mark.parametrize("method", ["__init__", "__class__", "_self_weaving"])
def test_special_method_cannot_be_woven(configured, method):
    class Odd(recording.Driver):
        def _self_weaving(self):
            pass

    with pytest.raises(ValueError, match=f"^hook_methods: '{method}': ") as rejected:
        aspects.weave(Odd(), [], hook_methods=[method])
    cause = str(rejected.value).removeprefix(f"hook_methods: '{method}': ")
    file = configured(section_with([RECORDER], f"hook_methods = {method}\n"))
    with pytest.raises(aspects.HookConfigError) as rejected:
        woven_in(file, driver=Odd())
    assert str(rejected.value) == f"[alpha] hook_methods = {method}: {cause}"


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("a b", "not a valid method name"),
        ("__init__", "a special name, which cannot be a driver method"),
        ("_self_chain", "a special name, which cannot be a driver method"),
    ],
)
def test_invalid_method_name_cannot_be_woven(name, cause):
    with pytest.raises(ValueError, match="hook_methods") as rejected:
        aspects.weave(recording.Driver(), [], hook_methods=[name])
    assert str(rejected.value) == f"hook_methods: {name!r}: {cause}"


def test_pattern_of_a_misspelled_verb_is_corrected(configured):
    file = configured(section_with([RECORDER], "hook_operations = publis_*\n"))
    (problem,) = full_problems_in(file)
    assert problem.advice == "did you mean publish_*?"


def test_reload_does_not_change_hook_methods(configured, caplog):
    text = section_with([RECORDER], f"{ENABLED}hook_methods = further\n")
    file = configured(text)
    woven = woven_in(file)
    with caplog.at_level("WARNING"):
        file.mutate(text.replace("further", "further, fly") + "color = green\n")
    # oslo.config warns about the ignored change; the rest of the edit is applied.
    assert "hook_methods" in caplog.text
    assert aspects.weaving(woven).hook_methods == ("further",)
    (hook,) = aspects.weaving(woven).hooks
    assert hook.get_config_option("color") == "green"


@pytest.mark.parametrize("option", ["hook_operations", "hook_dispatch", "color"])
def test_value_that_refers_to_itself_is_reported(configured, option):
    file = configured(section_with([RECORDER], f"{option} = ${option}\n"))
    (problem,) = problems_in(file)
    assert problem[1:] == (option, f"${option}", "circular reference")
