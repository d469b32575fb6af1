# SPDX-License-Identifier: Apache-2.0
"""Test which files and options ``manila-aspects check`` reads."""

from __future__ import annotations

from pathlib import Path

import pytest
from oslo_config import cfg

from aspects.cli.check import manila_source
from tests.support.entries import recording

from .common import HOOKS, MANAGER, RIGHT, SWITCH, Check, row


class TestFiles:
    def test_a_missing_file_is_a_problem(self, run: Check) -> None:
        result = run(None, "--config-file", "none.conf")
        assert result.problems == ["none.conf: No such file or directory"]
        assert (result.status, result.err) == (1, "")

    def test_a_directory_instead_of_a_file_is_a_problem(
        self, run: Check, tmp_path: Path
    ) -> None:
        result = run(None, "--config-file", str(tmp_path))
        assert result.problems == [f"{tmp_path}: Is a directory"]

    def test_an_unreadable_file_is_a_problem(
        self, run: Check, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # The mode of the file would not stop root from reading it.
        def denied(path: Path) -> bytes:
            raise PermissionError(13, "Permission denied", str(path))

        monkeypatch.setattr(Path, "read_bytes", denied)
        result = run(RIGHT)
        assert result.problems == ["manila.conf: Permission denied"]

    def test_an_option_before_any_section_is_a_problem_with_an_older_oslo_config(
        self, run: Check, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # oslo.config 9.4 fails to raise its own error.
        def parse(parser: cfg.ConfigParser) -> None:
            raise TypeError("expected string or bytes-like object, got 'NoneType'")

        monkeypatch.setattr(cfg.ConfigParser, "parse", parse)
        result = run("# A comment.\nhost = node1\n")
        assert result.problems == [
            "manila.conf:2: Section must be started before assignment; add [DEFAULT] "
            "above the line"
        ]

    def test_a_file_that_is_not_utf_8_is_a_problem(self, run: Check) -> None:
        result = run(RIGHT.replace("red", "ré").encode("latin-1"))
        assert result.problems == [
            "manila.conf:11: invalid UTF-8; save the file as UTF-8"
        ]

    def test_errors_in_several_files_are_all_reported(self, run: Check) -> None:
        result = run("wrong", "--config-file", "none.conf", "--config-dir", "none.d")
        assert result.problems == [
            "manila.conf:1: No ':' or '=' found in assignment; write option = value",
            "none.conf: No such file or directory",
            "none.d: not a directory",
        ]

    def test_no_configuration_is_an_error(
        self, run: Check, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(cfg, "find_config_files", lambda *given: [])
        monkeypatch.setattr(cfg, "find_config_dirs", lambda *given: [])
        result = run(None)
        assert result.err == (
            "manila-aspects: no configuration found; specify one with --config-file\n"
        )
        assert result.status == 1

    def test_the_default_files_are_those_of_manila_share(
        self, run: Check, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / ".manila").mkdir()
        (tmp_path / ".manila" / "manila.conf").write_text(RIGHT)
        (tmp_path / ".manila" / "manila-share.conf").write_text(
            "[alpha]\nenable_periodic_hooks = True\n"
        )
        monkeypatch.setenv("HOME", str(tmp_path))
        result = run(None)
        assert result.problems == []
        assert "pre, periodic" in result.out

    def test_later_files_take_precedence(self, run: Check, tmp_path: Path) -> None:
        (tmp_path / "more.conf").write_text("[alpha:one]\ncolor = blue\n")
        (tmp_path / "more.d").mkdir()
        (tmp_path / "more.d" / "a.conf").write_text("[alpha]\ndepth = 7\n\n[alpha:one]")
        result = run(
            RIGHT.replace(SWITCH, f"{SWITCH}\ncolor = green"),
            "--config-file",
            "more.conf",
            "--config-dir",
            str(tmp_path / "more.d"),
        )
        assert result.problems == []
        assert row(result, "one", "color") == ["blue", "alpha:one", "more.conf:2"]
        assert row(result, "one", "depth") == [
            "7",
            "alpha",
            f"{tmp_path}/more.d/a.conf:2",
        ]
        assert row(result, "one", SWITCH.split()[0]) == [
            "True",
            "alpha",
            "manila.conf:8",
        ]

    @pytest.mark.parametrize("last", ["manila.conf", "more.d/a.conf"])
    def test_the_last_file_or_directory_takes_precedence(
        self, run: Check, tmp_path: Path, last: str
    ) -> None:
        (tmp_path / "more.d").mkdir()
        (tmp_path / "more.d" / "a.conf").write_text("[alpha:one]\ncolor = blue\n")
        (tmp_path / "manila.conf").write_text(RIGHT)
        sources = [["--config-dir", "more.d"], ["--config-file", "manila.conf"]]
        if last != "manila.conf":
            sources.reverse()
        result = run(None, *sources[0], *sources[1])
        assert result.problems == []
        assert result.out.splitlines()[0].endswith(last)
        color = "red" if last == "manila.conf" else "blue"
        (found,) = [line for line in result.out.splitlines() if "  color" in line]
        assert found.split()[2] == color
        assert found.rpartition(":")[0].endswith(last)

    def test_the_command_line_takes_precedence_over_default_directories(
        self, run: Check, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "default.d").mkdir()
        (tmp_path / "default.d" / "a.conf").write_text(
            "[alpha]\ndepth = 7\n[alpha:one]\ncolor = blue\n"
        )
        found = [str(tmp_path / "default.d")]
        monkeypatch.setattr(cfg, "find_config_dirs", lambda *given: found)
        result = run(RIGHT)
        assert row(result, "one", "depth")[0] == "7"
        assert row(result, "one", "color")[0] == "red"

    def test_the_environment_takes_precedence_over_files(
        self, run: Check, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OS_ALPHA__DEPTH", "9")
        result = run(RIGHT.replace(SWITCH, f"{SWITCH}\ndepth = 8"))
        assert row(result, "one", "depth") == ["9", "alpha", "OS_ALPHA__DEPTH"]


class TestForeignOptions:
    def test_sections_and_options_of_manila_and_drivers_are_not_reported(
        self, run: Check
    ) -> None:
        others = (
            "[neutron]\nurl = a\n[net_alpha]\nplugin = b\n"
            "[alpha_one]\nshare_driver = c\n"
        )
        of_manila = (
            "periodic_interval = 60\nenabled_share_protocols = NFS\nhostname = a"
        )
        text = RIGHT.replace(MANAGER, f"{MANAGER}\n{of_manila}") + others
        of_driver = "lvm_share_volume_group = x\nlvm_share_volume_group = y"
        text = text.replace(SWITCH, f"{SWITCH}\n{of_driver}")
        result = run(text + "[neutron]\nurl = b\n")
        assert result.problems == result.warnings == []

    def test_a_manila_option_that_resembles_a_hook_option_is_not_reported(
        self, run: Check, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        text = RIGHT.replace(MANAGER, f"{MANAGER}\nfailingg = 1")
        assert len(run(text).problems) == 1

        source = 'options = [cfg.StrOpt("failingg", default="a")]'
        monkeypatch.setattr(manila_source, "sources", lambda: (source,))
        assert run(text).problems == []

    def test_a_subclass_of_the_share_manager_is_accepted(
        self, run: Check, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        base = type("ShareManager", (), {"__module__": "aspects.manila"})
        monkeypatch.setattr(recording, "Manager", type("Manager", (base,), {}), False)
        result = run(RIGHT.replace(MANAGER, f"share_manager = {HOOKS}.Manager"))
        assert result.problems == []
