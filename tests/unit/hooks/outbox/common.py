# SPDX-License-Identifier: Apache-2.0
"""Helpers of the tests of the outbox."""

import contextlib
import sqlite3
import subprocess
import sys
import textwrap
import threading

from hooks.events.outbox import FILE
from tests.support.wait import wait_for


class Receiver:
    """Takes events, and raises the errors that a test sets."""

    def __init__(self):
        self.ids = []
        self.attempts = []
        #: Event ID -> the error that its delivery raises.
        self.errors = {}
        self.open = threading.Event()
        self.open.set()

    def __call__(self, event):
        self.attempts.append(event)
        assert self.open.wait(30)
        if event["id"] in self.errors:
            raise self.errors[event["id"]]
        self.ids.append(event["id"])

    def wait(self, *ids):
        wait_for(lambda: self.ids == list(ids), f"{ids} are delivered", 20)


def event(name):
    return {"id": name, "data": {"share_id": "größer"}}


def ids_in(path, table="queue_waiting", file=FILE):
    with contextlib.closing(sqlite3.connect(path / file)) as connection:
        query = f"SELECT json_extract(CAST(data AS TEXT), '$.id') FROM {table}"
        return [id_ for (id_,) in connection.execute(f"{query} ORDER BY _id")]


@contextlib.contextmanager
def transaction(path, file=FILE):
    """Open a write transaction from outside, as an operator's shell may."""
    with contextlib.closing(sqlite3.connect(path / file)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield connection
        connection.rollback()


def run(code, *args):
    """Run Python code in a new process."""
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(code), *map(str, args)],
        capture_output=True,
        text=True,
        timeout=50,
    )
