# SPDX-License-Identifier: Apache-2.0
"""The command itself: its help, completion, colors, and how it ends."""

from __future__ import annotations

import argparse
import os
import pty
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import aspects
from aspects import cli
from aspects.cli import new_hook, output

COMMAND = [sys.executable, "-m", "aspects.cli"]

ROOT = Path(aspects.__file__).parents[1]


def environment(**more: str) -> dict[str, str]:
    """Return an environment of a terminal that has colors."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    without = ("NO_COLOR", "FORCE_COLOR", "PYTHONUNBUFFERED")
    plain = {k: v for k, v in os.environ.items() if k not in without}
    return {**plain, "TERM": "xterm-256color", "PYTHONPATH": path, **more}


def on_a_terminal(*command: str, **more: str) -> str:
    """Run a command on a terminal of its own and return what is on it."""
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
        # What a terminal says when the last process has left it.
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
            for each in action.choices.values():
                found += [each, *parsers(each)]
    return found


class TestHelp:
    @pytest.mark.parametrize("parser", parsers(cli.make_parser()), ids=lambda p: p.prog)
    def test_each_command_has_examples_that_are_right(
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

    def test_all_commands_are_told(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as ended:
            cli.main(["--help"])
        assert ended.value.code == 0
        out = capsys.readouterr().out
        for command in ("check", "show", "new-hook", "demo", "completion"):
            assert re.search(rf"^    {command}\b", out, re.M)

    def test_an_unknown_command_is_refused(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit) as ended:
            cli.main(["chekc"])
        assert ended.value.code == 2
        assert "invalid choice: 'chekc'" in capsys.readouterr().err


class TestCompletion:
    def script(self, shell: str, capsys: pytest.CaptureFixture[str]) -> str:
        assert cli.main(["completion", shell]) == 0
        return capsys.readouterr().out

    @pytest.mark.parametrize(
        ("words", "completed"),
        [
            (["ch"], ["check"]),
            (["show", ""], ["hooks", "operations"]),
            (["check", "--config"], ["--config-file", "--config-dir"]),
            (["check", "--format", ""], ["text", "json"]),
            (["completion", ""], ["bash", "zsh", "fish"]),
            (["check", "--config-file", "man"], ["manila.conf"]),
            (["new-hook", "--directory", "fol"], ["directory"]),
        ],
    )
    def test_bash_completes(
        self,
        words: list[str],
        completed: list[str],
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        (tmp_path / "completion").write_text(self.script("bash", capsys))
        (tmp_path / "manila.conf").touch()
        (tmp_path / "directory").mkdir()
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
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        found = {each.strip().rstrip("/") for each in done.stdout.splitlines()}
        assert found - {"-h", "--help", ""} == set(completed), done.stderr

    @pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
    def test_the_shell_takes_it(
        self, shell: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        text = self.script(shell, capsys)
        assert "manila-aspects" in text
        if program := shutil.which(shell):
            file = tmp_path / "completion"
            file.write_text(text)
            subprocess.run([program, "-n", str(file)], timeout=60, check=True)

    def test_without_the_library(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setitem(sys.modules, "shtab", None)
        assert cli.main(["completion", "bash"]) == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert err.endswith(": pip install 'manila-aspects[cli]'\n")
        assert err.count("\n") == 1


@pytest.mark.slow
class TestScreen:
    CYAN = "\x1b[36m"

    def test_colors_on_a_terminal(self) -> None:
        out = on_a_terminal(*COMMAND, "show", "operations")
        assert self.CYAN in out

    def test_no_color_where_none_is_wanted(self) -> None:
        out = on_a_terminal(*COMMAND, "show", "operations", NO_COLOR="1")
        assert "create_share_instance" in out
        assert not re.search(r"\x1b\[[0-9;]*3[0-9]", out)

    def test_plain_text_where_there_is_no_terminal(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert cli.main(["show", "operations"]) == 0
        out = capsys.readouterr().out
        assert "\x1b" not in out
        # Nothing is cut, however long the lines are.
        assert "manage_existing, manage_existing_with_server" in out

    def test_plain_text_without_rich(self) -> None:
        code = (
            "import sys; sys.modules['rich'] = None\n"
            "from aspects import cli; sys.exit(cli.main(['show', 'operations']))"
        )
        out = on_a_terminal(sys.executable, "-c", code)
        assert "\x1b" not in out
        assert "manage_existing, manage_existing_with_server\n" in out

    def test_what_takes_its_time_is_told_on_a_terminal(self) -> None:
        command = [*COMMAND, "show", "operations", "--driver", f"{__name__}.TestEnd"]
        assert f"importing {__name__}.TestEnd" in on_a_terminal(*command)
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
        # Nor is [alpha] taken for markup.
        assert "\x1b[31mproblem: [alpha] share_driver = no.such.Driver: " in out

    def test_what_is_imported_is_not_in_the_way(self, tmp_path: Path) -> None:
        (tmp_path / "loud.py").write_text(
            "import logging, warnings\n"
            "warnings.warn('this is old')\n"
            "logging.getLogger(__name__).warning('this is strange')\n"
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
        assert done.stderr == said_on_import() + "hello\n"


def said_on_import() -> str:
    """Return what the libraries say when they are imported: eventlet, of its age."""
    done = subprocess.run(
        [sys.executable, "-c", "import aspects"],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stderr


class TestEnd:
    @pytest.mark.slow
    def test_what_is_read_no_more(self) -> None:
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
        assert process.stderr.read() == said_on_import()
        assert process.wait(60) == 1

    def test_ctrl_c(
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
                (name, "is no name for a hook: it has to be of letters, digits, - and")
                for name in ("", "2nd", "a b", "größe", "-", "a-", "_a", "../a", "a.b")
            ),
            ("class", "is no name for a hook: Python has that word"),
            *(
                (name, "is no name for a hook: pip or pytest has a use of its own for")
                for name in ("setup", "conftest", "test-quota", "Setup")
            ),
            ("json", "is no name for a hook: there is a module json"),
            ("oslo-config", "is no name for a hook: there is a module oslo_config"),
            ("audit", "there is an installed hook of that name: audit (hooks.audit:A"),
            ("taken", "there is a directory"),
        ],
    )
    def test_a_name_that_cannot_be(
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

    def test_a_directory_that_cannot_be_made(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "file").touch()
        directory = str(tmp_path / "file")
        assert cli.main(["new-hook", "mine", "--directory", directory]) == 1
        assert capsys.readouterr().err.count("\n") == 1

    def test_all_of_it_or_nothing(
        self,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        # In place of a disk that is full.
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
    def test_the_name_of_the_class(self, name: str, cls: str, tmp_path: Path) -> None:
        assert cli.main(["new-hook", name, "--directory", str(tmp_path)]) == 0
        for path in (tmp_path / name).glob("*.py"):
            compile(path.read_text("utf-8"), str(path), "exec")
        source = (tmp_path / name / f"{name.replace('-', '_')}.py").read_text("utf-8")
        assert f"class {cls}(aspects.HookBase)" in source

    def test_what_is_written(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        directory = tmp_path / "src"
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
