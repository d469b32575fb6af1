# SPDX-License-Identifier: Apache-2.0
"""Test ``manila-aspects outbox`` beside real outboxes."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import subprocess
import sys
import textwrap
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from oslo_config import cfg
from oslo_context import context as oslo_context

import aspects
from aspects import cli
from aspects.cli import outbox as command
from aspects.cli.check import facts
from aspects.testing import FakeDriver
from hooks.events import admin, delivery
from hooks.events.errors import RejectedError
from hooks.events.outbox import Outbox
from hooks.events.store import FILE, OVERFLOW_FILE
from tests.support.config import woven_by
from tests.support.threads import run_in_thread
from tests.support.wait import wait_for

pytestmark = pytest.mark.timeout(120)

SECRET = "hunter2-Zq9"


class Hook(delivery.DeliveryHook):
    """A hook whose receiver rejects all events."""

    def deliver(self, event: dict[str, Any]) -> None:
        raise RejectedError("status 400")


ENTRY = f"{__name__}:Hook"

CONF = f"""
[DEFAULT]
enabled_share_backends = alpha, beta
hook_outbox_path = $state_path/outbox
hook_dispatch = durable

[alpha]
hook_drivers = ops={ENTRY}, direct={ENTRY}, audit
enable_pre_hooks = True
enable_post_hooks = True

[alpha:direct]
hook_dispatch = inline
enable_pre_hooks = False
enable_post_hooks = False

[alpha:audit]
hook_dispatch = inline
audit_log_path = $state_path/audit.log

[beta]
hook_drivers = b.ops={ENTRY}
"""


def event(name: str, **more: Any) -> dict[str, Any]:
    return {"id": name, "type": "share.test", "subject": f"share-{name}", **more}


class Receiver:
    """Takes events; rejects those in ``rejected``, and fails for those in ``down``."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.rejected: set[str] = set()
        self.down: set[str] = set()

    def __call__(self, event: dict[str, Any]) -> None:
        if event["id"] in self.rejected:
            raise RejectedError(f"no room for {event['id']}")
        if event["id"] in self.down:
            raise ConnectionError("refused")
        self.ids.append(event["id"])


class Result(NamedTuple):
    status: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        assert (self.status, self.err) == (0, "")
        return json.loads(self.out)


Run = Callable[..., Result]
New = Callable[..., Outbox]


@pytest.fixture
def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Return a function that runs the command."""
    monkeypatch.setattr(facts, "register_options_of_manila", lambda: None)
    monkeypatch.setattr(command, "SAMPLE_SECONDS", 0)
    # A commit of the service may be slow.
    monkeypatch.setattr(admin, "BUSY_TIMEOUT", 60.0)
    file = tmp_path / "manila.conf"
    file.write_text(CONF.replace("$state_path", str(tmp_path)))

    def run(topic: str, *arguments: str) -> Result:
        monkeypatch.setattr(cfg, "CONF", cfg.ConfigOpts())
        status = cli.main(["outbox", topic, "--config-file", str(file), *arguments])
        return Result(status, *capsys.readouterr())

    return run


@pytest.fixture
def receiver() -> Receiver:
    return Receiver()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox" / "alpha.ops"


@pytest.fixture
def new(path: Path, receiver: Receiver) -> Iterator[New]:
    """Return a function that starts an outbox, as a service does."""
    outboxes = []

    def new_outbox(path: Path = path) -> Outbox:
        outboxes.append(Outbox(path, receiver))
        outboxes[-1].start()
        return outboxes[-1]

    yield new_outbox
    for outbox in outboxes:
        outbox.stop(0)


def count(path: Path, table: str, file: str = FILE) -> int:
    with contextlib.closing(sqlite3.connect(path / file)) as connection:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def wait_for_counts(path: Path, waiting: int, dead: int) -> None:
    wait_for(
        lambda: (
            (count(path, "queue_waiting"), count(path, "queue_dead_letters"))
            == (waiting, dead)
        ),
        f"{waiting} waiting and {dead} dead",
        60,
    )


@pytest.fixture
def filled(path: Path, receiver: Receiver, new: New) -> Outbox:
    """Return an outbox with the dead letters a and b, while c and d wait."""
    receiver.rejected, receiver.down = {"a", "b"}, {"c", "d"}
    outbox = new()
    for name in "abcd":
        outbox.put(event(name))
    wait_for_counts(path, 2, 2)
    return outbox


def only(document: list[Any]) -> Any:
    (found,) = document
    return found


# -- status ------------------------------------------------------------------------


def test_status_counts_the_events_of_each_durable_instance(
    run: Run, filled: Outbox, path: Path
) -> None:
    alpha, beta = run("status", "--format", "json").document
    assert alpha["instance"] == "alpha.ops"
    assert alpha["path"] == str(path)
    assert (alpha["waiting"], alpha["dead"]) == (2, 2)
    assert alpha["oldest"].endswith("+00:00")
    assert beta == {
        "instance": "beta.b%2Eops",
        "path": str(path.with_name("beta.b%2Eops")),
        "waiting": 0,
        "oldest": None,
        "dead": 0,
        "written_per_second": 0.0,
        "delivered_per_second": 0.0,
    }
    rows = [line.split() for line in run("status").out.splitlines()]
    assert rows[2] == ["alpha.ops", "2", alpha["oldest"], "2", "0.0", "0.0"]
    assert rows[3] == ["beta.b%2Eops", "0", "-", "0", "0.0", "0.0"]


def test_status_measures_the_rates_beside_a_service(
    run: Run, filled: Outbox, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 4.0])

    def sleep(seconds: float) -> None:
        for number in range(8):
            filled.put(event(f"new-{number}"))
        wait_for_counts(path, 2, 2)

    fake = types.SimpleNamespace(monotonic=lambda: next(clock), sleep=sleep)
    monkeypatch.setattr(command, "time", fake)
    arguments = ("status", "--instance", "alpha.ops", "--format", "json")
    found = only(run(*arguments).document)
    assert (found["written_per_second"], found["delivered_per_second"]) == (2.0, 2.0)


def test_dead_letters_do_not_count_as_delivered(
    run: Run, new: New, path: Path, receiver: Receiver
) -> None:
    receiver.rejected = {"a"}
    outbox = new()
    outbox.put(event("a"))
    outbox.put(event("b"))
    wait_for_counts(path, 0, 1)
    assert admin.OutboxFiles(path).totals().delivered == 1


@pytest.mark.slow
def test_status_includes_events_in_the_overflow_file(
    run: Run, filled: Outbox, path: Path
) -> None:
    with contextlib.closing(sqlite3.connect(path / FILE)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        filled._timeout = lambda: 0.1  # type: ignore[method-assign]
        filled.events._timeout = lambda: 0.1
        filled.put(event("c"))
        arguments = ("--instance", "alpha.ops", "--format", "json")
        # Reading does not wait for a transaction of another program.
        assert only(run("status", *arguments).document)["waiting"] == 3
        listed = run("list", "--state", "waiting", *arguments).document
        assert [found["id"] for found in listed] == ["c", "d", "c"]
        assert count(path, "queue_waiting", OVERFLOW_FILE) == 1


def test_configuration_without_durable_hooks_has_no_outboxes(
    run: Run, tmp_path: Path
) -> None:
    file = tmp_path / "inline.conf"
    file.write_text("[DEFAULT]\nhook_dispatch = inline\n")
    result = run("status", "--config-file", str(file))
    assert result.status == 0
    assert "no hook instance has hook_dispatch = durable" in result.out
    assert run("list", "--config-file", str(file), "--format", "json").document == []


# -- list and show -------------------------------------------------------------------


def test_list_has_dead_letters_and_waiting_events(run: Run, filled: Outbox) -> None:
    document = run("list", "--format", "json").document
    found = [(entry["id"], entry["state"], entry["reason"]) for entry in document]
    assert found == [
        ("a", "dead", "no room for a"),
        ("b", "dead", "no room for b"),
        ("c", "waiting", ""),
        ("d", "waiting", ""),
    ]
    assert {entry["type"] for entry in document} == {"share.test"}
    assert document[0]["key"] == "share-a"
    lines = run("list", "--state", "dead").out.splitlines()
    assert lines[0] == "alpha.ops"
    assert lines[2].split()[:2] == ["a", "dead"]
    assert lines[2].endswith("share.test  share-a  no room for a")
    assert "waiting" not in "".join(lines)


def test_list_is_limited(
    run: Run, filled: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Several queries.
    monkeypatch.setattr(admin, "READ_SIZE", 1)
    for limit, ids in ((1, ["a", "c"]), (2, ["a", "b", "c", "d"])):
        listed = run("list", "--limit", str(limit), "--format", "json").document
        assert [entry["id"] for entry in listed] == ids


@pytest.mark.parametrize("limit", ["0", "-1", "x"])
def test_invalid_limit_is_a_usage_error(run: Run, limit: str) -> None:
    with pytest.raises(SystemExit) as exited:
        run("list", f"--limit={limit}")
    assert exited.value.code == 2


@pytest.mark.parametrize("read_size", [1, 10_000])
def test_show_has_the_event_and_the_reason(
    run: Run, filled: Outbox, monkeypatch: pytest.MonkeyPatch, read_size: int
) -> None:
    monkeypatch.setattr(admin, "READ_SIZE", read_size)
    found = only(run("show", "b", "--format", "json").document)
    assert found["event"] == event("b")
    assert (found["state"], found["reason"]) == ("dead", "no room for b")
    assert only(run("show", "d", "--format", "json").document)["state"] == "waiting"
    lines = [line.split(maxsplit=1) for line in run("show", "b").out.splitlines()]
    assert ["reason", "no room for b"] in lines
    assert ["event.subject", "share-b"] in lines


def test_unknown_event_is_an_error(run: Run, filled: Outbox) -> None:
    result = run("show", "e")
    assert (result.status, result.out) == (1, "")
    expected = "e: no such event; run manila-aspects outbox list"
    assert result.err == f"manila-aspects: {expected}\n"


@pytest.mark.parametrize(
    "data", [b"\xff\x00", b"[1]", b"{", None, b'{"id": 7}', b'{"x": NaN}', b"[" * 9999]
)
def test_row_without_an_event_id_has_an_id_of_the_row(
    run: Run, filled: Outbox, path: Path, data: bytes | None
) -> None:
    filled.stop(0)
    with contextlib.closing(sqlite3.connect(path / FILE)) as connection, connection:
        connection.execute(
            "INSERT INTO queue_dead_letters (data, timestamp) VALUES (?, 'never')",
            (data,),
        )
    listed = run("list", "--state", "dead", "--format", "json").document
    row = listed[-1]
    assert (row["id"], row["written"], row["reason"]) == ("events-dead-3", None, "")
    found = only(run("show", "events-dead-3", "--format", "json").document)
    assert "event" in found or found["text"] == (data or b"").decode(errors="replace")
    assert run("list", "--state", "dead").status == 0
    assert run("show", "events-dead-3").status == 0


def test_control_characters_do_not_reach_a_terminal(
    run: Run, new: New, path: Path, receiver: Receiver
) -> None:
    receiver.rejected = {"\x1b[2J"}
    new().put(event("\x1b[2J", data={"share_name": "\x1b]0;title\x07"}))
    wait_for_counts(path, 0, 1)
    for arguments in (("list",), ("show", "\x1b[2J")):
        out = run(*arguments).out
        assert "[2J" in out
        assert not {"\x1b", "\x07"} & set(out)


def test_events_of_a_hook_have_no_secrets(run: Run, tmp_path: Path, path: Path) -> None:
    rule = {"access_to": "joe", "access_type": "cephx", "access_level": "rw"}

    def fail(*args: Any, **kwargs: Any) -> None:
        raise LookupError(f"the key {SECRET} is in use")

    context = run_in_thread(oslo_context.RequestContext, auth_token=f"{SECRET}-token")
    conf = CONF.replace("$state_path", str(tmp_path))
    with woven_by(conf, tmp_path, FakeDriver(allow_access=fail)) as driver:
        share = {"id": "i1", "share_id": "s1"}
        with pytest.raises(LookupError):
            driver.allow_access(context, share, {**rule, "access_key": SECRET})
        wait_for_counts(path, 0, 2)
        assert isinstance(aspects.weaving(driver).hooks[0], delivery.DeliveryHook)
    for arguments in (("list",), ("list", "--format", "json")):
        assert SECRET not in run(*arguments).out
    for listed in run("list", "--format", "json").document:
        shown = run("show", listed["id"])
        assert "joe" in shown.out
        assert SECRET not in shown.out
    assert "the key *** is in use" in shown.out


# -- retry and discard -----------------------------------------------------------------


def dead(run: Run) -> list[str]:
    listed = run("list", "--state", "dead", "--format", "json").document
    return [entry["id"] for entry in listed]


@pytest.mark.slow
def test_retried_events_are_delivered_by_the_service(
    run: Run, filled: Outbox, path: Path, receiver: Receiver
) -> None:
    receiver.rejected = set()
    changed = run("retry", "b", "--format", "json").document
    assert changed == [
        {"instance": "alpha.ops", "retried": 1},
        {"instance": "beta.b%2Eops", "retried": 0},
    ]
    wait_for(lambda: receiver.ids == ["b"], "b is delivered", 60)
    assert dead(run) == ["a"]
    result = run("retry", "--all")
    assert (result.status, result.err) == (0, "")
    assert result.out.splitlines()[2].split() == ["alpha.ops", "1"]
    wait_for(lambda: receiver.ids == ["b", "a"], "a is delivered", 60)
    wait_for_counts(path, 2, 0)
    # A retry is not a delivery.
    assert admin.OutboxFiles(path).totals().delivered == 2


@pytest.mark.slow
def test_retried_events_wait_while_the_service_is_stopped(
    run: Run, filled: Outbox, path: Path, receiver: Receiver, new: New
) -> None:
    filled.stop(0)
    assert run("retry", "--all").status == 0
    waiting = run("list", "--state", "waiting", "--format", "json").document
    assert [entry["id"] for entry in waiting] == ["c", "d", "a", "b"]
    assert waiting[-1]["key"] == "share-b"
    assert set(contents(path)) == {FILE, "lock"}
    assert (path / FILE).stat().st_mode & 0o777 == 0o640
    receiver.rejected, receiver.down = set(), set()
    new()
    wait_for(lambda: sorted(receiver.ids) == [*"abcd"], "all are delivered", 60)


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 1000])
def test_retry_moves_each_dead_letter_once(
    run: Run, filled: Outbox, path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    # The receiver rejects them again.
    monkeypatch.setattr(admin, "CHANGE_SIZE", size)
    changed = run("retry", "--all", "--format", "json").document
    assert changed[0]["retried"] == 2
    wait_for_counts(path, 2, 2)
    assert admin.OutboxFiles(path).totals().ever_dead == 4


def test_discarded_dead_letters_are_gone(
    run: Run, filled: Outbox, path: Path, receiver: Receiver
) -> None:
    changed = run("discard", "a", "--format", "json").document
    assert changed[0] == {"instance": "alpha.ops", "discarded": 1}
    assert dead(run) == ["b"]
    assert run("discard", "--all").out.splitlines()[2].split() == ["alpha.ops", "1"]
    wait_for_counts(path, 2, 0)
    assert admin.OutboxFiles(path).totals().delivered == 0
    receiver.down = set()
    wait_for(lambda: sorted(receiver.ids) == ["c", "d"], "the others arrive", 60)


@pytest.mark.parametrize("topic", ["retry", "discard"])
def test_nothing_changes_if_an_id_is_not_a_dead_letter(
    run: Run, filled: Outbox, topic: str
) -> None:
    for id_ in ("c", "e", "events-dead-9", f"events-dead-{'9' * 5000}"):
        result = run(topic, "a", id_)
        assert (result.status, result.out) == (1, "")
        expected = "no such dead letter; run manila-aspects outbox list --state dead"
        assert result.err == f"manila-aspects: {id_}: {expected}\n"
    assert dead(run) == ["a", "b"]


@pytest.mark.parametrize("topic", ["retry", "discard"])
@pytest.mark.parametrize("arguments", [(), ("a", "--all")])
def test_ids_or_all_are_required(
    run: Run, filled: Outbox, topic: str, arguments: tuple[str, ...]
) -> None:
    with pytest.raises(SystemExit) as exited:
        run(topic, *arguments)
    assert exited.value.code == 2
    assert count(filled.path, "queue_dead_letters") == 2


@pytest.mark.parametrize("topic", ["retry", "discard"])
def test_dead_letters_of_another_instance_stay(
    run: Run, filled: Outbox, topic: str
) -> None:
    instance = ("--instance", "beta.b%2Eops")
    assert run(topic, "--all", *instance).status == 0
    assert run(topic, "a", *instance).status == 1
    assert dead(run) == ["a", "b"]


@pytest.mark.parametrize("topic", ["retry", "discard"])
def test_change_of_a_locked_file_is_one_line(
    run: Run, filled: Outbox, path: Path, monkeypatch: pytest.MonkeyPatch, topic: str
) -> None:
    monkeypatch.setattr(admin, "BUSY_TIMEOUT", 0.1)
    with contextlib.closing(sqlite3.connect(path / FILE)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        result = run(topic, "--all")
    assert (result.status, result.out) == (1, "")
    expected = "another program has locked the file for 0.1 s; end its transaction"
    assert result.err == f"manila-aspects: {path / FILE}: {expected}\n"
    assert dead(run) == ["a", "b"]


@pytest.mark.slow
def test_dead_letters_in_the_overflow_file_are_retried(
    run: Run, new: New, path: Path, receiver: Receiver
) -> None:
    receiver.rejected = {"a"}
    outbox = new()
    outbox.events._timeout = lambda: 0.1
    with contextlib.closing(sqlite3.connect(path / FILE)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        outbox.put(event("a"))
    wait_for(
        lambda: count(path, "queue_dead_letters", OVERFLOW_FILE), "a is rejected", 60
    )
    receiver.rejected = set()
    assert dead(run) == ["a"]
    assert run("retry", "a", "--format", "json").document[0]["retried"] == 1
    wait_for(lambda: receiver.ids == ["a"], "a is delivered", 60)
    assert dead(run) == []


@pytest.mark.slow
def test_retry_of_a_row_that_is_not_an_event(run: Run, new: New, path: Path) -> None:
    new().stop(0)
    with contextlib.closing(sqlite3.connect(path / FILE)) as connection, connection:
        connection.execute("INSERT INTO queue_dead_letters (data) VALUES (x'ff')")
    assert run("retry", "events-dead-1").status == 0
    # Delivery finds out again that it is not an event.
    outbox = new()
    wait_for_counts(path, 0, 1)
    assert outbox.unreadable == 1
    assert dead(run) == ["events-dead-2"]
    assert run("discard", "events-dead-2").status == 0
    assert dead(run) == []


def test_change_of_a_missing_outbox_creates_nothing(run: Run, path: Path) -> None:
    assert run("retry", "--all").status == 0
    assert run("discard", "--all").status == 0
    assert not path.parent.exists()


def test_change_stops_when_the_file_is_replaced(
    filled: Outbox, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admin, "CHANGE_SIZE", 1)
    filled.stop(0)

    def replace(text: str) -> None:
        for suffix in ("", "-wal", "-shm"):
            (path / f"{FILE}{suffix}").rename(path / f"other.sqlite{suffix}")

    with pytest.raises(admin.OutboxError, match="the file was replaced; try again"):
        admin.OutboxFiles(path).discard(progress=replace)
    # The first batch is in the replaced file.
    assert count(path, "queue_dead_letters", "other.sqlite") == 1


def test_change_leaves_the_dead_letters_of_a_file_that_came_later(
    filled: Outbox, new: New, path: Path, receiver: Receiver
) -> None:
    filled.stop(0)
    files = admin.OutboxFiles(path)
    found = files.entries("dead", 10)
    for suffix in ("", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            (path / f"{FILE}{suffix}").rename(path / f"other.sqlite{suffix}")
    # Its rows have the same numbers.
    receiver.rejected |= {"later-1", "later-2"}
    later = new()
    for name in ("later-1", "later-2"):
        later.put(event(name))
    wait_for(lambda: later.dead_letters() == 2, "they are rejected")
    later.stop(0)
    with pytest.raises(admin.OutboxError, match="the file was replaced; try again"):
        files.discard(found)
    assert count(path, "queue_dead_letters") == 2


SERVICE = """
    import os, pathlib, sys
    from hooks.events.errors import RejectedError
    from hooks.events.outbox import Outbox

    rejected = set()

    def deliver(event):
        # The receiver rejects each event once.
        if event["id"] not in rejected:
            rejected.add(event["id"])
            raise RejectedError("status 400")
        # One call, because several threads deliver.
        os.write(1, event["id"].encode() + b" ")

    outbox = Outbox(pathlib.Path(sys.argv[1]), deliver)
    for number in range(int(sys.argv[2])):
        outbox.put({"id": str(number), "subject": str(number % 7)})
    sys.stdin.read()
    outbox.stop(60)
"""


@pytest.mark.slow
def test_each_event_is_delivered_once_by_another_process(run: Run, path: Path) -> None:
    number = 400
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(SERVICE)]
        + [str(path), str(number)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        retried = 0

        def all_retried() -> bool:
            nonlocal retried
            changed = run("retry", "--all", "--instance", "alpha.ops")
            assert (changed.status, changed.err) == (0, "")
            retried += int(changed.out.splitlines()[2].split()[1])
            for topic in ("status", "list"):
                assert run(topic).status == 0
            return retried == number

        try:
            wait_for(all_retried, "all events are retried", 100)
        finally:
            out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert sorted(map(int, out.split())) == list(range(number))
    assert (count(path, "queue_waiting"), count(path, "queue_dead_letters")) == (0, 0)


# -- beside other programs -------------------------------------------------------------


def contents(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in path.rglob("*") if file.is_file()}


def test_reading_a_stopped_outbox_changes_no_file(
    run: Run, filled: Outbox, path: Path
) -> None:
    filled.stop(0)
    before = contents(path)
    assert set(before) == {FILE, "lock"}
    for arguments in (("status",), ("list",), ("show", "a")):
        assert run(*arguments).status == 0
    assert contents(path) == before


def test_reading_creates_no_directory(run: Run, path: Path) -> None:
    assert run("status").status == 0
    assert run("list").status == 0
    assert not path.parent.exists()


def test_reading_does_not_create_the_index_of_a_log(
    run: Run, filled: Outbox, path: Path, tmp_path: Path
) -> None:
    copied = {name: data for name, data in contents(path).items() if "shm" not in name}
    filled.stop(0)
    for name, data in copied.items():
        (path / name).write_bytes(data)
    result = run("status")
    assert (result.status, result.out) == (1, "")
    assert "events.sqlite-shm: the index of SQLite's log is missing" in result.err
    assert contents(path) == copied


def test_outbox_that_is_being_created_is_empty(run: Run, path: Path) -> None:
    path.mkdir(parents=True)
    (path / FILE).touch()
    arguments = ("status", "--instance", "alpha.ops", "--format", "json")
    assert only(run(*arguments).document)["waiting"] == 0


def lock(file: Path) -> sqlite3.Connection:
    """Lock a file against reading too."""
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    connection.execute("BEGIN IMMEDIATE")
    return connection


@pytest.mark.parametrize("topic", [("status",), ("list",), ("show", "a")])
def test_locked_file_is_one_line(
    run: Run,
    filled: Outbox,
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    topic: tuple[str, ...],
) -> None:
    monkeypatch.setattr(admin, "BUSY_TIMEOUT", 0.1)
    filled.stop(0)
    with contextlib.closing(lock(path / FILE)):
        result = run(*topic)
    assert (result.status, result.out) == (1, "")
    expected = "another program has locked the file for 0.1 s; end its transaction"
    assert result.err == f"manila-aspects: {path / FILE}: {expected}\n"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("PRAGMA user_version = 99", "another version wrote this file (schema 99"),
        ("PRAGMA user_version = 1", "expected 2); start the service"),
        ("DROP TABLE queue_dead_letters", "no such table: queue_dead_letters"),
    ],
)
def test_file_with_other_tables_is_one_line(
    run: Run, filled: Outbox, path: Path, change: str, message: str
) -> None:
    filled.stop(0)
    with contextlib.closing(sqlite3.connect(path / FILE)) as connection:
        connection.execute(change)
    result = run("status")
    assert (result.status, result.out) == (1, "")
    assert result.err.startswith(f"manila-aspects: {path / FILE}: ")
    assert message in result.err
    assert result.err.count("\n") == 1


def test_file_that_is_not_a_database_is_one_line(run: Run, path: Path) -> None:
    path.mkdir(parents=True)
    (path / FILE).write_text("text" * 1000)
    result = run("list")
    assert result.status == 1
    expected = f"manila-aspects: {path / FILE}: file is not a database\n"
    assert result.err == expected


# -- the configuration -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("instance", "message"),
    [
        (
            "alpha.opz",
            "--instance alpha.opz: no such hook instance (configured: alpha.ops, "
            "alpha.direct, alpha.audit, beta.b%2Eops); did you mean alpha.ops?",
        ),
        (
            "alpha.direct",
            "--instance alpha.direct: hook_dispatch is not durable, so it has no "
            "outbox",
        ),
        (
            "alpha.audit",
            "--instance alpha.audit: hook_dispatch is not durable, so it has no outbox",
        ),
    ],
)
def test_instance_without_an_outbox_is_an_error(
    run: Run, instance: str, message: str
) -> None:
    result = run("status", "--instance", instance)
    assert (result.status, result.out) == (1, "")
    assert result.err == f"manila-aspects: {message}\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[alpha\n", "Invalid section"),
        ("[alpha]\nhook_drivers = nope\n", "[alpha] hook_drivers = nope: unknown hook"),
        ("[alpha]\nhook_drivers = a=\n", "[alpha] hook_drivers = a=: expected"),
        (
            f"[alpha]\nhook_drivers = {ENTRY}\nhook_outbox_path = $nope\n",
            "[alpha] hook_outbox_path = $nope: ",
        ),
        (
            f"[alpha]\nhook_drivers = {ENTRY}\nhook_dispatch = durabel\n",
            "[alpha] hook_dispatch = durabel: ",
        ),
    ],
)
def test_invalid_configuration_is_one_line(
    run: Run, tmp_path: Path, text: str, message: str
) -> None:
    file = tmp_path / "more.conf"
    file.write_text(text)
    result = run("status", "--config-file", str(file))
    assert (result.status, result.out) == (1, "")
    assert message in result.err
    assert result.err.count("\n") == 1


def test_error_in_another_instance_does_not_matter(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "more.conf"
    file.write_text("[beta]\nhook_drivers = nope\n")
    arguments = ("status", "--config-file", str(file))
    assert run(*arguments).status == 1
    assert run(*arguments, "--instance", "alpha.ops").status == 0


@pytest.mark.parametrize(
    ("words", "listed"),
    [
        (["status"], ["alpha.ops", "beta.b%2Eops"]),
        (["show"], ["alpha.ops", "beta.b%2Eops"]),
        (["retry", "--config-file", "missing.conf"], []),
        (
            ["list", "--config-file", "api.conf"],
            ["alpha.ops", "beta.b%2Eops", "share_api.requests"],
        ),
    ],
)
def test_durable_instances_are_listed_for_completion(
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    listed: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("api.conf").write_text("[share_api]\nhook_drivers = requests=webhook\n")
    with pytest.raises(SystemExit) as exited:
        run(*words, "--instance", "", "--list-instances")
    assert exited.value.code == 0
    out, err = capsys.readouterr()
    assert (out.splitlines(), err) == (listed, "")


def test_default_directory_is_in_the_state_path(
    run: Run, tmp_path: Path, receiver: Receiver, new: New
) -> None:
    file = tmp_path / "more.conf"
    file.write_text(f"[DEFAULT]\nhook_outbox_path =\nstate_path = {tmp_path}\n")
    path = tmp_path / "manila-aspects" / "alpha.ops"
    receiver.rejected = {"a"}
    new(path).put(event("a"))
    wait_for_counts(path, 0, 1)
    listed = run("list", "--config-file", str(file), "--format", "json").document
    assert [entry["id"] for entry in listed] == ["a"]
