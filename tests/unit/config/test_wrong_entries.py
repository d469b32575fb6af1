# SPDX-License-Identifier: Apache-2.0
"""Entries of ``hook_drivers`` that are wrong."""

import sys
from importlib.metadata import entry_points

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from oslo_config import cfg

import aspects
from tests.support.entries import recording

from .common import (
    CONTEXT,
    FIXTURES,
    RECORDER,
    UPSTREAM,
    advised_in,
    hooks_in,
    problems_in,
)


class Empty(aspects.HookBase):
    """Nothing that a hook must have."""


class Awaiting(recording.Recorder):
    async def _execute_pre_hook(self, context, func_name, *args, **kwargs):
        """To call it is not to run it."""


LOOK = "it is no path.to:Class, path.to.Class or short name"
WRONG_ENTRIES = {
    "no such package": (
        "no_such.module:Hook",
        "there is no module 'no_such'",
        f"install it in the Python of {sys.prefix}",
    ),
    "no such module": (
        f"{FIXTURES}.no_such:Hook",
        f"there is no module '{FIXTURES}.no_such'",
    ),
    "no such module, dotted": (
        f"{FIXTURES}.no_such.Hook",
        f"there is no module '{FIXTURES}.no_such'",
    ),
    "no package at all": ("os:path.Hook", "module 'os' has no class 'path.Hook'"),
    "the module's own import error": (
        f"{FIXTURES}.fails_on_import:Hook",
        f"importing '{FIXTURES}.fails_on_import' failed: RuntimeError: "
        "the license has run out",
    ),
    "a module that the module imports": (
        f"{FIXTURES}.lacks_library.Hook",
        f"importing '{FIXTURES}.lacks_library' failed: ModuleNotFoundError: "
        "No module named 'a_library_that_is_not_installed'",
        f"install it in the Python of {sys.prefix}",
    ),
    "no such class": (
        f"{FIXTURES}.recording:Recoder",
        f"module '{FIXTURES}.recording' has no class 'Recoder'",
        "write Recorder",
    ),
    "no such class, and near it only what is no hook": (
        f"{FIXTURES}.recording:Drivers",
        f"module '{FIXTURES}.recording' has no class 'Drivers'",
    ),
    "two colons": (f"{RECORDER}:Actions", LOOK),
    "a colon for the =": ("own:my.hooks:Hook", LOOK, "write own=my.hooks:Hook"),
    "a file": ("./my/hooks.py:Hook", LOOK, "write my.hooks:Hook"),
    "a module": (
        "hooks.audit",
        "'hooks.audit' is a module, not a class",
        "write hooks.audit.AuditHook",
    ),
    "no such class, dotted": (
        f"{FIXTURES}.recording.Nothing",
        f"module '{FIXTURES}.recording' has no class 'Nothing'",
    ),
    "no class": (
        f"{FIXTURES}.recording:not_a_class",
        "it is a int, not a class",
    ),
    "in what has no names": (
        f"{FIXTURES}.recording:not_a_class.Hook",
        f"module '{FIXTURES}.recording' has no class 'not_a_class.Hook'",
    ),
    "not a hook": (
        f"{FIXTURES}.recording:Driver",
        "it is not a hook",
        "see aspects.HookBase",
    ),
    "an abstract method left out": (
        f"{FIXTURES}.recording:Incomplete",
        "class 'Incomplete' leaves out _execute_post_hook",
        "give it one, even if it does nothing",
    ),
    "all abstract methods left out": (
        f"{__name__}:Empty",
        "class 'Empty' leaves out _execute_periodic_hook, _execute_post_hook, "
        "_execute_pre_hook",
        "give it one, even if it does nothing",
    ),
    "an action that would never run": (
        f"{__name__}:Awaiting",
        "class 'Awaiting': _execute_pre_hook would never run: it is a coroutine or "
        "generator function",
    ),
    "a constructor that raises": (
        f"{FIXTURES}.recording:Choosy",
        "making the hook failed: LookupError: no such queue",
    ),
    "no such short name": (
        "audti",
        "there is no installed hook of that name (installed: "
        f"{', '.join(sorted(entry_points(group='manila_aspects.hooks').names))})",
        "write audit",
    ),
    "no name": ("=audit", "it is no [name=]what", "write something before the ="),
    "nothing": ("ops=", "it is no [name=]what", "write something after the ="),
    "a lost comma": ("ops=audit b=guard", "the instance would be called 'ops=audit b'"),
    "no class named": (f"{FIXTURES}.recording:", LOOK),
    "no module named": (":Recorder", LOOK),
    "just a dot": (".", LOOK),
    "relative": ("..recording:Recorder", LOOK),
}


@pytest.mark.parametrize("case", WRONG_ENTRIES)
def test_wrong_entry(configured, case):
    entry, cause, *advice = WRONG_ENTRIES[case]
    problems = advised_in(configured(f"[alpha]\nhook_drivers = {entry}\n"))
    assert problems == (("alpha", "hook_drivers", entry, cause, "".join(advice)),)


def test_comma_too_many_between_entries(configured):
    text = f"[alpha]\nhook_drivers = a={RECORDER},, b={RECORDER}\n"
    problem = (
        *("alpha", "hook_drivers", ""),
        "there is nothing between two commas",
        "take one of them out",
    )
    assert advised_in(configured(text)) == (problem,)


def test_comma_too_many_is_no_entry(configured):
    text = f"[alpha]\nhook_drivers = a={RECORDER},\n  b={RECORDER},\n"
    assert [hook.instance_name for hook in hooks_in(configured(text))] == ["a", "b"]


def test_module_with_a_syntax_error(configured, tmp_path, monkeypatch):
    (tmp_path / "half_written.py").write_text("def hook(:\n")
    monkeypatch.syspath_prepend(tmp_path)
    entry = "half_written:Hook"
    (problem,) = problems_in(configured(f"[alpha]\nhook_drivers = {entry}\n"))
    assert problem[:3] == ("alpha", "hook_drivers", entry)
    assert "SyntaxError" in problem.cause


def test_module_that_exits_when_imported(configured, tmp_path, monkeypatch):
    # A script, named by mistake.
    (tmp_path / "a_script.py").write_text("import sys\nsys.exit('usage: a_script')\n")
    monkeypatch.syspath_prepend(tmp_path)
    entry = "a_script:Hook"
    (problem,) = problems_in(configured(f"[alpha]\nhook_drivers = {entry}\n"))
    assert problem[:3] == ("alpha", "hook_drivers", entry)
    assert "usage: a_script" in problem.cause


@pytest.mark.parametrize(
    ("entries", "entry", "name"),
    [
        (f"a={RECORDER}, a={UPSTREAM}", f"a={UPSTREAM}", "a"),
        (f"{RECORDER}, {RECORDER}", RECORDER, "Recorder"),
        (f"Recorder={UPSTREAM}, {RECORDER}", RECORDER, "Recorder"),
    ],
)
def test_two_instances_of_one_name(configured, entries, entry, name):
    (problem,) = advised_in(configured(f"[alpha]\nhook_drivers = {entries}\n"))
    assert problem[:3] == ("alpha", "hook_drivers", entry)
    assert problem.cause == f"there are two instances of the name {name!r}"
    assert problem.advice == "give each its own, as in name=what"


NAMES = st.text(
    st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=12
) | st.sampled_from(
    [
        "audit",
        FIXTURES,
        "recording",
        "Recorder",
        "os",
        "sys",
        "path",
        "ops",
    ]
)
ENTRY = st.lists(NAMES | st.sampled_from(".:=, $\"'{}#;%[]"), max_size=6).map("".join)


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(ENTRY)
@example("$nobody")
@example("$alpha")
@example("$")
@example("a=b=c")
@example("..:")
@example("os:path")
@example("os.path.join")
@example("audit\0")
@example("'audit")
def test_any_text_for_hook_drivers(tmp_path_factory, entry):
    path = tmp_path_factory.getbasetemp() / "any.conf"
    text = f"[alpha]\nhook_drivers = {entry}\naudit_log_path = {path}.log\n"
    path.write_text(text, "utf-8")
    conf = cfg.ConfigOpts()
    try:
        conf([], default_config_files=[str(path)], default_config_dirs=[])
    except cfg.ConfigFileParseError:
        return
    driver = recording.Driver()
    section = aspects.BackendSection(conf, "alpha")
    try:
        woven = aspects.weave_from_config(driver, section, "node1@alpha")
    except aspects.HookConfigError as error:
        wrong = error
    else:
        assert woven.create_share(CONTEXT, {}) == "export"
        return
    assert wrong.problems
    for problem in wrong.problems:
        assert problem[:2] == ("alpha", "hook_drivers")
        assert problem.cause
    assert str(wrong).count("\n") == len(wrong.problems) - 1
