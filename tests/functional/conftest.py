# SPDX-License-Identifier: Apache-2.0
"""A real Manila that all functional tests of one process share.

A process can host only one Manila, and only once, so all tests use the same backends.
A test that needs other backends runs ``manila-aspects`` as a process, with a
``--config-file``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support import releases

# Before any test module imports Manila, or the locks of this project.
releases.patch_like_manila()
os.environ["OS_MANILA_DISABLE_EVENTLET_PATCHING"] = "True"
import manila.cmd
from manila.common import config

# Manila reads this option when it imports manila.share, as test modules do.
config.CONF.set_default("share_api_class", "aspects.manila.ShareAPI")

from aspects.demo import client
from aspects.demo.service import DUMMY_DRIVER, ManilaService, share_server_backend

WOVEN = {
    "enable_pre_hooks": True,
    "enable_post_hooks": True,
    "enable_periodic_hooks": True,
    # One hook of this project's contract and one of Manila's, in both path formats.
    "hook_drivers": (
        "first=tests.functional.recorder:Recorder, tests.functional.recorder.Upstream"
    ),
}

#: Seconds between periodic tasks: longer than a run, so that only tests tick.
NEVER = 3600


#: Test files that take longest, without their suffix.
LONGEST = (
    *("test_cephfs", "test_tutorial", "test_demo", "test_missing_receivers"),
    *("test_docs", "test_stop"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the longest files first, so that no worker is left alone at the end."""
    items.sort(key=lambda item: item.path.stem not in LONGEST)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--shares",
        type=int,
        default=16,
        help="minimum number of shares that test_processes creates and deletes",
    )


@pytest.fixture(autouse=True)
def _only_a_running_manila_is_asked_for_shares(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Let shares answer for themselves in tests that do not run Manila.

    Manila connects to its database at the first query of a process, before a later test
    has configured the one to use.
    """
    if "manila" not in request.fixturenames:
        monkeypatch.setattr(
            "aspects.shares._answer", lambda context, share, question, own: own(share)
        )


@pytest.fixture
def shares(request: pytest.FixtureRequest) -> int:
    """The minimum number of shares that a test creates and deletes."""
    count: int = request.config.getoption("--shares")
    return count


def woven_manila() -> ManilaService:
    """Return a Manila that is not started yet.

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
    return ManilaService(
        backends,
        defaults={"periodic_hooks_interval": NEVER, "periodic_interval": NEVER},
        sections={"admin": servers["admin_network"]},
    )


@pytest.fixture(scope="session")
def manila() -> Iterator[ManilaService]:
    """The running Manila; ``manila.managers`` are its share managers."""
    with woven_manila() as service:
        yield service


@pytest.fixture(scope="session")
def share_api(manila: ManilaService) -> Any:
    """The openstacksdk proxy of the running Manila's share API."""
    return client.connect(manila.endpoint, manila.headers, manila.token)
