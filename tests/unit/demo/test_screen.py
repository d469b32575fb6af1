# SPDX-License-Identifier: Apache-2.0
"""The output of the demo, for each option and each kind of terminal."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import aspects
from aspects.demo.journal import Call, Failure, Journal, Run
from aspects.demo.watch import watching
from aspects.testing import FakeDriver, Recorder

pytest.importorskip("rich")

from aspects.demo.screen import Screen

PATH = "10.0.0.10:/path/to/a/share/with/a/long/name/" + 10 * "0123456789"
LOCATIONS = [{"path": PATH, "is_admin_only": False}]

Show = Callable[..., list[str]]


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("COLUMNS", "NO_COLOR", "FORCE_COLOR", "TERM", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def journal() -> Iterator[Journal]:
    journal = Journal()
    with watching(journal):
        yield journal


@pytest.fixture
def show(journal: Journal, capsys: pytest.CaptureFixture[str]) -> Show:
    """Return a function that calls a woven driver, and returns the lines printed."""

    def show(
        *hooks: Any,
        screen: Screen | None = None,
        method: str = "create_share",
        rules: Any = (),
        backend: str = "alpha",
        **more: Any,
    ) -> list[str]:
        screen = screen or Screen()
        journal.on_call, journal.on_late_run = screen.call, screen.late_run
        woven = aspects.weave(FakeDriver(**more), hooks, backend)
        with contextlib.suppress(Exception):
            if method == "tick":
                aspects.tick(woven, None, [])
            elif method == "get_share_stats":
                woven.get_share_stats()
            elif method == "update_access":
                woven.update_access(None, {}, rules, rules, [], [])
            elif method == "create_backup":
                woven.create_backup(None, {}, {})
            else:
                woven.create_share(None, {"id": "1"})
        return capsys.readouterr().out.splitlines()

    return show


class TestCalls:
    def test_call_is_one_line_of_100_columns(self, show: Show) -> None:
        (line,) = show(Recorder(), create_share=LOCATIONS)
        assert line.startswith(
            "   alpha create_share_instance (create_share) result 1 x 10.0.0.10:/path"
        )
        assert len(line) == 100
        assert line.endswith("...")

    def test_columns_of_the_environment_are_used(
        self, show: Show, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("COLUMNS", "80")
        (line,) = show(Recorder(), create_share=LOCATIONS)
        assert len(line) == 80

    def test_veto_is_shown_with_the_line_of_the_hook(self, show: Show) -> None:
        head, detail = show(Recorder(pre=aspects.Veto("too large")))
        assert head == (
            "   alpha create_share_instance (create_share) veto Veto: too large"
        )
        assert detail.startswith(
            "      raised by pre of recorder at aspects/testing.py:"
        )
        assert detail.endswith("; driver not called")

    @pytest.mark.parametrize(
        ("kind", "end"), [("pre", "; request not made"), ("post", "; request was made")]
    )
    def test_error_in_the_api_is_shown_with_what_became_of_the_request(
        self, show: Show, kind: str, end: str
    ) -> None:
        hook = Recorder(**{kind: KeyError("size")})
        head, detail = show(hook, backend="share_api")
        assert head.startswith("   share_api ")
        assert detail.endswith(end)

    def test_crash_of_a_pre_method_is_not_a_veto(self, show: Show) -> None:
        head, detail = show(Recorder(pre=KeyError("size")))
        assert head.endswith(" error KeyError: 'size'")
        assert detail.endswith("; driver not called")

    def test_error_that_is_longer_than_a_line_is_shown_whole(self, show: Show) -> None:
        head, _ = show(Recorder(pre=KeyError(200 * "x")))
        assert head.endswith(200 * "x" + "'")

    def test_error_of_a_post_method_is_not_a_result(self, show: Show) -> None:
        head, detail = show(Recorder(post=KeyError("size")), create_share=LOCATIONS)
        assert head.endswith("(create_share) error KeyError: 'size'")
        assert "raised by post of recorder at " in detail
        assert detail.endswith("; driver had returned")

    def test_suppressed_error_is_shown_below_the_result(self, show: Show) -> None:
        hook = Recorder(pre=KeyError("size"), suppress=["pre"])
        head, detail = show(hook, create_share=LOCATIONS)
        assert "(create_share) result 1 x 10.0.0.10" in head
        assert detail.startswith(
            "      suppressed KeyError: 'size', raised by pre of recorder at aspects/"
        )

    def test_veto_in_warn_mode_is_not_enforced(self, show: Show) -> None:
        hook = Recorder(pre=aspects.Veto("too large"))
        hook.hook_enforcement = "warn"
        head, detail = show(hook)
        assert "(create_share) result 1 x " in head
        assert detail.startswith("      not enforced Veto: too large, raised by pre of")

    def test_error_of_the_driver_is_shown_with_its_line(self, show: Show) -> None:
        head, detail = show(Recorder(), create_share=OSError("full"))
        assert head.endswith("(create_share) error OSError: full")
        assert detail.startswith("      raised by driver at aspects/testing.py:")

    def test_error_between_methods_is_shown_after_the_last_one(
        self, show: Show
    ) -> None:
        _, detail = show(Recorder(pre=aspects.UpdatedArguments({"length": 1})))
        assert detail.startswith("      raised after pre of recorder at aspects/op")

    def test_error_method_does_not_hide_where_an_error_between_methods_was(
        self, show: Show
    ) -> None:
        failing = Recorder(name="second", pre=aspects.UpdatedArguments({"length": 1}))
        _, detail = show(Recorder(name="first"), failing)
        assert detail.startswith("      raised after pre of second at aspects/op")

    def test_veto_of_a_post_method_is_an_error(self, show: Show) -> None:
        head, _ = show(Recorder(post=aspects.Veto("too late")))
        assert head.endswith("(create_share) error Veto: too late")
        _, detail = show(Recorder(post=aspects.Veto("too late"), suppress=["post"]))
        assert detail.startswith("      suppressed Veto: too late, raised by post of")

    def test_failure_in_a_result_is_shown_with_its_items(self, show: Show) -> None:
        rules = [{"access_id": "r1"}, {"access_id": "r2"}]
        states = {"r1": {"state": "active"}, "r2": {"state": "error"}}
        options = {"method": "update_access", "rules": rules, "update_access": states}
        head, detail = show(Recorder(), **options)
        assert head == "   alpha allow_access (update_access) result, partial {r1, r2}"
        assert detail == (
            "      update_access returned: status error; failed items: r2"
        )
        assert show(Recorder(), screen=Screen(quiet=True), **options) == [head, detail]

    def test_unfinished_work_is_shown_as_pending(self, show: Show) -> None:
        (line,) = show(Recorder(), method="create_backup", create_backup=None)
        assert line == "   alpha create_backup result, pending None"

    def test_control_characters_of_an_error_are_escaped(self, show: Show) -> None:
        head, _ = show(Recorder(pre=ValueError("\x1b[31mred")))
        assert head.endswith(" error ValueError: \\x1b[31mred")

    def test_call_without_hook_methods_is_marked(self, show: Show) -> None:
        (line,) = show(Recorder(enabled=[]))
        assert "(create_share) result (no hook method ran) 1 x " in line

    def test_text_that_looks_like_markup_is_shown_as_it_is(self, show: Show) -> None:
        head, _ = show(Recorder(pre=KeyError("[red]:smile: [/]")))
        assert head.endswith(" error KeyError: '[red]:smile: [/]'")

    def test_error_in_the_background_is_shown_below_its_call(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        call = Call("alpha", "create_snapshot", "create_snapshot")
        failure = Failure("KeyError: 'size'", "mine.py:3")
        Screen().late_run(call, Run("post", "mine", 0.001, failure))
        head, detail = capsys.readouterr().out.splitlines()
        assert head == (
            "   alpha create_snapshot in the background: post mine 1.00 raised ms"
        )
        assert detail == (
            "      suppressed KeyError: 'size', raised by post of mine at mine.py:3"
        )


class TestVerbose:
    def test_durations_and_the_whole_result_are_shown(self, show: Show) -> None:
        head, detail = show(
            Recorder(), screen=Screen(verbose=True), create_share=LOCATIONS
        )
        assert len(head) > 100
        text = "      pre recorder 0.00 | driver 0.00 | post recorder 0.00 ms"
        assert re.sub(r"\d+\.\d\d", "0.00", detail) == text

    def test_driver_that_is_not_called_has_no_duration(self, show: Show) -> None:
        *_, detail = show(Recorder(pre=KeyError("x")), screen=Screen(verbose=True))
        assert detail.endswith(" raised | driver not called ms")

    def test_traceback_of_a_hook_ends_at_the_line_that_raised(self, show: Show) -> None:
        lines = show(Recorder(pre=KeyError("x")), screen=Screen(verbose=True))
        assert lines[2].startswith("         aspects/testing.py:")
        assert "raise" in lines[-2]

    def test_veto_has_no_traceback(self, show: Show) -> None:
        veto = aspects.Veto("x")
        assert len(show(Recorder(pre=veto), screen=Screen(verbose=True))) == 3


class TestQuiet:
    def test_call_without_an_error_is_not_shown(self, show: Show) -> None:
        assert show(Recorder(), screen=Screen(quiet=True)) == []

    @pytest.mark.parametrize(
        "hook",
        [
            Recorder(pre=KeyError("x"), suppress=["pre"]),
            Recorder(post=KeyError("x")),
            Recorder(pre=aspects.Veto("x")),
        ],
    )
    def test_call_with_an_error_is_shown(self, show: Show, hook: Recorder) -> None:
        assert len(show(hook, screen=Screen(quiet=True))) == 2

    def test_steps_and_tables_are_not_shown_but_failures_are(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        screen = Screen(quiet=True)
        screen.step(1, "create a share")
        screen.reached("available")
        screen.detail("hooks: audit")
        screen.summary([Call("alpha", "create_snapshot", "create_snapshot")], {})
        screen.arrived([("audit", "audit.jsonl", "1 line")])
        assert capsys.readouterr().out == ""
        screen.failed("timed out")
        screen.differences(["missing: pre of audit"])
        assert capsys.readouterr().out.splitlines() == [
            "   failed timed out",
            "Failed checks:",
            "  missing: pre of audit",
        ]


class TestRoutine:
    """Manila repeats these calls, so one is shown when its outcome changes."""

    def test_repeated_outcome_is_shown_once(self, show: Show) -> None:
        screen = Screen()
        options = {"screen": screen, "method": "get_share_stats"}
        (first,) = show(Recorder(), **options)
        assert first.startswith("   alpha publish_service_capabilities (get_share_st")
        assert show(Recorder(), **options) == []
        failing = Recorder(post=KeyError("x"))
        assert len(show(failing, **options)) == 2
        assert show(failing, **options) == []
        assert show(Recorder(), **options) == [first]

    def test_ticks_are_shown_on_request(self, show: Show) -> None:
        assert show(Recorder(), method="tick") == []
        screen = Screen(ticks=True)
        for _ in range(2):
            assert show(Recorder(), screen=screen, method="tick") == [
                "   alpha tick result"
            ]

    @pytest.mark.parametrize("quiet", [False, True])
    def test_failing_tick_is_shown_without_a_request(
        self, show: Show, quiet: bool
    ) -> None:
        screen = Screen(quiet=quiet)
        failing = Recorder(periodic=KeyError("size"))
        head, detail = show(failing, screen=screen, method="tick")
        assert head == "   alpha tick error KeyError: 'size'"
        assert detail.startswith("      raised by periodic of recorder at ")
        assert show(failing, screen=screen, method="tick") == []

    def test_suppressed_error_of_a_tick_is_shown(self, show: Show) -> None:
        hook = Recorder(periodic=KeyError("size"), suppress=["periodic"])
        head, detail = show(hook, method="tick")
        assert head == "   alpha tick result"
        assert detail.startswith(
            "      suppressed KeyError: 'size', raised by periodic"
        )


class TestTerminals:
    def print_everything(self, show: Show) -> str:
        """Print each kind of line, and return the text."""
        screen = Screen(verbose=True, ticks=True)
        lines = show(Recorder(post=KeyError("x")), screen=screen)
        lines += show(Recorder(), screen=screen, method="tick")
        screen.step(1, "create a share")
        screen.failed("timed out")
        screen.warn("warning", "no effect")
        screen.summary([Call("alpha", "create_snapshot", "create_snapshot")], {})
        screen.differences(["missing: pre of audit"])
        return "\n".join(lines + show(Recorder(pre=aspects.Veto("x")), screen=screen))

    def test_without_a_terminal_the_text_is_ascii(self, show: Show) -> None:
        text = self.print_everything(show)
        assert text.isascii()
        assert "\x1b" not in text
        assert max(map(len, text.splitlines())) <= 120

    def test_terminal_has_colors(
        self, show: Show, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("TERM", "xterm-256color")
        assert "\x1b[31merror" in self.print_everything(show)

    def test_no_color_disables_every_escape_sequence(
        self, show: Show, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("TERM", "xterm-256color")
        monkeypatch.setenv("NO_COLOR", "1")
        assert "\x1b" not in self.print_everything(show)
