# SPDX-License-Identifier: Apache-2.0
"""A real Manila for all functional tests of a process.

A process can host one Manila, once: so there is one for all tests, with these
backends.  A test that needs others runs ``manila-aspects`` as a process, with a
``--config-file``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

# Native threads: to be decided before a test module imports any of Manila.
os.environ["OS_MANILA_DISABLE_EVENTLET_PATCHING"] = "True"
import manila.cmd

from aspects.demo import client
from aspects.demo.service import DUMMY_DRIVER, ManilaService, share_server_backend

WOVEN = {
    "enable_pre_hooks": True,
    "enable_post_hooks": True,
    "enable_periodic_hooks": True,
    # One of our own contract and one of Manila's, in both ways to write a path.
    "hook_drivers": (
        "first=tests.functional.recorder:Recorder, tests.functional.recorder.Upstream"
    ),
}

#: So seldom that a test ticks by hand, and sees nothing but what it does itself.
NEVER = 3600


#: The files that take longest.
LONGEST = ("test_tutorial", "test_demo", "test_docs", "test_stop")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest: in the end no process waits for another."""
    items.sort(key=lambda item: item.path.stem not in LONGEST)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--shares",
        type=int,
        default=16,
        help="shares that test_processes takes through their lives, at least",
    )


@pytest.fixture
def shares(request: pytest.FixtureRequest) -> int:
    """How many shares a test of many takes through their lives, at least."""
    count: int = request.config.getoption("--shares")
    return count


@pytest.fixture(scope="session")
def manila() -> Iterator[ManilaService]:
    """The running Manila; ``manila.managers`` are its share managers.

    ``alpha`` has hooks and replication, ``servers`` has hooks and handles share
    servers, ``plain`` has no hooks.
    """
    servers = share_server_backend(
        **WOVEN, admin_network_config_group="admin", network_config_group="servers"
    )
    backends = {
        "alpha": {
            **DUMMY_DRIVER,
            **WOVEN,
            "replication_domain": "test",
            "periodic_hooks_ticks": 2,
        },
        "servers": servers["backend"],
        "plain": DUMMY_DRIVER,
    }
    with ManilaService(
        backends,
        defaults={"periodic_hooks_interval": NEVER, "periodic_interval": NEVER},
        sections={"admin": servers["admin_network"]},
    ) as service:
        yield service


@pytest.fixture(scope="session")
def share_api(manila: ManilaService) -> Any:
    """The openstacksdk proxy of the running Manila's share API."""
    return client.connect(manila.endpoint, manila.headers, manila.token)
