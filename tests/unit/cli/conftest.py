# SPDX-License-Identifier: Apache-2.0
"""Provide fixtures for the tests of the command."""

from __future__ import annotations

from pathlib import Path

import pytest
from oslo_config import cfg

from aspects import cli
from aspects.cli.check import facts, manila_source

from .common import MODULES, Check, CheckResult


@pytest.fixture
def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Check:
    """Return a function that writes a configuration and checks it."""
    # The results must not depend on whether Manila is installed.
    monkeypatch.setattr(facts, "register_options_of_manila", lambda: None)
    monkeypatch.setattr(manila_source, "sources", tuple)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(Path(__file__).parents[3])
    monkeypatch.syspath_prepend(tmp_path / "site")
    (tmp_path / "site").mkdir()
    for name, source in MODULES.items():
        (tmp_path / name).write_text(source)

    def run(text: str | bytes | None, *arguments: str) -> CheckResult:
        monkeypatch.setattr(cfg, "CONF", cfg.ConfigOpts())
        amount = [] if "--quiet" in arguments else ["--verbose"]
        command = ["check", *amount, *arguments]
        if text is not None:
            data = text.encode() if isinstance(text, str) else text
            Path("manila.conf").write_bytes(data)
            command[1:1] = ["--config-file", "manila.conf"]
        status = cli.main(command)
        return CheckResult(status, *capsys.readouterr())

    return run
