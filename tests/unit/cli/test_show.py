# SPDX-License-Identifier: Apache-2.0
"""``manila-aspects show``: the installed hooks, the operations."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from aspects import cli
from aspects.operations import OPERATIONS

Show = Callable[..., str]

MODULE = '''
from oslo_config import cfg

import aspects


class Mine(aspects.HookBase):
    """Do what is mine.

    And nothing else.
    """

    options = (
        cfg.FloatOpt("mine_seconds", default=1.5, min=0, help="How long\\nit takes."),
        cfg.ListOpt("mine_names", default=["a", "b"], mutable=True),
        cfg.StrOpt("mine_key", default="hunter2", secret=True),
    )
'''

ENTRY_POINTS = """
[manila_aspects.hooks]
mine = their_hooks:Mine
lost = their_hooks:Lost
needs = they_need_a_library:Hook
"""


@pytest.fixture
def show(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Show:
    """Return what runs the command and returns what it prints."""
    # Another distribution than ours, as pip would install it.
    about = tmp_path / "theirs-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1\n")
    (about / "entry_points.txt").write_text(ENTRY_POINTS)
    (tmp_path / "their_hooks.py").write_text(MODULE)
    (tmp_path / "they_need_a_library.py").write_text("import a_library_of_nobody")
    monkeypatch.syspath_prepend(tmp_path)

    def show(*arguments: str) -> str:
        assert cli.main(["show", *arguments]) == 0
        out, err = capsys.readouterr()
        assert err == ""
        return out

    yield show
    sys.modules.pop("their_hooks", None)


def block(out: str, title: str) -> list[str]:
    """Return the lines of the table of a title."""
    (found,) = [part for part in out.split("\n\n") if part.startswith(title)]
    return [line.strip() for line in found.splitlines()][1:]


class TestHooks:
    def test_a_hook_of_somebody_else(self, show: Show) -> None:
        text, head, *rows = block(show("hooks"), "mine (their_hooks:Mine)\n")
        assert text == "Do what is mine."
        assert head.split() == ["option", "type", "default", "mutable", "help"]
        assert [row.split() for row in rows] == [
            [
                "mine_seconds",
                "Float(min=0)",
                "1.5",
                "no",
                *("How", "long", "it", "takes."),
            ],
            ["mine_names", "List", "of", "String", "a,", "b", "yes"],
            ["mine_key", "String", "***", "no"],
        ]

    def test_the_columns_are_below_each_other(self, show: Show) -> None:
        _, head, *rows = block(show("hooks"), "every hook")
        at = head.index("mutable")
        assert {row[at : at + 4].strip() for row in rows} <= {"yes", "no"}

    def test_a_ready_hook(self, show: Show) -> None:
        text, _, *rows = block(show("hooks"), "audit (hooks.audit:AuditHook)")
        assert text == "Append a JSON line to a file for each join point, when it ends."
        assert "audit_log_path" in [row.split()[0] for row in rows]

    def test_what_each_hook_has(self, show: Show) -> None:
        _, _, *rows = block(show("hooks"), "every hook")
        names = [row.split()[0] for row in rows]
        assert {"enable_pre_hooks", "hook_operations", "hook_dispatch"} <= set(names)

    def test_a_hook_that_cannot_be_imported(
        self, show: Show, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "hooks.audit", None)
        assert block(show("hooks"), "audit (hooks.audit:AuditHook)") == [
            "cannot be imported: importing 'hooks.audit:AuditHook' failed: "
            "ModuleNotFoundError: import of hooks.audit halted; None in sys.modules: "
            "pip install 'manila-aspects[audit]'"
        ]

    def test_one_of_somebody_else_is_not_ours_to_install(self, show: Show) -> None:
        out = show("hooks")
        assert block(out, "needs (they_need_a_library:Hook)") == [
            "cannot be imported: importing 'they_need_a_library:Hook' failed: "
            "ModuleNotFoundError: No module named 'a_library_of_nobody': install it "
            f"in the Python of {sys.prefix}"
        ]
        assert block(out, "lost (their_hooks:Lost)") == [
            "cannot be imported: importing 'their_hooks:Lost' failed: "
            "AttributeError: module 'their_hooks' has no attribute 'Lost'"
        ]


class Base:
    def create_share(self, context, share):
        return "base"

    def delete_share(self, context, share):
        raise NotImplementedError

    def extend_share(self, share, new_size):
        """Extend a share."""
        raise NotImplementedError()

    def shrink_share(self, share, new_size):
        if new_size:
            raise NotImplementedError()


class Driver(Base):
    def update_access(self, context, share, access_rules, add_rules, delete_rules):
        return {}

    def create_share_from_snapshot(self, context, share, snapshot):
        return "derived"

    do_setup = None


class TestOperations:
    def test_the_table(self, show: Show) -> None:
        _, _, *rows = block(show("operations"), "operations")
        assert [row.split()[0] for row in rows] == list(OPERATIONS)
        (row,) = [row for row in rows if row.startswith("create_share_instance")]
        methods = row.split(maxsplit=1)[1]
        assert methods == (
            "create_share_instance, create_share, create_share_from_snapshot"
        )

    def test_of_a_driver(self, show: Show) -> None:
        path = f"{__name__}.Driver"
        out = show("operations", "--driver", path)
        _, _, *rows = block(out, path)
        assert [row.split(maxsplit=2) for row in rows] == [
            ["allow_access", "update_access", "Driver"],
            ["deny_access", "update_access", "Driver"],
            ["create_share_instance", "create_share", "Base"],
            ["create_share_instance", "create_share_from_snapshot", "Driver"],
            ["delete_share_instance", "delete_share", "Base, not implemented"],
            ["extend_share", "extend_share", "Base, not implemented"],
            ["shrink_share", "shrink_share", "Base"],
            ["update_access", "update_access", "Driver"],
        ]
        (lacks,) = block(out, "lacks")
        assert lacks.split(", ") == [
            operation
            for operation in OPERATIONS
            if operation
            not in (
                *("allow_access", "deny_access", "update_access"),
                *("create_share_instance", "shrink_share"),
            )
        ]

    @pytest.mark.parametrize(
        ("path", "cause"),
        [
            (
                "Driver",
                "it is no path.to.Class: write its module and its class, with a dot "
                "between them",
            ),
            (
                f"{__name__}:Driver",
                f"it is no path.to.Class: write {__name__}.Driver",
            ),
            (
                "no.such.Driver",
                "there is no module 'no': install it in the Python of {prefix}",
            ),
            (
                "tests.support.entries.recordin.Driver",
                "there is no module 'tests.support.entries.recordin': write "
                "tests.support.entries.recording",
            ),
            (
                f"{__name__}.Drivr",
                f"module '{__name__}' has no class 'Drivr': write Driver",
            ),
            (f"{__name__}.MODULE", "it is a str, not a class"),
            (
                "tests.support.entries.fails_with_two_lines.Driver",
                "importing 'tests.support.entries.fails_with_two_lines' failed: "
                "RuntimeError: the license has run out",
            ),
            (
                "tests.support.entries.lacks_library.Driver",
                "importing 'tests.support.entries.lacks_library' failed: "
                "ModuleNotFoundError: No module named 'a_library_that_is_not_installed': "
                "install it in the Python of {prefix}",
            ),
        ],
    )
    def test_of_what_is_no_driver(
        self, path: str, cause: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert cli.main(["show", "operations", "--driver", path]) == 1
        out, err = capsys.readouterr()
        cause = cause.replace("{prefix}", sys.prefix)
        assert (out, err) == ("", f"manila-aspects: --driver {path}: {cause}\n")
