# SPDX-License-Identifier: Apache-2.0
"""The command hook with real programs, some of which misbehave."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import selectors
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import aspects
from aspects.testing import FakeDriver
from hooks import command
from hooks.events import decision
from tests.support import pages
from tests.support.clock import Clock
from tests.support.config import woven_by
from tests.support.pages import DOCS
from tests.support.programs import need
from tests.support.wait import wait_for

pytestmark = pytest.mark.timeout(120)

PAGE = "admin/hooks/command.rst"
SHARE = {"id": "i1", "share_id": "s1"}

#: Larger than the capacity of a pipe, in bytes.
LARGE = 1_000_000


@pytest.fixture
def mark() -> Iterator[str]:
    """Return a unique argument by which the processes of a program are found."""
    mark = f"mark-{uuid.uuid4()}"
    yield mark
    for pid in marked(mark):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def marked(mark: str) -> list[int]:
    """Return the IDs of the processes that have a mark in their arguments."""
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark.encode() in (directory / "cmdline").read_bytes():
                found.append(int(directory.name))
    return found


Weave = Callable[..., contextlib.AbstractContextManager[Any]]


@pytest.fixture
def woven(tmp_path: Path, mark: str) -> Weave:
    """Return a function that weaves a driver with a program.

    ``MARK`` in the text of the program stands in for its mark.
    """

    def weave(
        text: str, *options: str, start: str = "#!/bin/sh"
    ) -> contextlib.AbstractContextManager[Any]:
        path = tmp_path / "program"
        path.write_text(f"{start}\n{text.replace('MARK', mark)}\n")
        path.chmod(0o755)
        lines = [
            "[alpha]",
            "hook_drivers = own=command",
            "enable_pre_hooks = True",
            f"command = {path} {mark}",
            *options,
        ]
        return woven_by("\n".join(lines), tmp_path, FakeDriver())

    return weave


@pytest.fixture(autouse=True)
def no_leaks() -> Iterator[None]:
    """Check that each test closes its files and reaps its child processes."""
    files = set(os.listdir("/proc/self/fd"))
    children = child_processes()
    yield
    assert set(os.listdir("/proc/self/fd")) <= files
    assert child_processes() <= children


def child_processes() -> set[str]:
    tasks = Path("/proc/self/task").glob("*/children")
    return {pid for task in tasks for pid in task.read_text().split()}


def wait_until_killed(mark: str) -> None:
    wait_for(lambda: not marked(mark), "no process has the mark", timeout=10)


class TestExample:
    def test_documented_program_vetoes_calls(self, tmp_path: Path) -> None:
        page = (DOCS / PAGE).read_text("utf-8")
        block, *_ = re.findall(r"code-block:: sh\n\n((?:    .*\n|\n)+)", page)
        path, flag = tmp_path / "check-share", tmp_path / "backup-runs"
        text = re.sub("^    ", "", block, flags=re.MULTILINE)
        path.write_text(text.replace("/run/backup-runs", str(flag)))
        path.chmod(0o755)
        example = pages.example(PAGE, {"/etc/manila/check-share": str(path)})
        with woven_by(example, tmp_path, FakeDriver()) as driver:
            driver.create_share(None, SHARE)
            flag.touch()
            driver.update_access(None, SHARE, [], [], [])
            with pytest.raises(aspects.Veto) as caught:
                driver.create_share(None, SHARE)
            assert str(caught.value) == (
                "check-share: exit status 1: no shares while a backup runs"
            )
            assert len(driver.calls) == 2


class TestHanging:
    def test_program_that_hangs_is_killed(self, woven: Weave, mark: str) -> None:
        with (
            woven("sleep 1000", "command_timeout = 0.5") as driver,
            pytest.raises(command.CommandError, match=r"killed after 0\.5 s"),
        ):
            driver.create_share(None, SHARE)
        wait_until_killed(mark)

    def test_program_that_ignores_signals_is_killed(
        self, woven: Weave, mark: str
    ) -> None:
        text = 'trap "" TERM HUP INT; while :; do sleep 1000; done'
        with (
            woven(text, "command_timeout = 0.5") as driver,
            pytest.raises(command.CommandError),
        ):
            driver.create_share(None, SHARE)
        wait_until_killed(mark)

    def test_children_of_a_hanging_program_are_killed(
        self, woven: Weave, mark: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Also those in another group or session, and those whose parent has ended."""
        clock = Clock()
        monkeypatch.setattr(command, "time", clock)
        text = """
        (exec -a MARK sleep 1000) &
        setsid bash -c 'exec -a MARK sleep 1000' &
        setsid bash -c '(exec -a MARK sleep 1000) & (exec -a MARK sleep 1000) & exit' &
        set -m
        (exec -a MARK sleep 1000) &
        echo ready >&2
        wait
        """
        bash = f"#!{need('bash', 'bash')}"
        need("setsid", "util-linux")
        errors: list[Exception] = []
        with woven(text, "command_timeout = 0.2", start=bash) as driver:

            def call() -> None:
                try:
                    driver.create_share(None, SHARE)
                except Exception as error:
                    errors.append(error)

            thread = threading.Thread(target=call)
            thread.start()
            wait_for(lambda: len(marked(mark)) >= 6, "all processes run")
            clock.advance(1)
            thread.join()
        (error,) = errors
        assert str(error).endswith("ready")
        wait_until_killed(mark)

    def test_program_is_killed_when_the_service_is_interrupted(
        self, woven: Weave, mark: str
    ) -> None:
        def interrupted(*_: Any) -> None:
            raise KeyboardInterrupt

        before = signal.signal(signal.SIGALRM, interrupted)
        try:
            with woven("sleep 1000", "command_timeout = 60") as driver:
                signal.setitimer(signal.ITIMER_REAL, 0.5)
                with pytest.raises(KeyboardInterrupt):
                    driver.create_share(None, SHARE)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        wait_until_killed(mark)


class TestChildren:
    def test_call_does_not_wait_for_a_child_that_keeps_pipes_open(
        self, woven: Weave, mark: str
    ) -> None:
        text = "sh -c 'sleep 1000; : MARK' &\nexit 0"
        with woven(text, "command_timeout = 60") as driver:
            driver.create_share(None, SHARE)
            assert len(driver.calls) == 1
        wait_until_killed(mark)

    def test_call_does_not_wait_for_a_child_that_floods_the_pipe(
        self, woven: Weave, mark: str
    ) -> None:
        text = "yes MARK >&2 &\necho no >&2\nexit 1"
        with woven(text, "command_timeout = 60") as driver, pytest.raises(aspects.Veto):
            driver.create_share(None, SHARE)
        wait_until_killed(mark)

    def test_child_in_a_session_of_its_own_survives(
        self, woven: Weave, mark: str, tmp_path: Path
    ) -> None:
        bash = f"#!{need('bash', 'bash')}"
        need("setsid", "util-linux")
        text = f"""
        setsid bash -c 'touch {tmp_path}/begun; exec -a MARK sleep 1000' &
        until [ -e {tmp_path}/begun ]; do sleep 0.01; done
        """
        with woven(text, start=bash) as driver:
            driver.create_share(None, SHARE)
        assert marked(mark)


class TestOutput:
    def test_endless_output_uses_little_memory(self, woven: Weave, mark: str) -> None:
        text = "yes MARK &\nyes MARK >&2"
        before = peak_memory()
        with (
            woven(text, "command_timeout = 2") as driver,
            pytest.raises(command.CommandError) as caught,
        ):
            driver.create_share(None, SHARE)
        assert peak_memory() - before < 16_000_000
        assert len(str(caught.value)) < 2 * decision.MAX_REASON
        wait_until_killed(mark)

    def test_large_output_does_not_block_the_program(self, woven: Weave) -> None:
        text = "yes | head -c 5000000\nyes | head -c 5000000 >&2\nexit 0"
        with woven(text, "command_timeout = 60") as driver:
            driver.create_share(None, SHARE)
            assert len(driver.calls) == 1

    def test_output_right_before_the_end_is_in_the_reason(self, woven: Weave) -> None:
        """Repeated, as a race might lose the output."""
        with woven("echo the reason >&2; exit 1") as driver:
            for _ in range(100):
                with pytest.raises(aspects.Veto, match="the reason"):
                    driver.create_share(None, SHARE)

    def test_standard_error_closed_early_does_not_cause_a_busy_loop(
        self, woven: Weave, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        selects = []

        class Selector(selectors.DefaultSelector):
            def select(self, timeout: float | None = None) -> Any:
                selects.append(timeout)
                return super().select(timeout)

        monkeypatch.setattr(command.selectors, "DefaultSelector", Selector)
        with (
            woven("exec 2>&-; sleep 2; exit 1") as driver,
            pytest.raises(aspects.Veto, match=r"exit status 1$"),
        ):
            driver.create_share(None, SHARE)
        # One for the end of standard error, and one for the end of the program.
        assert len(selects) <= 3

    def test_secrets_of_the_call_are_removed_from_the_reason(
        self, woven: Weave, caplog: Any
    ) -> None:
        key = "AQBSdFhZjH3yHxAA"
        text = f"echo 'key {key} is weak' >&2; exit 1"
        share = {**SHARE, "access_key": key}
        with (
            woven(text) as driver,
            pytest.raises(aspects.Veto, match=r"key \*\*\* is weak") as caught,
        ):
            driver.create_share(None, share)
        assert key not in str(caught.value) + caplog.text


def peak_memory() -> int:
    """Return the peak memory of this process, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class TestInput:
    """Events that are larger than the capacity of a pipe."""

    RULES = [
        {"access_to": "x" * 1000, "access_type": "user", "access_level": "rw"}
        for _ in range(LARGE // 1000)
    ]

    def test_program_may_ignore_the_event(self, woven: Weave) -> None:
        self.call(woven, "sleep 0.3")

    def test_program_may_close_standard_input(self, woven: Weave) -> None:
        self.call(woven, "exec 0<&-; sleep 0.3")

    def test_program_may_end_at_once(self, woven: Weave) -> None:
        with woven("exit 0") as driver:
            for _ in range(100):
                driver.update_access(None, SHARE, self.RULES, [], [])
            assert len(driver.calls) == 100

    def test_program_may_read_a_part_of_the_event(self, woven: Weave) -> None:
        self.call(woven, "head -c 10 > /dev/null")

    def test_program_can_read_the_whole_event(self, woven: Weave) -> None:
        read = "import json, sys; assert json.load(sys.stdin)['data']['incomplete']"
        self.call(woven, f'{sys.executable} -c "{read}"')

    def call(self, woven: Weave, text: str) -> None:
        with woven(text) as driver:
            driver.update_access(None, SHARE, self.RULES, [], [])
            assert len(driver.calls) == 1


class TestService:
    """Services with threads, many files, forks or green threads."""

    def test_many_threads_run_programs_at_once(self, woven: Weave) -> None:
        text = 'test "$(cat | wc -c)" -gt 100 || exit 1\necho $$ >&2'
        failed: list[Exception] = []
        with woven(text) as driver:

            def calls() -> None:
                try:
                    for _ in range(10):
                        driver.create_share(None, SHARE)
                except Exception as error:
                    failed.append(error)

            threads = [threading.Thread(target=calls) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(60)
        assert not failed

    def test_program_runs_with_more_open_files_than_select_supports(
        self, woven: Weave
    ) -> None:
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        if before[1] < 1500:
            pytest.skip("the limit of open files is below 1500")
        resource.setrlimit(resource.RLIMIT_NOFILE, (1500, before[1]))
        try:
            with contextlib.ExitStack() as stack:
                for _ in range(1100):
                    stack.enter_context(open(os.devnull))
                with (
                    woven("echo no >&2; exit 1") as driver,
                    pytest.raises(aspects.Veto, match=r"no$"),
                ):
                    driver.create_share(None, SHARE)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)

    def test_hook_works_after_a_fork(self, woven: Weave) -> None:
        with woven("exit 1") as driver:
            pid = os.fork()
            if not pid:
                try:
                    driver.create_share(None, SHARE)
                except aspects.Veto:
                    os._exit(7)
                os._exit(0)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7

    def test_call_is_not_allowed_if_the_service_ignores_sigchld(
        self, tmp_path: Path
    ) -> None:
        """The exit status is unknown, and must not count as 0."""
        text = "import signal\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)\n" + CALL
        for program in ("sleep 0.3; exit 1", "exit 1"):
            output = run_python(text, tmp_path, program)
            assert "driver was not called" in output

    @pytest.mark.parametrize("hub", ["epolls", "poll", "selects"])
    def test_green_threads_run_while_a_program_runs(
        self, tmp_path: Path, hub: str
    ) -> None:
        output = run_python(EVENTLET, tmp_path, GREEN, EVENTLET_HUB=hub)
        assert output.splitlines()[-5:] == [
            "vetoed: program: exit status 1: no",
            "returned",
            "killed",
            "interrupted",
            "no call blocked",
        ]


#: The common part of :data:`CALL` and :data:`EVENTLET`.
WEAVE = """
import sys
sys.path.insert(0, sys.argv[2])
import aspects
from aspects.testing import FakeDriver, make_hook
from hooks.command import CommandError, CommandHook

def woven(timeout):
    options = {"enable_post_hooks": False, "command_timeout": timeout}
    hook = make_hook(CommandHook, command=sys.argv[1], **options)
    return aspects.weave(FakeDriver(), [hook], "alpha")

driver = woven(20)
"""

CALL = (
    WEAVE
    + """
try:
    driver.create_share(None, {"id": "1"})
except Exception as error:
    print(type(error).__name__, error)
print("driver was called" if driver.calls else "driver was not called")
"""
)

#: The share's ID, in the event on standard input, selects what the program does.
GREEN = """
event="$(cat)"
case "$event" in
*hang*) sleep 1000 ;;
*leave*) sleep 1000 & exit 0 ;;
*flood*) yes >&2 ;;
*) sleep 0.5; echo no >&2; exit 1 ;;
esac
"""

EVENTLET = (
    "import eventlet\neventlet.monkey_patch()\n"
    + WEAVE
    + """
import time
ticks = []
def tick():
    while True:
        ticks.append(time.monotonic())
        eventlet.sleep(0.01)
eventlet.spawn(tick)

blocked = []
def call(what):
    before = len(ticks)
    try:
        driver.create_share(None, {"id": what})
        return "returned"
    except aspects.Veto as veto:
        return f"vetoed: {veto}"
    except CommandError as error:
        return "killed" if "killed" in str(error) else str(error)
    finally:
        # The switches to this call and back may be a tick each.
        if what != "leave" and len(ticks) < before + 3:
            blocked.append(what)

pool = eventlet.GreenPool()
several = list(pool.imap(call, ["exit"] * 5))
assert len(set(several)) == 1, several
print(several[0])
print(call("leave"))
driver = woven(1)
assert call("flood") == "killed"
print(call("hang"))
try:
    with eventlet.Timeout(0.3):
        call("hang")
except eventlet.Timeout:
    print("interrupted")
print(f"calls that blocked: {blocked}" if blocked else "no call blocked")
"""
)


def run_python(text: str, directory: Path, program: str, **environment: str) -> str:
    """Run Python code with a program in a process of its own; return its output."""
    path = directory / "program"
    path.write_text(f"#!/bin/sh\n{program}\n")
    path.chmod(0o755)
    root = Path(aspects.__file__).parents[1]
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", text, path, root],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout
