# SPDX-License-Identifier: Apache-2.0
"""Test ``manila-aspects show``, which lists installed hooks and operations."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from aspects import cli
from aspects.operations import OPERATIONS
from aspects.requests import REQUESTS

Show = Callable[..., str]

MODULE = '''
from oslo_config import cfg

import aspects


class Sample(aspects.HookBase):
    """Do nothing.

    Only the summary is shown.
    """

    options = (
        cfg.FloatOpt("sample_seconds", default=1.5, min=0, help="Time to\\nwait."),
        cfg.ListOpt("sample_names", default=["a", "b"], mutable=True),
        cfg.StrOpt("sample_key", default="public", secret=True),
    )
'''

ENTRY_POINTS = """
[manila_aspects.hooks]
sample = foreign_hooks:Sample
lost = foreign_hooks:Lost
needs = foreign_hook_without_library:Hook
"""


@pytest.fixture
def show(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Show:
    """Return a function that runs the command and returns its output."""
    # The files that pip would install for another distribution.
    metadata = tmp_path / "foreign-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: foreign\nVersion: 1\n"
    )
    (metadata / "entry_points.txt").write_text(ENTRY_POINTS)
    (tmp_path / "foreign_hooks.py").write_text(MODULE)
    (tmp_path / "foreign_hook_without_library.py").write_text("import missing_library")
    monkeypatch.syspath_prepend(tmp_path)

    def show(*arguments: str) -> str:
        assert cli.main(["show", *arguments]) == 0
        out, err = capsys.readouterr()
        assert err == ""
        return out

    yield show
    sys.modules.pop("foreign_hooks", None)


def block(out: str, title: str) -> list[str]:
    """Return the lines of the table with a title, without the title."""
    (found,) = [part for part in out.split("\n\n") if part.startswith(title)]
    return [line.strip() for line in found.splitlines()][1:]


class TestHooks:
    @pytest.mark.parametrize("arguments", [["hooks"], ["hooks", "sample"]])
    def test_a_hook_is_shown_with_its_summary_and_options(
        self, show: Show, arguments: list[str]
    ) -> None:
        title = "sample (foreign_hooks:Sample)\n"
        text, head, *rows = block(show(*arguments), title)
        assert text == "Do nothing."
        assert head.split() == ["option", "type", "default", "mutable", "help"]
        assert [row.split() for row in rows] == [
            [
                "sample_seconds",
                "Float(min=0)",
                "1.5",
                "no",
                *("Time", "to", "wait."),
            ],
            ["sample_names", "List", "of", "String", "a,", "b", "yes"],
            ["sample_key", "String", "public", "no"],
        ]

    def test_columns_are_aligned(self, show: Show) -> None:
        _, head, *rows = block(show("hooks"), "every hook")
        at = head.index("mutable")
        assert {row[at : at + 4].strip() for row in rows} <= {"yes", "no"}

    def test_a_hook_of_this_project_is_shown(self, show: Show) -> None:
        text, _, *rows = block(show("hooks"), "audit (hooks.audit:AuditHook)")
        assert text == "Write a JSON line for each call, when the call is complete."
        assert "audit_log_path" in [row.split()[0] for row in rows]

    def test_the_options_of_every_hook_are_shown(self, show: Show) -> None:
        _, _, *rows = block(show("hooks"), "every hook")
        names = [row.split()[0] for row in rows]
        assert {"enable_pre_hooks", "hook_operations", "hook_dispatch"} <= set(names)

    def test_a_hook_without_its_library_is_shown_with_the_command_that_installs_it(
        self, show: Show, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "hooks.audit", None)
        assert block(show("hooks"), "audit (hooks.audit:AuditHook)") == [
            "failed to import 'hooks.audit:AuditHook': "
            "ModuleNotFoundError: import of hooks.audit halted; None in sys.modules; "
            "pip install 'manila-aspects[audit]'"
        ]

    def test_a_foreign_hook_that_cannot_be_imported_is_shown_with_the_error(
        self, show: Show
    ) -> None:
        out = show("hooks")
        assert block(out, "needs (foreign_hook_without_library:Hook)") == [
            "failed to import 'foreign_hook_without_library:Hook': "
            "ModuleNotFoundError: No module named 'missing_library'; install it "
            f"in the Python of {sys.prefix}"
        ]
        assert block(out, "lost (foreign_hooks:Lost)") == [
            "failed to import 'foreign_hooks:Lost': "
            "AttributeError: module 'foreign_hooks' has no attribute 'Lost'"
        ]

    def test_a_single_hook_is_shown_without_the_others(self, show: Show) -> None:
        out = show("hooks", "audit")
        assert out.startswith("audit (hooks.audit:AuditHook)\n")
        assert out.count("\n\n") == 1

    @pytest.mark.parametrize(
        ("name", "hint"),
        [
            ("adit", "did you mean 'audit'?"),
            ("zzzz", "installed: audit, "),
        ],
    )
    def test_an_unknown_hook_is_a_usage_error(
        self, name: str, hint: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit) as exited:
            cli.main(["show", "hooks", name])
        assert exited.value.code == 2
        assert f"unknown hook '{name}'; {hint}" in capsys.readouterr().err


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
    def test_all_operations_are_shown_with_their_methods(self, show: Show) -> None:
        _, _, *rows = block(show("operations"), "operations")
        assert [row.split()[0] for row in rows] == list(OPERATIONS)
        (row,) = [row for row in rows if row.startswith("create_share_instance")]
        methods = row.split(maxsplit=1)[1]
        assert methods == (
            "create_share_instance, create_share, create_share_from_snapshot"
        )

    def test_all_request_operations_are_shown_with_their_methods(
        self, show: Show
    ) -> None:
        _, _, *rows = block(show("operations"), "request operations")
        assert [row.split()[0] for row in rows] == list(REQUESTS)
        shown = dict(row.split(maxsplit=1) for row in rows)
        assert shown["delete_share"] == "delete"
        assert shown["allow_access"] == "allow_access"

    def test_the_woven_methods_of_a_driver_class_are_shown(self, show: Show) -> None:
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
        (missing,) = block(out, "not implemented")
        assert missing.split(", ") == [
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
                "expected path.to.Class; name the module and the class, separated by a "
                "dot",
            ),
            (
                f"{__name__}:Driver",
                f"expected path.to.Class; did you mean {__name__}.Driver?",
            ),
            (
                "no.such.Driver",
                "no module named 'no'; install it in the Python of {prefix}",
            ),
            (
                "tests.support.entries.recordin.Driver",
                "no module named 'tests.support.entries.recordin'; did you mean "
                "tests.support.entries.recording?",
            ),
            (
                f"{__name__}.Drivr",
                f"module '{__name__}' has no class 'Drivr'; did you mean Driver?",
            ),
            (f"{__name__}.MODULE", "expected a class, got str"),
            (
                "tests.support.entries.fails_with_two_lines.Driver",
                "failed to import 'tests.support.entries.fails_with_two_lines': "
                "RuntimeError: the license has run out",
            ),
            (
                "tests.support.entries.lacks_library.Driver",
                "failed to import 'tests.support.entries.lacks_library': "
                "ModuleNotFoundError: No module named 'a_library_that_is_not_installed'"
                "; install it in the Python of {prefix}",
            ),
        ],
    )
    def test_a_driver_that_cannot_be_imported_is_an_error(
        self, path: str, cause: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert cli.main(["show", "operations", "--driver", path]) == 1
        out, err = capsys.readouterr()
        cause = cause.replace("{prefix}", sys.prefix)
        assert (out, err) == ("", f"manila-aspects: --driver {path}: {cause}\n")
