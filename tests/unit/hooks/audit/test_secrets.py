# SPDX-License-Identifier: Apache-2.0
"""No secret is ever in a line."""

import pytest
from oslo_context import context as oslo_context

import aspects
from tests.support.drivers import BusyDriver
from tests.support.threads import run_in_thread

from .common import ON, SECRET, SHARE, Next, lines_in

# A lock that nobody gives back is to be seen soon.
pytestmark = pytest.mark.timeout(60)


class Model:
    """An object-style model: attributes, and to_dict()."""

    def __init__(self, **columns):
        vars(self).update(columns)

    def to_dict(self):
        return dict(vars(self))


@pytest.mark.parametrize("kind", [dict, Model])
@pytest.mark.parametrize("where", ["args", "kwargs"])
@pytest.mark.parametrize("ending", ["success", "failure", "veto", "post"])
@pytest.mark.parametrize("format_", ["json", "cadf"])
def test_no_secret_is_ever_in_a_line(
    configured, woven, path, monkeypatch, kind, where, ending, format_
):
    secrets = {
        name: f"{SECRET}-{name}"
        for name in ("token", "rule", "server", "service", "nested", "text")
    }
    context = run_in_thread(
        oslo_context.RequestContext, auth_token=secrets["token"], request_id="req-1"
    )
    # That of a call that has none.
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
    error = {"veto": aspects.Veto}.get(ending, OSError)(text)
    others = [Next({"veto": "pre"}.get(ending, ending), error)]
    inner = BusyDriver(error if ending == "failure" else None)
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
    """Leave in an error's text the secrets of the call that raises it."""
    for name, secret in secrets.items():
        if name not in KNOWN[method] and name != "text":
            text = text.replace(secret, "nothing")
    return text


def call(method, *args, **kwargs):
    try:
        method(*args, **kwargs)
    except (OSError, aspects.Veto):
        return


def test_values_of_the_call_are_not_in_a_line(woven, path, context):
    share = SHARE | {"name": "payroll", "access_key": SECRET}
    woven().create_share(context, share)
    text = path.read_text()
    assert "payroll" not in text
    assert SECRET not in text
