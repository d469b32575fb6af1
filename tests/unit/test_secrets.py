# SPDX-License-Identifier: Apache-2.0
"""The one place where secrets are taken out of what is written."""

import json
import logging
from types import SimpleNamespace

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from oslo_config import cfg

import aspects
from aspects import testing
from hooks.events import event
from tests.support.config import ConfigFile
from tests.support.drivers import Driver
from tests.support.hooks import Recorder
from tests.support.models import Model, Unloaded, kinds
from tests.support.ways import WAYS

HERE = __name__

# In a text

SECRET = "hunter2-Zq9"


def without(text, arguments=None, token=None):
    context = SimpleNamespace(auth_token=token)
    return aspects.without_secrets(text, context, arguments or {})


def test_text_without_secrets_stays():
    arguments = {"share": {"id": "s1", "size": 3}, "access_rules": []}
    text = "pool 'p1' of share s1 is full: 3 GiB"
    assert without(text, arguments, SECRET) == text
    assert aspects.without_secrets(text, object(), {}) == text


def test_token_of_the_context():
    assert SECRET not in without(f"GET with {SECRET}: 401", token=SECRET)


def test_token_of_the_service_that_asks():
    context = SimpleNamespace(auth_token=None, service_token=SECRET)
    assert SECRET not in aspects.without_secrets(f"GET with {SECRET}", context, {})


@pytest.mark.parametrize("kind", [dict, Model])
@pytest.mark.parametrize(
    "key",
    [
        "access_key",
        "api_key",
        "password",
        "ss_password",
        "admin_passwd",
        "auth_token",
        "token",
        "secret",
        "client_secret",
        "private_key",
        "ssh_private_key",
        "ssh_key",
        "encryption_key",
        "keyring",
        "user_pwd",
        "passphrase",
        "credential",
        "Password",
        "ACCESS_KEY",
        "accessKey",
        "access-key",
        "private key",
        "pass",
        "user_pass",
        "sig",
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


def test_argument_that_fits_no_parameter():
    woven = aspects.weave(Driver(), [], "alpha")
    operation = aspects.weaving(woven).operations["create_share"]
    error = OSError(f"tried {SECRET}")
    too_many = ({}, None, None, {"password": SECRET})
    data = event.data_of(object(), operation, too_many, {}, error)
    assert data["error"] == "tried ***"


@pytest.mark.parametrize(
    "text",
    [
        f"password={SECRET}",
        f"{{'auth_token': '{SECRET}'}}",
        f'{{"password": "{SECRET}"}}',
        f"mount -o password={SECRET} failed",
        f"--password {SECRET}",
        f"cannot reach amqp://guest:{SECRET}@127.0.0.1:5672/",
        f"https://joe:{SECRET}@nas.example.com/v1: 401",
        f"redis://:{SECRET}@10.0.0.1/0",
        f"amqp://guest:@{SECRET}@10.0.0.1:5672/",
        f"access_key={SECRET}, state=active",
        f"secret_key: {SECRET}",
        f"API key: {SECRET}",
        f"accessKey = {SECRET}",
        f"X-Auth-Token: {SECRET}",
        f"mount -o user=joe,pass={SECRET} //nas/a",
        f"PUT https://nas.example.com/x?sig={SECRET}&se=1: 403",
        f"GET /x?X-Amz-Signature={SECRET}&X-Amz-Credential={SECRET}/s3",
        f"Authorization: Bearer {SECRET}",
        f"Bearer {SECRET}",
        f"{{'Authorization': 'Basic {SECRET}'}}",
        f"curl -H 'authorization: {SECRET}'",
        f'{{"r1": {{"access_key": "{SECRET}", "state": "active"}}}}',
        f"{{'r1': {{'access_key': '{SECRET}', 'state': 'active'}}}}",
        f"{{'secret_key': b'it is {SECRET}'}}",
        json.dumps({"body": json.dumps({"body": json.dumps({"api_key": SECRET})})}),
        f"token='it\\'s {SECRET}'",
        f"passphrase='{SECRET}",
    ],
)
def test_secrets_that_a_text_calls_so(text):
    assert SECRET not in without(text)
    assert "***" in without(text)


def test_keys_of_ceph_are_known_by_their_shape():
    key = f"AQ{'Bc4/+9' * 6}=="
    assert without(f"client.joe ({key}) has no caps") == "client.joe (***) has no caps"


@pytest.mark.parametrize(
    "text",
    [
        "webhook_url: not a valid http:// or https:// URL",
        "KeyError: 'key'",
        "KeyError: 'access_key'",
        "token expired",
        "invalid token: expired",
        "Bearer token expired",
        "password: must be at least 8 characters",
        "access_key: None, state: active",
        "Authorization: failed for joe",
        "bypass=1, 3 passed: all, compass: north, signal=9",
        "share_type: tape, user_key: of joe",
        "cannot reach http://nas.example.com:8080/v1: 401",
        "10.0.0.1:/shares/a: mounted by joe@example.com",
    ],
)
def test_what_is_no_secret_stays_as_it_is(text):
    assert without(text) == text


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "text",
    [
        "a",
        "token",
        "pass_",
        "token==",
        "token ",
        "token='",
        "'token': '",
        "bearer ",
        "authorization: a ",
        "AQ",
        "://a:",
        "\\",
        " ",
    ],
)
def test_a_long_text_takes_no_time(text):
    """One that is read again from each of its letters would take for ever."""
    for begin in ("", "token", "'token", "authorization: ", "://a:"):
        without(begin + text * (50_000 // len(text)))


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (123456, "tried ***, 123 of 1"),
        (123, "tried 123456, 123 of 1"),
        (True, "tried 123456, 123 of 1"),
    ],
)
def test_numbers_under_a_secret_name(value, told):
    assert without("tried 123456, 123 of 1", {"share": {"password": value}}) == told


@pytest.mark.parametrize("secret", [SECRET.encode(), b"\xff\x00" + SECRET.encode()])
def test_secrets_in_bytes(secret):
    arguments = {"share": {"keyring": secret}}
    assert SECRET not in without(f"tried {secret!r}", arguments)


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


@pytest.mark.slow
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


# In the log

RULE = {"access_to": "joe", "access_key": SECRET}


@pytest.fixture(params=WAYS, ids=lambda way: way.name)
def way(request):
    return request.param


def logged(caplog):
    return "\n".join(record.getMessage() for record in caplog.records)


@pytest.mark.parametrize("action", ["pre", "post", "error"])
@pytest.mark.parametrize("by", ["position", "keyword"])
def test_secrets_of_a_call_are_not_in_the_log(way, action, by, caplog):
    error = OSError(f"tried {SECRET} and {SECRET}-token")
    hook = Recorder(suppress=["pre", "post"], **{action: error})

    def body(*args, **kwargs):
        if action == "error":
            raise RuntimeError

    driver = way.driver([hook], body)
    context = SimpleNamespace(auth_token=f"{SECRET}-token")
    given = {"share": {"id": "s1"}, "share_server": {"rules": [RULE]}}
    args, kwargs = (tuple(given.values()), {}) if by == "position" else ((), given)
    try:
        way.call(driver, context, *args, **kwargs)
    except RuntimeError:
        assert action == "error"
    assert "tried *** and ***" in logged(caplog)
    assert SECRET not in logged(caplog)


@pytest.mark.parametrize("action", ["pre", "post", "error"])
def test_secrets_of_an_action_run_by_hand_are_not_in_the_log(action, caplog):
    error = OSError(f"tried {SECRET}")
    hook = Recorder(suppress=["pre", "post"], **{action: error})
    given = {"pre": (), "post": (None, "result"), "error": (None, RuntimeError())}
    run = getattr(hook, f"execute_{action}_hook")
    run(object(), "create_share_instance", *given[action], rules=[RULE])
    assert "tried ***" in logged(caplog)
    assert SECRET not in logged(caplog)


def test_token_of_a_tick_is_not_in_the_log(caplog):
    error = OSError(f"tried {SECRET}")
    hook = Recorder(enabled=["periodic"], suppress=["periodic"], periodic=error)
    context = SimpleNamespace(auth_token=SECRET)
    assert aspects.tick(aspects.weave(Driver(), [hook]), context, [])
    assert "tried ***" in logged(caplog)
    assert SECRET not in logged(caplog)


class Indiscreet(testing.Recorder):
    """A hook whose errors have a secret option in their text."""

    options = (cfg.StrOpt("key_phrase", secret=True), cfg.StrOpt("fails_in"))

    def _record(self, kind, *given):
        if kind == self.get_config_option("fails_in"):
            phrase = self.get_config_option("key_phrase")
            raise OSError(f"nobody is called {phrase}")

    def start(self):
        self._record("start")

    def stop(self):
        self._record("stop")


@pytest.mark.parametrize("dispatch", ["inline", "background"])
@pytest.mark.parametrize("what", ["pre", "post", "periodic", "start", "stop"])
def test_secret_options_of_a_hook_are_not_in_the_log(tmp_path, caplog, what, dispatch):
    text = f"""
        [alpha]
        hook_drivers = one={HERE}:Indiscreet
        hook_dispatch = {dispatch}
        enable_{what}_hooks = True
        suppress_{what}_hooks_errors = True
        [alpha:one]
        key_phrase = {SECRET}
        fails_in = {what}
        """
    section = aspects.BackendSection(
        ConfigFile(tmp_path / "c.conf", text).conf, "alpha"
    )
    driver = aspects.weave_from_config(Driver(), section, "node1@alpha")
    about = aspects.weaving(driver)
    with caplog.at_level(logging.DEBUG, "aspects"):
        about.start()
        driver.create_share(object(), {"id": "s1"})
        aspects.tick(driver, object(), [])
        about.stop()
    assert "nobody is called" in logged(caplog)
    assert SECRET not in logged(caplog)
