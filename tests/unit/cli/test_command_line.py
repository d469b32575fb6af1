# SPDX-License-Identifier: Apache-2.0
"""Test the command line: help, completion, colors, exit status and new-hook."""

from __future__ import annotations

import argparse
import importlib.metadata
import io
import os
import pty
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import rich.console
from oslo_config import cfg

import aspects
from aspects import cli
from aspects.cli import new_hook, output

COMMAND = [sys.executable, "-m", "aspects.cli"]

ROOT = Path(aspects.__file__).parents[1]


def environment(**more: str) -> dict[str, str]:
    """Return the environment variables of a terminal with colors."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    without = ("NO_COLOR", "FORCE_COLOR", "PYTHONUNBUFFERED")
    plain = {k: v for k, v in os.environ.items() if k not in without}
    return {**plain, "TERM": "xterm-256color", "PYTHONPATH": path, **more}


def on_a_terminal(*command: str, **more: str) -> str:
    """Run a command in a pseudo-terminal and return its output."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=slave,
        stderr=slave,
        env=environment(**more),
    )
    os.close(slave)
    out = b""
    try:
        while data := os.read(master, 65536):
            out += data
    except OSError:
        # Linux raises this once the last process has closed the terminal.
        pass
    finally:
        os.close(master)
        process.wait(60)
    assert process.returncode == 0, out.decode()
    return out.decode().replace("\r\n", "\n")


def parsers(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    """Return the parsers of all subcommands."""
    found = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for subparser in action.choices.values():
                found += [subparser, *parsers(subparser)]
    return found


def exits(capsys: pytest.CaptureFixture[str], status: int, *arguments: str) -> Any:
    """Run the command, and return its output once it has exited with a status."""
    with pytest.raises(SystemExit) as exited:
        cli.main([*arguments])
    assert exited.value.code == status
    return capsys.readouterr()


class TestHelp:
    @pytest.mark.parametrize("parser", parsers(cli.make_parser()), ids=lambda p: p.prog)
    def test_the_examples_in_the_help_are_valid(
        self, parser: argparse.ArgumentParser
    ) -> None:
        help = parser.format_help()
        examples = help.partition("examples:\n")[2].splitlines()
        assert examples
        for example in examples:
            words = shlex.split(re.split(" [>|] ", example)[0])
            assert words[0] == "manila-aspects"
            assert example.strip().startswith(parser.prog)
            cli.make_parser().parse_args(words[1:])
        assert max(map(len, help.splitlines())) <= 80

    def test_the_help_lists_all_commands(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        out = exits(capsys, 0, "--help").out
        for command in ("check", "outbox", "show", "new-hook", "demo", "completion"):
            assert re.search(rf"^    {command}\b", out, re.M)

    def test_an_unknown_command_is_a_usage_error(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert "invalid choice: 'chekc'" in exits(capsys, 2, "chekc").err


class TestVersion:
    def test_the_version_is_that_of_the_installed_package(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        version = importlib.metadata.version("manila-aspects")
        out = exits(capsys, 0, "--version").out
        assert out == f"manila-aspects {version}\n"

    def test_the_version_of_an_uninstalled_source_tree_is_not_known(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def not_found(name: str) -> str:
            raise importlib.metadata.PackageNotFoundError(name)

        monkeypatch.setattr(importlib.metadata, "version", not_found)
        out = exits(capsys, 0, "--version").out
        assert out == "manila-aspects (not installed)\n"


class TestCompletion:
    def script(self, shell: str, capsys: pytest.CaptureFixture[str]) -> str:
        assert cli.main(["completion", shell]) == 0
        return capsys.readouterr().out

    def complete_in_bash(
        self, words: list[str], directory: Path, script: str, **variables: str
    ) -> tuple[set[str], str]:
        """Return the completions of the last word, and the errors that bash prints."""
        (directory / "completion").write_text(script)
        line = ["manila-aspects", *words]
        code = (
            "source ./completion\n"
            "read -r _ _ function _ < <(complete -p manila-aspects"
            " | sed 's/.*-F/complete -F/')\n"
            f"COMP_WORDS=({' '.join(map(shlex.quote, line))}); "
            f"COMP_CWORD={len(line) - 1}\n"
            '"$function" manila-aspects "${COMP_WORDS[COMP_CWORD]}"'
            ' "${COMP_WORDS[COMP_CWORD-1]}"\n'
            "printf '%s\\n' \"${COMPREPLY[@]}\""
        )
        done = subprocess.run(
            ["bash", "-c", code],
            cwd=directory,
            env=environment(**variables),
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        found = {word.strip().rstrip("/") for word in done.stdout.splitlines()}
        return found - {"-h", "--help", ""}, done.stderr

    @pytest.mark.parametrize(
        ("words", "completed"),
        [
            (["ch"], ["check"]),
            (["show", ""], ["hooks", "operations"]),
            (["check", "--config"], ["--config-file", "--config-dir"]),
            (["check", "--format", ""], ["text", "json"]),
            (["completion", ""], ["bash", "zsh", "fish"]),
            (["outbox", ""], ["status", "list", "show", "retry", "discard"]),
            (["outbox", "discard", "--a"], ["--all"]),
            (["outbox", "list", "--state", ""], ["waiting", "dead"]),
            (["outbox", "status", "--config-file", "man"], ["manila.conf"]),
            (["check", "--config-file", "man"], ["manila.conf"]),
            (["new-hook", "--directory", "dir"], ["directory"]),
        ],
    )
    def test_bash_completes(
        self,
        words: list[str],
        completed: list[str],
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        (tmp_path / "manila.conf").touch()
        (tmp_path / "directory").mkdir()
        script = self.script("bash", capsys)
        found, errors = self.complete_in_bash(words, tmp_path, script)
        assert found == set(completed), errors

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("words", "completed"),
        [
            (["check", "--config-file", "my.conf", "--backend", ""], ["alpha", "beta"]),
            (["check", "--config-file", "my.conf", "--backend", "b"], ["beta"]),
            # The default file in the home directory.
            (["check", "--backend", ""], ["gamma"]),
            (["check", "--config-file", "missing.conf", "--backend", ""], []),
            (["check", "--config-file", "invalid.conf", "--backend", ""], []),
            (
                ["outbox", "retry", "--config-file", "my.conf", "--instance", ""],
                ["alpha.ops"],
            ),
        ],
    )
    def test_bash_completes_names_in_the_configuration(
        self,
        words: list[str],
        completed: list[str],
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        # A shell must not execute the name of a backend.
        backends = "enabled_share_backends = alpha, beta, `touch executed`"
        hooks = (
            "hook_drivers = ops=webhook, audit\n[alpha:ops]\nhook_dispatch = durable"
        )
        (tmp_path / "my.conf").write_text(f"[DEFAULT]\n{backends}\n[alpha]\n{hooks}\n")
        (tmp_path / "invalid.conf").write_text("[DEFAULT\n")
        (tmp_path / ".manila").mkdir()
        (tmp_path / ".manila" / "manila.conf").write_text(
            "[DEFAULT]\nenabled_share_backends = gamma\n"
        )
        program = tmp_path / "bin" / "manila-aspects"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nexec {shlex.join(COMMAND)} "$@"\n')
        program.chmod(0o755)
        found, errors = self.complete_in_bash(
            words,
            tmp_path,
            self.script("bash", capsys),
            HOME=str(tmp_path),
            PATH=f"{program.parent}{os.pathsep}{os.environ['PATH']}",
        )
        assert found - {"`touch executed`"} == set(completed)
        assert errors == ""
        assert not (tmp_path / "executed").exists()

    def test_without_a_configuration_no_backends_are_listed(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(cfg, "find_config_files", lambda *names: [])
        monkeypatch.setattr(cfg, "find_config_dirs", lambda *names: [])
        assert cli.main(["check", "--list-backends"]) == 0
        assert capsys.readouterr() == ("", "")

    @pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
    def test_the_script_has_valid_syntax(
        self, shell: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        text = self.script(shell, capsys)
        assert "manila-aspects" in text
        if program := shutil.which(shell):
            file = tmp_path / "completion"
            file.write_text(text)
            subprocess.run([program, "-n", str(file)], timeout=60, check=True)

    def test_completion_without_shtab_is_an_error(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setitem(sys.modules, "shtab", None)
        assert cli.main(["completion", "bash"]) == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert err.endswith("; run pip install 'manila-aspects[cli]'\n")
        assert err.count("\n") == 1


@pytest.mark.slow
class TestScreen:
    CYAN = "\x1b[36m"

    def test_output_on_a_terminal_has_colors(self) -> None:
        out = on_a_terminal(*COMMAND, "show", "operations")
        assert self.CYAN in out

    def test_no_color_disables_colors(self) -> None:
        out = on_a_terminal(*COMMAND, "show", "operations", NO_COLOR="1")
        assert "create_share_instance" in out
        assert not re.search(r"\x1b\[[0-9;]*3[0-9]", out)

    def test_output_to_a_file_is_plain_text(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert cli.main(["show", "operations"]) == 0
        out = capsys.readouterr().out
        assert "\x1b" not in out
        # Long lines are not truncated.
        assert "manage_existing, manage_existing_with_server" in out

    def test_output_without_rich_is_plain_text(self) -> None:
        code = (
            "import sys; sys.modules['rich'] = None\n"
            "from aspects import cli; sys.exit(cli.main(['show', 'operations']))"
        )
        out = on_a_terminal(sys.executable, "-c", code)
        assert "\x1b" not in out
        assert "manage_existing, manage_existing_with_server\n" in out

    def test_slow_steps_show_progress_on_a_terminal_only(self) -> None:
        command = [*COMMAND, "show", "operations", "--driver", f"{__name__}.TestExit"]
        assert f"importing {__name__}.TestExit" in on_a_terminal(*command)
        done = subprocess.run(
            command,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert "importing" not in done.stdout + done.stderr

    def test_problems_are_red(self, tmp_path: Path) -> None:
        file = tmp_path / "manila.conf"
        file.write_text(
            "[DEFAULT]\nenabled_share_backends = alpha\n"
            "[alpha]\nshare_driver = no.such.Driver\n"
        )
        code = (
            "import sys; from aspects import cli\n"
            f"sys.exit(not cli.main(['check', '--config-file', {str(file)!r}]))"
        )
        out = on_a_terminal(sys.executable, "-c", code)
        # rich must not interpret [alpha] as markup.
        assert "\x1b[31mproblem: [alpha] share_driver = no.such.Driver: " in out

    @pytest.mark.parametrize("width", [20, 40, 80])
    def test_no_word_is_broken_on_a_narrow_terminal(self, width: int) -> None:
        words = ["hooks.metrics:MetricsHook", "/var/log/manila/audit.log:12345"]
        table = output.Table("title", "a " * 60, ("name", "value"), [(*words,)] * 2)
        stream = io.StringIO()
        console = rich.console.Console(file=stream, width=width)
        output._print_rich(console, table)
        out = stream.getvalue()
        assert [out.count(word) for word in words] == [2, 2]
        assert all(
            len(line) <= width or len(line.split()) <= 2 for line in out.splitlines()
        )

    def test_output_of_an_imported_module_does_not_reach_stdout(
        self, tmp_path: Path
    ) -> None:
        (tmp_path / "loud.py").write_text(
            "import logging, warnings\n"
            "warnings.warn('deprecated')\n"
            "logging.getLogger(__name__).warning('unexpected')\n"
            "print('hello')\n"
            "class Driver:\n"
            "    def create_share(self): pass\n"
        )
        done = subprocess.run(
            [*COMMAND, "show", "operations", "--driver", "loud.Driver"],
            cwd=tmp_path,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert done.stdout.startswith("loud.Driver\n")
        assert done.stderr == printed_on_import() + "hello\n"


def printed_on_import() -> str:
    """Return the deprecation warning that eventlet prints when it is imported."""
    done = subprocess.run(
        [sys.executable, "-c", "import aspects"],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stderr


class TestExit:
    @pytest.mark.slow
    def test_a_closed_pipe_exits_without_a_traceback(self) -> None:
        process = subprocess.Popen(
            [*COMMAND, "show", "operations"],
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == printed_on_import()
        assert process.wait(60) == 1

    def test_ctrl_c_exits_with_130(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def interrupted(tables: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(output, "print_tables", interrupted)
        assert cli.main(["show", "operations"]) == 130
        assert capsys.readouterr().err == "manila-aspects: interrupted\n"


class TestNewHook:
    @pytest.mark.parametrize(
        ("name", "cause"),
        [
            *(
                (name, f"invalid hook name {name!r}; use letters, digits, - and _")
                for name in ("", "2nd", "a b", "größe", "-", "a-", "_a", "../a", "a.b")
            ),
            ("class", "invalid hook name 'class': it is a Python keyword"),
            *(
                (name, f"invalid hook name {name!r}: pip or pytest treats ")
                for name in ("setup", "conftest", "test-quota", "Setup")
            ),
            ("json", "invalid hook name 'json': module json already exists"),
            ("oslo-config", "module oslo_config already exists"),
            ("audit", "hook name 'audit' is taken by an installed hook, hooks.audit:A"),
            ("taken", "taken already exists"),
        ],
    )
    def test_an_invalid_name_is_an_error(
        self, name: str, cause: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "taken").mkdir()
        assert cli.main(["new-hook", "--directory", str(tmp_path), "--", name]) == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert cause in err
        assert err.startswith("manila-aspects: ")
        assert err.count("\n") == 1
        assert [path.name for path in tmp_path.iterdir()] == ["taken"]
        assert list((tmp_path / "taken").iterdir()) == []

    @pytest.mark.parametrize(
        ("name", "error"),
        [
            ("missing", "does not exist; create it first"),
            ("file", "is not a directory"),
        ],
    )
    def test_a_directory_that_does_not_exist_is_a_usage_error(
        self, name: str, error: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "file").touch()
        directory = str(tmp_path / name)
        with pytest.raises(SystemExit) as exited:
            cli.main(["new-hook", "mine", "--directory", directory])
        assert exited.value.code == 2
        assert f"argument --directory: '{directory}' {error}" in capsys.readouterr().err
        assert [path.name for path in tmp_path.iterdir()] == ["file"]

    def test_an_error_leaves_no_partial_package(
        self,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        # Simulates an error after some files are written, e.g. a full disk.
        monkeypatch.setitem(new_hook.FILES, "no_such_template", "last")
        assert cli.main(["new-hook", "mine", "--directory", str(tmp_path)]) == 1
        assert "no_such_template" in capsys.readouterr().err
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        ("name", "cls"),
        [
            ("hook-1", "Hook1"),
            ("hook_2fast", "Hook2fast"),
            ("v-2", "V2Hook"),
            ("hook", "Hook"),
            ("quota-hook", "QuotaHook"),
        ],
    )
    def test_the_class_name_is_derived_from_the_hook_name(
        self, name: str, cls: str, tmp_path: Path
    ) -> None:
        assert cli.main(["new-hook", name, "--directory", str(tmp_path)]) == 0
        for path in (tmp_path / name).glob("*.py"):
            compile(path.read_text("utf-8"), str(path), "exec")
        source = (tmp_path / name / f"{name.replace('-', '_')}.py").read_text("utf-8")
        assert f"class {cls}(aspects.HookBase)" in source

    def test_the_package_has_all_files(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        directory = tmp_path
        assert cli.main(["new-hook", "my-quota", "--directory", str(directory)]) == 0
        out = capsys.readouterr().out
        files = {path.name for path in (directory / "my-quota").iterdir()}
        assert files == {
            *("README.rst", "demo.conf", "manila.conf.sample", "my_quota.py"),
            *("pyproject.toml", "test_my_quota.py"),
        }
        for path in (directory / "my-quota").iterdir():
            assert str(path) in out
            assert "$" not in path.read_text("utf-8")
        assert "class MyQuotaHook(aspects.HookBase)" in (
            (directory / "my-quota" / "my_quota.py").read_text("utf-8")
        )
