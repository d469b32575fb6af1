# SPDX-License-Identifier: Apache-2.0
"""Test the commands and the code of the README."""

from __future__ import annotations

import configparser
import re
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml
from oslo_config import cfg

import aspects
import hooks.audit
from aspects.testing import FakeDriver

ROOT = Path(__file__).parents[3]
README = (ROOT / "README.rst").read_text("utf-8")


def blocks(language: str) -> list[str]:
    found = re.findall(
        rf"^\.\. code-block:: {language}\n\n((?:    .*\n|\n)+)", README, re.MULTILINE
    )
    return [textwrap.dedent(block) for block in found]


def fake_driver() -> FakeDriver:
    return FakeDriver(delete_share="deleted")


def test_ci_runs_the_test_command() -> None:
    (command,) = re.findall(r"^    (python3 .*bin/tox)$", README, re.MULTILINE)
    assert command in (ROOT / ".ci" / "run").read_text("utf-8").splitlines()


def test_pre_commit_runs_what_tox_runs() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))
    (hook,) = (hook for repo in config["repos"] for hook in repo["hooks"])
    words = hook["entry"].split()
    # Not "tox exec", which leaves the package out that mypy needs.
    assert words[:2] == ["tox", "-q"]
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini", "utf-8")
    (environment,) = words[words.index("-e") + 1 :]
    assert environment in re.split(r"[,\s]+", tox["tox"]["env_list"])
    commands = tox[f"testenv:{environment}"]["commands"]
    for command in (
        "ruff check .",
        "ruff format --check .",
        "mypy aspects hooks tests/typing",
    ):
        assert command in commands.splitlines()
    assert not hook["pass_filenames"]


@pytest.fixture
def hook_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    freeze = tmp_path / "freeze"
    source = blocks("python")[0].replace("/etc/freeze", str(freeze))
    (tmp_path / "my_hooks.py").write_text(source, "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    import my_hooks

    yield my_hooks.FreezeHook, freeze
    monkeypatch.delitem(__import__("sys").modules, "my_hooks")


def test_the_hook_vetoes_deletes_while_the_file_exists(hook_class: Any) -> None:
    FreezeHook, freeze = hook_class
    names: dict[str, Any] = {
        "FreezeHook": FreezeHook,
        "driver": fake_driver(),
    }
    exec(blocks("python")[1], names)
    woven = names["woven"]
    aspects.weaving(woven).hooks[0].pre_hooks_enabled = True
    assert woven.delete_share(None, "share") == "deleted"
    freeze.touch()
    with pytest.raises(aspects.Veto):
        woven.delete_share(None, "share")


def test_the_configuration_weaves_both_hooks(hook_class: Any, tmp_path: Path) -> None:
    _, freeze = hook_class
    log = tmp_path / "audit.log"
    file = tmp_path / "manila.conf"
    section, _ = blocks("ini")
    file.write_text(section.replace("/var/log/manila/audit.log", str(log)), "utf-8")
    conf = cfg.ConfigOpts()
    conf(["--config-file", str(file)], default_config_files=[], default_config_dirs=[])
    configuration = aspects.BackendSection(conf, "alpha")
    woven = aspects.weave_from_config(fake_driver(), configuration, "node1@alpha")
    audit, freeze_hook = aspects.weaving(woven).hooks
    assert isinstance(audit, hooks.audit.AuditHook)
    assert (
        audit.suppress_post_hooks_errors,
        freeze_hook.suppress_post_hooks_errors,
    ) == (
        True,
        False,
    )
    freeze.touch()
    with pytest.raises(aspects.Veto):
        woven.delete_share(None, {"id": "1"})
    assert '"outcome": "veto"' in log.read_text("utf-8")
