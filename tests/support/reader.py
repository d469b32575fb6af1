# SPDX-License-Identifier: Apache-2.0
"""Try out the code blocks of a page of the documentation.

The blocks are tried in order, in one directory, by the rule for their language:

* ``python`` is executed, with the names of the earlier blocks, and a driver as
  ``driver``. With a caption it is a file of that name; ``test_*.py`` runs with pytest.
* ``ini`` is a ``manila.conf``. The hooks of its sections are created and woven, and
  every option must exist. With a caption it is a file of that name too.
* ``console``, and a block without a language, has commands. The programs and their
  options must exist. The output is not compared.
* ``sh``, ``yaml`` and ``json`` must be valid.

:data:`SKIPPED_BLOCKS` lists the exceptions; a block in any other language is an error.
"""

from __future__ import annotations

import functools
import importlib.metadata
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from oslo_config import cfg

import aspects
from aspects import cli
from aspects.config.options import section_options
from aspects.config.plan import plan
from aspects.config.weave import weave_plan
from aspects.operations import DRIVER
from aspects.requests import API, SECTION
from aspects.testing import FakeDriver

from .pages import ROOT, Block, blocks_of, commands_of

#: Page, first line of the block -> the reason to skip it.
SKIPPED_BLOCKS = {
    ("admin/deployment.rst", "[[local|localrc]]"): "a configuration of DevStack",
    ("reference/command.rst", "[DEFAULT]"): "has the mistakes that the page explains",
    ("reference/command.rst", "3 problems"): "output of the command",
    ("reference/command.rst", "backend alpha"): "output of the command",
    (
        "admin/hooks/automount.rst",
        "[DEFAULT]",
    ): "not a configuration of Manila: test_automount.py runs it",
    (
        "admin/hooks/webhook.rst",
        "package manila",
    ): "a policy for another program",
    (
        "admin/rules.rst",
        "$ manila-aspects guard test",
    ): "test_rule_docs.py runs it",
    (
        "admin/hooks/metrics.rst",
        "rate(manila_aspects_calls_total",
    ): "test_metrics.py sends the queries",
    ("admin/hooks/tracing.rst", "create_share_instance"): "a drawing",
    ("reference/command.rst", "outboxes"): "test_outbox.py checks the output",
    ("reference/secrets.rst", "password=s3cr3t"): "test_secrets.py tries each line",
    ("reference/secrets.rst", "password is wrong"): "test_secrets.py tries each line",
    ("reference/secrets.rst", "s3cr3t is not"): "test_secrets.py tries each line",
}

#: Page -> the test that runs its commands.
RUN_ELSEWHERE = {
    "user/tutorial.rst": "tests/functional/test_tutorial.py",
    "user/tutorial_rules.rst": "tests/functional/test_tutorial.py",
}

#: Module -> hooks: the hooks in examples that a reader would have written.
OWN_HOOKS = {
    "my_hooks": ["FreezeHook"],
    "my.package.hooks": ["QuotaHook"],
    "path.to": ["FooClass", "BarClass"],
}

#: Short name -> class: the hooks in examples that a reader would have installed.
OWN_NAMES = {"max-size": "max_size:MaxSizeHook"}

#: Manila's own options in the examples.
MANILA = {
    *("driver_handles_share_servers", "enabled_share_backends", "share_backend_name"),
    *("share_driver", "share_manager", "state_path"),
}

#: Programs of the system and of Manila, which are not checked.
SYSTEM = {
    *(".", "cd", "curl", "git", "grep", "kolla-ansible", "kolla-build"),
    *("manila-share", "sed", "sort", "sqlite3", "systemctl", "tee"),
}

#: Programs of Python packages, whose ``--help`` lists their options.
PYTHON = {
    *("manila-aspects-automount", "oslo-config-generator", "oslo-config-validator"),
    *("pip", "pytest", "python", "python3", "tox"),
}


def _method(self: Any, *args: Any, **kwargs: Any) -> None:
    """Do nothing."""


class Reader:
    """Tries out pages.

    :param directory: the working directory, from which modules can be imported
    :param monkeypatch: reverts the changes to the process
    """

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.directory = directory
        self.names: dict[str, Any] = {"__name__": "page", "driver": FakeDriver()}
        self._monkeypatch = monkeypatch
        monkeypatch.chdir(directory)
        monkeypatch.syspath_prepend(str(directory))
        for module, hooks in OWN_HOOKS.items():
            self._add_module(module, {name: _hook(name) for name in hooks})

    def follow(self, page: str) -> None:
        """Try out a page.

        :raises AssertionError: if a block does not work as shown
        """
        before = set(sys.modules)
        try:
            blocks = [block for block in blocks_of(page) if not is_skipped(block)]
            for block in blocks:
                # A page may show how a file is used before it shows the file.
                if block.caption and block.language == "python":
                    (self.directory / block.caption).write_text(block.text, "utf-8")
            for block in blocks:
                self.try_block(block)
        finally:
            # Unload modules of the directory, whose names another page may use again.
            for name in set(sys.modules) - before:
                file = getattr(sys.modules[name], "__file__", None) or ""
                if file.startswith(str(self.directory)):
                    del sys.modules[name]

    def try_block(self, block: Block) -> None:
        """Try out a block, by the rule for its language.

        :raises AssertionError: if a block does not work as shown
        """
        rules = {
            "": self.try_commands,
            "console": self.try_commands,
            "ini": self.try_ini,
            "json": self.try_json,
            "python": self.try_python,
            "sh": self.try_sh,
            "yaml": self.try_yaml,
        }
        assert block.language in rules, (
            f"{block.name}: no rule for {block.language!r}: see tests/support/reader.py"
        )
        try:
            rules[block.language](block)
        except Exception as error:
            raise AssertionError(
                f"{block.name}: {type(error).__name__}: {error}"
            ) from error

    # -- the rules -------------------------------------------------------------

    def try_python(self, block: Block) -> None:
        """Execute the block, or write it to a file, and run the tests in it."""
        if block.caption:
            file = self.directory / block.caption
            file.write_text(block.text + "\n", "utf-8")
            if file.name.startswith("test_"):
                _run(
                    sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", file
                )
            return
        exec(compile(block.text, block.name, "exec"), self.names)

    def try_ini(self, block: Block) -> None:
        """Create the hooks of its backends, and weave them."""
        file = self.directory / (block.caption or "manila.conf")
        file.write_text(self._with_own(block.text) + "\n", "utf-8")
        sections: dict[str, Any] = {}
        cfg.ConfigParser(str(file), sections).parse()
        backends = [name for name in sections if "hook_drivers" in sections[name]]
        assert backends, "no section has hook_drivers"
        for backend in backends:
            conf = cfg.ConfigOpts()
            conf(["--config-file", str(file)], project="manila", default_config_dirs=[])
            section = aspects.BackendSection(conf, backend)
            interface = API if backend == SECTION else DRIVER
            planned = plan(section, "node1@alpha", FakeDriver(), interface=interface)
            assert not planned.problems, "; ".join(map(str, planned.problems))
            woven = weave_plan(FakeDriver(), section, "node1@alpha", planned)
            assert len(aspects.weaving(woven).hooks) == len(planned.hooks) > 0
            known = {option.dest for option in section_options} | MANILA
            for instance in planned.sections:
                own = f"{backend}:{instance.name}"
                assert set(sections.pop(own, {})) <= set(instance.options), f"[{own}]"
                known |= set(instance.options)
            assert not (extra := set(sections[backend]) - known), (
                f"[{backend}]: {extra}"
            )
        # The sections that are left belong to unknown instances.
        assert not [name for name in sections if ":" in name]

    def try_commands(self, block: Block) -> None:
        """Check that the programs and their options exist."""
        if block.page in RUN_ELSEWHERE:
            return
        for line, _ in commands_of(block):
            for words in _simple_commands(line):
                _check(words)

    def try_sh(self, block: Block) -> None:
        """Check the syntax with the shell."""
        file = self.directory / "script"
        file.write_text(block.text + "\n", "utf-8")
        _run("sh", "-n", file)

    def try_yaml(self, block: Block) -> None:
        """Parse the block as YAML, and write it to a file if it has a name."""
        if block.caption:
            (self.directory / block.caption).write_text(block.text, "utf-8")
        assert isinstance(yaml.safe_load(block.text), (dict, list))

    def try_json(self, block: Block) -> None:
        """Parse the block as JSON."""
        json.loads(block.text)

    # -- files and modules of a reader -----------------------------------------

    def _add_module(self, name: str, names: dict[str, Any]) -> None:
        parent = name.rpartition(".")[0]
        if parent and parent not in sys.modules:
            self._add_module(parent, {})
        module = types.ModuleType(name)
        vars(module).update(names)
        self._monkeypatch.setitem(sys.modules, name, module)

    def _with_own(self, text: str) -> str:
        """Return a configuration with existing files, and the path of a hook."""
        for name, path in OWN_NAMES.items():
            text = text.replace(
                f"hook_drivers = {name}\n", f"hook_drivers = {name}={path}\n"
            )

        def own(found: re.Match[str]) -> str:
            file = self.directory / found[0].lstrip("/")
            file.parent.mkdir(parents=True, exist_ok=True)
            if found[1] == "etc" and not file.exists():
                _make(file)
            return str(file)

        return re.sub(r"(?<![\w/.])/(etc|var)/[\w./-]+", own, text)


def is_skipped(block: Block) -> bool:
    """Return whether a block is not tried out."""
    return any(
        block.page == page and block.text.startswith(first)
        for page, first in SKIPPED_BLOCKS
    )


def _make(file: Path) -> None:
    """Create a file that a reader's machine may have."""
    if file.suffix == ".pem":
        import certifi

        shutil.copy(certifi.where(), file)
    elif file.suffix == ".yaml":
        file.write_text("[]\n")
    else:
        file.write_text("#!/bin/sh\n")
        file.chmod(0o755)


def _hook(name: str) -> type:
    methods = dict.fromkeys(aspects.HookBase.__abstractmethods__, _method)
    return type(name, (aspects.HookBase,), methods)


# -- commands ------------------------------------------------------------------


def _simple_commands(line: str) -> Iterator[list[str]]:
    """Yield the words of each command of a line."""
    words: list[str] = []
    # Join continued lines, and remove redirections of the output.
    line = re.sub(r"\s>\s*\S+", "", line.replace("\\\n", " "))
    for word in [*shlex.shlex(line, posix=True, punctuation_chars=True), ";"]:
        if word in ("&&", "||", "|", ";", "&"):
            if words:
                yield words
            words = []
        # Skip variables of the environment, which come before the program.
        elif words or not re.fullmatch(r"[A-Z_]+=.*", word):
            words.append(word)


def _check(words: list[str]) -> None:
    """Check that a program and its options exist.

    :raises AssertionError: if one of them does not exist
    """
    program, *rest = words
    program = program.rpartition("/")[2]
    if program == "manila-aspects":
        # The parser checks more than the text of --help shows.
        try:
            cli.make_parser().parse_args(rest)
        except SystemExit:
            raise AssertionError(f"{shlex.join(words)}: no such arguments") from None
        return
    if program in SYSTEM:
        return
    assert program in PYTHON, f"no rule for the command {program}"
    command = [program]
    if program == "pip" or rest[:1] == ["-m"]:
        parts = 1 if program == "pip" else 2
        command, rest = [program, *rest[:parts]], rest[parts:]
    for name in rest:
        for extra in re.findall(r"\[([\w,]+)\]$", name):
            assert set(extra.split(",")) <= extras(), f"{name}: no such extra"
    options = [word.partition("=")[0] for word in rest if word.startswith("--")]
    if options:
        text = _help(*command)
        for option in options:
            assert option in text, f"{shlex.join(words)}: there is no {option}"


@functools.cache
def _help(program: str, *more: str) -> str:
    return _run(Path(sys.executable).with_name(program), *more, "--help", cwd=ROOT)


def _run(*command: str | Path, cwd: Path | None = None) -> str:
    done = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        # Loading plugins would take most of pytest's time.
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{command}:\n{done.stdout}{done.stderr}"
    return done.stdout


def extras() -> set[str]:
    """Return the extras of the project."""
    metadata = importlib.metadata.metadata("manila-aspects")
    return set(metadata.get_all("Provides-Extra") or ())
