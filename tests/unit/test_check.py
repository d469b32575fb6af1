# SPDX-License-Identifier: Apache-2.0
"""``manila-aspects check``: what a configuration will do, and what is wrong with it.

Without Manila, and with hooks and drivers of the tests; the functional tests check
configurations of real drivers.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
from oslo_config import cfg

import aspects
from aspects import cli
from aspects.cli.check import facts
from aspects.config.options import ENTRY_POINTS

from .fixtures_hooks import recording

HOOKS = recording.__name__
HERE = __name__

RIGHT = f"""\
[DEFAULT]
enabled_share_backends = alpha
share_manager = aspects.manila.ShareManager

[alpha]
share_driver = {HOOKS}.Driver
hook_drivers = one={HOOKS}:Recorder
enable_pre_hooks = True

[alpha:one]
colour = red
"""

SECRET = "hunter2-Zq9"

#: What is said of a reference to an option that there is not.
NO_SUCH = (
    "no such option nosuch in group [DEFAULT]: name one that there is, or write $$ "
    "for a $"
)

PYTHON = f"Python {sys.version_info.major}.{sys.version_info.minor}"

INSTALL = f"install it in the Python of {sys.prefix}"

#: Modules that cannot be imported, since they are not to stand in the tree.
MODULES = {
    "site/native.cpython-39-x86_64-linux-gnu.so": "",
    "site/needs_native.py": "import native",
    "site/other_syntax.py": "async = 1",
    "site/round.py": "import round_about\n\nclass Hook: ...",
    "site/round_about.py": "from round import Hook",
    "just_here.py": "class Hook: ...",
}


class Needy(recording.Recorder):
    """A hook whose constructor checks an option."""

    options = (cfg.StrOpt("needy_url"), cfg.StrOpt("needy_key", secret=True))

    def __init__(self, configuration: Any, host: str | None) -> None:
        super().__init__(configuration, host)
        if not self.get_config_option("needy_url"):
            raise ValueError("needy_url is not set")
        if not str(self.get_config_option("needy_url")).startswith("http"):
            raise ValueError("needy_url is no http")

    def _execute_error_hook(self, *args: Any, **kwargs: Any) -> None:
        """Nothing to do."""


class Loud(recording.Recorder):
    """A hook that writes where it should not, when it is made."""

    def __init__(self, configuration: Any, host: str | None) -> None:
        super().__init__(configuration, host)
        sys.stdout.write("here I am\n")


class Told:
    """What the command told of a configuration."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status = status
        self.out = out
        self.err = err
        found = [line.partition(": ") for line in out.splitlines()]
        self.problems = [text for kind, _, text in found if kind == "problem"]
        self.warnings = [text for kind, _, text in found if kind == "warning"]


Check = Callable[..., Told]


@pytest.fixture
def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Check:
    """Return what writes a configuration and checks it."""
    # The same with Manila installed and without.
    monkeypatch.setattr(facts, "load_from_manila", lambda group: None)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(Path(__file__).parents[2])
    monkeypatch.syspath_prepend(tmp_path / "site")
    (tmp_path / "site").mkdir()
    for name, source in MODULES.items():
        (tmp_path / name).write_text(source)

    def run(text: str | bytes | None, *arguments: str) -> Told:
        monkeypatch.setattr(cfg, "CONF", cfg.ConfigOpts())
        given = list(arguments)
        if text is not None:
            data = text.encode() if isinstance(text, str) else text
            Path("manila.conf").write_bytes(data)
            given = ["--config-file", "manila.conf", *given]
        status = cli.main(["check", *given])
        return Told(status, *capsys.readouterr())

    return run


def test_a_right_configuration(run: Check) -> None:
    told = run(RIGHT)
    assert (told.status, told.err) == (0, "")
    assert told.problems == told.warnings == []
    assert told.out.splitlines()[-1] == "no problems, no warnings in manila.conf"


def installed() -> str:
    """Return the names of the installed hooks, also of one that lacks its library."""
    return ", ".join(sorted(entry_points(group=ENTRY_POINTS).names))


BACKENDS = "enabled_share_backends = alpha"
MANAGER = "share_manager = aspects.manila.ShareManager"
DRIVER = f"share_driver = {HOOKS}.Driver"
ONE = f"one={HOOKS}:Recorder"
DRIVERS = f"hook_drivers = {ONE}"
SWITCH = "enable_pre_hooks = True"
OWN = "colour = red"

#: What is wrong -> what of the right configuration is replaced by what; the lines.
WRONG: dict[str, tuple[str, str, list[str]]] = {
    # The values of options.
    "a boolean misspelt": (
        SWITCH,
        "enable_pre_hooks = ture",
        [
            "[alpha] enable_pre_hooks = ture: Unexpected boolean value 'ture': "
            "write True or False (manila.conf:8)"
        ],
    ),
    "a comment after a value": (
        SWITCH,
        f"{SWITCH} # from Monday on",
        [
            "[alpha] enable_pre_hooks = True # from Monday on: Unexpected boolean "
            "value 'True # from Monday on': a comment needs a line of its own "
            "(manila.conf:8)"
        ],
    ),
    "a number with a unit": (
        DRIVERS,
        f"{DRIVERS}\nhook_queue_timeout = 5 s",
        [
            "[alpha] hook_queue_timeout = 5 s: could not convert string to float: "
            "'5 s': write 5 (manila.conf:8)"
        ],
    ),
    "a word for a number": (
        OWN,
        "depth = deep",
        [
            "[alpha:one] depth = deep: invalid literal for int() with base 10: "
            "'deep': write a number (manila.conf:11)"
        ],
    ),
    "a number out of range": (
        DRIVERS,
        f"{DRIVERS}\nperiodic_hooks_ticks = 0",
        [
            "[alpha] periodic_hooks_ticks = 0: Should be greater than or equal to 1: "
            "write 1 or more (manila.conf:8)"
        ],
    ),
    "a number below": (
        DRIVERS,
        f"{DRIVERS}\nhook_queue_timeout = -1",
        [
            "[alpha] hook_queue_timeout = -1: Should be greater than or equal to 0: "
            "write 0 or more (manila.conf:8)"
        ],
    ),
    "a number above": (
        DRIVERS,
        f"{DRIVERS}\nhook_queue_timeout = 100000",
        [
            "[alpha] hook_queue_timeout = 100000: Should be less than or equal to "
            "86400: write 86400 or less (manila.conf:8)"
        ],
    ),
    "a fraction": (
        OWN,
        "depth = 4.5",
        [
            "[alpha:one] depth = 4.5: invalid literal for int() with base 10: '4.5': "
            "write a whole number (manila.conf:11)"
        ],
    ),
    "a choice misspelt": (
        DRIVERS,
        f"{DRIVERS}\nhook_dispatch = backgrond",
        [
            "[alpha] hook_dispatch = backgrond: Valid values are [inline, background, "
            "durable], but found 'backgrond': write background (manila.conf:8)"
        ],
    ),
    "a choice that the hook cannot do": (
        DRIVERS,
        f"{DRIVERS}\nhook_dispatch = durable",
        [
            "[alpha] hook_dispatch = durable: Recorder delivers no events: write "
            "inline or background (manila.conf:8)"
        ],
    ),
    "a secret that is not valid": (
        OWN,
        f"pin = {SECRET}",
        ["[alpha:one] pin = ***: not a valid value: write a number (manila.conf:11)"],
    ),
    "a password in a URL": (
        OWN,
        f"depth = http://joe:{SECRET}@a",
        [
            "[alpha:one] depth = http://joe:***@a: invalid literal for int() with "
            "base 10: 'http://joe:***@a': write a number (manila.conf:11)"
        ],
    ),
    "a reference to nothing": (
        OWN,
        "colour = $nosuch",
        [f"[alpha:one] colour = $nosuch: {NO_SUCH} (manila.conf:11)"],
    ),
    "a method for an operation": (
        DRIVERS,
        f"{DRIVERS}\nhook_operations = create_share",
        [
            "[alpha] hook_operations = create_share: unknown operation: no operation "
            "matches: write create_share_instance (manila.conf:8)"
        ],
    ),
    "a pattern that matches nothing": (
        DRIVERS,
        f"{DRIVERS}\nhook_operations = creat_*",
        [
            "[alpha] hook_operations = creat_*: unknown operation: no operation "
            "matches: write create_* (manila.conf:8)"
        ],
    ),
    "a pattern in capitals": (
        DRIVERS,
        f"{DRIVERS}\nhook_operations = Create_*",
        [
            "[alpha] hook_operations = Create_*: unknown operation: no operation "
            "matches: write create_* (manila.conf:8)"
        ],
    ),
    "no comma between operations": (
        DRIVERS,
        f"{DRIVERS}\nhook_operations = create_*  delete_*",
        [
            "[alpha] hook_operations = create_* delete_*: unknown operation: no "
            "operation matches: write create_*, delete_* (manila.conf:8)"
        ],
    ),
    "no comma between methods": (
        DRIVERS,
        f"{DRIVERS}\nhook_methods = create_share further",
        [
            "[alpha] hook_methods = create_share further: unknown operation: the "
            "driver has no such method: write create_share, further (manila.conf:8)"
        ],
    ),
    "a method that the driver lacks": (
        DRIVERS,
        f"{DRIVERS}\nhook_methods = furthr",
        [
            "[alpha] hook_methods = furthr: unknown operation: the driver has no such "
            "method: write further (manila.conf:8)"
        ],
    ),
    # The names of options.
    "an option misspelt": (
        SWITCH,
        "enable_pre_hook = True",
        [
            "[alpha] enable_pre_hook = True: there is no such option: write "
            "enable_pre_hooks (manila.conf:8)"
        ],
    ),
    "an author's name for an option": (
        SWITCH,
        "pre_hooks_enabled = True",
        [
            "[alpha] pre_hooks_enabled = True: there is no such option: write "
            "enable_pre_hooks (manila.conf:8)"
        ],
    ),
    "an option with dashes and capitals": (
        SWITCH,
        "Enable-Pre-Hooks = True",
        [
            "[alpha] Enable-Pre-Hooks = True: there is no such option: write "
            "enable_pre_hooks (manila.conf:8)"
        ],
    ),
    "an option of a hook misspelt in its section": (
        OWN,
        "color = red",
        [
            "[alpha:one] color = red: there is no such option: write colour "
            "(manila.conf:11)"
        ],
    ),
    "an option of a hook misspelt in the backend's": (
        SWITCH,
        f"{SWITCH}\nfailng = True",
        [
            "[alpha] failng = True: there is no such option: write failing "
            "(manila.conf:9)"
        ],
    ),
    "an option misspelt in DEFAULT": (
        MANAGER,
        f"{MANAGER}\nsupress_pre_hooks_errors = True",
        [
            "[DEFAULT] supress_pre_hooks_errors = True: there is no such option: "
            "write suppress_pre_hooks_errors (manila.conf:4)"
        ],
    ),
    "a secret option misspelt": (
        OWN,
        f"pinn = {SECRET}",
        ["[alpha:one] pinn = ***: there is no such option: write pin (manila.conf:11)"],
    ),
    "a secret option without its =": (
        OWN,
        f"pin {SECRET}: 3",
        [
            "[alpha:one] pin = ***: there is no = after it: write pin = ... "
            "(manila.conf:11)"
        ],
    ),
    "the driver's option misspelt": (
        DRIVER,
        f"share_drivr = {HOOKS}.Driver",
        [
            f"[alpha] share_drivr = {HOOKS}.Driver: there is no such option: write "
            "share_driver (manila.conf:6)"
        ],
    ),
    "the backends' option misspelt": (
        BACKENDS,
        "enabled_share_backend = alpha",
        [
            "[DEFAULT] enabled_share_backend = alpha: there is no such option: write "
            "enabled_share_backends (manila.conf:2)"
        ],
    ),
    "the manager's option misspelt": (
        MANAGER,
        "share_managr = aspects.manila.ShareManager",
        [
            "[DEFAULT] share_managr = aspects.manila.ShareManager: there is no such "
            "option: write share_manager (manila.conf:3)"
        ],
    ),
    "the hooks' option misspelt": (
        DRIVERS,
        f"hook_driver = {ONE}",
        [
            f"[alpha] hook_driver = {ONE}: there is no such option: write "
            "hook_drivers (manila.conf:7)"
        ],
    ),
    "an option that no hook has": (
        OWN,
        f"zzzz = {SECRET}",
        [
            "[alpha:one] zzzz: the hook 'one' has no such option: its own are "
            "colour, depth, pin, failing (manila.conf:11)"
        ],
    ),
    "an option twice": (
        SWITCH,
        f"{SWITCH}\nenable_pre_hooks = False",
        [
            "[alpha] enable_pre_hooks: it stands at line 8 already, and the last one "
            "counts: write it once (manila.conf:9)"
        ],
    ),
    # Where options stand.
    "hooks in DEFAULT": (
        MANAGER,
        f"{MANAGER}\nhook_drivers = audit",
        [
            "[DEFAULT] hook_drivers = audit: it is read in the section of a backend "
            "alone: write it in [alpha] (manila.conf:4)"
        ],
    ),
    "hooks in an instance's section": (
        OWN,
        "hook_drivers = audit",
        [
            "[alpha:one] hook_drivers = audit: it is read in the section of a backend "
            "alone: write it in [alpha] (manila.conf:11)"
        ],
    ),
    "the interval in a backend's section": (
        SWITCH,
        f"{SWITCH}\nperiodic_hooks_interval = 60",
        [
            "[alpha] periodic_hooks_interval = 60: it is read in [DEFAULT] alone: "
            "write it in [DEFAULT] (manila.conf:9)"
        ],
    ),
    "an indented option": (
        f"\n{SWITCH}",
        f"\n{SWITCH}\n suppress_pre_hooks_errors = True",
        [
            "[alpha] suppress_pre_hooks_errors = True: it is indented, so it is a "
            "part of the option before it: write it at the beginning of the line "
            "(manila.conf:9)",
        ],
    ),
    "no = before a path": (
        DRIVERS,
        "hook_drivers hooks.audit:AuditHook",
        [
            "[alpha] hook_drivers: there is no = after it: write hook_drivers = ... "
            "(manila.conf:7)",
        ],
    ),
    # The hooks.
    "a short name misspelt": (
        DRIVERS,
        f"{DRIVERS}, audt",
        [
            "[alpha] hook_drivers = audt: there is no installed hook of that name "
            "(installed: {installed}): write audit (manila.conf:7)"
        ],
    ),
    "a short name in capitals": (
        DRIVERS,
        f"{DRIVERS}, AUDIT",
        [
            "[alpha] hook_drivers = AUDIT: there is no installed hook of that name "
            "(installed: {installed}): write audit (manila.conf:7)"
        ],
    ),
    "a colon for the =": (
        DRIVERS,
        f"hook_drivers = one:{HOOKS}:Recorder",
        [
            f"[alpha] hook_drivers = one:{HOOKS}:Recorder: it is no path.to:Class, "
            f"path.to.Class or short name: write {ONE} (manila.conf:7)"
        ],
    ),
    "a comment after the hooks": (
        DRIVERS,
        f"{DRIVERS}, # audit",
        [
            "[alpha] hook_drivers = # audit: there is no installed hook of that name "
            "(installed: {installed}): a comment needs a line of its own "
            "(manila.conf:7)"
        ],
    ),
    "a comma too many": (
        DRIVERS,
        f"{DRIVERS},,two={HOOKS}:Recorder",
        [
            "[alpha] hook_drivers: there is nothing between two commas: take one of "
            "them out (manila.conf:7)"
        ],
    ),
    "no comma between short names": (
        DRIVERS,
        f"{DRIVERS}, audit webhook",
        [
            "[alpha] hook_drivers = audit webhook: there is no installed hook of that "
            "name (installed: {installed}): write audit, webhook (manila.conf:7)"
        ],
    ),
    "no comma between named hooks": (
        DRIVERS,
        f"{DRIVERS} two={HOOKS}:Recorder",
        [
            f"[alpha] hook_drivers = {ONE} two={HOOKS}:Recorder: the instance would "
            f"be called '{ONE} two': write {ONE}, two={HOOKS}:Recorder (manila.conf:7)"
        ],
    ),
    "a list as Python has it": (
        DRIVERS,
        f"hook_drivers = ['{ONE}']",
        [
            f"[alpha] hook_drivers = ['{ONE}']: it is no path.to:Class, "
            f"path.to.Class or short name: write {ONE} (manila.conf:7)"
        ],
    ),
    "the name behind the class": (
        DRIVERS,
        f"{DRIVERS}, {HOOKS}:Recorder=two",
        [
            f"[alpha] hook_drivers = {HOOKS}:Recorder=two: there is no installed hook "
            f"of that name (installed: {{installed}}): write two={HOOKS}:Recorder "
            "(manila.conf:7)"
        ],
    ),
    "two hooks of one name": (
        DRIVERS,
        f"{DRIVERS}, one={HOOKS}:OtherRecorder",
        [
            f"[alpha] hook_drivers = one={HOOKS}:OtherRecorder: there are two "
            "instances of the name 'one': give each its own, as in name=what "
            "(manila.conf:7)"
        ],
    ),
    "a name for nothing": (
        DRIVERS,
        f"{DRIVERS}, two=",
        [
            "[alpha] hook_drivers = two=: it is no [name=]what: write something after "
            "the = (manila.conf:7)"
        ],
    ),
    "no such module": (
        DRIVERS,
        "hook_drivers = one=no.such.module:Hook",
        [
            "[alpha] hook_drivers = one=no.such.module:Hook: there is no module 'no': "
            f"{INSTALL} (manila.conf:7)"
        ],
    ),
    "a class misspelt": (
        DRIVERS,
        f"hook_drivers = one={HOOKS}:Recordr",
        [
            f"[alpha] hook_drivers = one={HOOKS}:Recordr: module '{HOOKS}' has no "
            "class 'Recordr': write Recorder (manila.conf:7)"
        ],
    ),
    "something else than a class": (
        DRIVERS,
        f"hook_drivers = one={HOOKS}:not_a_class",
        [
            f"[alpha] hook_drivers = one={HOOKS}:not_a_class: it is a int, not a "
            "class (manila.conf:7)"
        ],
    ),
    "a tuple for a class": (
        DRIVERS,
        f"hook_drivers = one={HOOKS}:in_a_tuple",
        [
            f"[alpha] hook_drivers = one={HOOKS}:in_a_tuple: it is a tuple, not a "
            "class: take the comma after in_a_tuple = ... out (manila.conf:7)"
        ],
    ),
    "a module for a class": (
        DRIVERS,
        f"{DRIVERS}, hooks.audit",
        [
            "[alpha] hook_drivers = hooks.audit: 'hooks.audit' is a module, not a "
            "class: write hooks.audit.AuditHook (manila.conf:7)"
        ],
    ),
    "a file for a module": (
        DRIVERS,
        "hook_drivers = one=./my/hooks.py:Hook",
        [
            "[alpha] hook_drivers = one=./my/hooks.py:Hook: it is no path.to:Class, "
            "path.to.Class or short name: write one=my.hooks:Hook (manila.conf:7)"
        ],
    ),
    "a module in the current folder": (
        DRIVERS,
        "hook_drivers = one=just_here:Hook",
        [
            "[alpha] hook_drivers = one=just_here:Hook: there is no module "
            "'just_here': it is in the current folder, where manila-share does not "
            f"look: {INSTALL} (manila.conf:7)"
        ],
    ),
    "a module of another Python": (
        DRIVERS,
        "hook_drivers = one=native:Hook",
        [
            "[alpha] hook_drivers = one=native:Hook: there is no module 'native': "
            "there is native.cpython-39-x86_64-linux-gnu.so, for Python 3.9, and this "
            f"is {PYTHON}: {INSTALL} (manila.conf:7)"
        ],
    ),
    "a library of another Python": (
        DRIVERS,
        "hook_drivers = one=needs_native:Hook",
        [
            "[alpha] hook_drivers = one=needs_native:Hook: importing 'needs_native' "
            "failed: ModuleNotFoundError: No module named 'native': there is "
            "native.cpython-39-x86_64-linux-gnu.so, for Python 3.9, and this is "
            f"{PYTHON}: {INSTALL} (manila.conf:7)"
        ],
    ),
    "the syntax of another Python": (
        DRIVERS,
        "hook_drivers = one=other_syntax:Hook",
        [
            "[alpha] hook_drivers = one=other_syntax:Hook: importing 'other_syntax' "
            "failed: SyntaxError: invalid syntax (other_syntax.py, line 1): this is "
            f"{PYTHON}, and it may be written for another (manila.conf:7)"
        ],
    ),
    "a circular import": (
        DRIVERS,
        "hook_drivers = one=round:Hook",
        [
            "[alpha] hook_drivers = one=round:Hook: importing 'round' failed: "
            "ImportError: cannot import name 'Hook' from partially initialized module "
            "'round' (most likely due to a circular import) ({site}/round.py): import "
            "it in the function that needs it (manila.conf:7)"
        ],
    ),
    "a driver for a hook": (
        DRIVERS,
        f"hook_drivers = one={HOOKS}:Driver",
        [
            f"[alpha] hook_drivers = one={HOOKS}:Driver: it is not a hook: see "
            "aspects.HookBase (manila.conf:7)"
        ],
    ),
    "a hook that leaves an action out": (
        DRIVERS,
        f"hook_drivers = one={HOOKS}:Incomplete",
        [
            f"[alpha] hook_drivers = one={HOOKS}:Incomplete: class 'Incomplete' "
            "leaves out _execute_post_hook: give it one, even if it does nothing "
            "(manila.conf:7)"
        ],
    ),
    "a hook whose library is missing": (
        DRIVERS,
        "hook_drivers = one=tests.unit.fixtures_hooks.lacks_library:Hook",
        [
            "[alpha] hook_drivers = one=tests.unit.fixtures_hooks.lacks_library:Hook: "
            "importing 'tests.unit.fixtures_hooks.lacks_library' failed: "
            "ModuleNotFoundError: No module named 'a_library_that_nobody_has': "
            f"{INSTALL} (manila.conf:7)"
        ],
    ),
    "a ready hook whose library is missing": (
        DRIVERS,
        f"{DRIVERS}, webhook",
        [
            "[alpha] hook_drivers = webhook: importing 'hooks.webhook:WebhookHook' "
            "failed: ModuleNotFoundError: import of hooks.webhook halted; None in "
            "sys.modules: pip install 'manila-aspects[webhook]' (manila.conf:7)"
        ],
    ),
    "a hook that finds an option missing": (
        f"{DRIVERS}\n{SWITCH}\n\n[alpha:one]\n{OWN}",
        f"hook_drivers = one={HERE}:Needy",
        [
            f"[alpha] hook_drivers = one={HERE}:Needy: making the hook failed: "
            "ValueError: needy_url is not set: see needy_url in [alpha:one] or [alpha] "
            "(manila.conf:7)"
        ],
    ),
    "a hook that finds it misspelt": (
        f"{DRIVERS}\n{SWITCH}\n\n[alpha:one]\n{OWN}",
        f"hook_drivers = one={HERE}:Needy\n[alpha:one]\nneedy_ulr = http://a",
        [
            "[alpha:one] needy_ulr = http://a: there is no such option: write "
            "needy_url (manila.conf:9)",
        ],
    ),
    "a file that a hook cannot write": (
        DRIVERS,
        f"{DRIVERS}, log=audit\naudit_log_path = /no/such/audit.log",
        [
            "[alpha] audit_log_path = /no/such/audit.log: making the hook failed: "
            "FileNotFoundError: [Errno 2] No such file or directory: "
            "'/no/such/audit.log' (manila.conf:8)"
        ],
    ),
    "an option that a hook refuses": (
        f"{DRIVERS}\n{SWITCH}\n\n[alpha:one]\n{OWN}",
        f"hook_drivers = one={HERE}:Needy\n[alpha:one]\nneedy_url = ftp://a",
        [
            "[alpha:one] needy_url = ftp://a: making the hook failed: ValueError: "
            "needy_url is no http (manila.conf:9)"
        ],
    ),
    # The sections.
    "an instance misspelt": (
        "[alpha:one]",
        "[alpha:ones]",
        [
            "[alpha:ones]: hook_drivers of [alpha] names no instance 'ones': write "
            "[alpha:one] (manila.conf:10)"
        ],
    ),
    "a backend misspelt": (
        "[alpha:one]",
        "[alhpa:one]",
        [
            "[alhpa:one]: there is no backend 'alhpa': write [alpha:one] "
            "(manila.conf:10)"
        ],
    ),
    "the instance of a backend that is not enabled": (
        "[alpha:one]",
        f"[alphb]\n{DRIVER}\n[alphb:one]",
        [
            "[alphb:one]: the backend 'alphb' is not enabled: add alphb to "
            "enabled_share_backends (manila.conf:12)"
        ],
    ),
    "an instance before its backend": (
        "[alpha:one]",
        "[one:alpha]",
        ["[one:alpha]: there is no backend 'one': write [alpha:one] (manila.conf:10)"],
    ),
    "an instance by its class": (
        "[alpha:one]",
        "[alpha:Recorder]",
        [
            "[alpha:Recorder]: hook_drivers of [alpha] names no instance 'Recorder': "
            "write [alpha:one] (manila.conf:10)"
        ],
    ),
    "a section without an instance": (
        "[alpha:one]",
        "[alpha:]",
        [
            "[alpha:]: hook_drivers of [alpha] names no instance '': write an "
            "instance after the colon (manila.conf:10)"
        ],
    ),
    "two brackets": (
        "[alpha:one]",
        "[[alpha:one]]",
        [
            "[[alpha:one]]: nobody reads this section: write [alpha:one] "
            "(manila.conf:10)"
        ],
    ),
    "an indented section": (
        f"{SWITCH}\n\n[alpha:one]",
        f"{SWITCH}\n  [alpha:one]\nenable_pre_hooks = False",
        [
            "[alpha:one]: it is indented, so it is a part of the option before it: "
            "write it at the beginning of the line (manila.conf:9)"
        ],
    ),
    "the section of a backend with a space": (
        "[alpha]",
        "[alpha ]",
        [
            "[alpha ]: nobody reads this section, and there is no [alpha]: write "
            "[alpha] (manila.conf:5)"
        ],
    ),
    "the section of a backend misspelt": (
        "[alpha]",
        "[alfa]",
        [
            "[alfa]: nobody reads this section, and there is no [alpha]: write "
            "[alpha] (manila.conf:5)"
        ],
    ),
    "another backend": (
        "[alpha:one]",
        "[beta:one]",
        ["[beta:one]: there is no backend 'beta': write [alpha:one] (manila.conf:10)"],
    ),
    "a dot for a colon": (
        "[alpha:one]",
        "[alpha.one]",
        ["[alpha.one]: nobody reads this section: write [alpha:one] (manila.conf:10)"],
    ),
    "an instance without its backend": (
        "[alpha:one]",
        "[one]",
        ["[one]: nobody reads this section: write [alpha:one] (manila.conf:10)"],
    ),
    "spaces in a section": (
        "[alpha:one]",
        "[alpha: one]",
        ["[alpha: one]: nobody reads this section: write [alpha:one] (manila.conf:10)"],
    ),
    "a section twice": (
        "[alpha:one]",
        "[alpha]\n[alpha:one]",
        ["[alpha]: it stands at line 5 already: write it once (manila.conf:10)"],
    ),
    "default": (
        "[DEFAULT]",
        "[default]",
        [
            "[default]: nobody reads this section: write [DEFAULT] (manila.conf:1)",
        ],
    ),
    # The backends.
    "a backend that is not enabled": (
        BACKENDS,
        f"{BACKENDS}\n{MANAGER}\n[beta]\n{DRIVERS}\n[beta:one]\n[other]",
        [
            "[beta]: it has hooks, and is no enabled backend: add beta to "
            "enabled_share_backends (manila.conf:4)",
        ],
    ),
    "an enabled backend misspelt": (
        BACKENDS,
        f"{BACKENDS}, gama\n{MANAGER}\n[gamma]\n{DRIVER}\n[other]",
        [
            "[DEFAULT] enabled_share_backends = gama: there is no section [gama]: "
            "write gamma (manila.conf:2)",
        ],
    ),
    "no comma between backends": (
        BACKENDS,
        "enabled_share_backends = alpha beta",
        [
            "[DEFAULT] enabled_share_backends = alpha beta: there is no section "
            "[alpha beta]: write alpha, beta (manila.conf:2)",
        ],
    ),
    "a backend twice": (
        BACKENDS,
        f"{BACKENDS}, alpha",
        [
            "[DEFAULT] enabled_share_backends = alpha: it is there twice: write it "
            "once (manila.conf:2)"
        ],
    ),
    # The share manager.
    "Manila's own share manager": (
        MANAGER,
        "",
        [
            "[DEFAULT] share_manager: it is not set, and Manila's own would load the "
            "hooks of [alpha] itself and weave none: write share_manager = "
            "aspects.manila.ShareManager"
        ],
    ),
    "a share manager misspelt": (
        MANAGER,
        "share_manager = aspects.manlia.ShareManager",
        [
            "[DEFAULT] share_manager = aspects.manlia.ShareManager: there is no "
            "module 'aspects.manlia': write share_manager = "
            "aspects.manila.ShareManager (manila.conf:3)"
        ],
    ),
    "another share manager": (
        MANAGER,
        f"share_manager = {HOOKS}.Driver",
        [
            f"[DEFAULT] share_manager = {HOOKS}.Driver: it does not weave the hooks "
            "of [alpha]: write share_manager = aspects.manila.ShareManager "
            "(manila.conf:3)"
        ],
    ),
    "the share manager in a backend's section": (
        SWITCH,
        f"{SWITCH}\n{MANAGER}",
        [
            "[alpha] share_manager = aspects.manila.ShareManager: it is read in "
            "[DEFAULT] alone: write it in [DEFAULT] (manila.conf:9)"
        ],
    ),
    # The driver.
    "a driver misspelt": (
        DRIVER,
        f"share_driver = {HOOKS}.Drivr",
        [
            f"[alpha] share_driver = {HOOKS}.Drivr: module '{HOOKS}' has no class "
            "'Drivr': write Driver (manila.conf:6)"
        ],
    ),
    "a driver's module misspelt": (
        DRIVER,
        "share_driver = tests.unit.fixtures_hooks.recordin.Driver",
        [
            "[alpha] share_driver = tests.unit.fixtures_hooks.recordin.Driver: there "
            "is no module 'tests.unit.fixtures_hooks.recordin': write "
            f"{HOOKS} (manila.conf:6)"
        ],
    ),
    "a driver with a colon": (
        DRIVER,
        f"share_driver = {HOOKS}:Driver",
        [
            f"[alpha] share_driver = {HOOKS}:Driver: it is no path.to.Class: write "
            f"{HOOKS}.Driver (manila.conf:6)"
        ],
    ),
    "a driver that is no class": (
        DRIVER,
        f"share_driver = {HOOKS}.not_a_class",
        [
            f"[alpha] share_driver = {HOOKS}.not_a_class: it is a int, not a class "
            "(manila.conf:6)"
        ],
    ),
    "a driver that fails on import": (
        DRIVER,
        "share_driver = tests.unit.fixtures_hooks.fails_on_import.Driver",
        [
            "[alpha] share_driver = tests.unit.fixtures_hooks.fails_on_import.Driver: "
            "importing 'tests.unit.fixtures_hooks.fails_on_import' failed: "
            "RuntimeError: the licence has run out (manila.conf:6)"
        ],
    ),
    # The file.
    "a line that is no option": (
        SWITCH,
        f"enable_pre_hooks {SECRET}",
        [
            "manila.conf:8: No ':' or '=' found in assignment: write option = value",
        ],
    ),
    "a section without its end": (
        "[alpha:one]",
        "[alpha:one",
        ["manila.conf:10: Invalid section (must end with ]): write ] at its end"],
    ),
    "a comment after a section": (
        "[alpha:one]",
        "[alpha:one] # mine",
        [
            "manila.conf:10: Invalid section (must end with ]): a comment needs a "
            "line of its own"
        ],
    ),
    "options before any section": (
        "[DEFAULT]\n",
        "",
        [
            "manila.conf:2: Section must be started before assignment: write "
            "[DEFAULT] before it"
        ],
    ),
    "a byte order mark": (
        "[DEFAULT]",
        "\ufeff[DEFAULT]",
        [
            "manila.conf:1: No ':' or '=' found in assignment: save the file without "
            "a byte order mark"
        ],
    ),
    "an option of oslo.log that is no boolean": (
        MANAGER,
        f"{MANAGER}\ndebug = ture",
        [
            "[DEFAULT] debug = ture: Invalid Boolean value: write True or False "
            "(manila.conf:4)"
        ],
    ),
    # What is read before the hooks.
    "a reference to nothing for the backends": (
        BACKENDS,
        "enabled_share_backends = $nosuch",
        [f"[DEFAULT] enabled_share_backends = $nosuch: {NO_SUCH} (manila.conf:2)"],
    ),
    "a reference to nothing for the manager": (
        MANAGER,
        "share_manager = $nosuch",
        [f"[DEFAULT] share_manager = $nosuch: {NO_SUCH} (manila.conf:3)"],
    ),
    "a reference to nothing for the driver": (
        DRIVER,
        "share_driver = $nosuch",
        [f"[alpha] share_driver = $nosuch: {NO_SUCH} (manila.conf:6)"],
    ),
    "a reference to nothing for the host": (
        MANAGER,
        f"{MANAGER}\nhost = $nosuch",
        [f"[DEFAULT] host = $nosuch: {NO_SUCH} (manila.conf:4)"],
    ),
    "a reference to nothing for a path": (
        MANAGER,
        f"{MANAGER}\nstate_path = $nosuch",
        [f"[DEFAULT] state_path = $nosuch: {NO_SUCH} (manila.conf:4)"],
    ),
    "a reference to nothing for an option of oslo.log": (
        MANAGER,
        f"{MANAGER}\nlog_dir = $nosuch/log",
        [f"[DEFAULT] log_dir = $nosuch/log: {NO_SUCH} (manila.conf:4)"],
    ),
    "a host with a space": (
        MANAGER,
        f"{MANAGER}\nhost = my host",
        [
            "[DEFAULT] host = my host: my host is not a valid host address: write "
            "letters, digits, - and . alone (manila.conf:4)"
        ],
    ),
    "a host that is left empty": (
        MANAGER,
        f"{MANAGER}\nhost =",
        [
            "[DEFAULT] host: is not a valid host address: write letters, digits, - "
            "and . alone (manila.conf:4)"
        ],
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_mistake_is_a_line(
    run: Check, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As if the library of that hook were not installed.
    monkeypatch.setitem(sys.modules, "hooks.webhook", None)
    old, new, lines = WRONG[what]
    assert RIGHT.count(old) == 1
    told = run(RIGHT.replace(old, new))
    here = {"{installed}": installed(), "{site}": f"{Path.cwd()}/site"}
    for name, value in here.items():
        lines = [line.replace(name, value) for line in lines]
    assert told.problems == lines
    assert told.warnings == []
    count = "1 problem" if len(lines) == 1 else f"{len(lines)} problems"
    assert told.out.splitlines()[-1].startswith(f"{count}, no warnings in ")
    assert (told.status, told.err) == (1, "")
    assert SECRET not in told.out
    # For a program, the same.
    data = json.loads(run(RIGHT.replace(old, new), "--format", "json").out)
    assert len(data["problems"]) == len(lines)
    parts = {"section", "option", "value", "cause", "advice", "file", "line"}
    assert all(set(problem) == parts for problem in data["problems"])
    for problem, line in zip(data["problems"], lines):
        text = " ".join(f"{problem['cause']} {problem['advice']}".split())
        assert line.replace(": ", " ").count(text.replace(": ", " ")) == 1


class TestFiles:
    def test_a_file_that_is_not_there(self, run: Check) -> None:
        told = run(None, "--config-file", "none.conf")
        assert told.problems == ["none.conf: No such file or directory"]
        assert (told.status, told.err) == (1, "")

    def test_a_folder_for_a_file(self, run: Check, tmp_path: Path) -> None:
        told = run(None, "--config-file", str(tmp_path))
        assert told.problems == [f"{tmp_path}: Is a directory"]

    def test_a_file_that_may_not_be_read(
        self, run: Check, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Not with the file's mode, which does not stop root.
        def denied(path: Path) -> bytes:
            raise PermissionError(13, "Permission denied", str(path))

        monkeypatch.setattr(Path, "read_bytes", denied)
        told = run(RIGHT)
        assert told.problems == ["manila.conf: Permission denied"]

    def test_a_file_that_is_not_utf_8(self, run: Check) -> None:
        told = run(RIGHT.replace("red", "ré").encode("latin-1"))
        assert told.problems == ["manila.conf:11: it is not UTF-8: save it as UTF-8"]

    def test_what_is_wrong_with_several_files(self, run: Check) -> None:
        told = run("wrong", "--config-file", "none.conf", "--config-dir", "none.d")
        assert told.problems == [
            "manila.conf:1: No ':' or '=' found in assignment: write option = value",
            "none.conf: No such file or directory",
            "none.d: it is no folder",
        ]

    def test_no_file_at_all(
        self, run: Check, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(cfg, "find_config_files", lambda *given: [])
        monkeypatch.setattr(cfg, "find_config_dirs", lambda *given: [])
        told = run(None)
        assert told.err == (
            "manila-aspects: there is no configuration: name one with --config-file\n"
        )
        assert told.status == 1

    def test_the_files_of_manila_share_by_default(
        self, run: Check, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / ".manila").mkdir()
        (tmp_path / ".manila" / "manila.conf").write_text(RIGHT)
        (tmp_path / ".manila" / "manila-share.conf").write_text(
            "[alpha]\nenable_periodic_hooks = True\n"
        )
        monkeypatch.setenv("HOME", str(tmp_path))
        told = run(None)
        assert told.problems == []
        assert "pre, periodic" in told.out

    def test_later_files_count_more(self, run: Check, tmp_path: Path) -> None:
        (tmp_path / "more.conf").write_text("[alpha:one]\ncolour = blue\n")
        (tmp_path / "more.d").mkdir()
        (tmp_path / "more.d" / "a.conf").write_text("[alpha]\ndepth = 7\n\n[alpha:one]")
        told = run(
            RIGHT.replace(SWITCH, f"{SWITCH}\ncolour = green"),
            "--config-file",
            "more.conf",
            "--config-dir",
            str(tmp_path / "more.d"),
        )
        assert told.problems == []
        assert row(told, "one", "colour") == ["blue", "alpha:one", "more.conf:2"]
        assert row(told, "one", "depth") == [
            "7",
            "alpha",
            f"{tmp_path}/more.d/a.conf:2",
        ]
        assert row(told, "one", SWITCH.split()[0]) == ["True", "alpha", "manila.conf:8"]

    @pytest.mark.parametrize("last", ["manila.conf", "more.d/a.conf"])
    def test_of_files_and_folders_the_last_one_counts(
        self, run: Check, tmp_path: Path, last: str
    ) -> None:
        (tmp_path / "more.d").mkdir()
        (tmp_path / "more.d" / "a.conf").write_text("[alpha:one]\ncolour = blue\n")
        (tmp_path / "manila.conf").write_text(RIGHT)
        sources = [["--config-dir", "more.d"], ["--config-file", "manila.conf"]]
        if last != "manila.conf":
            sources.reverse()
        told = run(None, *sources[0], *sources[1])
        assert told.problems == []
        assert told.out.splitlines()[-1].endswith(last)
        colour = "red" if last == "manila.conf" else "blue"
        (found,) = [line for line in told.out.splitlines() if "  colour" in line]
        assert found.split()[2] == colour
        assert found.rpartition(":")[0].endswith(last)

    def test_the_folders_of_manila_share_count_less(
        self, run: Check, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "default.d").mkdir()
        (tmp_path / "default.d" / "a.conf").write_text(
            "[alpha]\ndepth = 7\n[alpha:one]\ncolour = blue\n"
        )
        found = [str(tmp_path / "default.d")]
        monkeypatch.setattr(cfg, "find_config_dirs", lambda *given: found)
        told = run(RIGHT)
        assert row(told, "one", "depth")[0] == "7"
        assert row(told, "one", "colour")[0] == "red"

    def test_the_environment_counts_most(
        self, run: Check, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OS_ALPHA__DEPTH", "9")
        told = run(RIGHT.replace(SWITCH, f"{SWITCH}\ndepth = 8"))
        assert row(told, "one", "depth") == ["9", "alpha", "OS_ALPHA__DEPTH"]


def row(told: Told, *begin: str) -> list[str]:
    """Return the rest of the row of a table that begins with some cells."""
    rows = [line.split() for line in told.out.splitlines()]
    (found,) = [cells for cells in rows if cells[: len(begin)] == list(begin)]
    return found[len(begin) :]


class TestWarnings:
    @pytest.mark.parametrize(
        ("old", "new", "warning"),
        [
            (
                SWITCH,
                "",
                "[alpha:one]: the hook does nothing: enable_pre_hooks, "
                "enable_post_hooks, enable_periodic_hooks are off: write "
                "enable_post_hooks = True (manila.conf:10)",
            ),
            (
                SWITCH,
                f"{SWITCH}\nhook_operations = create_*, delete_*",
                "[alpha] hook_operations = delete_*: the driver lacks what it matches "
                "(manila.conf:9)",
            ),
            (
                DRIVER,
                "",
                "[alpha] share_driver: it is not set, so Manila takes "
                "manila.share.drivers.generic.GenericShareDriver",
            ),
            (
                f"{DRIVERS}\n{SWITCH}\n\n[alpha:one]\n{OWN}",
                SWITCH,
                "[alpha] enable_pre_hooks = True: the backend has no hooks: name them "
                "in hook_drivers (manila.conf:7)",
            ),
        ],
    )
    def test_what_may_not_be_meant(
        self, run: Check, old: str, new: str, warning: str
    ) -> None:
        told = run(RIGHT.replace(old, new))
        assert told.warnings == [warning]
        assert told.problems == []
        assert told.status == 0
        assert told.out.splitlines()[-1] == "no problems, 1 warning in manila.conf"

    @pytest.mark.parametrize(
        ("seconds", "cause"),
        [("-1", "there are no ticks"), ("0", "it is taken for 60 seconds")],
    )
    def test_an_interval_that_oslo_service_does_not_take(
        self, run: Check, seconds: str, cause: str
    ) -> None:
        interval = f"{MANAGER}\nperiodic_hooks_interval = {seconds}"
        text = RIGHT.replace(MANAGER, interval)
        assert run(text).warnings == []
        told = run(text.replace(SWITCH, f"{SWITCH}\nenable_periodic_hooks = True"))
        assert told.problems == []
        assert told.warnings == [
            f"[DEFAULT] periodic_hooks_interval = {seconds}: {cause}: write the "
            "seconds between ticks (manila.conf:4)"
        ]

    def test_a_section_of_others_is_none_of_ours(self, run: Check) -> None:
        others = (
            "[neutron]\nurl = a\n[net_alpha]\nplugin = b\n"
            "[alpha_one]\nshare_driver = c\n"
        )
        mine = "periodic_interval = 60\nenabled_share_protocols = NFS\nhostname = a"
        text = RIGHT.replace(MANAGER, f"{MANAGER}\n{mine}") + others
        mine = "lvm_share_volume_group = x\nlvm_share_volume_group = y"
        told = run(text.replace(SWITCH, f"{SWITCH}\n{mine}") + "[neutron]\nurl = b\n")
        assert told.problems == told.warnings == []

    def test_an_option_of_manila_is_none_of_ours(
        self, run: Check, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        text = RIGHT.replace(MANAGER, f"{MANAGER}\nfailingg = 1")
        assert len(run(text).problems) == 1

        def of_manila(group: str) -> Any:
            options = [(None, [cfg.StrOpt("failingg")])]
            return (lambda: options) if group == "oslo.config.opts" else None

        monkeypatch.setattr(facts, "load_from_manila", of_manila)
        assert run(text).problems == []

    def test_a_share_manager_of_ones_own(
        self, run: Check, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        base = type("ShareManager", (), {"__module__": "aspects.manila"})
        monkeypatch.setattr(recording, "Manager", type("Manager", (base,), {}), False)
        told = run(RIGHT.replace(MANAGER, f"share_manager = {HOOKS}.Manager"))
        assert told.problems == []


SEVERAL = f"""\
[DEFAULT]
enabled_share_backends = alpha, beta, gamma
{MANAGER}
host = node1
suppress_post_hooks_errors = True

[alpha]
{DRIVER}
hook_drivers = one={HOOKS}:Recorder, {HOOKS}:Upstream
enable_pre_hooks = True
enable_post_hooks = True
hook_methods = further
periodic_hooks_ticks = 3

[alpha:one]
enable_pre_hooks = False
enable_periodic_hooks = True
hook_operations = create_*
pin = 1234

[beta]
{DRIVER}
hook_drivers = {HERE}:Needy
enable_pre_hooks = True
needy_url = http://joe:{SECRET}@example.org/
needy_key = {SECRET}

[gamma]
{DRIVER}
"""


class TestReport:
    def test_what_will_happen(self, run: Check) -> None:
        told = run(SEVERAL)
        assert told.problems == told.warnings == []
        about = [line.strip() for line in told.out.splitlines()]
        driver = f"driver {HOOKS}.Driver, host node1"
        assert f"{driver}@alpha, periodic actions on one tick in 3" in about
        assert f"{driver}@gamma, no hooks: it is not woven" in about
        assert row(told, "1", "one") == [
            *(f"{HOOKS}:Recorder", "post,", "periodic", "post", "inline", "create_*")
        ]
        assert row(told, "2", "Upstream") == [
            *(f"{HOOKS}:Upstream", "pre,", "post", "post", "inline", "*")
        ]
        operations = told.out.partition("operations of alpha")[2].partition("\n\n")[0]
        assert [line.split() for line in operations.splitlines()[-2:]] == [
            ["create_share_instance", "create_share"],
            ["further", "further"],
        ]
        assert row(told, "-", "periodic_hooks_ticks") == [
            "3",
            "alpha",
            "manila.conf:13",
        ]
        lacks = [line for line in about if line.startswith("It lacks allow_access, ")]
        assert len(lacks) == 2

    def test_a_value_of_several_lines_is_one_row(self, run: Check) -> None:
        told = run(RIGHT.replace(OWN, "colour = red\n  and\n  blue"))
        assert row(told, "one", "colour")[:3] == ["red", "and", "blue"]

    def test_of_hooks_that_cannot_be_made(self, run: Check) -> None:
        told = run(RIGHT.replace(DRIVERS, "hook_drivers = one=no.such:Hook"))
        assert f"driver {HOOKS}.Driver, host " in told.out
        assert "@alpha, its hooks cannot be made\n" in told.out

    def test_the_error_action_is_one_of_the_endings(self, run: Check) -> None:
        text = SEVERAL.replace(
            "[gamma]", "[beta:Needy]\nenable_post_hooks = 1\n[gamma]"
        )
        data = json.loads(run(text, "--format", "json").out)
        (hook,) = data["backends"][1]["chain"]
        assert hook["actions"] == ["pre", "post", "error"]

    def test_the_same_for_a_program(self, run: Check) -> None:
        data = json.loads(run(SEVERAL, "--format", "json").out)
        assert data["files"] == ["manila.conf"]
        assert data["problems"] == data["warnings"] == []
        alpha, beta, gamma = data["backends"]
        assert (alpha["name"], alpha["host"], alpha["ticks"]) == (
            *("alpha", "node1@alpha", 3),
        )
        assert [hook["instance"] for hook in alpha["chain"]] == ["one", "Upstream"]
        one = alpha["chain"][0]
        assert one["actions"] == ["post", "periodic"]
        assert one["suppressed"] == ["post"]
        assert one["operations"] == ["create_*"]
        assert {
            "option": "suppress_post_hooks_errors",
            "value": "True",
            "section": "DEFAULT",
            "place": "manila.conf:5",
        } in one["settings"]
        assert alpha["woven"] == {
            "create_share_instance": ["create_share"],
            "further": ["further"],
        }
        assert "delete_share_instance" in alpha["lacks"]
        assert [len(each["chain"]) for each in (beta, gamma)] == [1, 0]

    @pytest.mark.parametrize("format", ["text", "json"])
    def test_secrets_are_not_told(self, run: Check, format: str) -> None:
        told = run(SEVERAL, "--format", format)
        assert SECRET not in told.out
        assert "1234" not in told.out
        assert "http://joe:***@example.org/" in told.out

    def test_one_backend_alone(self, run: Check) -> None:
        text = SEVERAL.replace("[gamma]\n", "[gamma]\nhook_drivers = no.such:Hook\n")
        text += "[gamma:on]\n[alpha:on]\n"
        told = run(text, "--backend", "alpha")
        assert told.problems == [
            "[alpha:on]: hook_drivers of [alpha] names no instance 'on': write "
            "[alpha:one] (manila.conf:32)"
        ]
        assert "backend alpha" in told.out
        assert "beta" not in told.out

    def test_one_backend_whose_section_is_misspelt(self, run: Check) -> None:
        told = run(RIGHT.replace("[alpha]", "[alfa]"), "--backend", "alpha")
        assert told.problems == [
            "[alfa]: nobody reads this section, and there is no [alpha]: write "
            "[alpha] (manila.conf:5)"
        ]

    def test_one_backend_where_those_enabled_cannot_be_read(self, run: Check) -> None:
        text = RIGHT.replace(BACKENDS, "enabled_share_backends = $nosuch")
        told = run(text, "--backend", "alpha")
        assert told.problems == [
            f"[DEFAULT] enabled_share_backends = $nosuch: {NO_SUCH} (manila.conf:2)"
        ]

    def test_a_backend_that_is_not_enabled(self, run: Check) -> None:
        told = run(SEVERAL, "--backend", "gama")
        assert told.err == (
            "manila-aspects: 'gama' is not an enabled backend (enabled: alpha, beta, "
            "gamma); did you mean 'gamma'?\n"
        )
        assert (told.status, told.out) == (1, "")

    def test_without_backends_hooks_are_those_of_default(self, run: Check) -> None:
        text = RIGHT.replace(BACKENDS, "").replace("\n[alpha]\n", "")
        text = text.replace("[alpha:one]", "[DEFAULT:one]")
        told = run(text)
        assert told.problems == []
        assert row(told, "one", "colour") == ["red", "DEFAULT:one", "manila.conf:9"]
        told = run(text.replace(OWN, "color = red").replace("one]", "ones]"))
        assert told.problems == [
            "[DEFAULT:ones]: hook_drivers of [DEFAULT] names no instance 'ones': write "
            "[DEFAULT:one] (manila.conf:8)"
        ]
        told = run(text.replace(OWN, "color = red"))
        assert told.problems == [
            "[DEFAULT:one] color = red: there is no such option: write colour "
            "(manila.conf:9)"
        ]

    def test_sections_may_be_in_capitals(self, run: Check) -> None:
        told = run(RIGHT.replace("[alpha]", "[Alpha]").replace("[alpha:o", "[ALPHA:O"))
        assert told.problems == []
        assert row(told, "one", "colour") == ["red", "alpha:one", "manila.conf:11"]

    def test_a_method_that_is_not_implemented_is_lacking(self, run: Check) -> None:
        driver = "share_driver = tests.unit.test_show.Driver"
        told = run(RIGHT.replace(DRIVER, driver))
        operations = told.out.partition("operations of alpha")[2]
        assert "\n  create_share_instance " in operations
        assert "\n  delete_share_instance " not in operations
        assert "delete_share_instance, " in operations

    def test_hooks_are_made_and_never_started(
        self, run: Check, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen = []
        monkeypatch.setattr(aspects.HookBase, "start", lambda hook: seen.append(hook))
        assert run(RIGHT).status == 0
        assert seen == []

    def test_what_a_hook_prints_is_not_in_the_way(self, run: Check) -> None:
        text = RIGHT.replace(DRIVERS, f"hook_drivers = one={HERE}:Loud")
        told = run(text, "--format", "json")
        assert json.loads(told.out)["problems"] == []
        assert told.err == "here I am\n"

    def test_it_says_what_start_up_says(
        self, run: Check, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        text = RIGHT.replace(SWITCH, "enable_pre_hooks = ture\nhook_operations = x")
        told = run(text)
        conf = cfg.ConfigOpts()
        conf(["--config-file", "manila.conf"], default_config_dirs=[])
        section = aspects.BackendSection(conf, "alpha")
        with pytest.raises(aspects.HookConfigError) as caught:
            aspects.weave_from_config(recording.Driver(), section, "node1@alpha")
        lines = str(caught.value).splitlines()
        assert len(told.problems) == len(lines) == 2
        for problem, line in zip(told.problems, lines):
            assert problem.startswith(line)


def test_an_option_of_a_backend_where_no_backend_has_a_section(run: Check) -> None:
    told = run(RIGHT.replace("[alpha]\n", ""))
    assert told.err == ""
    assert told.problems == [
        "[DEFAULT] enabled_share_backends = alpha: there is no section [alpha]: write "
        "[alpha], with a share_driver (manila.conf:2)"
    ]
