# SPDX-License-Identifier: Apache-2.0
"""Tests of the examples on the audit hook's page, with a driver of Manila's tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from manila import context as manila_context
from manila import exception
from manila.share import configuration
from manila.tests.share.drivers import dummy
from pycadf import attachment, event, reason, resource

from tests.support.config import woven_by
from tests.support.pages import example
from tests.support.schema import validated_line

PAGE = "admin/hooks/audit.rst"
SHARE = {"id": "0b3c7d5e8f1a4b6c9d2e0f1a2b3c4d5e", "share_id": "5" * 32}


class Driver(dummy.DummyDriver):  # type: ignore[misc]
    """Manila's dummy driver, without the parts that need a database."""

    def __init__(self) -> None:
        self.configuration = configuration.Configuration([])

    def create_share(self, context: Any, share: Any, share_server: Any = None) -> Any:
        return ["host:/share"]

    def delete_share(self, context: Any, share: Any, share_server: Any = None) -> None:
        raise exception.ShareBusyException(reason="it is mounted")


@pytest.fixture
def context() -> Any:
    return manila_context.RequestContext("a" * 32, "b" * 32, is_admin=False)


def lines_of(block: int, name: str, directory: Path, context: Any) -> list[str]:
    """Return the lines that an example writes for a success and a failure."""
    log = directory / name
    text = example(PAGE, {f"/var/log/manila/{name}": str(log)}, block)
    with woven_by(text, directory, Driver()) as driver:
        driver.create_share(context, SHARE)
        with pytest.raises(exception.ShareBusyException):
            driver.delete_share(context, SHARE)
    return log.read_text().splitlines()


def test_the_documented_json_example_writes_a_success_and_a_failure(
    tmp_path: Path, context: Any
) -> None:
    lines = lines_of(0, "audit.log", tmp_path, context)
    created, deleted = map(validated_line, lines)
    assert created["operation"] == "create_share_instance"
    assert created["outcome"] == "success"
    assert created["duration"] >= 0
    assert created["share_instance_id"] == SHARE["id"]
    assert (created["user_id"], created["project_id"]) == ("a" * 32, "b" * 32)
    assert created["request_id"] == context.request_id
    assert deleted["outcome"] == "failure"
    assert deleted["error_type"] == "ShareBusyException"
    assert "it is mounted" in deleted["error"]


def test_the_documented_cadf_example_writes_valid_events(
    tmp_path: Path, context: Any
) -> None:
    lines = lines_of(1, "audit.cadf", tmp_path, context)
    created, deleted = map(json.loads, lines)
    for line in (created, deleted):
        parsed = event.Event(
            **{key: line[key] for key in ("eventType", "id", "eventTime", "action")},
            outcome=line["outcome"],
            name=line["name"],
            reason=reason.Reason(**line["reason"]) if "reason" in line else None,
            **{
                key: resource.Resource(line[key]["id"], line[key]["typeURI"])
                for key in ("initiator", "target", "observer")
            },
        )
        parsed.add_attachment(attachment.Attachment(**line["attachments"][0]))
        assert parsed.is_valid()
        assert line["initiator"]["id"] == "a" * 32
        assert line["initiator"]["request_id"] == context.request_id
        assert line["target"]["id"] == SHARE["share_id"]
        assert line["observer"]["name"] == "node1@alpha"
    assert (created["action"], created["outcome"]) == ("create", "success")
    assert (deleted["action"], deleted["outcome"]) == ("delete", "failure")
    assert deleted["reason"]["reasonCode"] == "ShareBusyException"
