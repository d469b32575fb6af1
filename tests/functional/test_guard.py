# SPDX-License-Identifier: Apache-2.0
"""The guard hook in a real Manila process."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import aspects
from aspects.demo import client, service
from tests.support.pages import example
from tests.support.programs import Program
from tests.support.schema import validated_line
from tests.support.wait import wait_for

pytestmark = pytest.mark.timeout(240)

PAGE = "admin/hooks/guard.rst"
TYPES = ("disk", "tape")
#: A freeze that is in force whenever the test runs.
ALWAYS = "* * * * * 2h Europe/Berlin"
CHRISTMAS = "guard_freeze = 0 0 24 12 * 14d Europe/Berlin"


class Guarded:
    """A Manila with hooks for the backend ``alpha``.

    :param directory: the directory for its files
    :param text: the configuration, which overrides that of the demo
    """

    def __init__(self, directory: Path, text: str) -> None:
        self.audit = directory / "audit.log"
        self.config = directory / "guard.conf"
        # Without the example's path, the audit hook writes to this file.
        self.text = f"{text}\n[alpha:audit]\naudit_log_path = {self.audit}\n"
        self.config.write_text(self.text)
        temporary = directory / "tmp"
        temporary.mkdir()
        root = str(Path(aspects.__file__).parents[1])
        command = [sys.executable, "-m", "aspects.cli", "demo", "--serve"]
        self.program = Program(
            [*command, "--config-file", str(self.config)],
            directory / "demo.log",
            env={
                **os.environ,
                "PYTHONPATH": root,
                "PYTHONUNBUFFERED": "1",
                "TMPDIR": str(temporary),
            },
        )

    def connect(self) -> None:
        """Wait until Manila is up, and create the share types."""
        output = wait_for(
            lambda: self.output() if "Ctrl-C" in self.output() else "",
            "Manila is up",
            90,
        )
        places = dict(re.findall(r"^(endpoint|log): (.*)$", output, re.MULTILINE))
        self.log = Path(places["log"])
        headers = {"X-Auth-Token": service.TOKEN}
        self.api = client.connect(places["endpoint"], headers, service.TOKEN)
        for name in TYPES:
            specs = {
                "driver_handles_share_servers": "False",
                "share_backend_name": "alpha",
            }
            answer = self.api.post(
                "/types",
                json={
                    "share_type": {
                        "name": name,
                        "share_type_access:is_public": True,
                        "extra_specs": specs,
                    }
                },
            )
            assert answer.status_code == 200, answer.text

    def output(self) -> str:
        return self.program.log.read_text("utf-8")

    def share(self, size: int, status: str, share_type: str = "disk") -> Any:
        """Create a share, and wait for its status."""
        share = self.api.create_share(
            share_protocol="NFS", size=size, share_type=share_type
        )
        self.wait_for(share, status)
        return share

    def wait_for(self, share: Any, status: str) -> None:
        def found() -> bool:
            return bool(self.api.get_share(share.id).status == status)

        wait_for(found, f"the share is {status}")

    def wait_until_deleted(self, share: Any) -> None:
        def deleted() -> bool:
            return share.id not in [other.id for other in self.api.shares()]

        wait_for(deleted, "the share is deleted")

    def act(self, share: Any, **action: Any) -> None:
        answer = self.api.post(f"/shares/{share.id}/action", json=action)
        assert answer.ok, answer.text

    def lines(self, share: Any) -> list[tuple[str, str, str]]:
        """Return the operation, outcome and error type of a share's audit lines."""
        lines = [validated_line(line) for line in self.audit.read_text().splitlines()]
        return [
            (line["operation"], line["outcome"], line.get("error_type", ""))
            for line in lines
            if line.get("share_id") == share.id
        ]

    def error(self, share: Any) -> str:
        """Return the error of the last audit line of a share."""
        lines = [validated_line(line) for line in self.audit.read_text().splitlines()]
        found: str = [x for x in lines if x.get("share_id") == share.id][-1]["error"]
        return found

    def message(self, share: Any) -> tuple[str, str]:
        """Return the detail ID and the text of the one user message of a share."""
        # Manila creates the message after it has set the status of the share.
        wait_for(lambda: self.messages(share), "a message")
        (message,) = self.messages(share)
        return message

    def messages(self, share: Any) -> list[tuple[str, str]]:
        """Return the detail ID and the text of each user message of a share."""
        instances = self.api.get(
            f"/shares/{share.id}/instances",
            headers={"X-OpenStack-Manila-API-Experimental": "True"},
        ).json()
        ids = {share.id, *(i["id"] for i in instances.get("share_instances", []))}
        return [
            (message["detail_id"], message["user_message"])
            for message in self.api.get("/messages").json()["messages"]
            if message["resource_id"] in ids
        ]

    def reload(self, text: str) -> None:
        """Replace the configuration, and wait until Manila has reloaded it."""

        def count() -> int:
            lines = re.findall(
                "^configuration (?:reloaded|rejected)", self.output(), re.M
            )
            return len(lines)

        before = count()
        self.config.write_text(text)
        self.program.process.send_signal(signal.SIGHUP)
        wait_for(lambda: count() > before, "reloaded or rejected")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """Run a Manila with the example of the documentation."""
    directory = tmp_path_factory.mktemp("guarded")
    replace = {
        "0 22 * * fri 60h Europe/Berlin": ALWAYS,
        # The tests must pass on any date.
        CHRISTMAS: "",
        "/var/log/manila/audit.log": str(directory / "audit.log"),
        "guard_max_size = 500": "guard_max_size = 5",
    }
    guarded = Guarded(directory, example(PAGE, replace))
    try:
        guarded.connect()
        yield guarded
    finally:
        guarded.program.stop()


class TestLimits:
    @pytest.mark.parametrize(
        ("size", "share_type", "reason"),
        [
            (
                6,
                "disk",
                "size 6 GiB exceeds the maximum of 5 GiB (guard_max_size = 5)",
            ),
            (1, "tape", "share type tape is denied (guard_denied_share_types)"),
        ],
    )
    def test_new_share_that_a_rule_forbids_becomes_an_error(
        self, guarded: Guarded, size: int, share_type: str, reason: str
    ) -> None:
        share = guarded.share(size, "error", share_type)
        assert guarded.lines(share) == [
            ("create_share_instance", "veto", "NoValidHost")
        ]
        assert guarded.error(share) == reason
        assert f"NoValidHost: {reason}" in guarded.log.read_text()
        detail, text = guarded.message(share)
        assert detail == "002"
        assert "Trying again with a different size or share type" in text

    def test_extending_a_share_beyond_the_maximum_is_vetoed(
        self, guarded: Guarded
    ) -> None:
        share = guarded.share(5, "available")
        guarded.act(share, extend={"new_size": 6})
        guarded.wait_for(share, "extending_error")
        assert guarded.lines(share)[-1] == ("extend_share", "veto", "Veto")
        detail, text = guarded.message(share)
        assert detail == "015"
        assert "failed to extend share" in text

    def test_shrinking_a_share_below_the_minimum_is_vetoed(
        self, guarded: Guarded
    ) -> None:
        guarded.reload(
            guarded.text.replace("guard_max_size = 5", "guard_min_size = 2").replace(
                "extend_share", "shrink_share"
            )
        )
        share = guarded.share(5, "available")
        guarded.act(share, shrink={"new_size": 1})
        guarded.wait_for(share, "shrinking_error")
        guarded.reload(guarded.text)
        assert guarded.lines(share)[-1] == ("shrink_share", "veto", "Veto")
        assert guarded.messages(share) == []


class TestFreeze:
    def test_deleting_a_share_with_access_rules_keeps_the_rules(
        self, guarded: Guarded
    ) -> None:
        share = guarded.share(1, "available")
        rule = {"access_type": "ip", "access_to": "127.0.0.1", "access_level": "rw"}
        guarded.act(share, allow_access=rule)
        wait_for(lambda: self.rules(guarded, share) == ["active"], "allowed")
        guarded.api.delete_share(share.id)
        guarded.wait_for(share, "error_deleting")
        # The driver's rules are unchanged too.
        assert guarded.lines(share) == [
            ("create_share_instance", "success", ""),
            ("allow_access", "success", ""),
            ("deny_access", "veto", "Veto"),
        ]
        reason = re.fullmatch(
            r"deny_access is frozen until (\d{4}-\d\d-\d\dT\d\d:\d\d\+0[12]:00) "
            + re.escape(f"(guard_freeze = {ALWAYS})"),
            guarded.error(share),
        )
        assert reason
        # Manila logs the error after it has set the state of the share.
        wait_for(lambda: reason[0] in guarded.log.read_text(), "the error in the log")
        assert guarded.message(share)[0] == "001"
        assert self.rules(guarded, share) == ["error"]

    def test_deleting_a_share_without_access_rules_is_vetoed(
        self, guarded: Guarded
    ) -> None:
        share = guarded.share(1, "available")
        guarded.api.delete_share(share.id)
        guarded.wait_for(share, "error_deleting")
        assert guarded.lines(share)[1:] == [("delete_share_instance", "veto", "Veto")]
        detail, text = guarded.message(share)
        assert detail == "001"
        assert text.endswith("An unknown error occurred.")

    def test_forced_delete_removes_the_share_without_the_driver(
        self, guarded: Guarded
    ) -> None:
        share = guarded.share(1, "available")
        guarded.act(share, force_delete={})
        guarded.wait_until_deleted(share)
        assert guarded.lines(share)[1:] == [("delete_share_instance", "veto", "Veto")]

    def test_hot_reload_rejects_an_invalid_freeze_and_lifts_a_removed_one(
        self, guarded: Guarded
    ) -> None:
        share = guarded.share(1, "available")
        guarded.reload(guarded.text.replace("Europe/Berlin", "Europe/Berlinn"))
        assert "unknown time zone 'Europe/Berlinn'" in guarded.log.read_text()
        guarded.api.delete_share(share.id)
        guarded.wait_for(share, "error_deleting")
        guarded.reload(guarded.text.replace(f"guard_freeze = {ALWAYS}", ""))
        guarded.act(share, reset_status={"status": "available"})
        guarded.api.delete_share(share.id)
        guarded.wait_until_deleted(share)
        guarded.reload(guarded.text)
        assert [outcome for _, outcome, _ in guarded.lines(share)] == [
            "success",
            "veto",
            "success",
        ]

    def test_unmanaging_a_share_is_vetoed(self, guarded: Guarded) -> None:
        share = guarded.share(1, "available")
        guarded.act(share, unmanage={})
        wait_for(lambda: len(guarded.lines(share)) == 2, "vetoed")
        assert guarded.lines(share)[1:] == [("unmanage_share", "veto", "Veto")]
        guarded.wait_for(share, "unmanage_starting")

    def rules(self, guarded: Guarded, share: Any) -> list[str]:
        rules = guarded.api.get(f"/share-access-rules?share_id={share.id}").json()
        return [rule["state"] for rule in rules["access_list"]]


class TestFreezeOfEverything:
    def test_backend_starts_and_deferred_deletion_succeeds_after_the_freeze(
        self, tmp_path: Path
    ) -> None:
        frozen = f"guard_freeze = {ALWAYS}"
        guarded = Guarded(
            tmp_path,
            f"""
[DEFAULT]
is_deferred_deletion_enabled = True
periodic_deferred_delete_interval = 1
[alpha]
hook_drivers = audit, guard
enable_pre_hooks = True
enable_post_hooks = True
{frozen}
""",
        )
        try:
            guarded.connect()
            guarded.share(1, "error")
            guarded.reload(guarded.text.replace(frozen, ""))
            share = guarded.share(1, "available")
            guarded.reload(guarded.text)
            guarded.api.delete_share(share.id)
            guarded.wait_for(share, "error_deferred_deleting")
            vetoed = ("delete_share_instance", "veto", "Veto")
            wait_for(lambda: guarded.lines(share).count(vetoed) > 1, "tried again")
            guarded.reload(guarded.text.replace(frozen, ""))
            guarded.wait_until_deleted(share)
            assert guarded.lines(share)[-1][1] == "success"
        finally:
            guarded.program.stop()
