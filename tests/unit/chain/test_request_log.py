# SPDX-License-Identifier: Apache-2.0
"""The log of the share API about a request that a hook denies or makes fail."""

from __future__ import annotations

from typing import Any

import pytest
from oslo_config import cfg
from oslo_context import context as oslo_context

import aspects
from aspects import testing
from aspects.core import log
from tests.support.threads import run_in_thread

TEXT = "no: token0, option0, argument0, keyword0 and result0"

MASKED = {
    "pre": "no: ***, ***, ***, *** and result0",
    "post": "no: ***, ***, ***, *** and ***",
}

OPERATION = aspects.Operation("create_share", "create", "DEFAULT", "api1")


class Hook(testing.Recorder):
    options = (cfg.StrOpt("api_key", secret=True),)


@pytest.fixture
def call() -> dict[str, Any]:
    """Return the hook, the context and the arguments, each with a secret."""
    return {
        "hook": testing.make_hook(Hook, name="ops", api_key="option0"),
        "context": run_in_thread(oslo_context.RequestContext, auth_token="token0"),
        "args": ({"access_key": "argument0"},),
        "kwargs": {"password": "keyword0"},
    }


def test_a_denied_request_is_logged_without_secrets(
    call: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    reason = log.log_denied_request(
        operation=OPERATION, veto=aspects.Veto(TEXT), **call
    )
    assert reason == MASKED["pre"]
    (record,) = caplog.records
    assert (record.levelname, record.getMessage()) == (
        "INFO",
        f"Hook ops of backend DEFAULT denied create_share: {MASKED['pre']}",
    )


@pytest.mark.parametrize(("kind", "results"), [("pre", None), ("post", "result0")])
def test_a_request_that_a_hook_makes_fail_is_logged_without_secrets(
    call: dict[str, Any], caplog: pytest.LogCaptureFixture, kind: str, results: Any
) -> None:
    log.log_failed_request(
        kind=kind,
        operation=OPERATION,
        error=ValueError(TEXT),
        results=results and {"access_key": results},
        **call,
    )
    (record,) = caplog.records
    assert (record.levelname, record.getMessage()) == (
        "ERROR",
        f"Failed create_share by an error of the {kind} method of hook ops of backend "
        f"DEFAULT: ValueError: {MASKED[kind]}",
    )
