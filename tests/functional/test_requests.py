# SPDX-License-Identifier: Apache-2.0
"""Hooks in Manila's API judge requests, over HTTP and before anything is changed."""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import requests
from manila import db
from manila.api.openstack import api_version_request
from manila.db.sqlalchemy import api as db_api
from manila.db.sqlalchemy import models
from manila.share import api as share_api_module
from oslo_messaging._drivers import impl_fake

import aspects
from aspects.requests import REQUESTS
from aspects.testing import make_hook
from hooks.audit import AuditHook
from hooks.events.event import data_of
from hooks.guard import GuardHook
from hooks.metrics import MetricsHook
from hooks.webhook import WebhookHook
from tests.support.hooks import Recorder
from tests.support.receiver import Receiver, status

from .request_cases import CASES, Request, Resources, new_name
from .test_operations import World, world  # noqa: F401 (a fixture)

VERSION = api_version_request._MAX_API_VERSION

#: The operations that Manila runs after it has stored the metadata.
AFTER = ("update_share_from_metadata", "update_share_network_subnet_from_metadata")

#: Tables that services of Manila write on their own.
OTHERS = ("services",)

Hooks = Callable[..., None]


@pytest.fixture
def resources(world: World) -> Resources:  # noqa: F811
    return Resources(world)


@pytest.fixture
def use(manila: Any) -> Iterator[Hooks]:
    """Return a function that replaces the hooks of the share API."""
    from manila import share

    weaving = aspects.weaving(share.API())

    def replace(*hooks: Any) -> None:
        weaving.replace(hooks)

    yield replace
    weaving.replace([])


@pytest.fixture
def http(manila: Any) -> Iterator[Callable[..., requests.Response]]:
    """Return a function that makes an HTTP request."""
    answers: list[requests.Response] = []

    def run(request: Request) -> requests.Response:
        response = requests.request(
            request.method,
            manila.endpoint + request.path,
            json=request.body,
            headers={
                **manila.headers,
                "X-OpenStack-Manila-API-Version": VERSION,
                "X-OpenStack-Manila-API-Experimental": "True",
            },
            timeout=60,
        )
        answers.append(response)
        return response

    yield run
    if any(response.ok for response in answers):
        # Manila creates a share after it has answered, and calls the driver of the next
        # test.
        rows_at_rest([])


def rows() -> dict[str, set[str]]:
    """Return all rows of the database."""
    with db_api.get_engine().connect() as connection:
        return {
            table.name: {str(tuple(row)) for row in connection.execute(table.select())}
            for table in models.BASE.metadata.sorted_tables
            if table.name not in OTHERS
        }


def rows_at_rest(sent: list[str]) -> dict[str, set[str]]:
    """Return all rows of the database, after earlier requests have been completed.

    :param sent: the messages that were sent so far, which are removed
    """
    deadline = time.monotonic() + 60
    before, since = rows(), time.monotonic()
    while time.monotonic() < deadline:
        time.sleep(0.1)
        if (now := rows()) != before:
            before, since = now, time.monotonic()
        creating = any("'creating'" in row for row in now["share_instances"])
        if time.monotonic() - since > 0.2 and not creating:
            break
    sent.clear()
    return before


@pytest.fixture
def sent() -> Iterator[list[str]]:
    """The RPC messages and notifications that are sent during a test."""
    messages: list[str] = []
    send = impl_fake.FakeDriver._send

    def record(self: Any, target: Any, context: Any, message: Any, *rest: Any) -> Any:
        messages.append(str(message.get("method")))
        return send(self, target, context, message, *rest)

    with mock.patch.object(impl_fake.FakeDriver, "_send", record):
        yield messages


def forbidden(response: requests.Response) -> str:
    assert response.status_code == 403, response.text
    ((kind, body),) = response.json().items()
    assert kind == "forbidden"
    assert body["code"] == 403
    return str(body["message"])


@pytest.fixture(scope="session")
def manila_client(manila: Any) -> Any:
    """The running Manila's client of python-manilaclient."""
    manilaclient = pytest.importorskip("manilaclient")
    client = pytest.importorskip("manilaclient.v2.client")
    server = pytest.importorskip("manilaclient.api_versions").APIVersion(VERSION)
    return client.Client(
        # The highest version that both have.
        api_version=min(server, manilaclient.API_MAX_VERSION),
        input_auth_token=manila.token,
        service_catalog_url=manila.endpoint,
    )


# -- a veto --------------------------------------------------------------------


def test_there_is_a_request_for_each_operation() -> None:
    assert list(CASES) == list(REQUESTS)


def skip_unless_it_exists(operation: str) -> None:
    """Skip the test if the installed release has no such request."""
    if not hasattr(share_api_module.API, (*REQUESTS[operation], operation)[0]):
        pytest.skip("this release of Manila has no such request")


def frozen(operation: str) -> Recorder:
    """Return a hook that denies an operation."""
    hook = Recorder("limits", enabled=["pre"], pre=aspects.Veto("frozen until Monday"))
    hook.hook_operations = [operation]
    return hook


@pytest.mark.parametrize("operation", CASES)
def test_a_denied_request_is_403_with_the_reason_and_changes_nothing(
    operation: str,
    resources: Resources,
    use: Hooks,
    http: Callable[..., requests.Response],
    sent: list[str],
) -> None:
    skip_unless_it_exists(operation)
    request = CASES[operation](resources)
    hook = frozen(operation)
    use(hook)
    before = rows_at_rest(sent)
    assert forbidden(http(request)) == "frozen until Monday"
    if operation not in AFTER:
        assert rows() == before
    assert sent == []
    (call,) = hook.calls
    assert call.func_name == operation
    assert call.func_name.backend == "share_api"


@pytest.mark.parametrize("name", ["sdk", "client"])
@pytest.mark.parametrize("operation", CASES)
def test_a_client_reports_the_reason_of_a_denied_request(
    operation: str,
    name: str,
    resources: Resources,
    use: Hooks,
    share_api: Any,
    manila_client: Any,
    sent: list[str],
) -> None:
    skip_unless_it_exists(operation)
    request = CASES[operation](resources)
    call = getattr(request, name)
    if call is None:
        pytest.skip(f"the {name} has no such call")
    use(frozen(operation))
    before = rows_at_rest(sent)
    with pytest.raises(Exception, match="frozen until Monday") as caught:
        call(share_api if name == "sdk" else manila_client)
    error: Any = caught.value
    assert getattr(error, "status_code" if name == "sdk" else "http_status") == 403
    if operation not in AFTER:
        assert rows() == before
    assert sent == []


def test_an_allowed_request_changes_the_database_and_sends_messages(
    resources: Resources,
    use: Hooks,
    http: Callable[..., requests.Response],
    sent: list[str],
) -> None:
    use(Recorder("limits", enabled=["pre"]))
    request = CASES["create_share"](resources)
    before = rows_at_rest(sent)
    response = http(request)
    assert response.status_code == 200
    changed = {name for name, found in rows().items() if found != before[name]}
    assert changed >= {"shares", "share_instances", "quota_usages"}
    assert "create_share_instance" in sent


def test_the_reason_of_a_veto_has_no_secret(
    resources: Resources, use: Hooks, http: Callable[..., requests.Response]
) -> None:
    use(Recorder("limits", enabled=["pre"], pre=aspects.Veto("denied: token=s3cr3t!")))
    assert forbidden(http(CASES["delete_share"](resources))) == "denied: token=***"


def test_a_veto_in_a_group_of_errors_or_without_a_reason_is_403(
    resources: Resources, use: Hooks, http: Callable[..., requests.Response]
) -> None:
    use(Recorder("limits", enabled=["pre"], pre=aspects.Veto()))
    assert forbidden(http(CASES["delete_share"](resources))) == "denied by hook limits"


def test_the_error_methods_of_earlier_hooks_get_the_veto(
    resources: Resources, use: Hooks, http: Callable[..., requests.Response]
) -> None:
    first = Recorder("first")
    use(first, frozen("delete_share"))
    forbidden(http(CASES["delete_share"](resources)))
    assert [call.kind for call in first.calls] == ["pre", "error"]
    assert isinstance(first.calls[-1].outcome, aspects.Veto)


def test_the_guard_judges_a_request(
    resources: Resources, use: Hooks, http: Callable[..., requests.Response]
) -> None:
    guard = make_hook(
        GuardHook, guard_freeze=["* * * * * 2h UTC"], hook_operations=["delete_*"]
    )
    use(guard)
    reason = forbidden(http(CASES["delete_share"](resources)))
    assert reason.startswith("delete_share is frozen until ")
    assert http(CASES["create_share"](resources)).status_code == 200


# -- errors of hooks -----------------------------------------------------------


def test_an_error_of_a_pre_method_is_503_and_changes_nothing(
    resources: Resources,
    use: Hooks,
    http: Callable[..., requests.Response],
    sent: list[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    error = ValueError("no answer from http://inside, password=s3cr3t!")
    use(Recorder("limits", enabled=["pre"], pre=error))
    request = CASES["extend_share"](resources)
    before = rows_at_rest(sent)
    with caplog.at_level(logging.ERROR, "aspects"):
        response = http(request)
    assert response.status_code == 503
    text = "hook limits failed before extend_share"
    assert response.json() == {"serviceUnavailable": {"code": 503, "message": text}}
    assert rows() == before
    assert sent == []
    messages = [r.getMessage() for r in caplog.records if r.name.startswith("aspects")]
    assert messages == [
        "Failed extend_share by an error of the pre method of hook limits of backend "
        "share_api: ValueError: no answer from http://inside, password=***"
    ]


def test_an_error_of_a_post_method_is_503_after_the_request(
    resources: Resources, use: Hooks, http: Callable[..., requests.Response]
) -> None:
    use(Recorder("limits", enabled=["post"], post=ValueError("broken")))
    request = CASES["update_share"](resources)
    response = http(request)
    assert response.status_code == 503
    text = "hook limits failed after update_share"
    assert response.json()["serviceUnavailable"]["message"] == text
    assert db.share_get(resources.context, request.path[8:])["display_name"] == "new"


def test_a_suppressed_error_lets_the_request_pass(
    resources: Resources, use: Hooks, http: Callable[..., requests.Response]
) -> None:
    use(Recorder("limits", enabled=["pre"], suppress=["pre"], pre=ValueError("no")))
    assert http(CASES["update_share"](resources)).status_code == 200


def test_an_error_of_manila_itself_stays_as_it_is(
    resources: Resources, use: Hooks, http: Callable[..., requests.Response]
) -> None:
    hook = Recorder("limits")
    use(hook)
    share = resources.share(status="extending")["id"]
    body = {"extend": {"new_size": 3}}
    response = http(Request("POST", f"/shares/{share}/action", body))
    assert response.status_code == 400
    assert "extending" in response.json()["badRequest"]["message"]
    assert [call.kind for call in hook.calls] == ["pre", "error"]


# -- requests that hooks complete, or only watch -------------------------------


def test_a_hook_completes_a_request(
    resources: Resources, use: Hooks, http: Callable[..., requests.Response]
) -> None:
    wanted = resources.world.share_type()
    share_type = db.share_type_get(resources.context, wanted)

    class Complete(Recorder):
        def _execute_pre_hook(
            self, context: Any, func_name: Any, *args: Any, **kwargs: Any
        ) -> Any:
            arguments = func_name.arguments(args, kwargs)
            metadata = {**(arguments.get("metadata") or {}), "owner": context.user_id}
            return aspects.UpdatedArguments(
                {
                    "name": f"{context.project_id}-{arguments['name']}",
                    "metadata": metadata,
                    "share_type": share_type,
                }
            )

    use(Complete("complete", enabled=["pre"]))
    name, given = new_name(), resources.world.share_type()
    share = {
        "name": name,
        "share_proto": "NFS",
        "size": 1,
        "share_type": given,
        "metadata": {"a": "b"},
    }
    response = http(Request("POST", "/shares", {"share": share}))
    assert response.status_code == 200, response.text
    stored = db.share_get(resources.context, response.json()["share"]["id"])
    assert stored["display_name"] == f"demo-{name}"
    assert stored.instance["share_type_id"] == wanted
    metadata = db.share_metadata_get(resources.context, stored["id"])
    assert metadata == {"a": "b", "owner": "admin"}


def test_an_argument_that_the_method_does_not_have_is_an_error_of_the_hook(
    resources: Resources, use: Hooks, http: Callable[..., requests.Response]
) -> None:
    changed = aspects.UpdatedArguments({"color": "red"})
    use(Recorder("complete", enabled=["pre"], pre=changed))
    response = http(CASES["create_share"](resources))
    assert response.status_code == 503
    text = "hook complete failed before create_share"
    assert response.json()["serviceUnavailable"]["message"] == text


def test_a_veto_in_warn_mode_is_reported_and_the_request_passes(
    resources: Resources,
    use: Hooks,
    http: Callable[..., requests.Response],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    limits = frozen("update_share")
    limits.hook_enforcement = "warn"
    audit = make_hook(
        AuditHook,
        audit_log_path=str(tmp_path / "audit.log"),
        enable_pre_hooks=False,
        enable_post_hooks=True,
    )
    metrics = make_hook(MetricsHook, metrics_port=0, backend="share_api")
    use(limits, metrics, audit)
    with caplog.at_level(logging.WARNING, "aspects"):
        assert http(CASES["update_share"](resources)).status_code == 200
    assert (
        "Hook limits of backend share_api would have denied update_share "
        "(hook_enforcement = warn): frozen until Monday"
    ) in caplog.messages
    labels = {"backend": "share_api", "hook": "limits", "enforcement": "warn"}
    count = metrics.endpoint.registry.get_sample_value
    assert count("manila_aspects_vetoes_total", labels) == 1
    (line,) = (tmp_path / "audit.log").read_text().splitlines()
    event = json.loads(line)
    assert event["would_deny"] == [{"hook": "limits", "reason": "frozen until Monday"}]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"guard_max_size": 5}, r"6 GiB exceeds the maximum of 5 GiB"),
        ({"guard_min_size": 7}, r"6 GiB is below the minimum of 7 GiB"),
        ({"guard_denied_share_types": "{name}"}, r"guard_denied_share_types"),
        ({"guard_denied_share_types": "{id}"}, r"guard_denied_share_types"),
        ({"guard_allowed_share_types": "another"}, r"guard_allowed_share_types"),
        ({"guard_denied_projects": "demo"}, r"project demo is denied"),
        ({"guard_allowed_projects": "another"}, r"project demo is not allowed"),
        ({"guard_freeze": ["* * * * * 2h Europe/Berlin"]}, r"create_share is frozen"),
    ],
)
def test_an_option_of_the_guard_denies_a_new_share(
    options: dict[str, Any],
    reason: str,
    resources: Resources,
    use: Hooks,
    http: Callable[..., requests.Response],
) -> None:
    type_id = resources.world.share_type()
    type_ = {
        "id": type_id,
        "name": db.share_type_get(resources.context, type_id)["name"],
    }
    values = {
        name: value.format(**type_) if isinstance(value, str) else value
        for name, value in options.items()
    }
    use(make_hook(GuardHook, backend="share_api", **values))
    share = {"share_proto": "NFS", "size": 6, "share_type": type_["name"]}
    request = Request("POST", "/shares", {"share": share})
    assert re.search(reason, forbidden(http(request)))


def test_the_options_of_the_guard_allow_what_they_do_not_deny(
    resources: Resources, use: Hooks, http: Callable[..., requests.Response]
) -> None:
    type_id = resources.world.share_type()
    use(
        make_hook(
            GuardHook,
            backend="share_api",
            guard_min_size=1,
            guard_max_size=1,
            guard_allowed_share_types=type_id,
            guard_allowed_projects="demo",
        )
    )
    share = {"share_proto": "NFS", "size": 1, "share_type": type_id}
    response = http(Request("POST", "/shares", {"share": share}))
    assert response.status_code == 200, response.text


@pytest.mark.parametrize(
    ("operation", "fields"),
    [
        ("delete_share", {"share_id"}),
        ("delete_share_instance", {"share_id", "share_instance_id"}),
        ("delete_snapshot", {"share_id", "snapshot_id"}),
        ("delete_share_replica", {"share_id", "replica_id"}),
        ("delete_share_backup", {"backup_id"}),
        ("delete_share_server", {"share_server_id"}),
        ("allow_access", {"share_id", "add_rules"}),
        ("deny_access", {"share_id", "delete_rules"}),
    ],
)
def test_the_event_of_a_request_has_the_ids_and_the_rules(
    operation: str,
    fields: set[str],
    resources: Resources,
    use: Hooks,
    http: Callable[..., requests.Response],
) -> None:
    request = CASES[operation](resources)
    hook = frozen(operation)
    use(hook)
    forbidden(http(request))
    (call,) = hook.calls
    data = data_of(call.context, call.func_name, call.args, call.kwargs)
    assert fields <= data.keys()
    # Only an operation on an instance reports one.
    assert ("share_instance_id" in data) == ("share_instance_id" in fields)
    assert (data["backend"], data["host"]) == ("share_api", "demo")
    ids = [data[name] for name in fields if name.endswith("_id")]
    assert any(id_ in request.path for id_ in ids)
    for name in fields - {field for field in fields if field.endswith("_id")}:
        (rule,) = data[name]
        assert (rule["access_type"], rule["access_to"]) == ("ip", "10.0.0.1")


def test_a_receiver_decides_about_requests(
    resources: Resources,
    use: Hooks,
    http: Callable[..., requests.Response],
    sent: list[str],
) -> None:
    with Receiver() as receiver:
        use(
            make_hook(
                WebhookHook,
                webhook_url=receiver.url,
                webhook_decides=True,
                enable_post_hooks=False,
            )
        )
        name, given = new_name(), resources.world.share_type()
        share = {"name": name, "share_proto": "NFS", "size": 3, "share_type": given}
        request = Request("POST", "/shares", {"share": share})
        before = rows_at_rest(sent)
        denial = b'{"allowed": false, "reason": "3 GiB is too large"}'
        receiver.answers = [status(200, denial)]
        assert forbidden(http(request)) == "3 GiB is too large"
        receiver.answers = [status(404)]
        response = http(request)
        assert response.status_code == 503
        assert "127.0.0.1" not in response.text
        assert (rows(), sent) == (before, [])
        changes = {"size": 1, "name": f"small-{name}"}
        answer = json.dumps({"allowed": True, "arguments": changes}).encode()
        receiver.answers = [status(200, answer)]
        response = http(request)
        assert response.status_code == 200, response.text
        stored = db.share_get(resources.context, response.json()["share"]["id"])
        assert (stored["size"], stored["display_name"]) == (1, f"small-{name}")
        for event in receiver.events:
            data = event["data"]
            assert (data["share_name"], data["share_size"]) == (name, 3)
            assert (data["share_proto"], data["share_type_id"]) == ("NFS", given)
