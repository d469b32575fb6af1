# SPDX-License-Identifier: Apache-2.0
"""What a hook tells of a join point, and that it tells no secrets."""

import datetime
import json
from types import SimpleNamespace

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from oslo_context import context as oslo_context

import aspects
from hooks import event

from .fixtures_hooks.threads import in_a_thread


class Driver:
    def create_share(self, context, share, share_server=None):
        pass

    def update_access(self, context, share, access_rules, add_rules, delete_rules):
        pass

    def create_snapshot(self, context, snapshot, share_server=None):
        pass

    def create_replica(
        self, context, replica_list, new_replica, access_rules, replica_snapshots
    ):
        pass

    def promote_replica(self, context, replica_list, replica, access_rules):
        pass

    def create_replicated_snapshot(self, context, replica_list, replica_snapshots):
        pass

    def teardown_server(self, server_details, security_services=None):
        pass

    def get_share_stats(self, refresh=False):
        pass


class Model:
    """An object-style model, as a database has: attributes, and to_dict()."""

    def __init__(self, **columns):
        vars(self).update(columns)

    def to_dict(self):
        return dict(vars(self))


class Indexed(Model):
    """A model that can be indexed too, as Manila's can."""

    def __getitem__(self, key):
        return getattr(self, key)


class Unloaded(Model):
    """A model that is no longer attached to its session."""

    def __getattribute__(self, name):
        if not name.startswith("__") and name != "to_dict":
            raise LookupError(f"{name} is not loaded")
        return super().__getattribute__(name)


kinds = pytest.mark.parametrize("kind", [dict, Model, Indexed, SimpleNamespace])


def operation(method="create_share"):
    woven = aspects.weave(Driver(), [], "alpha", "node1@alpha")
    return aspects.weaving(woven).operations[method]


@pytest.fixture
def context():
    return in_a_thread(
        oslo_context.RequestContext,
        user_id="u1",
        project_id="p1",
        request_id="req-1",
        auth_token="t0ken",
    )


def test_fields(context):
    before = datetime.datetime.now(datetime.timezone.utc)
    share = {"id": "i1", "share_id": "s1"}
    data = event.data_of(context, operation(), (share,), {}, None, 1.23456789)
    after = datetime.datetime.now(datetime.timezone.utc)
    time = datetime.datetime.fromisoformat(data.pop("time"))
    assert before <= time <= after
    assert time.utcoffset() == datetime.timedelta(0)
    assert data == {
        "request_id": "req-1",
        "project_id": "p1",
        "user_id": "u1",
        "backend": "alpha",
        "host": "node1@alpha",
        "operation": "create_share_instance",
        "method": "create_share",
        "share_id": "s1",
        "share_instance_id": "i1",
        "outcome": "success",
        "duration": pytest.approx(1.234568, abs=1e-6),
    }
    assert type(data["operation"]) is str
    json.dumps(data)


def test_failure_has_type_and_text(context):
    error = LookupError("no such pool")
    data = event.data_of(context, operation(), (), {"share": {"id": "s1"}}, error)
    assert data["outcome"] == "failure"
    assert data["error_type"] == "LookupError"
    assert data["error"] == "no such pool"
    assert data["duration"] is None


def test_success_has_no_error(context):
    data = event.data_of(context, operation(), ({"id": "s1"},), {})
    assert not {"error", "error_type"} & set(data)


def test_context_without_request(context):
    data = event.data_of(object(), operation("get_share_stats"), (), {"refresh": True})
    assert data["request_id"] is data["project_id"] is data["user_id"] is None
    assert not [name for name in data if name.endswith("_id") and data[name]]


class Quota(aspects.Veto):
    pass


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (None, "success"),
        (aspects.Veto("no"), "veto"),
        (Quota("no"), "veto"),
        (ValueError("no"), "failure"),
        (KeyboardInterrupt(), "failure"),
    ],
)
def test_outcome(error, outcome):
    assert event.outcome_of(error) == outcome


# Ids


@kinds
@pytest.mark.parametrize(
    ("argument", "columns", "ids"),
    [
        (
            "share",
            {"id": "i1", "share_id": "s1"},
            {"share_id": "s1", "share_instance_id": "i1"},
        ),
        ("share", {"id": "s1"}, {"share_id": "s1"}),
        ("share", {"id": 7}, {"share_id": "7"}),
        ("share", {"name": "nameless"}, {}),
        ("share", {"id": None, "share_id": None}, {}),
        (
            "snapshot",
            {"id": "n1i", "snapshot_id": "n1", "share_id": "s1"},
            {"snapshot_id": "n1", "snapshot_instance_id": "n1i", "share_id": "s1"},
        ),
        ("snapshot", {"id": "n1"}, {"snapshot_id": "n1"}),
        (
            "snapshot",
            {"id": "n1", "share_id": "s1"},
            {"snapshot_id": "n1", "share_id": "s1"},
        ),
        (
            "replica",
            {"id": "r1", "share_id": "s1"},
            {"share_id": "s1", "replica_id": "r1"},
        ),
        (
            "new_replica",
            {"id": "r2", "share_id": "s1"},
            {"share_id": "s1", "replica_id": "r2"},
        ),
        ("share_server", {"id": "v1"}, {"share_server_id": "v1"}),
        ("unrelated", {"id": "x"}, {}),
        ("share", None, {}),
    ],
)
def test_ids(kind, argument, columns, ids):
    value = None if columns is None else kind(**columns)
    assert event.ids_of({argument: value}) == ids


@kinds
def test_ids_of_snapshots_in_a_list(kind):
    snapshots = [kind(id="n1i", snapshot_id="n1"), kind(id="n2i", snapshot_id="n1")]
    assert event.ids_of({"replica_snapshots": snapshots})["snapshot_id"] == "n1"
    assert event.ids_of({"replica_snapshots": []}) == {}


@pytest.mark.parametrize("value", [Unloaded(id="s1"), "text", 3, object(), b"", [[]]])
def test_ids_of_something_odd_are_none(value):
    assert event.ids_of({"share": value, "snapshot": value, "replica": value}) == {}


def test_ids_of_a_share_and_a_snapshot():
    arguments = {
        "share": {"id": "i2", "share_id": "s2"},
        "snapshot": {"id": "n1i", "snapshot_id": "n1", "share_id": "s1"},
    }
    # The share that is made, not the one that the snapshot is of.
    assert event.ids_of(arguments) == {
        "share_id": "s2",
        "share_instance_id": "i2",
        "snapshot_id": "n1",
        "snapshot_instance_id": "n1i",
    }


@pytest.mark.parametrize("by_name", [True, False])
def test_ids_are_found_by_parameter_not_by_place(context, by_name):
    replica = {"id": "r1", "share_id": "s1"}
    args = ([replica], replica, [])
    kwargs = {}
    if by_name:
        args, kwargs = (), dict(zip(("replica_list", "replica", "access_rules"), args))
    data = event.data_of(context, operation("promote_replica"), args, kwargs)
    assert (data["share_id"], data["replica_id"]) == ("s1", "r1")


# Secrets

SECRET = "hunter2-Zq9"


def without(text, arguments=None, token=None):
    context = SimpleNamespace(auth_token=token)
    return event.without_secrets(text, context, arguments or {})


def test_text_without_secrets_stays():
    arguments = {"share": {"id": "s1", "size": 3}, "access_rules": []}
    text = "pool 'p1' of share s1 is full: 3 GiB"
    assert without(text, arguments, SECRET) == text
    assert event.without_secrets(text, object(), {}) == text


def test_token_of_the_context():
    assert SECRET not in without(f"GET with {SECRET}: 401", token=SECRET)


@pytest.mark.parametrize("kind", [dict, Model])
@pytest.mark.parametrize(
    "key",
    [
        "access_key",
        "password",
        "ss_password",
        "admin_passwd",
        "auth_token",
        "token",
        "secret",
        "client_secret",
        "private_key",
        "ssh_private_key",
        "passphrase",
        "credential",
        "Password",
        "ACCESS_KEY",
        "accessKey",
    ],
)
def test_secrets_are_known_by_their_names(kind, key):
    arguments = {"share": kind(**{key: SECRET, "id": "s1"})}
    text = without(f"cannot log in with {SECRET}, said {SECRET}.", arguments)
    assert SECRET not in text
    assert text.startswith("cannot log in with ")


@kinds
@pytest.mark.parametrize("many", [list, tuple])
def test_secrets_in_lists(kind, many):
    rules = many([kind(access_key="plain"), kind(access_key=SECRET)])
    assert SECRET not in without(f"key {SECRET}", {"add_rules": rules})


@kinds
def test_secrets_of_a_share_server(kind):
    server = kind(
        id="v1",
        backend_details={"vserver": "v", "password": SECRET},
        security_services=[{"type": "ldap", "password": "l" + SECRET}],
    )
    text = without(f"{SECRET} and l{SECRET}", {"share_server": server})
    assert SECRET not in text


@kinds
def test_secrets_within_models_within_models(kind):
    network = {"security_services": [kind(password=SECRET)]}
    server = kind(id="v1", share_network=network)
    assert SECRET not in without(f"bind as {SECRET}", {"share_server": server})


def test_secrets_as_a_list():
    arguments = {"share_server": {"passwords": ["one", SECRET]}}
    assert SECRET not in without(f"tried {SECRET}", arguments)


def test_secrets_under_a_secret_name():
    arguments = {"share_server": {"credentials": {"user": "u", "key": SECRET}}}
    assert SECRET not in without(f"tried {SECRET}", arguments)


def test_argument_that_is_itself_secret():
    assert SECRET not in without(f"tried {SECRET}", {"admin_password": SECRET})


def test_argument_that_fits_no_parameter(context):
    error = OSError(f"tried {SECRET}")
    too_many = ({}, None, None, {"password": SECRET})
    data = event.data_of(context, operation(), too_many, {}, error)
    assert SECRET not in json.dumps(data)


@pytest.mark.parametrize(
    "text",
    [
        f"password={SECRET}",
        f"{{'auth_token': '{SECRET}'}}",
        f'{{"password": "{SECRET}"}}',
        f"mount -o password={SECRET} failed",
        f"--password {SECRET}",
    ],
)
def test_secrets_that_a_text_calls_so(text):
    assert SECRET not in without(text)


def test_secret_within_a_longer_secret():
    arguments = {"share": {"password": "abc", "token": "abcdef"}}
    assert without("abcdef", arguments) == "***"
    assert "def" not in without("x abcdef y", arguments)


def test_secret_that_python_writes_with_escapes():
    # Texts of process errors have their output as repr() writes it.
    secret = 'it\'s "q\\9"'
    text = without(f"Stderr: {secret!r}", {"share": {"password": secret}})
    assert "q\\" not in text


@pytest.mark.parametrize("value", [None, "", 5, b"\xff", object(), Unloaded(id="x")])
def test_odd_values_do_no_harm(value):
    arguments = {"share": {"password": value}, "rules": [value], "other": value}
    assert without("pool is full", arguments) == "pool is full"


def test_data_that_contains_itself():
    share = {"password": SECRET}
    share["share"] = share
    share["all"] = [share]
    assert SECRET not in without(f"tried {SECRET}", {"share": share})


WORDS = st.text(
    st.characters(codec="utf-8", exclude_characters="*"), min_size=1, max_size=20
)
KEYS = st.sampled_from(["password", "access_key", "auth_token", "secret", "id", "x"])
NESTED = st.recursive(
    WORDS | st.none() | st.integers(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(KEYS, inner, max_size=3)
        | st.dictionaries(KEYS, inner, max_size=3).map(lambda d: Model(**d))
    ),
    max_leaves=6,
)


@settings(max_examples=200, deadline=None)
@given(
    around=st.lists(st.text(max_size=20), min_size=2, max_size=4),
    secret=WORDS,
    token=st.none() | WORDS,
    path=st.lists(st.sampled_from(["dict", "list", "model"]), max_size=3),
    noise=NESTED,
)
@example(["a", "b"], "'", None, [], None)
@example(["{'password': '", "'}"], "a'b", None, ["model"], None)
def test_no_secret_is_left(around, secret, token, path, noise):
    # A secret of stars would be in the mask itself.
    assume("*" not in "".join(around))
    value = {"access_key": secret, "noise": noise}
    for step in path:
        if step == "list":
            value = [noise, value]
        elif step == "model":
            value = Model(inner=value)
        else:
            value = {"inner": value}
    text = secret.join(around) + (token or "")
    masked = without(text, {"share": value}, token)
    assert secret not in masked
    assert not token or token not in masked


@settings(max_examples=100, deadline=None)
@given(text=st.text(), noise=NESTED, token=st.none() | st.text())
def test_nothing_makes_it_raise(text, noise, token):
    assert isinstance(without(text, {"share": noise}, token), str)
