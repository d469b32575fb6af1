# SPDX-License-Identifier: Apache-2.0
"""Invalid entries of ``hook_drivers``."""

import re
import sys
from importlib.metadata import entry_points
from pathlib import Path

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
    full_problems_in,
    hooks_in,
    problems_in,
)


class Empty(aspects.HookBase):
    """A hook without its abstract methods."""


class Awaiting(recording.Recorder):
    async def _execute_pre_hook(self, context, func_name, *args, **kwargs):
        """Do nothing; a call only creates a coroutine."""


EXPECTED = "expected path.to:Class, path.to.Class or a short name"
MISSING_LIBRARY = re.findall(
    r"^import (\w+)",
    Path(__file__).parents[2].joinpath("support/entries/lacks_library.py").read_text(),
    re.M,
)[0]
INVALID_ENTRIES = {
    "no such package": (
        "no_such.module:Hook",
        "no module named 'no_such'",
        f"install it in the Python of {sys.prefix}",
    ),
    "no such module": (
        f"{FIXTURES}.no_such:Hook",
        f"no module named '{FIXTURES}.no_such'",
    ),
    "no such module, dotted": (
        f"{FIXTURES}.no_such.Hook",
        f"no module named '{FIXTURES}.no_such'",
    ),
    "a class in a module without it": (
        "os:path.Hook",
        "module 'os' has no class 'path.Hook'",
    ),
    "the module's own import error": (
        f"{FIXTURES}.fails_on_import:Hook",
        f"failed to import '{FIXTURES}.fails_on_import': RuntimeError: "
        "the license has run out",
    ),
    "a module that the module imports": (
        f"{FIXTURES}.lacks_library.Hook",
        f"failed to import '{FIXTURES}.lacks_library': ModuleNotFoundError: "
        f"No module named '{MISSING_LIBRARY}'",
        f"install it in the Python of {sys.prefix}",
    ),
    "no such class": (
        f"{FIXTURES}.recording:Recoder",
        f"module '{FIXTURES}.recording' has no class 'Recoder'",
        "did you mean Recorder?",
    ),
    "no such class, and the only similar one is not a hook": (
        f"{FIXTURES}.recording:Drivers",
        f"module '{FIXTURES}.recording' has no class 'Drivers'",
    ),
    "two colons": (f"{RECORDER}:Actions", EXPECTED),
    "a colon for the =": (
        "own:my.hooks:Hook",
        EXPECTED,
        "did you mean own=my.hooks:Hook?",
    ),
    "a file": ("./my/hooks.py:Hook", EXPECTED, "did you mean my.hooks:Hook?"),
    "a module": (
        "hooks.audit",
        "'hooks.audit' is a module, not a class",
        "did you mean hooks.audit.AuditHook?",
    ),
    "a module after the colon": (
        "hooks:audit",
        "'hooks.audit' is a module, not a class",
        "did you mean hooks.audit.AuditHook?",
    ),
    "a module with several hooks": (
        f"{FIXTURES}.recording",
        f"'{FIXTURES}.recording' is a module, not a class",
    ),
    "no such class, dotted": (
        f"{FIXTURES}.recording.Nothing",
        f"module '{FIXTURES}.recording' has no class 'Nothing'",
    ),
    "a value that is not a class": (
        f"{FIXTURES}.recording:not_a_class",
        "expected a class, got int",
    ),
    "an attribute of a value without attributes": (
        f"{FIXTURES}.recording:not_a_class.Hook",
        f"module '{FIXTURES}.recording' has no class 'not_a_class.Hook'",
    ),
    "not a hook": (
        f"{FIXTURES}.recording:Driver",
        "class 'Driver' is not a hook",
        "inherit from aspects.HookBase",
    ),
    "a missing abstract method": (
        f"{FIXTURES}.recording:Incomplete",
        "class 'Incomplete' does not implement _execute_post_hook",
        "define each abstract method, even if it does nothing",
    ),
    "no abstract method is implemented": (
        f"{__name__}:Empty",
        "class 'Empty' does not implement _execute_periodic_hook, _execute_post_hook, "
        "_execute_pre_hook",
        "define each abstract method, even if it does nothing",
    ),
    "a hook method that would never run": (
        f"{__name__}:Awaiting",
        "class 'Awaiting': _execute_pre_hook would never run: it is a coroutine or "
        "generator function",
    ),
    "a constructor that raises": (
        f"{FIXTURES}.recording:Choosy",
        "failed to construct the hook: LookupError: no such queue",
    ),
    "no such short name": (
        "audti",
        "unknown hook (installed: "
        f"{', '.join(sorted(entry_points(group='manila_aspects.hooks').names))})",
        "did you mean audit?",
    ),
    "no name": ("=audit", "expected [name=]hook", "add a name before the ="),
    "no hook": (
        "ops=",
        "expected [name=]hook",
        "add a class or short name after the =",
    ),
    "a missing comma": (
        "ops=audit b=guard",
        "invalid instance name 'ops=audit b'",
        "separate entries with commas",
    ),
    "no class after the colon": (f"{FIXTURES}.recording:", EXPECTED),
    "no module before the colon": (":Recorder", EXPECTED),
    "a dot": (".", EXPECTED),
    "a relative module": ("..recording:Recorder", EXPECTED),
}


@pytest.mark.parametrize("case", INVALID_ENTRIES)
def test_invalid_entry_is_reported_with_cause_and_advice(configured, case):
    entry, cause, *advice = INVALID_ENTRIES[case]
    problems = full_problems_in(configured(f"[alpha]\nhook_drivers = {entry}\n"))
    assert problems == (("alpha", "hook_drivers", entry, cause, "".join(advice)),)


def test_empty_entry_between_two_commas_is_reported(configured):
    text = f"[alpha]\nhook_drivers = a={RECORDER},, b={RECORDER}\n"
    problem = (
        *("alpha", "hook_drivers", ""),
        "empty entry",
        "remove the extra comma",
    )
    assert full_problems_in(configured(text)) == (problem,)


def test_comma_at_the_end_is_ignored(configured):
    text = f"[alpha]\nhook_drivers = a={RECORDER},\n  b={RECORDER},\n"
    assert [hook.instance_name for hook in hooks_in(configured(text))] == ["a", "b"]


def test_syntax_error_in_a_module_is_reported(configured, tmp_path, monkeypatch):
    (tmp_path / "half_written.py").write_text("def hook(:\n")
    monkeypatch.syspath_prepend(tmp_path)
    entry = "half_written:Hook"
    (problem,) = problems_in(configured(f"[alpha]\nhook_drivers = {entry}\n"))
    assert problem[:3] == ("alpha", "hook_drivers", entry)
    assert "SyntaxError" in problem.cause


def test_module_that_exits_on_import_is_reported(configured, tmp_path, monkeypatch):
    # Such a module is a script that the entry names by mistake.
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
def test_duplicate_instance_name_is_reported(configured, entries, entry, name):
    (problem,) = full_problems_in(configured(f"[alpha]\nhook_drivers = {entries}\n"))
    assert problem[:3] == ("alpha", "hook_drivers", entry)
    assert problem.cause == f"duplicate instance name {name!r}"
    assert problem.advice == "give each entry its own, as in name=hook"


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
@settings(max_examples=100)
@given(ENTRY)
@example("$unknown")
@example("$alpha")
@example("$")
@example("a=b=c")
@example("..:")
@example("os:path")
@example("os.path.join")
@example("audit\0")
@example("'audit")
def test_any_text_of_hook_drivers_is_woven_or_reported(tmp_path_factory, entry):
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
        rejected = error
    else:
        assert woven.create_share(CONTEXT, {}) == "export"
        return
    assert rejected.problems
    for problem in rejected.problems:
        assert problem[:2] == ("alpha", "hook_drivers")
        assert problem.cause
    assert str(rejected).count("\n") == len(rejected.problems) - 1
