# SPDX-License-Identifier: Apache-2.0
"""The files that ``manila-aspects check`` reads, and what it takes for its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from oslo_config import cfg

from aspects.cli.check import facts
from tests.support.entries import recording

from .common import HOOKS, MANAGER, RIGHT, SWITCH, Check, row


class TestFiles:
    def test_a_file_that_is_not_there(self, run: Check) -> None:
        told = run(None, "--config-file", "none.conf")
        assert told.problems == ["none.conf: No such file or directory"]
        assert (told.status, told.err) == (1, "")

    def test_a_directory_for_a_file(self, run: Check, tmp_path: Path) -> None:
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
            "none.d: it is no directory",
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
        (tmp_path / "more.conf").write_text("[alpha:one]\ncolor = blue\n")
        (tmp_path / "more.d").mkdir()
        (tmp_path / "more.d" / "a.conf").write_text("[alpha]\ndepth = 7\n\n[alpha:one]")
        told = run(
            RIGHT.replace(SWITCH, f"{SWITCH}\ncolor = green"),
            "--config-file",
            "more.conf",
            "--config-dir",
            str(tmp_path / "more.d"),
        )
        assert told.problems == []
        assert row(told, "one", "color") == ["blue", "alpha:one", "more.conf:2"]
        assert row(told, "one", "depth") == [
            "7",
            "alpha",
            f"{tmp_path}/more.d/a.conf:2",
        ]
        assert row(told, "one", SWITCH.split()[0]) == ["True", "alpha", "manila.conf:8"]

    @pytest.mark.parametrize("last", ["manila.conf", "more.d/a.conf"])
    def test_of_files_and_directories_the_last_one_counts(
        self, run: Check, tmp_path: Path, last: str
    ) -> None:
        (tmp_path / "more.d").mkdir()
        (tmp_path / "more.d" / "a.conf").write_text("[alpha:one]\ncolor = blue\n")
        (tmp_path / "manila.conf").write_text(RIGHT)
        sources = [["--config-dir", "more.d"], ["--config-file", "manila.conf"]]
        if last != "manila.conf":
            sources.reverse()
        told = run(None, *sources[0], *sources[1])
        assert told.problems == []
        assert told.out.splitlines()[-1].endswith(last)
        color = "red" if last == "manila.conf" else "blue"
        (found,) = [line for line in told.out.splitlines() if "  color" in line]
        assert found.split()[2] == color
        assert found.rpartition(":")[0].endswith(last)

    def test_the_directories_of_manila_share_count_less(
        self, run: Check, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "default.d").mkdir()
        (tmp_path / "default.d" / "a.conf").write_text(
            "[alpha]\ndepth = 7\n[alpha:one]\ncolor = blue\n"
        )
        found = [str(tmp_path / "default.d")]
        monkeypatch.setattr(cfg, "find_config_dirs", lambda *given: found)
        told = run(RIGHT)
        assert row(told, "one", "depth")[0] == "7"
        assert row(told, "one", "color")[0] == "red"

    def test_the_environment_counts_most(
        self, run: Check, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OS_ALPHA__DEPTH", "9")
        told = run(RIGHT.replace(SWITCH, f"{SWITCH}\ndepth = 8"))
        assert row(told, "one", "depth") == ["9", "alpha", "OS_ALPHA__DEPTH"]


class TestWarnings:
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
