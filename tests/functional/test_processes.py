# SPDX-License-Identifier: Apache-2.0
"""Hooks in a Manila of several processes, with many shares, reloads and crashes.

``manila-api``, ``manila-scheduler`` and ``manila-share`` with two backends run over
RabbitMQ and PostgreSQL. Ten clients at a time create, use and delete shares. Meanwhile,
``manila-share`` reloads its configuration, RabbitMQ restarts, and ``manila-share`` is
killed and started again. ``--shares`` is the minimum number of shares: the clients
create more until each disturbance is over. A control run uses Manila's own share
manager without hooks; it checks only the states, the resources and the logs.

*states* A disturbance is a time in which RabbitMQ or ``manila-share`` is not available.
    On native threads this includes a reload, because oslo.service then replaces the
    processes. An operation is *disturbed* if a disturbance overlaps the time between
    its request and its completion as seen by the client. Every undisturbed operation
    completes. A disturbed operation may be *left behind*, with or without hooks: its
    message was lost, or the process that handled it was killed. Its share, snapshot or
    rule then keeps the state that the API, or ``manila-share`` before the driver call,
    has set (:data:`LEFT_IN`). An admin resets and deletes such resources. At the end no
    share and no snapshot is left.

*audit lines* Every completed operation has an audit line with the outcome ``success``,
    and an undisturbed operation has only that line. No two lines have the same request,
    operation and share. When an admin repeats an operation, that is another request.

*chain* The chain always contains exactly one of the audit hooks ``one`` and ``two``
    beside the first audit hook. Each line of the first hook has a line of one of them,
    except lines written while the process was killed. In the order in which the calls
    began, ``one`` and ``two`` alternate with each edit of the file. When the hooks swap
    places in the chain, so do their lines.

*events* The chain contains a notification hook when it contains ``one``. Each call in
    the file of ``one`` has one start event and one end event; no call in the file of
    ``two`` has an event. On ``alpha`` the hook is dispatched in the background, so a
    restart of the broker or a kill may lose events. On ``beta`` the hook is durable, so
    no event may be lost.

*resources* After each part of the day, the processes of ``manila-share`` have at most
    the threads, files and sockets that they had after the first, calm part. At the end
    no process and no open port is left.

*log* The logs contain no traceback for which this project is responsible, and no hook
    that failed to start or stop.
"""

from __future__ import annotations

import contextlib
import datetime
import itertools
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
from tests.support.rabbit import Inbox
from tests.support.schema import validated_line
from tests.support.wait import wait_for

from .cloud import BACKENDS, DEAD_SOCKET, HEADERS, Cloud, processes_of
from .share_service import THREADS, project_tracebacks

# Manila needs seconds of processor time for each share.
pytestmark = pytest.mark.timeout(3600)

#: Maximum number of concurrent clients.
CLIENTS = 10

#: Part of the day -> fraction of all shares that the clients create in it.
PARTS = {"calm": 1 / 8, "SIGHUP": 3 / 8, "broker": 1 / 4, "kill": 1 / 4}

#: Seconds that an operation may take, and that it may take after a disturbance.
PATIENCE, PATIENCE_AFTER = 120.0, 8.0

#: Operation -> states in which it may be left behind, in the order of a share's life.
LEFT_IN = {
    "create_share_instance": {"creating"},
    "allow_access": {"queued_to_apply", "applying"},
    "create_snapshot": {"creating"},
    "extend_share": {"extending"},
    "deny_access": {"queued_to_deny", "denying"},
    "delete_snapshot": {"deleting"},
    "delete_share_instance": {"deleting"},
}

#: Values of ``hook_drivers``: each reload adds, removes or reorders hooks.
FIRST = "audit, one=audit, notify=notification"
SWAPPED = "audit, two=audit, metrics"
LAST = "one=audit, audit, notify=notification"

NEVER = float("inf")


@dataclass
class Disturbance:
    """A time in which a part of Manila is not available."""

    kind: str
    began: float
    ended: float = NEVER


@dataclass
class Call:
    """One operation on one share, as its client sees it."""

    operation: str
    #: ID of the snapshot if the operation is on a snapshot, otherwise of the share.
    of: str
    began: float
    ended: float = NEVER
    #: The state in which the operation was left behind, empty if it completed.
    left_in: str = ""


class LeftBehindError(Exception):
    """Raised when an operation does not complete."""


class Clients:
    """Create, use and delete shares, and record the progress of each operation.

    :param endpoint: the URL of the share API
    """

    def __init__(self, endpoint: str) -> None:
        self.calls: list[Call] = []
        self.disturbances: list[Disturbance] = []
        #: Descriptions of failed requests that were sent again.
        self.retried: list[str] = []
        self._endpoint = endpoint
        self._numbers = itertools.count()
        self._stopped = threading.Event()
        self._thread = threading.local()

    @contextlib.contextmanager
    def disturbed(self, kind: str) -> Iterator[None]:
        """Record a disturbance that lasts as long as the context."""
        disturbance = Disturbance(kind, time.time())
        self.disturbances.append(disturbance)
        yield
        disturbance.ended = time.time()

    def is_disturbed(self, call: Call) -> bool:
        """Return whether a disturbance overlaps a call."""
        return any(
            disturbance.began <= call.ended and call.began <= disturbance.ended
            for disturbance in self.disturbances
        )

    def done(self) -> int:
        """Return the number of completed operations."""
        return sum(call.ended < NEVER for call in tuple(self.calls))

    @contextlib.contextmanager
    def working(self, shares: int) -> Iterator[Callable[[float], None]]:
        """Run the clients for as long as the context lasts, or longer.

        :param shares: minimum number of shares that they create
        :return: a function that waits until a fraction of the operations on these
            shares, from 0 to 1, has completed
        """
        before, finishing = self.done(), threading.Event()
        numbers = itertools.count()

        def work() -> None:
            while next(numbers) < shares or not finishing.is_set():
                if self._stopped.is_set():
                    return
                number = next(self._numbers)
                self._live(f"share-{number}", BACKENDS[number % 2])

        def wait_until(fraction: float) -> None:
            enough = before + fraction * shares * len(LEFT_IN)
            wait_for(
                lambda: self.done() >= enough or any(job.done() for job in jobs),
                f"{fraction:.0%} of the operations",
                timeout=1200,
            )
            for job in jobs:
                if job.done():
                    job.result()

        with futures.ThreadPoolExecutor(CLIENTS) as pool:
            jobs = [pool.submit(work) for _ in range(min(CLIENTS, shares))]
            try:
                yield wait_until
                finishing.set()
                for job in futures.as_completed(jobs):
                    job.result()
            except BaseException:
                self._stopped.set()
                raise

    def request(self, method: str, path: str, body: Any = None) -> Any:
        """Send a request; repeat it after an error of the connection or the server.

        :return: the body of the response, or None if the resource does not exist
        """
        if not hasattr(self._thread, "session"):
            self._thread.session = requests.Session()
            self._thread.session.headers.update(HEADERS)
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                response = self._thread.session.request(
                    method, self._endpoint + path, json=body, timeout=PATIENCE
                )
                if response.status_code == 404:
                    return None
                response.raise_for_status()
                return response.json() if response.content else {}
            except requests.RequestException as error:
                rejected = (
                    error.response is not None and error.response.status_code < 500
                )
                # GET may return status 400 while the resource is being deleted.
                if rejected and method != "GET":
                    raise
                if time.monotonic() > deadline or self._stopped.is_set():
                    raise
                self.retried.append(f"{method} {path}: {error}")
                time.sleep(0.5)

    # -- one share -----------------------------------------------------------------

    def _live(self, name: str, backend: str) -> None:
        try:
            self._go_through_life(name, backend)
        except LeftBehindError:
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
            lambda response: response["share"]["id"],
            lambda: self.request("POST", "/shares", {"share": share}),
            lambda response: self._status_of("share", response["share"]["id"]),
            "available",
        )["share"]["id"]

        def act(**action: Any) -> Any:
            return self.request("POST", f"/shares/{share_id}/action", action)

        rule = {"access_type": "ip", "access_to": "10.0.0.1", "access_level": "rw"}
        rule_id = self._do(
            "allow_access",
            lambda response: share_id,
            lambda: act(allow_access=rule),
            lambda response: self._state_of_rule(share_id, response["access"]["id"]),
            "active",
        )["access"]["id"]
        snapshot = {"share_id": share_id, "name": name}
        snapshot_id = self._do(
            "create_snapshot",
            lambda response: response["snapshot"]["id"],
            lambda: self.request("POST", "/snapshots", {"snapshot": snapshot}),
            lambda response: self._status_of("snapshot", response["snapshot"]["id"]),
            "available",
        )["snapshot"]["id"]
        self._do(
            "extend_share",
            lambda response: share_id,
            lambda: act(extend={"new_size": 2}),
            lambda response: self._status_of("share", share_id),
            "available",
        )
        self._do(
            "deny_access",
            lambda response: share_id,
            lambda: act(deny_access={"access_id": rule_id}),
            lambda response: self._state_of_rule(share_id, rule_id),
            "gone",
        )
        self._do(
            "delete_snapshot",
            lambda response: snapshot_id,
            lambda: self.request("DELETE", f"/snapshots/{snapshot_id}"),
            lambda response: self._status_of("snapshot", snapshot_id),
            "gone",
        )
        self._do(
            "delete_share_instance",
            lambda response: share_id,
            lambda: self.request("DELETE", f"/shares/{share_id}"),
            lambda response: self._status_of("share", share_id),
            "gone",
        )

    def _do(
        self,
        operation: str,
        of: Callable[[Any], str],
        request: Callable[[], Any],
        state: Callable[[Any], str],
        expected: str,
    ) -> Any:
        """Request an operation and wait until it has completed.

        :param operation: the operation
        :param of: returns the ID of its share or snapshot from the response
        :param request: sends the request and returns the response
        :param state: returns the current state from the response
        :param expected: the state after the operation
        :return: the response
        :raises LeftBehindError: if it does not complete in time
        """
        call = Call(operation, "", time.time())
        self.calls.append(call)
        response = request()
        call.of = of(response)
        # Poll rarely: each request costs Manila as much as a step of the operation.
        pause = 0.4
        while (current := state(response)) != expected:
            if self._stopped.is_set():
                raise LeftBehindError
            if time.time() > self._deadline_of(call):
                call.left_in = current
                raise LeftBehindError
            time.sleep(pause)
            pause = min(pause * 1.5, 3)
        call.ended = time.time()
        return response

    def _deadline_of(self, call: Call) -> float:
        if self.is_disturbed(call):
            return PATIENCE_AFTER + max(
                disturbance.ended for disturbance in self.disturbances
            )
        return call.began + PATIENCE

    def _status_of(self, kind: str, resource_id: str) -> str:
        response = self.request("GET", f"/{kind}s/{resource_id}")
        return "gone" if response is None else str(response[kind]["status"])

    def _state_of_rule(self, share_id: str, rule_id: str) -> str:
        response = self.request("GET", f"/share-access-rules?share_id={share_id}")
        rules = (response or {})["access_list"]
        states = {rule["id"]: rule["state"] for rule in rules}
        return str(states.get(rule_id, "gone"))

    def _is_gone(self, name: str) -> bool:
        """Reset and delete a share that was left behind, as an admin does.

        :return: whether the share and its snapshot are gone
        """
        for kind in ("snapshot", "share"):
            if found := self.request("GET", f"/{kind}s?name={name}")[f"{kind}s"]:
                path = f"/{kind}s/{found[0]['id']}"
                reset = {"reset_status": {"status": "error"}}
                self.request("POST", f"{path}/action", reset)
                self.request("DELETE", path)
                return False
        return True


# -- the output of the hooks ---------------------------------------------------------


@dataclass(frozen=True)
class Key:
    """The data by which the output of several hooks is matched to a call."""

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
    """A line of an audit file about a call on a share."""

    key: Key
    of: str
    outcome: str
    began: float
    ended: float


def lines_of(directory: Path, hook: str) -> Iterator[Line]:
    """Read the lines about shares that an audit hook has written for each backend."""
    for backend in BACKENDS:
        file = directory / f"{backend}.{hook}"
        text = file.read_text("utf-8") if file.exists() else ""
        for data in map(validated_line, text.splitlines()):
            if "share_id" in data:
                ended = datetime.datetime.fromisoformat(data["time"]).timestamp()
                began = ended - data["duration"]
                key = Key.of(data)
                of = data.get("snapshot_id") or data["share_id"]
                yield Line(key, of, data["outcome"], began, ended)


class Evidence:
    """The output of the hooks, compared with the operations of the clients.

    :param clients: the clients that called Manila
    :param directory: directory of the audit files
    :param inbox: the consumer of the events
    """

    def __init__(self, clients: Clients, directory: Path, inbox: Inbox) -> None:
        self.clients = clients
        self.inbox = inbox
        self.lines = list(lines_of(directory, "audit"))
        self.one = list(lines_of(directory, "one"))
        self.two = list(lines_of(directory, "two"))

    def check_states(self) -> None:
        """Check that only disturbed operations are left behind, in expected states."""
        for call in self.clients.calls:
            if call.left_in:
                assert self.clients.is_disturbed(call), call
                assert call.left_in in LEFT_IN[call.operation], call

    def check_lines(self) -> None:
        """Check that each completed operation has its line, and no call has two."""
        assert not _duplicates(self.lines)
        outcomes = defaultdict(list)
        for line in self.lines:
            outcomes[line.key.operation, line.of].append(line.outcome)
        for call in self.clients.calls:
            found = outcomes[call.operation, call.of]
            if not self.clients.is_disturbed(call):
                assert found == ["success"], call
            elif call.ended < NEVER:
                # After a kill, the next process applies all pending rules in one call.
                if call.operation in ("allow_access", "deny_access"):
                    found = found + outcomes["update_access", call.of]
                assert "success" in found, call

    def check_chain(self) -> None:
        """Check that each call ran one chain, and that the chains alternate."""
        assert not _duplicates(self.one + self.two)
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
            names = (name for _, name in sorted(began))
            chains = [name for name, _ in itertools.groupby(names)]
            assert chains == ["one", "two", "one", "two", "one"]
            last_change = max(line.began for line in two)
            for line in one:
                if line.key in first:
                    is_second = first[line.key].ended <= line.ended
                    assert is_second == (line.began < last_change), line

    def check_events(self) -> bool:
        """Check that calls have events if ``one`` is in their chain, and only then.

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
        """Return whether a call ended during a disturbance or just before it.

        :param seconds: maximum time between the end of the call and the disturbance
        :param kinds: kinds of disturbances
        """
        return any(
            disturbance.began - seconds <= line.ended
            and line.began <= disturbance.ended
            for disturbance in self.clients.disturbances
            if disturbance.kind in kinds
        )


def _duplicates(lines: list[Line]) -> list[Key]:
    counts = Counter(line.key for line in lines)
    return [key for key, count in counts.items() if count > 1]


# -- the test ------------------------------------------------------------------------

#: Slows down the driver, so that calls are in flight when a disturbance begins.
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
    """A day in the life of a cloud, in several parts.

    :param cloud: the cloud, which is not started yet
    :param shares: minimum number of shares that the clients create
    :param hooks: whether to configure hooks
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
        self.configure(FIRST)

    def configure(self, chain: str) -> None:
        """Write the configuration.

        :param chain: the value of ``hook_drivers``, ignored without hooks
        """
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
        """Write the configuration, send SIGHUP and wait until the chain is in use."""
        hook = "two" if chain is SWAPPED else "one"
        before = self._lines_by_backend(hook)
        self.configure(chain)
        with contextlib.ExitStack() as disturbed:
            if self.cloud.native:
                disturbed.enter_context(self.clients.disturbed("SIGHUP"))
            self.cloud.hang_up()
        if not self.hooks:
            return
        wait_for(
            lambda: len(self._lines_by_backend(hook) - before) == len(BACKENDS),
            f"lines of {hook}",
            timeout=PATIENCE,
        )
        expected = [chain is SWAPPED] * len(BACKENDS)
        wait_for(
            lambda: [listens(port) for port in self.metrics_ports.values()] == expected,
            f"the metrics of {chain}",
        )

    def _lines_by_backend(self, hook: str) -> Counter[str]:
        """Count the lines about shares that an audit hook has written, by backend."""
        return Counter(
            line.key.backend for line in lines_of(self.cloud.directory, hook)
        )

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[Callable[[float], None]]:
        """Run the clients for one part of the day, then check the resources."""
        began, before = time.monotonic(), self._counts()
        with self.clients.working(self.shares[name]) as wait_until:
            yield wait_until
        seconds = time.monotonic() - began
        shares, done = (now - then for now, then in zip(self._counts(), before))
        self._baseline = self._baseline or self.cloud.resources()
        # With or without hooks, oslo.messaging does not close a socket that the broker
        # has closed: only the garbage collector does.
        ignored = DEAD_SOCKET if name == "broker" else ""
        wait_for(lambda: self._is_back_to_baseline(ignored), "no additional resources")
        self.figures.append(f"{name}: {shares} shares, {done} done, {seconds:.0f} s")

    def _counts(self) -> tuple[int, int]:
        """Return the number of requested shares and of completed operations."""
        created = [
            call
            for call in self.clients.calls
            if call.operation == "create_share_instance"
        ]
        return len(created), self.clients.done()

    def _is_back_to_baseline(self, ignored: str) -> bool:
        for process, resources in self.cloud.resources().items():
            additional = resources - self._baseline[process]
            del additional[ignored]
            assert not additional, (process, additional)
        return True


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def shown_on_failure(cloud: Cloud) -> Iterator[None]:
    """Print the ends of the logs if the context raises."""
    try:
        yield
    except BaseException:
        for name, text in cloud.logs().items():
            lines = [line for line in text.splitlines() if " INFO " not in line]
            print(f"----- {name}", *lines[-100:], sep="\n")  # noqa: T201
        raise


@pytest.mark.parametrize(
    ("environment", "hooks"),
    [
        *(pytest.param(*threads.values, True, id=threads.id) for threads in THREADS),
        pytest.param(*THREADS[0].values, False, id="without hooks"),
    ],
)
def test_hooks_in_a_cloud_with_reloads_restarts_and_kills(
    tmp_path: Path, environment: Mapping[str, str], hooks: bool, shares: int
) -> None:
    began = time.monotonic()
    with Cloud(tmp_path, environment) as cloud, shown_on_failure(cloud):
        directories = (tmp_path, cloud.database.directory)
        day = Day(cloud, shares, hooks)
        clients = day.clients
        cloud.prepare()
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
            assert project_tracebacks(log) == []
            assert "Failed to start" not in log
            assert "Failed to stop" not in log
        if cloud.native:
            assert statuses["manila-share"] == 0, statuses

    assert processes_of(*directories) == []
    ports = [cloud.port, cloud.broker.port, *day.metrics_ports.values()]
    assert not any(map(listens, ports))

    left = Counter((call.operation, call.left_in) for call in clients.calls)
    disturbed = sum(map(clients.is_disturbed, clients.calls))
    kinds = [disturbance.kind for disturbance in clients.disturbances]
    print(  # noqa: T201
        *day.figures,
        f"{len(clients.calls)} operations, {disturbed} of them disturbed, left behind:",
        *(f"  {count} {' '.join(key)}" for key, count in left.items() if key[1]),
        f"disturbances: {Counter(kinds)}",
        f"repeated requests: {len(clients.retried)}",
        f"outcomes: {Counter(line.outcome for line in evidence.lines)}",
        f"lines of one, two: {len(evidence.one)}, {len(evidence.two)}",
        f"events: {len(inbox.messages)}",
        f"seconds: {time.monotonic() - began:.0f}",
        sep="\n",
    )
