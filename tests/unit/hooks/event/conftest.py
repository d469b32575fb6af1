# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests of events."""

import pytest
from oslo_context import context as oslo_context

from hooks.events import event
from tests.support.threads import run_in_thread

from .common import operation


@pytest.fixture
def context():
    return run_in_thread(
        oslo_context.RequestContext,
        user_id="u1",
        project_id="p1",
        request_id="req-1",
        auth_token="t0ken",
    )


@pytest.fixture
def data(context):
    share = {"id": "i1", "share_id": "s1"}
    return event.data_of(context, operation(), (share,), {})
