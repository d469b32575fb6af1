# SPDX-License-Identifier: Apache-2.0
"""Hooks in a Manila of processes: many shares, and each kind of bad day.

``manila-api``, ``manila-scheduler`` and ``manila-share`` with two backends run over
RabbitMQ and PostgreSQL. Clients take shares through their lives, ten at once, while
``manila-share`` follows an edited file after SIGHUP, RabbitMQ is restarted, and
``manila-share`` is killed and started again. ``--shares`` says how many shares it
takes, at least: where something happens, the clients go on until it is over. The same
day is gone through once more with Manila's own share manager and without hooks, for
which the first of these is checked, and the resources:

*states* An operation is *disturbed* when something of Manila was not there between its
    request and the moment when its client saw it done: RabbitMQ, ``manila-share`` after
    a kill, and after SIGHUP too where it runs on native threads, since oslo.service
    then replaces its processes. Each operation that was not disturbed was seen done.
    One that was may be left behind, as by a Manila without hooks: in the state that the
    API has put the share, the snapshot or the rule in, or ``manila-share`` before it
    called the driver (:data:`LEFT_IN`), since what would have gone on is dead, or the
    message to it lost. An admin resets and deletes what is left behind, and in the end
    there is no share and no snapshot.

*audit lines* Each operation that was seen done has a line of a success, and where it
    was not disturbed it has no other. There are no two lines of one operation on one
    share in one request: what an admin does again is another request.

*the chain* Of two more audit hooks, ``one`` and ``two``, exactly one is in the chain at
    any time. Each line of the first audit hook is in the file of exactly one of them,
    but for those that were written when the process was killed. In the order in which
    the calls began, ``one`` and ``two`` take turns as often as the file was changed.
    Where they have changed places with the first hook, so have their lines.

*events* A notification hook is in the chain with ``one``. Each call in the file of
    ``one`` has one event of its start and one of its end, and no call in that of
    ``two`` has any. On ``alpha`` the hook is dispatched in the background, so that a
    broker's restart and a kill may cost events of that moment; on ``beta`` it is
    durable, and they may not.

*resources* After each part the processes of ``manila-share`` have no more threads,
    files and sockets than after the first, in which nothing happened. In the end there
    is no process and no port left.

*the log* has no traceback with a frame of a hook of this project, or whose innermost
    frame is of its machinery, and no hook that did not start or stop.
"""

from __future__ import annotations

import contextlib
import datetime
import itertools
import json
import socket
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from concurrent import futures
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support.programs import free_port
from tests.support.wait import wait_for

from .cloud import BACKENDS, DEAD_SOCKET, HEADERS, Cloud, processes_of
from .rabbit import Inbox
from .share_service import EVENTLET, NATIVE, tracebacks_of_ours

# It is Manila that works: seconds of a processor for each share.
pytestmark = pytest.mark.timeout(3600)

#: The most that work at once.
CLIENTS = 10

#: What part of all shares is worked on in each part of the day.
PARTS = {"calm": 1 / 8, "SIGHUP": 3 / 8, "broker": 1 / 4, "kill": 1 / 4}

#: Seconds that an operation may take, and that it may after a disturbance.
PATIENCE, PATIENCE_AFTER = 120.0, 8.0

#: The life of a share, and the states in which a disturbed operation is left behind.
LEFT_IN = {
    "create_share_instance": {"creating"},
    "allow_access": {"queued_to_apply", "applying"},
    "create_snapshot": {"creating"},
    "extend_share": {"extending"},
    "deny_access": {"queued_to_deny", "denying"},
    "delete_snapshot": {"deleting"},
    "delete_share_instance": {"deleting"},
}

#: The chains: from one to the next hooks are added, removed, and change places.
FIRST = "audit, one=audit, notify=notification"
SWAPPED = "audit, two=audit, metrics"
LAST = "one=audit, audit, notify=notification"

NEVER = float("inf")


@dataclass
class Disturbance:
    """A time in which something of Manila was not there."""

    kind: str
    began: float
    ended: float = NEVER


@dataclass
class Call:
    """One operation on one share, as its client saw it."""

    operation: str
    #: The id of the snapshot, where it is one's, or else of the share.
    of: str
    began: float
    ended: float = NEVER
    #: The state that it was left behind in, if it was.
    left_in: str = ""


class LeftBehind(Exception):
    """An operation does not go on."""


class Clients:
    """Take shares through their lives, and see what becomes of each operation.

    :param endpoint: the URL of the share API
    """

    def __init__(self, endpoint: str) -> None:
        self.calls: list[Call] = []
        self.disturbances: list[Disturbance] = []
        #: Requests that failed, and were sent again.
        self.retried: list[str] = []
        self._endpoint = endpoint
        self._numbers = itertools.count()
        self._stopped = threading.Event()
        self._thread = threading.local()

    @contextlib.contextmanager
    def disturbed(self, kind: str) -> Iterator[None]:
        """Note that something of Manila is not there."""
        disturbance = Disturbance(kind, time.time())
        self.disturbances.append(disturbance)
        yield
        disturbance.ended = time.time()

    def is_disturbed(self, call: Call) -> bool:
        """Tell whether there was a disturbance before a call was seen done."""
        return any(
            each.began <= call.ended and call.began <= each.ended
            for each in self.disturbances
        )

    def done(self) -> int:
        """Return how many operations were seen done."""
        return sum(call.ended < NEVER for call in tuple(self.calls))

    @contextlib.contextmanager
    def at_work(self, shares: int) -> Iterator[Callable[[float], None]]:
        """Have the clients work on so many shares, and on more until it is left.

        Return what waits until they have done a part of it, from 0 to 1.
        """
        before, over = self.done(), threading.Event()
        numbers = itertools.count()

        def work() -> None:
            while next(numbers) < shares or not over.is_set():
                if self._stopped.is_set():
                    return
                number = next(self._numbers)
                self._live(f"share-{number}", BACKENDS[number % 2])

        def wait_until(part: float) -> None:
            enough = before + part * shares * len(LEFT_IN)
            wait_for(
                lambda: self.done() >= enough or any(job.done() for job in jobs),
                f"{part:.0%} of the work",
                timeout=1200,
            )
            for job in jobs:
                if job.done():
                    job.result()

        with futures.ThreadPoolExecutor(CLIENTS) as pool:
            jobs = [pool.submit(work) for _ in range(min(CLIENTS, shares))]
            try:
                yield wait_until
                over.set()
                for job in futures.as_completed(jobs):
                    job.result()
            except BaseException:
                self._stopped.set()
                raise

    def request(self, method: str, path: str, body: Any = None) -> Any:
        """Send a request, and again where that makes sense.

        :return: the answer; None if there is no such thing
        """
        if not hasattr(self._thread, "session"):
            self._thread.session = requests.Session()
            self._thread.session.headers.update(HEADERS)
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                answer = self._thread.session.request(
                    method, self._endpoint + path, json=body, timeout=PATIENCE
                )
                if answer.status_code == 404:
                    return None
                answer.raise_for_status()
                return answer.json() if answer.content else {}
            except requests.RequestException as error:
                refused = (
                    error.response is not None and error.response.status_code < 500
                )
                # To look at what is being deleted may be answered with 400.
                if refused and method != "GET":
                    raise
                if time.monotonic() > deadline or self._stopped.is_set():
                    raise
                self.retried.append(f"{method} {path}: {error}")
                time.sleep(0.5)

    # -- one share -----------------------------------------------------------------

    def _live(self, name: str, backend: str) -> None:
        try:
            self._go_through_life(name, backend)
        except LeftBehind:
            wait_for(
                lambda: self._stopped.is_set() or self._is_gone(name),
                f"{name} is deleted",
                timeout=PATIENCE,
                pause=2,
            )

    def _go_through_life(self, name: str, backend: str) -> None:
        share = {"share_proto": "NFS", "size": 1, "share_type": backend, "name": name}
        share_id = self._do(
            "create_share_instance",
            lambda asked: asked["share"]["id"],
            lambda: self.request("POST", "/shares", {"share": share}),
            lambda asked: self._status_of("share", asked["share"]["id"]),
            "available",
        )["share"]["id"]

        def act(**action: Any) -> Any:
            return self.request("POST", f"/shares/{share_id}/action", action)

        rule = {"access_type": "ip", "access_to": "10.0.0.1", "access_level": "rw"}
        rule_id = self._do(
            "allow_access",
            lambda asked: share_id,
            lambda: act(allow_access=rule),
            lambda asked: self._state_of_rule(share_id, asked["access"]["id"]),
            "active",
        )["access"]["id"]
        snapshot = {"share_id": share_id, "name": name}
        snapshot_id = self._do(
            "create_snapshot",
            lambda asked: asked["snapshot"]["id"],
            lambda: self.request("POST", "/snapshots", {"snapshot": snapshot}),
            lambda asked: self._status_of("snapshot", asked["snapshot"]["id"]),
            "available",
        )["snapshot"]["id"]
        self._do(
            "extend_share",
            lambda asked: share_id,
            lambda: act(extend={"new_size": 2}),
            lambda asked: self._status_of("share", share_id),
            "available",
        )
        self._do(
            "deny_access",
            lambda asked: share_id,
            lambda: act(deny_access={"access_id": rule_id}),
            lambda asked: self._state_of_rule(share_id, rule_id),
            "gone",
        )
        self._do(
            "delete_snapshot",
            lambda asked: snapshot_id,
            lambda: self.request("DELETE", f"/snapshots/{snapshot_id}"),
            lambda asked: self._status_of("snapshot", snapshot_id),
            "gone",
        )
        self._do(
            "delete_share_instance",
            lambda asked: share_id,
            lambda: self.request("DELETE", f"/shares/{share_id}"),
            lambda asked: self._status_of("share", share_id),
            "gone",
        )

    def _do(
        self,
        operation: str,
        of: Callable[[Any], str],
        ask: Callable[[], Any],
        state: Callable[[Any], str],
        wanted: str,
    ) -> Any:
        """Ask for an operation, and wait until it is done.

        :return: the answer to the request
        :raises LeftBehind: if it does not go on
        """
        call = Call(operation, "", time.time())
        self.calls.append(call)
        asked = ask()
        call.of = of(asked)
        # Each question is as much work for Manila as a step of the operation.
        pause = 0.4
        while (now := state(asked)) != wanted:
            if self._stopped.is_set():
                raise LeftBehind
            if time.time() > self._deadline_of(call):
                call.left_in = now
                raise LeftBehind
            time.sleep(pause)
            pause = min(pause * 1.5, 3)
        call.ended = time.time()
        return asked

    def _deadline_of(self, call: Call) -> float:
        if self.is_disturbed(call):
            return max(each.ended for each in self.disturbances) + PATIENCE_AFTER
        return call.began + PATIENCE

    def _status_of(self, kind: str, its_id: str) -> str:
        answer = self.request("GET", f"/{kind}s/{its_id}")
        return "gone" if answer is None else str(answer[kind]["status"])

    def _state_of_rule(self, share_id: str, its_id: str) -> str:
        answer = self.request("GET", f"/share-access-rules?share_id={share_id}")
        states = {rule["id"]: rule["state"] for rule in (answer or {})["access_list"]}
        return str(states.get(its_id, "gone"))

    def _is_gone(self, name: str) -> bool:
        """Delete what is left behind of a share, as an admin does it."""
        for kind in ("snapshot", "share"):
            if found := self.request("GET", f"/{kind}s?name={name}")[f"{kind}s"]:
                path = f"/{kind}s/{found[0]['id']}"
                reset = {"reset_status": {"status": "error"}}
                self.request("POST", f"{path}/action", reset)
                self.request("DELETE", path)
                return False
        return True


# -- what the hooks have written -----------------------------------------------------


@dataclass(frozen=True)
class Key:
    """What each hook tells of a call, and of no other call."""

    backend: str
    request_id: str
    operation: str
    share_instance_id: str
    snapshot_instance_id: str

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Key:
        return cls(*(str(data.get(name)) for name in cls.__dataclass_fields__))


@dataclass(frozen=True)
class Line:
    """A line of an audit file that tells of a share."""

    key: Key
    of: str
    outcome: str
    began: float
    ended: float


def lines_of(directory: Path, hook: str) -> Iterator[Line]:
    """Read what an audit hook of each backend has written of shares."""
    for backend in BACKENDS:
        file = directory / f"{backend}.{hook}"
        text = file.read_text("utf-8") if file.exists() else ""
        for data in map(json.loads, text.splitlines()):
            if "share_id" in data:
                ended = datetime.datetime.fromisoformat(data["time"]).timestamp()
                began = ended - data["duration"]
                key = Key.of(data)
                of = data.get("snapshot_id") or data["share_id"]
                yield Line(key, of, data["outcome"], began, ended)


class Evidence:
    """What the hooks have written, beside what the clients have seen.

    :param clients: whose shares they are
    :param directory: where the audit files are
    :param inbox: has consumed the events
    """

    def __init__(self, clients: Clients, directory: Path, inbox: Inbox) -> None:
        self.clients = clients
        self.inbox = inbox
        self.lines = list(lines_of(directory, "audit"))
        self.one = list(lines_of(directory, "one"))
        self.two = list(lines_of(directory, "two"))

    def check_states(self) -> None:
        """Check that operations are left behind for a disturbance alone."""
        for call in self.clients.calls:
            if call.left_in:
                assert self.clients.is_disturbed(call), call
                assert call.left_in in LEFT_IN[call.operation], call

    def check_lines(self) -> None:
        """Check that each operation has its line, and no second one."""
        assert not _twice(self.lines)
        outcomes = defaultdict(list)
        for line in self.lines:
            outcomes[line.key.operation, line.of].append(line.outcome)
        for call in self.clients.calls:
            found = outcomes[call.operation, call.of]
            if not self.clients.is_disturbed(call):
                assert found == ["success"], call
            elif call.ended < NEVER:
                # What a killed process has left of the rules is done all at once by
                # the next.
                if call.operation in ("allow_access", "deny_access"):
                    found = found + outcomes["update_access", call.of]
                assert "success" in found, call

    def check_chain(self) -> None:
        """Check that each call met one chain, and which one."""
        assert not _twice(self.one + self.two)
        first = {line.key: line for line in self.lines}
        others = {line.key for line in self.one + self.two}
        for line in self.lines + self.one + self.two:
            both = line.key in first and line.key in others
            assert both or self._is_near(line, 1, "kill"), line
        for backend in BACKENDS:
            one = [line for line in self.one if line.key.backend == backend]
            two = [line for line in self.two if line.key.backend == backend]
            began = [(line.began, "one") for line in one]
            began += [(line.began, "two") for line in two]
            turns = [name for name, _ in itertools.groupby(n for _, n in sorted(began))]
            assert turns == ["one", "two", "one", "two", "one"]
            last_change = max(line.began for line in two)
            for line in one:
                if line.key in first:
                    is_second = first[line.key].ended <= line.ended
                    assert is_second == (line.began < last_change), line

    def check_events(self) -> bool:
        """Check that calls have events where ``one`` is in the chain, and only there.

        :return: True
        """
        found: dict[Key, dict[str, str]] = defaultdict(dict)
        for message in tuple(self.inbox.messages):
            kind = message.event_type.rpartition(".")[2]
            found[Key.of(message.data)][message.payload["id"]] = kind
        for line in self.one:
            kinds = sorted(found[line.key].values())
            if kinds != ["end", "start"]:
                assert line.key.backend == "alpha" or self._is_near(line, 1, "kill"), (
                    line
                )
                assert self._is_near(line, 5, "broker", "kill"), (line, kinds)
        assert not [line for line in self.two if line.key in found]
        return True

    def _is_near(self, line: Line, seconds: float, *kinds: str) -> bool:
        """Tell whether a call ended while something was not there, or just before."""
        return any(
            each.began - seconds <= line.ended and line.began <= each.ended
            for each in self.clients.disturbances
            if each.kind in kinds
        )


def _twice(lines: list[Line]) -> list[Key]:
    counts = Counter(line.key for line in lines)
    return [key for key, count in counts.items() if count > 1]


# -- the test ------------------------------------------------------------------------

#: So that a disturbance finds calls that are on their way.
DELAY = "dummy_driver_default_driver_method_delay = 0.2\n"

HOOKS = """
hook_drivers = {chain}
enable_pre_hooks = True
enable_post_hooks = True
audit_log_path = {directory}/{backend}.audit
metrics_port = {port}

[{backend}:one]
audit_log_path = {directory}/{backend}.one

[{backend}:two]
audit_log_path = {directory}/{backend}.two

[{backend}:notify]
hook_dispatch = {dispatch}
hook_operations = *_share*, *_snapshot, *_access
notification_transport_url = {broker}
notification_topics = hooks
"""

DISPATCH = {"alpha": "background", "beta": "durable"}


class Day:
    """What happens to a cloud while clients work on it.

    :param cloud: does not run yet
    :param shares: how many shares the clients work on, at least
    :param hooks: whether there are hooks
    """

    def __init__(self, cloud: Cloud, shares: int, hooks: bool) -> None:
        self.cloud = cloud
        self.hooks = hooks
        self.shares = {
            name: max(2, round(part * shares)) for name, part in PARTS.items()
        }
        self.clients = Clients(cloud.endpoint)
        self.metrics_ports = {backend: free_port() for backend in BACKENDS}
        self.figures: list[str] = []
        self._baseline: dict[str, Counter[str]] = {}
        self.use(FIRST)

    def use(self, chain: str) -> None:
        """Write a chain into the file, if there are hooks."""
        manager = "aspects.manila" if self.hooks else "manila.share.manager"
        texts = dict.fromkeys(BACKENDS, DELAY)
        for backend in BACKENDS if self.hooks else ():
            texts[backend] += HOOKS.format(
                backend=backend,
                chain=chain,
                directory=self.cloud.directory,
                port=self.metrics_ports[backend],
                dispatch=DISPATCH[backend],
                broker=self.cloud.broker.url,
            )
        self.cloud.configure(texts, f"{manager}.ShareManager")

    def reload(self, chain: str) -> None:
        """Write a chain into the file, send SIGHUP, and wait for its effect."""
        hook = "two" if chain is SWAPPED else "one"
        had = self._calls_in(hook)
        self.use(chain)
        with contextlib.ExitStack() as disturbed:
            if self.cloud.native:
                disturbed.enter_context(self.clients.disturbed("SIGHUP"))
            self.cloud.hang_up()
        if not self.hooks:
            return
        wait_for(
            lambda: len(self._calls_in(hook) - had) == len(BACKENDS),
            f"lines of {hook}",
            timeout=PATIENCE,
        )
        serves = [chain is SWAPPED] * len(BACKENDS)
        wait_for(
            lambda: [listens(port) for port in self.metrics_ports.values()] == serves,
            f"the metrics of {chain}",
        )

    def _calls_in(self, hook: str) -> Counter[str]:
        """Count the calls on shares in the files of an audit hook, by backend."""
        return Counter(
            line.key.backend for line in lines_of(self.cloud.directory, hook)
        )

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[Callable[[float], None]]:
        """Have the clients work on the shares of a part; check what is left of it."""
        began, before = time.monotonic(), self._so_far()
        with self.clients.at_work(self.shares[name]) as wait_until:
            yield wait_until
        seconds = time.monotonic() - began
        shares, done = (now - then for now, then in zip(self._so_far(), before))
        self._baseline = self._baseline or self.cloud.resources()
        # With or without hooks, oslo.messaging leaves a socket that the broker has
        # closed to the garbage collector.
        but = DEAD_SOCKET if name == "broker" else ""
        wait_for(lambda: self._has_no_more(but), "no more threads, files and sockets")
        self.figures.append(f"{name}: {shares} shares, {done} done, {seconds:.0f} s")

    def _so_far(self) -> tuple[int, int]:
        """Return how many shares there were, and operations that were seen done."""
        created = [
            call
            for call in self.clients.calls
            if call.operation == "create_share_instance"
        ]
        return len(created), self.clients.done()

    def _has_no_more(self, but: str) -> bool:
        for who, now in self.cloud.resources().items():
            more = now - self._baseline[who]
            del more[but]
            assert not more, (who, more)
        return True


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def shown_on_failure(cloud: Cloud) -> Iterator[None]:
    """Print what the services have to say of a failure, if there is one."""
    try:
        yield
    except BaseException:
        for name, text in cloud.logs().items():
            lines = [line for line in text.splitlines() if " INFO " not in line]
            print(f"----- {name}", *lines[-100:], sep="\n")  # noqa: T201
        raise


@pytest.mark.parametrize(
    ("environment", "hooks"),
    [(NATIVE, True), (EVENTLET, True), (NATIVE, False)],
    ids=["native", "eventlet", "without hooks"],
)
def test_a_day_of_a_cloud(
    tmp_path: Path, environment: Mapping[str, str], hooks: bool, shares: int
) -> None:
    began = time.monotonic()
    with Cloud(tmp_path, environment) as cloud, shown_on_failure(cloud):
        directories = (tmp_path, cloud.database.directory)
        day = Day(cloud, shares, hooks)
        clients = day.clients
        cloud.start()
        day.figures.append(f"start: {time.monotonic() - began:.0f} s")
        assert processes_of(*directories)
        for backend in BACKENDS:
            specs = {
                "driver_handles_share_servers": "False",
                "snapshot_support": "True",
                "share_backend_name": backend,
            }
            share_type = {"name": backend, "extra_specs": specs}
            clients.request("POST", "/types", {"share_type": share_type})

        with Inbox(cloud.broker.url, "hooks", durable=True) as inbox:
            with day.part("calm"):
                pass
            with day.part("SIGHUP") as wait_until:
                for number, chain in enumerate((SWAPPED, FIRST, SWAPPED, LAST)):
                    wait_until(0.1 + 0.2 * number)
                    day.reload(chain)
            with day.part("broker") as wait_until:
                wait_until(0.3)
                with clients.disturbed("broker"):
                    cloud.restart_broker()
            with day.part("kill") as wait_until:
                for number in range(2):
                    wait_until(0.2 + 0.3 * number)
                    with clients.disturbed("kill"):
                        cloud.kill_share()
                        cloud.start_share()

            for kind in ("shares", "snapshots"):
                assert clients.request("GET", f"/{kind}") == {kind: []}
            evidence = Evidence(clients, cloud.directory, inbox)
            evidence.check_states()
            if hooks:
                evidence.check_lines()
                evidence.check_chain()
                wait_for(evidence.check_events, "the events")
            statuses = cloud.stop()

        logs = cloud.logs()
        for log in logs.values():
            assert tracebacks_of_ours(log) == []
            assert "Failed to start" not in log
            assert "Failed to stop" not in log
        if cloud.native:
            assert statuses["manila-share"] == 0, statuses

    assert processes_of(*directories) == []
    ports = [cloud.port, cloud.broker.port, *day.metrics_ports.values()]
    assert not any(map(listens, ports))

    left = Counter((call.operation, call.left_in) for call in clients.calls)
    disturbed = sum(map(clients.is_disturbed, clients.calls))
    print(  # noqa: T201
        *day.figures,
        f"{len(clients.calls)} operations, {disturbed} of them disturbed, left behind:",
        *(f"  {count} {' '.join(what)}" for what, count in left.items() if what[1]),
        f"disturbances: {Counter(each.kind for each in clients.disturbances)}",
        f"requests sent again: {len(clients.retried)}",
        f"endings: {Counter(line.outcome for line in evidence.lines)}",
        f"lines of one and two: {len(evidence.one)}, {len(evidence.two)}",
        f"events: {len(inbox.messages)}",
        f"seconds: {time.monotonic() - began:.0f}",
        sep="\n",
    )
