# SPDX-License-Identifier: Apache-2.0
"""Test ``manila-aspects check`` with the options and drivers of a real Manila."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from oslo_config import cfg
from oslo_service import periodic_task

import aspects
from aspects.cli.check import manila_source
from tests.support.pages import DOCS, example

# Like the installed command, this does not import from the current directory.
CHECK = [sys.executable, "-P", "-m", "aspects.cli", "check"]

ROOT = str(Path(aspects.__file__).parents[1])


def check(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a directory, which it must not change."""
    inherited = os.environ.get("PYTHONPATH")
    path = os.pathsep.join(filter(None, [ROOT, f"{directory}/site", inherited]))
    before = sorted(directory.rglob("*"))
    done = subprocess.run(
        [*CHECK, *arguments],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stderr == ""
    assert sorted(directory.rglob("*")) == before
    return done


def problems(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Return the lines of the problems in the output."""
    return [line for line in done.stdout.splitlines() if line.startswith("problem: ")]


def test_the_example_on_the_page_of_the_command(tmp_path: Path) -> None:
    log = f"{tmp_path}/audit.log"
    text = example("reference/command.rst", {"/var/log/manila/audit.log": log})
    (tmp_path / "manila.conf").write_text(text, "utf-8")
    done = check(tmp_path, "--config-file", "manila.conf")
    assert done.returncode == 1
    page = (DOCS / "reference/command.rst").read_text("utf-8")
    shown = re.findall(r"^    ((?:problem: |\d problems).*)$", page, re.M)
    assert done.stdout.splitlines()[: len(shown)] == shown


VALID = """\
[DEFAULT]
enabled_share_backends = lvm, generic
share_manager = aspects.manila.ShareManager
host = node1
state_path = {directory}
transport_url = rabbit://joe:hunter2@127.0.0.1
# An option of Manila that resembles an option of the hook.
share_name_template = a-%s

[lvm]
share_driver = manila.share.drivers.lvm.LVMShareDriver
driver_handles_share_servers = False
hook_drivers = log=audit, name=my_hooks:NameHook
enable_post_hooks = True
audit_log_path = $state_path/audit.log
hook_operations = create_share_instance, create_share_replica

[generic]
share_driver = manila.share.drivers.generic.GenericShareDriver
"""


HOOK = """\
from oslo_config import cfg

from hooks import audit


class NameHook(audit.AuditHook):
    options = (*audit.AuditHook.options, cfg.StrOpt("share_name_templates"))
"""


@pytest.fixture
def valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a directory with a valid ``manila.conf``, and a hook in ``site``."""
    # In `site`, as if the hook were installed.
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "my_hooks.py").write_text(HOOK, "utf-8")
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    (tmp_path / "manila.conf").write_text(VALID.format(directory=tmp_path), "utf-8")
    return tmp_path


def test_the_operations_of_manila_drivers_are_reported(valid: Path) -> None:
    done = check(valid, "--config-file", "manila.conf", "--format", "json")
    data = json.loads(done.stdout)
    assert done.returncode == 0, data["problems"]
    lvm, generic = data["backends"]
    assert (lvm["name"], lvm["host"]) == ("lvm", "node1@lvm")
    assert lvm["woven"]["allow_access"] == ["allow_access", "update_access"]
    assert lvm["woven"]["create_share_instance"] == [
        "create_share",
        "create_share_from_snapshot",
    ]
    # Manila's base class has the method, but does not implement it.
    assert "create_share_replica" in lvm["woven"]
    assert "create_share_replica" in lvm["missing_operations"]
    assert "extend_share" not in lvm["missing_operations"]
    assert (generic["name"], generic["chain"], generic["woven"]) == ("generic", [], {})
    assert [warning["value"] for warning in data["warnings"]] == [
        "create_share_replica"
    ]


def test_a_value_may_refer_to_an_option_of_manila(valid: Path) -> None:
    done = check(valid, "--config-file", "manila.conf", "--backend", "lvm", "-v")
    assert done.returncode == 0, problems(done)
    assert f"{valid}/audit.log" in done.stdout
    assert "generic" not in done.stdout
    assert "hunter2" not in done.stdout


INVALID = """\
[DEFAULT]
enabled_share_backends = lvm, zfs, plain
share_manager = manila.share.manager.ShareManager

[lvm]
share_driver = manila.share.drivers.lvn.LVMShareDriver
hook_drivers = log=audit
enable_post_hooks = True
audit_logs_path = /audit.log

[zfs]
share_driver = manila.share.drivers.zfsonlinux.driver.ZfsOnLinuxShareDriver
hook_driver = log=audit
periodic_interval = 60

[plain]
share_driver = manila.share.drivers.lvm.LvmShareDriver
"""


def test_mistakes_are_reported_with_suggestions(tmp_path: Path) -> None:
    (tmp_path / "manila.conf").write_text(INVALID, "utf-8")
    done = check(tmp_path, "--config-file", "manila.conf")
    assert done.returncode == 1
    assert problems(done) == [
        f"problem: {problem}"
        for problem in (
            "[lvm] share_driver = manila.share.drivers.lvn.LVMShareDriver: no module "
            "named 'manila.share.drivers.lvn'; did you mean manila.share.drivers.lvm? "
            "(manila.conf:6)",
            "[zfs] share_driver = "
            "manila.share.drivers.zfsonlinux.driver.ZfsOnLinuxShareDriver: module "
            "'manila.share.drivers.zfsonlinux.driver' has no class "
            "'ZfsOnLinuxShareDriver'; did you mean ZFSonLinuxShareDriver? "
            "(manila.conf:12)",
            "[plain] share_driver = manila.share.drivers.lvm.LvmShareDriver: module "
            "'manila.share.drivers.lvm' has no class 'LvmShareDriver'; did you mean "
            "LVMShareDriver? (manila.conf:17)",
            "[DEFAULT] share_manager = manila.share.manager.ShareManager: does not "
            "weave the hooks of [lvm]; set share_manager = "
            "aspects.manila.ShareManager (manila.conf:3)",
            "[lvm] audit_logs_path = /audit.log: unknown option; did you mean "
            "audit_log_path? (manila.conf:9)",
            "[zfs] hook_driver = log=audit: unknown option; did you mean "
            "hook_drivers? (manila.conf:13)",
        )
    ]


def test_a_subclass_of_the_share_manager_is_accepted(valid: Path) -> None:
    (valid / "site" / "my_manager.py").write_text(
        "import aspects.manila\n\n\n"
        "class Manager(aspects.manila.ShareManager):\n"
        '    """A share manager of the operator."""\n'
    )
    text = (valid / "manila.conf").read_text("utf-8")
    text = text.replace("aspects.manila.ShareManager", "my_manager.Manager")
    (valid / "manila.conf").write_text(text, "utf-8")
    done = check(valid, "--config-file", "manila.conf")
    assert done.returncode == 0, problems(done)


def test_the_configuration_of_a_running_manila_is_valid(
    manila: Any, tmp_path: Path
) -> None:
    done = check(tmp_path, "--config-file", str(manila.config_file))
    assert done.returncode == 0, problems(done)
    # Two backends have hooks: one inherits aspects.HookBase, the other Manila's.
    rows = re.findall(r"^  \d .*$", done.stdout, re.M)
    assert [row.split()[:3] for row in rows] == [
        ["1", "first", "tests.functional.recorder:Recorder"],
        ["2", "Upstream", "tests.functional.recorder:Upstream"],
    ] * 2


def test_a_hook_in_the_current_directory_is_not_found(
    valid: Path,
) -> None:
    (valid / "site" / "my_hooks.py").rename(valid / "my_hooks.py")
    done = check(valid, "--config-file", "manila.conf")
    assert problems(done) == [
        "problem: [lvm] hook_drivers = name=my_hooks:NameHook: no module named "
        "'my_hooks'; it is in the current directory, which manila-share does not "
        f"search; install it in the Python of {sys.prefix} (manila.conf:13)"
    ]


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("host = my host", "my host is not a valid host address"),
        ("enabled_share_backends = $nosuch", "no such option nosuch in group"),
        # An option that is also a command-line option of Manila.
        ("state_path = $nosuch/a", "no such option nosuch in group"),
    ],
)
def test_an_invalid_manila_option_is_reported(
    valid: Path, line: str, cause: str
) -> None:
    option, _, value = line.partition(" = ")
    text = (valid / "manila.conf").read_text("utf-8")
    text = re.sub(rf"^{option} = .*$", line, text, flags=re.M)
    (valid / "manila.conf").write_text(text, "utf-8")
    data = json.loads(
        check(valid, "--config-file", "manila.conf", "--format", "json").stdout
    )
    (found,) = data["problems"]
    assert (found["section"], found["option"], found["value"]) == (
        *("DEFAULT", option, value),
    )
    assert cause in found["cause"]
    assert found["line"] == text.splitlines().index(line) + 1


@pytest.mark.parametrize(
    ("section", "line", "cause"),
    [
        # An option that Manila reads when it is imported.
        (
            "DEFAULT",
            "osapi_max_limit = many",
            "invalid literal for int() with base 10: 'many'; use a number",
        ),
        # An option of the process manila-api.
        (
            "DEFAULT",
            "osapi_share_listen_port = 99999",
            "Should be less than or equal to 65535; use 65535 or less",
        ),
        # Options of a driver, whose module is not imported.
        (
            "lvm",
            "lvm_share_mirrors = '1 copy'",
            "invalid literal for int() with base 10: '1 copy'; use 1",
        ),
        (
            "DEFAULT",
            "driver_handles_share_servers = perhaps",
            "Unexpected boolean value 'perhaps'; use True or False",
        ),
    ],
)
def test_a_value_that_an_option_of_manila_rejects_is_one_problem(
    valid: Path, section: str, line: str, cause: str
) -> None:
    text = (valid / "manila.conf").read_text("utf-8")
    text = text.replace(f"[{section}]", f"[{section}]\n{line}")
    (valid / "manila.conf").write_text(text, "utf-8")
    (found,) = problems(check(valid, "--config-file", "manila.conf"))
    assert found.startswith(f"problem: [{section}] {line}: {cause}")


def test_valid_values_of_manila_and_of_drivers_are_accepted(valid: Path) -> None:
    text = (valid / "manila.conf").read_text("utf-8")
    numbers = "lvm_share_mirrors = '1'\nreserved_share_percentage = $max_gigabytes"
    text = text.replace("[lvm]", f"[lvm]\n{numbers}")
    (valid / "manila.conf").write_text(text, "utf-8")
    assert problems(check(valid, "--config-file", "manila.conf")) == []


def test_the_options_of_manila_are_found_in_its_source() -> None:
    opts = pytest.importorskip("manila.opts")
    kinds = (cfg.BoolOpt, cfg.FloatOpt, cfg.IntOpt, cfg.PortOpt)
    seen = 0
    for group, options in opts.list_opts():
        for option in options:
            # The options of keystoneauth are in groups of their own.
            if group is not None or not isinstance(option, kinds):
                continue
            seen += 1
            found = manila_source.options_named(option.name)
            same = [
                other
                for other in found
                if type(other) is type(option) and other.type == option.type
            ]
            assert same, option.name
    assert seen > 100


@pytest.mark.parametrize("option", ["lvm_share_export_root", "no_such_option"])
def test_a_value_may_refer_to_an_option_of_a_driver(valid: Path, option: str) -> None:
    text = (valid / "manila.conf").read_text("utf-8")
    text = text.replace(", name=my_hooks:NameHook", "")
    text = text.replace("$state_path/", f"${option}/")
    text = text.replace("[lvm]", f"lvm_share_export_root = {valid}\n[lvm]", 1)
    (valid / "manila.conf").write_text(text, "utf-8")
    found = problems(check(valid, "--config-file", "manila.conf"))
    assert ["no such option" in text for text in found] == [True] * (
        option == "no_such_option"
    )


@pytest.mark.parametrize(("interval", "spacing"), [(0, 60), (-1, None), (7, 7)])
def test_oslo_service_replaces_zero_and_disables_negative_intervals(
    interval: int, spacing: int | None
) -> None:
    class Tasks(periodic_task.PeriodicTasks):
        @periodic_task.periodic_task(spacing=interval)
        def tick(self, context: Any) -> None: ...

    assert Tasks._periodic_spacing.get("tick") == spacing
