# SPDX-License-Identifier: Apache-2.0
"""Provide helpers for the tests of ``manila-aspects check``, without Manila."""

from __future__ import annotations

from collections.abc import Callable

from tests.support.entries import recording

HOOKS = recording.__name__

RIGHT = f"""\
[DEFAULT]
enabled_share_backends = alpha
share_manager = aspects.manila.ShareManager

[alpha]
share_driver = {HOOKS}.Driver
hook_drivers = one={HOOKS}:Recorder
enable_pre_hooks = True

[alpha:one]
color = red
"""
#: A secret for configurations, which no output may contain.
SECRET = "hunter2-Zq9"

#: The files and sources of modules that fail on import. Linters would reject them in
#: the repository.
MODULES = {
    "site/native.cpython-39-x86_64-linux-gnu.so": "",
    "site/needs_native.py": "import native",
    "site/other_syntax.py": "async = 1",
    "site/round.py": "import round_about\n\nclass Hook: ...",
    "site/round_about.py": "from round import Hook",
    "just_here.py": "class Hook: ...",
}


class Factory:
    """A driver class that constructs an object of another class, like NetApp's."""

    def __new__(cls) -> object:
        """Return an object of another class."""
        return recording.Driver()


class CheckResult:
    """The exit status and the output of one run of the command."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status = status
        self.out = out
        self.err = err
        lines = [line.partition(": ") for line in out.splitlines()]
        self.problems = [text for kind, _, text in lines if kind == "problem"]
        self.warnings = [text for kind, _, text in lines if kind == "warning"]


Check = Callable[..., CheckResult]
MANAGER = "share_manager = aspects.manila.ShareManager"
SWITCH = "enable_pre_hooks = True"


def row(result: CheckResult, *begin: str) -> list[str]:
    """Return the cells of a table row, without its first cells, which identify it."""
    rows = [line.split() for line in result.out.splitlines()]
    (found,) = [cells for cells in rows if cells[: len(begin)] == list(begin)]
    return found[len(begin) :]
