# SPDX-License-Identifier: Apache-2.0
"""Tests that audit lines contain no secrets."""

import pytest
from oslo_context import context as oslo_context

import aspects
from tests.support.drivers import BusyDriver
from tests.support.threads import run_in_thread

from .common import ON, SECRET, SHARE, NextHook, lines_in

# A lock that is never released must fail a test soon.
pytestmark = pytest.mark.timeout(60)


class Model:
    """A model with attributes and to_dict(), like those of Manila's database."""

    def __init__(self, **columns):
        vars(self).update(columns)

    def to_dict(self):
        return dict(vars(self))


@pytest.mark.parametrize("kind", [dict, Model])
@pytest.mark.parametrize("where", ["args", "kwargs"])
@pytest.mark.parametrize("outcome", ["success", "failure", "veto", "post"])
@pytest.mark.parametrize("format_", ["json", "cadf"])
def test_no_secret_of_a_call_is_in_a_line(
    configured, woven, path, monkeypatch, kind, where, outcome, format_
):
    secrets = {
        name: f"{SECRET}-{name}"
        for name in ("token", "rule", "server", "service", "nested", "text")
    }
    context = run_in_thread(
        oslo_context.RequestContext, auth_token=secrets["token"], request_id="req-1"
    )
    # A call without a context gets this one.
    monkeypatch.setattr(oslo_context, "get_current", lambda: context)
    server = kind(
        id="v1",
        backend_details={"vserver": "v1", "password": secrets["server"]},
        network_info=[{"security_services": [{"password": secrets["nested"]}]}],
    )
    services = [kind(type="ldap", user="u", password=secrets["service"])]
    rules = [kind(access_to="joe", access_type="cephx", access_key=secrets["rule"])]
    text = f"tried {' and '.join(secrets.values())}"
    text = text.replace(secrets["text"], f"password={secrets['text']}")
    error = {"veto": aspects.Veto}.get(outcome, OSError)(text)
    others = [NextHook({"veto": "pre"}.get(outcome, outcome), error)]
    inner = BusyDriver(error if outcome == "failure" else None)
    driver = woven(inner, *others, file=configured(f"{ON}audit_format = {format_}\n"))
    calls = [
        ("update_access", (SHARE, rules, rules, []), ("share", *RULES)),
        ("create_replica", ([], kind(id="r1"), rules, []), REPLICA),
        ("create_share", (SHARE, server), ("share", "share_server")),
    ]
    for method, args, names in calls:
        kwargs = {}
        if where == "kwargs":
            args, kwargs = (), dict(zip(names, args))
        error.args = (text_of(text, secrets, method),)
        call(getattr(driver, method), context, *args, **kwargs)
    error.args = (text_of(text, secrets, "teardown_server"),)
    details = {"vserver": "v1", "admin_password": secrets["server"]}
    if where == "args":
        call(driver.teardown_server, details, services)
    else:
        call(driver.teardown_server, server_details=details, security_services=services)
    assert len(lines_in(path)) == 4
    assert SECRET not in path.read_text("utf-8")


RULES = ("access_rules", "add_rules", "delete_rules")
REPLICA = ("replica_list", "new_replica", "access_rules", "replica_snapshots")
KNOWN = {
    "update_access": ("token", "rule"),
    "create_replica": ("token", "rule"),
    "create_share": ("token", "server", "nested"),
    "teardown_server": ("token", "server", "service"),
}


def text_of(text, secrets, method):
    """Remove from an error's text the secrets that its call does not have."""
    for name, secret in secrets.items():
        if name not in KNOWN[method] and name != "text":
            text = text.replace(secret, "nothing")
    return text


def call(method, *args, **kwargs):
    try:
        method(*args, **kwargs)
    except (OSError, aspects.Veto):
        return


def test_a_line_has_only_the_ids_of_a_share(woven, path, context):
    share = SHARE | {"name": "payroll", "access_key": SECRET}
    woven().create_share(context, share)
    text = path.read_text()
    assert "payroll" not in text
    assert SECRET not in text
