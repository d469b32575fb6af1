# SPDX-License-Identifier: Apache-2.0
"""Options that are required, of equal names, and of wrong names."""

import pytest
from oslo_config import cfg

import aspects
from tests.support.entries import recording

from .common import (
    ON,
    RECORDER,
    advised_in,
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


def test_a_type_of_its_own_is_applied_once(configured):
    # int(255, 16) is a TypeError.
    file = configured(section_with([f"{__name__}:Masked"], "mask = ff\n"))
    (hook,) = hooks_in(file)
    assert hook.get_config_option("mask") == 255


@pytest.mark.parametrize("section", ["alpha:a", "alpha", "DEFAULT"])
def test_an_option_that_has_to_be_set_may_stand_in_any_of_its_sections(
    configured, section
):
    text = section_with([DEMANDING]) + f"[{section}]\ntarget = there\n"
    file = configured(text)
    (hook,) = hooks_in(file)
    assert hook.get_config_option("target") == "there"
    # oslo.config asks for it in each section where it is registered.
    file.mutate(text.replace("there", "elsewhere"))
    assert hook.get_config_option("target") == "elsewhere"


def test_an_option_that_has_to_be_set_and_is_not(configured):
    (problem,) = problems_in(configured(section_with([DEMANDING])))
    assert problem == ("alpha:a", "target", "", "required option is not set")


class WithNumber(recording.Recorder):
    options = (cfg.IntOpt("number", default=1),)


class WithText(recording.Recorder):
    options = (cfg.StrOpt("number", default="one"),)


NUMBER, TEXT = f"{__name__}:WithNumber", f"{__name__}:WithText"


@pytest.mark.parametrize("entries", [[NUMBER, TEXT], [TEXT, NUMBER]])
def test_options_of_one_name_and_two_types(configured, entries):
    hooks = hooks_in(configured(section_with(entries, "number = 5\n")))
    assert {type(hook): hook.get_config_option("number") for hook in hooks} == {
        WithNumber: 5,
        WithText: "5",
    }
    file = configured(section_with(entries, "[alpha]\nnumber = five\n"))
    assert ("alpha", "number", "five") in [each[:3] for each in problems_in(file)]


def test_names_that_differ_in_their_capital_letters_alone(configured):
    # oslo.config has one section for both.
    text = f"[alpha]\nhook_drivers = A={RECORDER}, a={RECORDER}\n"
    (problem,) = problems_in(configured(text))
    assert problem.value == f"a={RECORDER}"
    assert "two instances of the name 'a'" in problem.cause


def test_what_else_is_wrong_with_the_second_of_one_name(configured):
    text = f"[alpha]\nhook_drivers = a={RECORDER}, a=no.such:Hook\n"
    (problem,) = problems_in(configured(text))
    assert "there is no module 'no'" in problem.cause


@pytest.mark.parametrize("method", ["__init__", "__class__", "_self_weaving"])
def test_what_a_driver_is_made_of_is_no_method_of_it(configured, method):
    class Odd(recording.Driver):
        def _self_weaving(self):
            pass

    why = "a special name, which cannot be a driver method"
    file = configured(section_with([RECORDER], f"hook_methods = {method}\n"))
    with pytest.raises(aspects.HookConfigError) as told:
        woven_in(file, driver=Odd())
    assert str(told.value) == f"[alpha] hook_methods = {method}: {why}"
    with pytest.raises(ValueError, match=f"^hook_methods: '{method}': {why}$"):
        aspects.weave(Odd(), [], hook_methods=[method])


def test_what_is_no_name_is_no_method():
    with pytest.raises(ValueError, match="hook_methods") as told:
        aspects.weave(recording.Driver(), [], hook_methods=["a b"])
    assert str(told.value) == "hook_methods: 'a b': not a valid method name"


def test_a_kind_of_operation_that_is_nearly_one(configured):
    file = configured(section_with([RECORDER], "hook_operations = publis_*\n"))
    (problem,) = advised_in(file)
    assert problem.advice == "write publish_*"


def test_methods_are_those_of_the_start(configured, caplog):
    text = section_with([RECORDER], f"{ON}hook_methods = further\n")
    file = configured(text)
    woven = woven_in(file)
    with caplog.at_level("WARNING"):
        file.mutate(text.replace("further", "further, fly") + "color = green\n")
    # oslo.config says that it was not followed; what else was edited is.
    assert "hook_methods" in caplog.text
    assert aspects.weaving(woven).hook_methods == ("further",)
    (hook,) = aspects.weaving(woven).hooks
    assert hook.get_config_option("color") == "green"


@pytest.mark.parametrize("option", ["hook_operations", "hook_dispatch", "color"])
def test_a_value_that_leads_to_itself(configured, option):
    file = configured(section_with([RECORDER], f"{option} = ${option}\n"))
    (problem,) = problems_in(file)
    assert problem[1:] == (option, f"${option}", "circular reference")
