# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent import futures
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests

from .cloud import BACKENDS, Cloud, resources
from .parts import wait_for
from .postgres import Postgres
from .rabbit import Rabbit
from .share_service import EVENTLET, NATIVE

THREADS = 10


@dataclass
class Window:
    kind: str
    began: float
    ended: float | None = None


class Disturbances:
    def __init__(self) -> None:
        self.windows: list[Window] = []

    def __call__(self, kind):
        window = Window(kind, time.time())
        self.windows.append(window)
        return window

    def touched(self, began, ended):
        return [w.kind for w in self.windows
                if (w.ended or time.time()) >= began and (ended is None or w.began <= ended)]


@dataclass
class Call:
    operation: str
    backend: str
    id: str
    began: float
    ended: float | None = None
    left: str = ""


class Stuck(Exception):
    pass


class Client:
    def __init__(self, endpoint: str, disturbances) -> None:
        self.endpoint = endpoint
        self.disturbances = disturbances
        self.calls: list[Call] = []
        self.errors = []
        self.here = threading.local()
        self.requests = Counter()

    def request(self, method: str, path: str, body: Any = None) -> Any:
        if not hasattr(self.here, "session"):
            self.here.session = requests.Session()
            self.here.session.headers.update({"X-Auth-Token": "admin:demo", "X-OpenStack-Manila-API-Version": "2.65"})
        deadline = time.monotonic() + 60
        while True:
            try:
                answer = self.here.session.request(method, self.endpoint + path, json=body, timeout=60)
                self.requests[method, answer.status_code]+=1
                if answer.status_code == 404:
                    return None
                answer.raise_for_status()
                return answer.json() if answer.content else {}
            except requests.RequestException as error:
                self.errors.append((time.time(), method, path, repr(error), getattr(error.response, "text", "")))
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)

    def do(self, operation, backend, id, request, state, done):
        call = Call(operation, backend, id, time.time())
        self.calls.append(call)
        answer = request()
        if id is None:
            call.id = answer["share"]["id"]
        pause = 0.1
        time.sleep(pause)
        while (now := state(answer)) != done:
            touched = self.disturbances.touched(call.began, None)
            ends = [w.ended for w in self.disturbances.windows]
            if None not in ends and time.time() > max([call.began, *ends]) + (8 if touched else 40):
                call.left = now
                raise Stuck(f"{call} {touched}")
            time.sleep(pause)
            pause = min(pause * 1.5, 1)
        call.ended = time.time()
        return answer

    def status(self, kind, id):
        answer = self.request("GET", f"/{kind}s/{id}")
        return "gone" if answer is None else answer[kind]["status"]

    def rule(self, share, access):
        answer = self.request("GET", f"/share-access-rules?share_id={share}")
        states = [rule["state"] for rule in answer["access_list"] if rule["id"] == access] if answer else []
        return states[0] if states else "gone"

    def live(self, name, backend):
        try:
            self._live(name, backend)
        except Stuck as stuck:
            print("stuck", stuck)
            self.clean_up(name)

    def _live(self, name, backend):
        post = lambda path, body: self.request("POST", path, body)
        share = self.do("create_share_instance", backend, None, lambda: post("/shares", {"share": {"share_proto": "NFS", "size": 1, "name": name, "share_type": backend}}),
            lambda answer: self.status("share", answer["share"]["id"]), "available")["share"]["id"]
        action = f"/shares/{share}/action"
        access = self.do("allow_access", backend, share, lambda: post(action, {"allow_access": {"access_type": "ip", "access_to": "10.0.0.1", "access_level": "rw"}}),
            lambda answer: self.rule(share, answer["access"]["id"]), "active")["access"]["id"]
        snapshot = self.do("create_snapshot", backend, share, lambda: post("/snapshots", {"snapshot": {"share_id": share, "name": name}}),
            lambda answer: self.status("snapshot", answer["snapshot"]["id"]), "available")["snapshot"]["id"]
        self.do("extend_share", backend, share, lambda: post(action, {"extend": {"new_size": 2}}),
            lambda answer: self.status("share", share), "available")
        self.do("deny_access", backend, share, lambda: post(action, {"deny_access": {"access_id": access}}),
            lambda answer: self.rule(share, access), "gone")
        self.do("delete_snapshot", backend, share, lambda: self.request("DELETE", f"/snapshots/{snapshot}"),
            lambda answer: self.status("snapshot", snapshot), "gone")
        self.do("delete_share_instance", backend, share, lambda: self.request("DELETE", f"/shares/{share}"),
            lambda answer: self.status("share", share), "gone")

    def clean_up(self, name):
        def gone():
            left = 0
            for kind in ("snapshot", "share"):
                for each in self.request("GET", f"/{kind}s?name={name}")[f"{kind}s"]:
                    left += 1
                    self.request("POST", f"/{kind}s/{each['id']}/action", {"reset_status": {"status": "error"}})
                    try:
                        r = self.here.session.delete(f"{self.endpoint}/{kind}s/{each['id']}")
                        print("cleanup", kind, r.status_code, r.text)
                    except Exception as e:
                        print("cleanup", e)
            return not left
        wait_for(gone, f"{name} is cleaned up", 60, 2)


@pytest.mark.parametrize("environment", [NATIVE, EVENTLET], ids=["native", "eventlet"])
@pytest.mark.timeout(600)
def test_it(tmp_path, environment):
    b = time.time()
    def say(*what):
        print(round(time.time() - b, 1), *what, flush=True)
    (tmp_path / "rabbit").mkdir()
    with Postgres() as database, Rabbit(tmp_path / "rabbit") as broker:
        say("servers")
        cloud = Cloud(tmp_path, environment, broker, database)
        cloud.configure({})
        try:
            cloud.start()
            say("started")
            cloud.start_share()
            say("share started")
            disturbances = Disturbances()
            client = Client(cloud.endpoint, disturbances)
            for backend in BACKENDS:
                client.request("POST", "/types", {"share_type": {"name": backend, "extra_specs": {
                    "driver_handles_share_servers": "False", "snapshot_support": "True", "share_backend_name": backend}}})
            numbers = itertools.count()
            with futures.ThreadPoolExecutor(THREADS) as pool:
                def work(count):
                    return [pool.submit(client.live, f"s{n}", BACKENDS[n % 2]) for n in itertools.islice(numbers, count)]
                def finish(jobs):
                    for j in jobs: j.result()
                def fds():
                    time.sleep(3)
                    for pid in cloud.children(): say(pid, dict(resources(pid)))
                def calls(): return sum(c.ended is not None for c in client.calls)
                fds()
                finish(work(20))
                say("warm", calls())
                fds()
                jobs = work(40); t = calls()
                for i in range(3):
                    wait_for(lambda: calls() > t + 30 + i * 80, "progress", 60)
                    say("hup", calls())
                    pids = set(cloud.children())
                    if cloud.native: w = disturbances("hup")
                    cloud.hang_up()
                    if cloud.native:
                        wait_for(lambda: len(new := cloud.children()) == 2 and not pids & set(new), "new children", 60)
                        cloud.wait_for_share()
                        w.ended = time.time()
                    say("hup done", calls())
                finish(jobs)
                say("hups", calls())
                fds()
                jobs = work(40); t = calls()
                wait_for(lambda: calls() > t + 80, "progress", 60)
                say("broker", calls())
                w = disturbances("broker")
                cloud.restart_broker()
                w.ended = time.time()
                say("broker back", calls())
                finish(jobs)
                say("brokers", calls())
                fds()
                jobs = work(40); t = calls()
                wait_for(lambda: calls() > t + 80, "progress", 60)
                say("kill", calls())
                w = disturbances("kill")
                cloud.kill_share()
                cloud.start_share()
                w.ended = time.time()
                say("back", calls())
                finish(jobs)
                say("kills", calls())
                fds()
            for e in client.errors[:20]: say(e)
            say(client.requests)
            say(client.request("GET", "/shares"))
        finally:
            cloud_programs = list(cloud.programs)
            for n in reversed(cloud_programs):
                t = time.time()
                say("stopping", n, cloud.programs[n].stop(40), time.time() - t)
            say("stopped")
    say("end")
