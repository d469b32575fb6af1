# SPDX-License-Identifier: Apache-2.0
"""What several tests of ``manila-aspects check`` use, without Manila."""

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
#: In no output, wherever a configuration has it.
SECRET = "hunter2-Zq9"

#: Modules that cannot be imported, since they are not to stand in the tree.
MODULES = {
    "site/native.cpython-39-x86_64-linux-gnu.so": "",
    "site/needs_native.py": "import native",
    "site/other_syntax.py": "async = 1",
    "site/round.py": "import round_about\n\nclass Hook: ...",
    "site/round_about.py": "from round import Hook",
    "just_here.py": "class Hook: ...",
}


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
MANAGER = "share_manager = aspects.manila.ShareManager"
SWITCH = "enable_pre_hooks = True"


def row(told: Told, *begin: str) -> list[str]:
    """Return the rest of the row of a table that begins with some cells."""
    rows = [line.split() for line in told.out.splitlines()]
    (found,) = [cells for cells in rows if cells[: len(begin)] == list(begin)]
    return found[len(begin) :]
