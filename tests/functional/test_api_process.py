# SPDX-License-Identifier: Apache-2.0
"""Hooks start, follow the configuration and stop with a real API process."""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from aspects.demo.releases import paste_configuration
from aspects.demo.service import paste_file
from tests.support.programs import (
    Program,
    children_of,
    free_port,
    handles_sighup,
    installed,
)
from tests.support.wait import wait_for

from .share_service import _MAKE_SQLITE, EVENTLET, NATIVE, ROOT, THREADS

# Fail a test whose process does not stop.
pytestmark = pytest.mark.timeout(300)

CONFIG = """
[DEFAULT]
host = node1
my_ip = 127.0.0.1
transport_url = fake:/
state_path = {directory}
log_file = {directory}/manila.log
use_stderr = False
osapi_share_listen = 127.0.0.1
osapi_share_listen_port = {port}
osapi_share_workers = 1
api_paste_config = {directory}/api-paste.ini
auth_strategy = noauthv2
enabled_share_protocols = NFS
share_api_class = aspects.manila.ShareAPI

[share_api]
hook_drivers = {hooks}
enable_pre_hooks = True

[share_api:witness]
witness_file = {directory}/events
witness_denies = {denies}

[database]
connection = sqlite:///{directory}/manila.sqlite

[oslo_concurrency]
lock_path = {directory}/locks

[coordination]
backend_url = file://{directory}/coordination

[oslo_policy]
policy_file = {directory}/policy.yaml
policy_dirs = {directory}/policy.d
"""

HOOK = "witness=tests.functional.api_parts:Witness"

# A WSGI server that loads Manila's application, and forks its worker afterwards if the
# first argument says so, as uWSGI does.
_SERVE = """
import os, signal, sys
kind, port = sys.argv.pop(1), int(sys.argv.pop(1))
if {loads_with_eventlet}:
    import eventlet
    eventlet.monkey_patch()
import threading, time
from cheroot import wsgi
from wsgiref import simple_server
from manila.wsgi import wsgi as manila_wsgi
application = manila_wsgi.initialize_application()
if kind == "forked" and (child := os.fork()):
    signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGTERM))
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
if kind == "wsgiref":
    server = simple_server.make_server("127.0.0.1", port, application)
    run, end = server.serve_forever, server.shutdown
else:
    server = wsgi.Server(("127.0.0.1", port), application, numthreads=4)
    run, end = server.start, server.stop
ended = []
# In place of an exception, which would interrupt a server in the middle of a request.
signal.signal(signal.SIGTERM, lambda *_: ended.append(True))
def stop():
    while not ended:
        time.sleep(0.05)
    end()
stopping = threading.Thread(target=stop)
stopping.start()
run()
stopping.join()
"""

HEADERS = {"X-Auth-Token": "admin:demo", "X-OpenStack-Manila-API-Version": "2.65"}


class Api:
    """An API process.

    :param directory: directory of the configuration, the log and the data
    :param environment: :data:`~.share_service.NATIVE` or
        :data:`~.share_service.EVENTLET`
    :param kind: the server: ``manila-api``, ``wsgiref``, ``cheroot``, or ``forked`` for
        one that loads the application before it forks its worker
    """

    def __init__(self, directory: Path, environment: dict[str, str], kind: str) -> None:
        self.directory = directory
        self.kind = kind
        self.port = free_port()
        self.environment = {
            **os.environ,
            **environment,
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            "PYTHONWARNINGS": "ignore",
        }
        paste = paste_configuration(paste_file().read_text("utf-8"))
        (directory / "api-paste.ini").write_text(paste, "utf-8")
        (directory / "policy.yaml").write_text("{}\n", "utf-8")
        (directory / "policy.d").mkdir()
        self.program: Program | None = None

    def configure(self, denies: str = "", hooks: str = HOOK) -> None:
        """Write ``manila.conf``.

        :param denies: the operation that the hook denies
        :param hooks: the value of ``hook_drivers``, and further lines of the section
        """
        text = CONFIG.format(
            directory=self.directory,
            port=self.port,
            denies=denies,
            hooks=hooks,
        )
        new = self.directory / "manila.conf.new"
        new.write_text(text, "utf-8")
        new.rename(self.directory / "manila.conf")

    def start(self) -> Program:
        """Create the tables, and start the process."""
        config = ["--config-file", str(self.directory / "manila.conf")]
        creation = Program(
            [sys.executable, "-c", _MAKE_SQLITE, *config],
            self.directory / "database.out",
            {**self.environment, **NATIVE},
        )
        assert creation.process.wait(120) == 0, creation.log.read_text()
        command = [installed("manila-api"), *config]
        if self.kind != "manila-api":
            eventlet = self.environment.items() >= EVENTLET.items()
            script = _SERVE.format(loads_with_eventlet=eventlet)
            command = [sys.executable, "-c", script, self.kind, str(self.port), *config]
        out = self.directory / "api.out"
        self.program = Program(command, out, self.environment)
        return self.program

    def wait(self) -> None:
        """Wait until the API answers."""

        def answers() -> bool:
            assert self.program is not None
            assert self.program.process.poll() is None, self.log()
            try:
                return self.get("/types").ok
            except requests.ConnectionError:
                return False

        wait_for(answers, "the API answers", 120)

    def get(self, path: str) -> requests.Response:
        """Make a GET request."""
        url = f"http://127.0.0.1:{self.port}/v2{path}"
        return requests.get(url, headers=HEADERS, timeout=60)

    def post(self, path: str, body: object) -> requests.Response:
        """Make a POST request."""
        url = f"http://127.0.0.1:{self.port}/v2{path}"
        return requests.post(url, json=body, headers=HEADERS, timeout=60)

    def hang_up(self) -> None:
        """Send SIGHUP to the process, as ``systemctl reload`` does."""
        assert self.program is not None
        parent = self.program.process.pid
        # oslo.service has no handler for SIGHUP while it handles one.
        pids = [parent, *children_of(parent)]
        wait_for(lambda: all(map(handles_sighup, pids)), "a handler of SIGHUP")
        os.kill(parent, signal.SIGHUP)

    def create_type(self) -> None:
        """Create the share type that :meth:`create` names."""
        specs = {"driver_handles_share_servers": "false"}
        type_ = {"share_type": {"name": "plain", "extra_specs": specs}}
        assert self.post("/types", type_).status_code == 200

    def create(self) -> requests.Response:
        """Request a share."""
        share = {"share_proto": "NFS", "size": 1, "share_type": "plain"}
        return self.post("/shares", {"share": share})

    def events(self) -> list[tuple[str, int]]:
        """Return the events of the hook: name, process ID."""
        file = self.directory / "events"
        lines = file.read_text("utf-8").splitlines() if file.exists() else []
        return [(name, int(pid)) for name, pid in map(str.split, lines)]

    def log(self) -> str:
        """Return the log and the output of the process."""
        files = [self.directory / "manila.log", self.directory / "api.out"]
        return "".join(file.read_text() for file in files if file.exists())


#: Without native threads, WSGI servers use those of eventlet.
(_THREADS,) = THREADS[0].values

SERVERS = [
    pytest.param((EVENTLET, "manila-api"), id="manila-api"),
    *(
        pytest.param((_THREADS, kind), id=kind)
        for kind in ("wsgiref", "cheroot", "forked")
    ),
]


@pytest.fixture
def api(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Api]:
    api = Api(tmp_path, *request.param)
    try:
        yield api
    finally:
        sys.stdout.write(api.log())
        if api.program is not None:
            api.program.kill()


@pytest.mark.parametrize("api", SERVERS, indirect=True)
def test_hooks_run_in_the_worker_from_its_start_to_its_stop(api: Api) -> None:
    api.configure(denies="create_share")
    program = api.start()
    api.wait()
    if api.kind == "manila-api":
        # Before the first request that a hook is for.
        assert [name for name, _ in api.events()] == ["start"]
    api.create_type()
    for _ in range(2):
        response = api.create()
        assert response.status_code == 403, response.text
        assert response.json()["forbidden"]["message"] == "create_share is denied"
    assert api.get("/shares").json() == {"shares": []}

    if api.kind == "manila-api":
        api.configure()
        api.hang_up()
        wait_for(lambda: api.create().status_code == 200, "the new configuration", 60)
    assert program.stop(60) == 0, api.log()

    names = [name for name, _ in api.events()]
    assert names[0] == "start"
    assert names[-1] == "stop"
    assert names.count("start") == names.count("stop") == 1
    assert set(names) == {"start", "create_share", "stop"}
    (pid,) = {pid for _, pid in api.events()}
    assert (pid != program.process.pid) is (api.kind in ("manila-api", "forked"))
    assert "Traceback" not in api.log()


@pytest.mark.parametrize("api", SERVERS[:2], indirect=True)
def test_an_error_in_the_section_ends_the_process_with_one_line(api: Api) -> None:
    api.configure(hooks=f"{HOOK}, adit")
    program = api.start()
    assert program.process.wait(120) == 1
    text = "[share_api] hook_drivers = adit: unknown hook"
    assert text in (api.directory / "api.out").read_text()
    assert text in (api.directory / "manila.log").read_text()
    assert "Traceback" not in api.log()
    assert api.events() == []


@pytest.mark.parametrize("api", SERVERS[:1], indirect=True)
def test_each_request_is_judged_by_one_version_of_the_rules(api: Api) -> None:
    pytest.importorskip("cel_expr_python")
    rules = api.directory / "rules.yaml"

    def write(version: int, more: str = "") -> None:
        rule = "- name: rule{}\n  when: 'true'\n  reason: v{}\n"
        new = api.directory / "rules.new"
        new.write_text("".join(rule.format(n, version) for n in range(3)) + more)
        new.rename(rules)

    def version() -> int:
        """Request a share, and return the version of the rules that deny it."""
        response = api.create()
        assert response.status_code == 403, response.text
        message = response.json()["forbidden"]["message"]
        found = re.findall(r"v(\d+) \(rule rule\d\)", message)
        assert len(found) == 3, message
        assert len(set(found)) == 1, message
        return int(found[0])

    def rejections() -> int:
        """Return the number of reloads that the worker has rejected."""
        rejected = rf" {worker} ERROR .*Configuration reload rejected, keeping"
        return len(re.findall(rejected, api.log()))

    write(0)
    api.configure(hooks=f"guard\nguard_rules_file = {rules}")
    program = api.start()
    api.wait()
    (worker,) = children_of(program.process.pid)
    api.create_type()
    ended = threading.Event()
    seen: set[int] = set()

    def client() -> int:
        count = 0
        while not ended.is_set():
            seen.add(version())
            count += 1
        return count

    with ThreadPoolExecutor(64) as threads:
        clients = [threads.submit(client) for _ in range(64)]
        try:
            wait_for(lambda: seen, "a client's request", 120)
            for number in range(1, 5):
                write(number)
                api.hang_up()
                wait_for(lambda n=number: version() == n, "the new rules", 120)
                write(100, more="- name: wrong")
                api.hang_up()
                wait_for(lambda n=number: rejections() == n, "a rejection", 120)
                assert version() == number
                wait_for(lambda n=number: n in seen, "a client's request", 120)
        finally:
            ended.set()
        assert all(found.result(timeout=120) for found in clients)
    assert seen == {0, 1, 2, 3, 4}
    assert "Traceback" not in api.log()
