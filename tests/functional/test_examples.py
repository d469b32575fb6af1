# SPDX-License-Identifier: Apache-2.0
"""The three hooks of the documentation work in the demo, from its files alone."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support.pages import ROOT, blocks_of, commands_of
from tests.support.programs import Program
from tests.support.wait import wait_for

#: The time in seconds that Manila may take on a busy machine.
PATIENCE = 120

pytestmark = pytest.mark.timeout(900)


class Demo:
    """A demo that runs the hooks of the page, and a client of its REST API."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self.endpoint = self._printed("^endpoint: (.*)$")
        self.log = Path(self._printed("^log: (.*)$"))
        self._session = requests.Session()
        self._session.headers["X-Auth-Token"] = "admin:demo"
        self._session.headers["X-OpenStack-Manila-API-Version"] = "2.82"

    def _printed(self, pattern: str) -> str:
        """Return the match of a pattern in the output, once it is there."""

        def found() -> str | None:
            assert self._program.process.poll() is None, self._program.log.read_text()
            match = re.search(pattern, self._program.log.read_text("utf-8"), re.M)
            return match and match[1]

        return str(wait_for(found, pattern, PATIENCE))

    def request(self, method: str, path: str, **body: Any) -> Any:
        """Return the answer to a request."""
        answer = self._session.request(
            method, f"{self.endpoint}/{path}", json=body or None, timeout=PATIENCE
        )
        assert answer.ok, answer.text
        return answer.json() if answer.content else None

    def share(self, **values: Any) -> str:
        """Create a share on alpha, and return its ID once it is available."""
        share = {"share_proto": "NFS", "size": 1, "share_type": "demo", **values}
        share_id: str = self.request("POST", "shares", share=share)["share"]["id"]
        self.wait_for_status(share_id, "available")
        return share_id

    def status(self, share_id: str) -> str | None:
        """Return the status of a share, or None if it is deleted."""
        for share in self.request("GET", "shares/detail")["shares"]:
            if share["id"] == share_id:
                return str(share["status"])
        return None

    def wait_for_status(self, share_id: str, status: str | None) -> None:
        """Wait until a share has a status; None waits until it is deleted."""
        wait_for(
            lambda: (self.status(share_id),) == (status,),
            f"share {share_id}: waiting for {status}",
            PATIENCE,
        )


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    directory = tmp_path_factory.mktemp("examples")
    command = ""
    for block in blocks_of("user/examples.rst"):
        if block.language == "console":
            ((command, _),) = commands_of(block)
        else:
            (directory / block.caption).write_text(block.text + "\n", "utf-8")
    program, *arguments = command.split()
    assert program == "manila-aspects"
    running = Program(
        ["env", "-C", str(directory), sys.executable, "-m", "aspects.cli", *arguments],
        directory / "demo.out",
        {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            "TMPDIR": str(tmp_path_factory.mktemp("tmp")),
        },
    )
    try:
        found = Demo(running)
        specs = {"driver_handles_share_servers": "False", "share_backend_name": "alpha"}
        share_type = {"name": "demo", "extra_specs": specs}
        found.request("POST", "types", share_type=share_type)
        yield found
    finally:
        running.kill()


def test_a_new_share_has_the_export_location_of_the_hook(demo: Demo) -> None:
    share_id = demo.share()
    found = demo.request("GET", f"shares/{share_id}/export_locations")
    paths = [one["path"] for one in found["export_locations"]]
    (second,) = (path for path in paths if path.startswith("nas2.example.org:"))
    # The driver's own locations are still there.
    rest = second.partition(":")[2]
    assert [path for path in paths if path != second and path.endswith(rest)]


def test_a_share_that_its_metadata_protects_is_not_deleted(demo: Demo) -> None:
    protected = demo.share(metadata={"protected": "true"})
    other = demo.share(metadata={"protected": "no"})
    for share_id in (protected, other):
        demo.request("DELETE", f"shares/{share_id}")
    demo.wait_for_status(protected, "error_deleting")
    demo.wait_for_status(other, None)


def test_a_tick_reports_the_shares_without_access_rules(demo: Demo) -> None:
    used, unused = demo.share(), demo.share()
    rule = {"access_type": "ip", "access_to": "192.0.2.1", "access_level": "rw"}
    demo.request("POST", f"shares/{used}/action", allow_access=rule)

    def has_rule() -> bool:
        answer = demo.request("GET", f"share-access-rules?share_id={used}")
        return [one["state"] for one in answer["access_list"]] == ["active"]

    def reports(share_id: str) -> int:
        return demo.log.read_text("utf-8").count(f"Share {share_id} has no access")

    wait_for(has_rule, "the access rule is active", PATIENCE)
    before = reports(unused)
    # A tick that began before the rule was active may still report the share.
    wait_for(lambda: reports(unused) > before + 1, "two more ticks", PATIENCE)
    reported = reports(used)
    now = reports(unused)
    wait_for(lambda: reports(unused) > now + 1, "two more ticks", PATIENCE)
    assert reports(used) == reported
