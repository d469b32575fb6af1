# SPDX-License-Identifier: Apache-2.0
"""The removal of secrets from text."""

import collections
import dataclasses
import html
import json
import logging
import os
import re
import subprocess
import time
import types
import urllib.parse
import uuid
from types import SimpleNamespace

import pytest
import wrapt
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from oslo_config import cfg

import aspects
from aspects import secrets, testing
from hooks.events import event
from tests.support.config import ConfigFile
from tests.support.drivers import Driver
from tests.support.hooks import Recorder
from tests.support.models import Model, Unloaded, kinds
from tests.support.pages import blocks_of, file_of
from tests.support.ways import WAYS

HERE = __name__

# In a text

SECRET = "hunter2-Zq9"


def without(text, arguments=None, token=None):
    context = SimpleNamespace(auth_token=token)
    return aspects.without_secrets(text, context, arguments or {})


def test_a_text_without_secrets_is_not_changed():
    arguments = {"share": {"id": "s1", "size": 3}, "access_rules": []}
    text = "pool 'p1' of share s1 is full: 3 GiB"
    assert without(text, arguments, SECRET) == text
    assert aspects.without_secrets(text, object(), {}) == text


def test_the_token_of_the_context_is_masked():
    assert SECRET not in without(f"GET with {SECRET}: 401", token=SECRET)


def test_the_token_of_the_calling_service_is_masked():
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
def test_an_argument_with_a_secret_name_is_masked(kind, key):
    arguments = {"share": kind(**{key: SECRET, "id": "s1"})}
    text = without(f"cannot log in with {SECRET}, said {SECRET}.", arguments)
    assert SECRET not in text
    assert text.startswith("cannot log in with ")


@kinds
@pytest.mark.parametrize("many", [list, tuple])
def test_secrets_in_lists_are_masked(kind, many):
    rules = many([kind(access_key="plain"), kind(access_key=SECRET)])
    assert SECRET not in without(f"key {SECRET}", {"add_rules": rules})


@kinds
def test_secrets_of_a_share_server_are_masked(kind):
    server = kind(
        id="v1",
        backend_details={"vserver": "v", "password": SECRET},
        security_services=[{"type": "ldap", "password": "l" + SECRET}],
    )
    text = without(f"{SECRET} and l{SECRET}", {"share_server": server})
    assert SECRET not in text


@kinds
def test_secrets_in_nested_models_are_masked(kind):
    network = {"security_services": [kind(password=SECRET)]}
    server = kind(id="v1", share_network=network)
    assert SECRET not in without(f"bind as {SECRET}", {"share_server": server})


def test_a_list_of_secrets_is_masked():
    arguments = {"share_server": {"passwords": ["one", SECRET]}}
    assert SECRET not in without(f"tried {SECRET}", arguments)


def test_all_values_under_a_secret_name_are_masked():
    arguments = {"share_server": {"credentials": {"user": "u", "key": SECRET}}}
    assert SECRET not in without(f"tried {SECRET}", arguments)


def test_an_argument_whose_own_name_is_secret_is_masked():
    assert SECRET not in without(f"tried {SECRET}", {"admin_password": SECRET})


def test_secrets_in_an_argument_without_a_parameter_are_masked():
    woven = aspects.weave(Driver(), [], "alpha")
    operation = aspects.weaving(woven).operations["create_share"]
    error = OSError(f"tried {SECRET}")
    too_many = ({}, None, None, {"password": SECRET})
    data = event.data_of(object(), operation, too_many, {}, error)
    assert data["error"] == "tried ***"


# Values whose form marks them as secret


def pem(label, *lines):
    return "\n".join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----"])


PEM = pem("RSA PRIVATE KEY", f"MIIEvQ{SECRET.replace('-', '')}", "AAAA")
QUOTED = "a \"quoted' \\ " + SECRET
NESTED = {"body": json.dumps({"body": json.dumps({"api_key": QUOTED})})}

FOUND = {
    "assignment": [
        f"password={SECRET}",
        f"mount -o user=joe,pass={SECRET} //nas/a",
        f"access_key={SECRET}, state=active",
        f"accessKey = {SECRET}",
        f"adminPass={SECRET}",
        f"PGPASSWORD={SECRET} psql",
        f"os.environ['OS_PASSWORD'] = '{SECRET}'",
        f"user[password]={SECRET}",
        f"password == {SECRET}",
        f"'password' => '{SECRET}'",
        f"token='it\\'s {SECRET}'",
        f"password='it''s {SECRET}'",
        f"passphrase='{SECRET}",
        f"password=\"a '{SECRET}'\"",
        f"PUT https://nas.example.com/x?sig={SECRET}&se=1: 403",
        f"GET /x?X-Amz-Signature={SECRET}&X-Amz-Credential={SECRET}/s3",
    ],
    "delimiters within a value": [
        f"password=a{char}{SECRET}" for char in ",;&()[]{}<>\\'\"`=:/@%$#!?*+|~"
    ],
    "mapping": [
        f"secret_key: {SECRET}",
        f"API key: {SECRET}",
        f"token is: {SECRET}",
        f"userPassword:: {SECRET}",
        f"{{'auth_token': '{SECRET}'}}",
        f'{{"password": "{SECRET}"}}',
        f'{{"r1": {{"access_key": "{SECRET}", "state": "active"}}}}',
        f"{{password: {SECRET}, user: joe}}",
        f"Rule(access_key='{SECRET}', state='active')",
        f"password=Masked('a {SECRET}')",
        f"{{'key': 'password', 'value': '{SECRET}'}}",
        f'{{"name": "x-auth-token", "value": "{SECRET}"}}',
    ],
    "bytes": [
        f"{{'secret_key': b'it is {SECRET}'}}",
        f"{{b'secret_key': b'{SECRET}'}}",
        repr(f"x-auth-token: {SECRET}\r\nhost: nas".encode()),
    ],
    "list": [
        f'{{"passwords": ["{SECRET}"]}}',
        f'{{"passwords": ["a]", ["{SECRET}"], {{"b": "{SECRET}"}}], "x": 1}}',
        f"{{'tokens': ('a', '{SECRET}')}}",
        f"passwords=[{SECRET}, {SECRET}]",
        f"{{'credentials': {{'user': 'joe', 'key': '{SECRET}'}}}}",
        f'{{"passwords": ["{SECRET}", ',
    ],
    "pair": [
        f"('password', '{SECRET}')",
        f'["password", "{SECRET}"]',
        f"[('user', 'joe'), ('x-auth-token', '{SECRET}')]",
        f"(b'password', b'{SECRET}')",
        f"('password', {SECRET})",
        f"('password', '{SECRET}",
    ],
    "command line": [
        f"login --password {SECRET} nas",
        f"login --password={SECRET} nas",
        f"login --os-password 'a {SECRET}' nas",
        f"login -password {SECRET}",
        str(subprocess.CalledProcessError(1, ["login", "--password", SECRET])),
        str(subprocess.CalledProcessError(1, ["login", f"--password={SECRET}"])),
        json.dumps(["login", "--api-key", SECRET]),
        f"iscsiadm -m node -n node.session.auth.password -v {SECRET}",
        str(["-n", "node.session.auth.password", "-v", SECRET]),
        f"sshpass -p {SECRET} ssh joe@nas",
        f"sshpass -p{SECRET} ssh joe@nas",
        str(["sshpass", "-p", SECRET, "ssh"]),
        f"curl -u joe:{SECRET} https://nas.example.com",
        str(["curl", "--user", f"joe:{SECRET}"]),
        f"net ads join -U joe%{SECRET}",
        f"login -p {SECRET} nas",
        f"login -u joe -p '{SECRET} {SECRET}'",
        f"plink -pw {SECRET} joe@nas",
        str(["login", "-p", SECRET]),
        json.dumps({"command": ["login", "-p", SECRET, "-v"]}),
        f"mysql -u root -p{SECRET} manila",
        str(["mysqldump", "-u", "root", f"-p{SECRET}"]),
        f"ldapsearch -x -D cn=admin -w {SECRET} -b dc=nas",
        f"radosgw-admin user create --secret {SECRET} --access-key {SECRET}",
        f"Command: login -p {SECRET} -h nas\nExit code: 1\nStderr: 'no such user'",
        f"smbclient -U 'DOMAIN\\joe%{SECRET}'",
    ],
    "sentence": [f"password '{SECRET}' is wrong", f"the token was '{SECRET}'"],
    "table": [f"| admin_pass | {SECRET} |"],
    "YAML": [
        f"password:\n  {SECRET}",
        f"password:\n\n  '{SECRET} {SECRET}'\nuser: joe",
        f"passwords:\n  - {SECRET}\n  - {SECRET}\nuser: joe",
        f"passwords:\n- {SECRET}\nuser: joe",
        f"password: |\n  {SECRET}\n  a {SECRET}\nuser: joe",
        f"- password:\n    {SECRET}\n  user: joe",
        f"credentials:\n  user: joe\n  key: {SECRET}\nuser: joe",
        repr(f"password:\n  {SECRET}\n"),
    ],
    "XML": [
        f"<na:user-password>{SECRET}</na:user-password>",
        f"<Password type='x'>\n {SECRET}\n</Password>",
        f"<password><![CDATA[a {SECRET}]]></password>",
        f"<credentials><user>joe</user><key>{SECRET}</key></credentials>",
        f"<password>{SECRET}",
        f"<user password='{SECRET}'/>",
        f'<property name="password" value="{SECRET}"/>',
        f'<entry key="password">{SECRET}</entry>',
        html.escape(f'<user-password x="1">{SECRET}</user-password>'),
    ],
    "header": [
        f"X-Auth-Token: {SECRET}",
        f"x-subject-token:{SECRET}",
        f"Authorization: Bearer {SECRET}",
        f"Proxy-Authorization: Basic {SECRET}",
        f"Authorization: Unheard-Of {SECRET}",
        f"curl -H 'authorization: {SECRET}'",
        f"{{'Authorization': 'Basic {SECRET}'}}",
        f'Authorization: Digest username="joe", response="{SECRET}"',
        f"Bearer {SECRET}",
        f"Cookie: session={SECRET}; other={SECRET}",
        f"Set-Cookie: session={SECRET}; Path=/; HttpOnly",
        f"{{'Cookie': 'session={SECRET}; other={SECRET}'}}",
    ],
    "URL": [
        f"cannot reach amqp://guest:{SECRET}@127.0.0.1:5672/",
        f"https://joe:{SECRET}@nas.example.com/v1: 401",
        f"redis://:{SECRET}@10.0.0.1/0",
        f"amqp://guest:@{SECRET}@10.0.0.1:5672/",
        f"rabbit://joe:{SECRET}@mq1:5672,joe:{SECRET}@mq2:5672/",
        urllib.parse.quote(f"amqp://guest:{SECRET}@mq/"),
    ],
    "PEM": [
        PEM,
        f"private_key: {PEM}",
        f"cannot load {PEM}: no such cipher",
        str({"key": PEM}),
        json.dumps({"key": PEM}),
        urllib.parse.quote_plus(PEM),
        " ".join(PEM.split()),
        pem("OPENSSH PRIVATE KEY", SECRET),
        pem("CERTIFICATE", SECRET),
        pem("PGP PRIVATE KEY BLOCK", "Version: 1", "", SECRET, "=AAAA"),
        f"---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\n{SECRET}",
        PEM[: PEM.index("AAAA")],
        PEM[PEM.index("MIIEvQ") :],
    ],
    "quoted in another text": [
        json.dumps({"body": json.dumps({"password": QUOTED})}),
        json.dumps(NESTED),
        repr(json.dumps(NESTED)),
        repr(repr({"password": QUOTED})),
        f"data={urllib.parse.quote(json.dumps({'password': QUOTED}))}",
        f"data={urllib.parse.quote_plus(json.dumps({'password': QUOTED}))}",
        urllib.parse.quote(urllib.parse.quote(f"password={SECRET}&x=1")),
        html.escape(json.dumps({"password": QUOTED})),
    ],
}


@pytest.mark.parametrize("text", [text for texts in FOUND.values() for text in texts])
def test_a_value_whose_form_marks_it_as_secret_is_masked(text):
    masked = without(text)
    assert SECRET not in masked
    assert SECRET.replace("-", "") not in masked
    assert "***" in masked
    assert without(masked) == masked


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("password=a, user=joe", "password=***, user=joe"),
        ("pass=a,b,user=joe", "pass=***,user=joe"),
        ("?token=a&user=joe", "?token=***&user=joe"),
        ("f(password=a).b", "f(password=***).b"),
        ("{'password': 'a', 'user': 'joe'}", "{'password': '***', 'user': 'joe'}"),
        ("password: b\nuser: joe", "password: ***\nuser: joe"),
        ("password:\n  b\nuser: joe", "password:\n  ***\nuser: joe"),
        ('{"tokens": ["a", "b"], "x": 1}', '{"tokens": ***, "x": 1}'),
        ("<password>a</password><user>b", "<password>***</password><user>b"),
        (f"bad {PEM}: no cipher", "bad ***: no cipher"),
        ("['--password', 'a', '--user', 'b']", "['--password', '***', '--user', 'b']"),
        ("Cookie: a=b; c=d\nHost: nas", "Cookie: ***\nHost: nas"),
    ],
)
def test_only_the_value_is_masked(text, masked):
    assert without(text) == masked


@pytest.mark.parametrize(
    "name",
    # The names and forms of oslo.utils' mask_password.
    [
        "adminpass",
        "admin_pass",
        "password",
        "admin_password",
        "auth_token",
        "new_pass",
        "auth_password",
        "secret_uuid",
        "secret",
        "sys_pswd",
        "token",
        "configdrive",
        "chappassword",
        "encrypted_key",
        "private_key",
        "fernetkey",
        "sslkey",
        "passphrase",
        "octaviaheartbeatkey",
        "rabbitcookie",
        "cephmanilaclientkey",
        "pacemakerremoteauthkey",
        "designaterndckey",
        "cephadminkey",
        "heatauthencryptionkey",
        "cephclientkey",
        "keystonecredential",
        "cephrgwkey",
        "migrationsshkey",
        "cephmdskey",
        "cephmonkey",
        "chapsecret",
    ],
)
@pytest.mark.parametrize(
    "form",
    [
        "{}={}",
        "{} = '{}'",
        '{} "{}"',
        "--{} {}",
        "<{0}>{1}</{0}>",
        "'{}': u'{}'",
        "{} -v {}",
        "'{}', '--set', '{}'",
    ],
)
def test_every_name_and_form_that_openstack_masks_is_masked(name, form):
    for spelling in (name, name.upper(), f"my_{name}2"):
        assert SECRET not in without(form.format(spelling, SECRET))


def test_a_ceph_key_is_masked_by_its_shape():
    key = f"AQ{'Bc4/+9' * 6}=="
    assert without(f"client.joe ({key}) has no caps") == "client.joe (***) has no caps"
    assert "Bc4" not in without(urllib.parse.quote(key, safe=""))


def test_a_token_is_masked_by_its_shape():
    keystone = "gAAAAAB" + "m_-3" * 40 + "=="
    web = "eyJhbGciOiJI.eyJzdWIiOiJq.SflKxwRJ-_"
    assert without(f"{keystone} or {web}: expired") == "*** or ***: expired"


PROSE = [
    "webhook_url: not a valid http:// or https:// URL",
    "KeyError: 'key'",
    "KeyError: 'access_key'",
    "password is wrong",
    "token expired",
    "invalid token: expired",
    "invalid credentials for user admin",
    "Invalid credentials.",
    "Bearer token expired",
    "password: must be at least 8 characters",
    "Wrong password, try again: the password (of 8 characters) is too short",
    "the user's password isn't the owner's password",
    "password, token and secret are required",
    "'password' is a required property",
    "create() missing 1 required positional argument: 'password'",
    "access_key: None, state: active",
    "{'token': None, 'password': '', \"secret\": null, 'keys': []}",
    "password=None, token=null, passwords: []",
    "Authorization: failed for joe",
    "POST /v3/auth/tokens: 404",
    "could not get a token: ConnectionError",
    "keyring: Permission denied",
    "keyring: [errno 2] error calling conf_read_file",
    "use --password to log in; see --password-file",
    "usage: login <user> <password> [options]",
    "Cookie: expired",
    "invalid token:\nat line 3",
    "cannot log in; token:\n  connection refused by nas1",
    "bypass=1, 3 passed: all, compass: north, signal=9",
    "share_type: tape, user_key: of joe",
    "cannot reach http://nas.example.com:8080/v1: 401",
    "http://nas.example.com:8080/users/joe@example.com",
    "10.0.0.1:/shares/a: mounted by joe@example.com",
    "docker run -u 1000:1000 -p 8080:80 image",
    "mkdir -p /mnt/share; cp -p ./a b; ssh -p 22 joe@nas; lfs quota -p 4294967295 /a",
    "lvcreate -p rw -L 1G; iptables -p tcp --dport 22; use the -p option, or -p",
    "mysql -u root -p; ldapsearch -W -b dc=nas",
    "a basic authentication, a bearer of news",
    "BEGIN TRANSACTION; --- END",
    "C:\\new\\token\\users, 100%25 of tokens",
]


@pytest.mark.parametrize("text", PROSE)
def test_a_text_that_only_mentions_secrets_is_not_changed(text):
    assert without(text) == text


def lines_of(caption):
    (block,) = [b for b in blocks_of("reference/secrets.rst") if b.caption == caption]
    return block.text.splitlines()


def test_the_examples_of_the_documentation_are_true():
    for line in lines_of("found"):
        text, masked = re.split(r"\s+->\s+", line)
        assert without(text) == masked
    for line in lines_of("not changed") + lines_of("not found"):
        assert without(line) == line


def test_the_documented_limits_are_true():
    page = file_of("reference/secrets.rst").read_text("utf-8")
    for limit in (
        f"fewer than {secrets.SHORT} characters",
        f"at most {secrets.LIMIT:,} characters",
        f"ends at {secrets.DEPTH} levels, and after {secrets.ITEMS:,} values",
    ):
        assert limit in page


# Short secrets


@pytest.mark.parametrize(
    ("secret", "text", "masked"),
    [
        ("e", "share create failed", "share create failed"),
        ("a", "a share has a rule", "a share has a rule"),
        ("nfs", "nfs export of share nfs-7", "nfs export of share nfs-7"),
        ("nfs", "login with 'nfs' or \"nfs\"", "login with '***' or \"***\""),
        ("nfs", "x=nfs, y=nfs4, z='nfs4'", "x=***, y=nfs4, z='nfs4'"),
        ("nfs", "nfs", "***"),
        ("nfs3", "share nfs34", "share ***4"),
        (123456, "tried 123456, 123 of 1", "tried ***, 123 of 1"),
        (123, "tried 123456, 123 of 1", "tried 123456, 123 of 1"),
        (12.625, "tried 12.625", "tried ***"),
        (True, "True, tried 1", "True, tried 1"),
        ("  ", "a  b", "a  b"),
        ("     ", "a     b", "a     b"),
        (b"     ", "a     b", "a     b"),
    ],
)
def test_a_short_secret_is_masked_only_as_a_whole_value(secret, text, masked):
    assert without(text, {"share": {"password": secret}}) == masked


# In arguments


@pytest.mark.parametrize("secret", [SECRET.encode(), b"\xff\x00" + SECRET.encode()])
@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_a_secret_in_bytes_is_masked(secret, kind):
    arguments = {"share": {"keyring": kind(secret)}}
    assert SECRET not in without(f"tried {secret!r}", arguments)
    text = secret.decode(errors="replace")
    assert SECRET not in without(f"tried {text}", arguments)


def test_a_secret_under_a_name_in_bytes_is_masked():
    assert SECRET not in without(f"tried {SECRET}", {"x": {b"X-Auth-Token": SECRET}})


def test_a_secret_within_a_longer_secret_is_masked():
    arguments = {"share": {"password": "abcd", "token": "abcdefgh"}}
    assert without("abcdefgh", arguments) == "***"
    assert "efgh" not in without("x abcdefgh y", arguments)


def test_overlapping_secrets_are_masked():
    arguments = {"share": {"password": "abcdef", "token": "defghi"}}
    assert without("x abcdefghi y", arguments) == "x *** y"


@pytest.mark.parametrize(
    "secret", ['it\'s "q\\9" x', "grün & 100%", "a\tb\nc", "😀 dünn"]
)
@pytest.mark.parametrize(
    "write",
    [
        str,
        repr,
        ascii,
        json.dumps,
        html.escape,
        urllib.parse.quote,
        urllib.parse.quote_plus,
        lambda text: str(text.encode()),
        lambda text: json.dumps(json.dumps(text)),
        lambda text: f'"it\'s" {repr({"b": text})[1:-1]}',
    ],
)
def test_a_secret_is_masked_in_every_spelling(secret, write):
    # The text of a process error contains the repr() of the output.
    text = write(secret).strip("'\"b")
    masked = without(f"Stderr: {text}!", {"share": {"password": secret}})
    assert text not in masked
    assert masked.startswith("Stderr: ")
    assert masked.endswith("!")


Named = collections.namedtuple("Named", "access_to access_key")


class Slotted:
    __slots__ = ("__private", "access_key", "unset")

    def __init__(self, access_key):
        self.access_key = access_key


class Below(Slotted):
    __slots__ = "more"


class Private:
    __slots__ = ("__password",)

    def __init__(self, password):
        self.__password = password


@dataclasses.dataclass
class Rule:
    access_key: str


SlottedRule = dataclasses.make_dataclass("SlottedRule", ["access_key"], slots=True)


class Detached:
    """A model whose to_dict() fails."""

    def __init__(self, access_key):
        self.access_key = access_key

    def to_dict(self):
        raise LookupError("detached from its session")


class Wanting(Detached):
    """A model whose to_dict() needs an argument."""

    def to_dict(self, deep):
        return vars(self)


class Redacted(Detached):
    """A model whose to_dict() leaves out secrets."""

    def to_dict(self):
        return {"id": "r1"}


class Computed:
    """A model whose values are only in to_dict()."""

    def to_dict(self):
        return {"access_key": SECRET}


class Keyed:
    """An object with the methods of a mapping, with an item that cannot be loaded."""

    def __init__(self, access_key):
        self._ = {"id": None, "key": access_key}

    def keys(self):
        return ["lazy", "access_key"]

    def __getitem__(self, name):
        if name == "lazy":
            raise LookupError("not loaded")
        return self._["key"]


class Half(Keyed):
    """A model whose to_dict() fails because an item cannot be loaded."""

    def to_dict(self):
        return {name: self[name] for name in self.keys()}


class Lazy(dict):
    """A mapping with an item that cannot be loaded."""

    def __getitem__(self, name):
        if name == "lazy":
            raise LookupError("not loaded")
        return super().__getitem__(name)


class Secretive:
    """An object like pydantic's SecretStr, whose text hides its value."""

    def __init__(self, value):
        self._secret_value = value

    def __str__(self):
        return "**********"


class HiddenStr(str):
    def __str__(self):
        return "hidden"


@pytest.mark.parametrize(
    "thing",
    [
        Named("joe", SECRET),
        Rule(SECRET),
        SlottedRule(SECRET),
        Slotted(SECRET),
        Below(SECRET),
        Private(SECRET),
        Detached(SECRET),
        Wanting(SECRET),
        Redacted(SECRET),
        Computed(),
        Keyed(SECRET),
        Half(SECRET),
        Lazy(lazy=1, access_key=SECRET),
        {"password": Secretive(SECRET)},
        {"password": HiddenStr(SECRET)},
        {"password": {SECRET}},
        {"password": collections.deque([SECRET])},
        {"passwords": {"a": SECRET}.values()},
        types.MappingProxyType({"password": SECRET}),
        collections.ChainMap({}, {"password": SECRET}),
        collections.UserDict(password=SECRET),
        collections.UserList([{"password": SECRET}]),
        wrapt.ObjectProxy({"password": SECRET}),
        wrapt.ObjectProxy(Rule(SECRET)),
        {"key": "vserver_password", "value": SECRET},
        [Model(key="vserver_password", value=SECRET)],
        ("password", SECRET),
        {"x-auth-token": SECRET}.items(),
        ["login", "--password", SECRET],
        ["login", f"--password={SECRET}"],
    ],
    ids=lambda thing: type(thing).__name__,
)
def test_a_secret_in_any_kind_of_object_is_masked(thing):
    assert without(f"tried {SECRET}!", {"share": {"rules": [thing]}}) == "tried ***!"


def test_a_secret_uuid_is_masked():
    secret = uuid.uuid4()
    assert without(f"tried {secret}", {"token": secret}) == "tried ***"


def test_an_option_with_a_value_does_not_make_the_next_argument_secret():
    arguments = {"command": ["--password=abcd", "create", "--password", "efgh", "now"]}
    assert without("abcd create efgh now", arguments) == "*** create *** now"


def test_an_argument_named_secrets_is_masked():
    assert SECRET not in without(f"tried {SECRET}", {"secrets": [SECRET]})
    text = aspects.without_secrets(
        f"tried {SECRET} and other", None, {"secrets": ["other"]}, secrets=[SECRET]
    )
    assert text == "tried *** and ***"


def test_the_secrets_argument_is_masked():
    values = (value for value in (SECRET, "other-one"))
    text = aspects.without_secrets(f"{SECRET}, other-one", None, {}, secrets=values)
    assert text == "***, ***"
    error = OSError(f"{SECRET},\n other")
    assert secrets.text_of(error, secrets=[SECRET]) == "***, other"


def test_an_iterator_is_not_read():
    class Sized(collections.abc.Iterator, collections.abc.Collection):
        def __init__(self, items):
            self.__items = iter(items)

        def __next__(self):
            return next(self.__items)

        def __len__(self):
            return 1

        def __contains__(self, item):
            return True

    rules = [{"access_key": SECRET}]
    iterators = [iter(rules), (rule for rule in rules), map(dict, rules), Sized(rules)]
    without("tried", {"rules": iterators})
    assert [list(iterator) for iterator in iterators] == [rules] * 4


def test_a_client_of_a_remote_api_is_not_called():
    class Client:
        def __getattr__(self, name):
            if name.startswith("__"):
                raise AttributeError(name)
            return lambda *args: calls.append(name)

    calls = []
    without("tried", {"client": Client()})
    assert calls == []


def test_a_property_is_not_read():
    class Share:
        @property
        def password(self):
            reads.append(1)

    reads = []
    without("tried", {"share": Share()})
    assert reads == []


@pytest.mark.parametrize("value", [None, "", 5, b"\xff", object(), Unloaded(id="x")])
def test_odd_values_raise_no_error(value):
    arguments = {"share": {"password": value}, "rules": [value], "other": value}
    assert without("pool is full", arguments) == "pool is full"


def test_a_value_that_cannot_be_read_does_not_hide_others():
    class Bad:
        @property
        def __class__(self):
            raise LookupError("not loaded")

    arguments = {"share": [Bad(), {"password": Bad(), "access_key": SECRET}]}
    assert SECRET not in without(f"tried {SECRET}", arguments)


@pytest.mark.parametrize("name", ["auth_token", "service_token"])
def test_a_token_that_cannot_be_read_does_not_hide_others(name):
    class Context:
        auth_token = service_token = SECRET

        def __getattribute__(self, asked):
            if asked == name:
                raise LookupError("not loaded")
            return super().__getattribute__(asked)

    assert aspects.without_secrets(SECRET, Context(), {}) == "***"


def within(levels, value):
    for _ in range(levels):
        value = [value]
    return value


def test_data_that_contains_itself_is_searched_once():
    share = {"password": SECRET}
    share["share"] = share
    share["all"] = [share] * 20
    share["rules"] = within(secrets.DEPTH - 2, {"access_key": SECRET + "-2"})
    text = without(f"tried {SECRET}, {SECRET}-2", {"share": share})
    assert text == "tried ***, ***"


def test_data_under_a_secret_name_and_another_name_is_masked():
    data = {"a": SECRET}
    for arguments in ({"x": data, "token": data}, {"token": data, "x": data}):
        assert SECRET not in without(f"tried {SECRET}", arguments)


def test_arguments_are_searched_to_a_depth():
    arguments = {"rules": within(secrets.DEPTH - 1, {"access_key": SECRET})}
    assert SECRET not in without(f"tried {SECRET}", arguments)
    arguments = {"rules": within(10_000, {"access_key": SECRET})}
    assert SECRET in without(f"tried {SECRET}", arguments)


@pytest.mark.slow
def test_the_nearest_arguments_are_searched_first():
    read = []

    class Endless:
        def to_dict(self):
            read.append(1)
            return {str(n): Endless() for n in range(10)}

    arguments = {"endless": Endless(), "share": {"rules": [{"access_key": SECRET}]}}
    assert SECRET not in without(f"tried {SECRET}", arguments)
    assert len(read) < secrets.ITEMS


# Long texts


def test_a_long_text_is_cut():
    note = " ... (cut after 65536 of 1048576 characters)"
    text = without("a b\n" * 262_144)
    assert text == ("a b\n" * 262_144)[: secrets.LIMIT - len(note)] + note
    assert without(text) == text
    assert without("a" * secrets.LIMIT) == "a" * secrets.LIMIT


@pytest.mark.slow
@pytest.mark.parametrize(
    "written", [SECRET * 9, f"password={SECRET * 9}", f"://joe:{SECRET * 9}@nas"]
)
def test_no_part_of_a_secret_remains_where_a_text_is_cut(written):
    for more in range(-len(written) - 2, 1, 4):
        text = ("a " * secrets.LIMIT)[: secrets.LIMIT + more] + written + " a" * 10_000
        masked = aspects.without_secrets(
            text, None, {}, secrets=[written] if written == SECRET * 9 else []
        )
        assert SECRET[:4] not in masked
        assert masked.endswith(f" of {len(text)} characters)")
        assert len(masked) <= secrets.LIMIT


def test_no_part_of_a_secret_longer_than_the_limit_remains():
    key = "".join(map(str, range(100_000)))
    masked = without(f"tried {key}", {"password": key})
    assert masked.startswith("tried *** ... (cut after 65536 of ")


def test_masks_do_not_make_a_text_longer_than_the_limit():
    masked = without("x=1 " * (secrets.LIMIT // 4), {"password": "1"})
    assert len(masked) == secrets.LIMIT


FRAGMENTS = [
    *("a", "password", "password=", "password: ", "password:\n", "token='", "pass_"),
    *('"token": "', "'password'", "--password ", "('password', ", "['--token', "),
    *(
        "('token', (",
        "('token', f(",
        ")x",
        "password -v ",
        "| token | ",
        "password is ",
    ),
    *("<password>", "</password>", "<a key='password'>", "<", "key='token' value="),
    *("mysql ", "mysql -p", "-p ", "-p", "ldapx ", "ldapx -w ", "-w '"),
    *("bearer ", "authorization: ", "authorization: digest ", "sshpass -p ", "-u a:"),
    *("://a:", "://", "@", "-----BEGIN A-----", "-----END A-----", "-", "AQ", "gAAAAA"),
    *("eyJ", "eyJaaaaaaaa.", "cookie: ", "cookie: a=b;", "a=b;", "\\", "\\n", "%25"),
    *(
        "&quot;",
        " ",
        "\n",
        "\n  - ",
        " \n ",
        "'",
        '"',
        "`",
        "[",
        "({",
        ",",
        ";",
        "=",
        ".",
    ),
    *(SECRET, "é", "password=\\", "%22token%22:", "x: ", "***"),
]


def cpu_time(text):
    start = time.process_time()
    without(text)
    return time.process_time() - start


@pytest.mark.slow
@pytest.mark.parametrize("begin", ["", "password=", "('token', '", "<token>\n ", "\\"])
def test_the_time_is_linear_and_bounded(begin, monkeypatch):
    """Only 20 KiB of 1 MiB are read here; quadratic time would be 400-fold."""
    monkeypatch.setattr(secrets, "LIMIT", 16 * 1024)
    for fragment in FRAGMENTS:
        text = begin + fragment * (2**20 // len(fragment))
        # One run may be slow, because another process uses the processor's cache.
        for _ in range(5):
            small = max(cpu_time(text[:1024]), 0.0002)
            if cpu_time(text) < 80 * small:
                break
        else:
            pytest.fail(f"{begin!r} and many {fragment!r}")


# In any text


WORDS = st.text(
    st.characters(codec="utf-8", exclude_characters="*"), min_size=1, max_size=20
)
KEYS = st.sampled_from(["password", "access_key", "auth_token", "secret", "id", "x"])
NOISE = st.recursive(
    WORDS | st.none() | st.integers() | st.binary(max_size=9) | st.booleans(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(KEYS, inner, max_size=3)
        | st.dictionaries(KEYS, inner, max_size=3).map(lambda d: Model(**d))
    ),
    max_leaves=6,
)
KNOWN = st.text(
    st.characters(codec="utf-8", exclude_characters="*"), min_size=4, max_size=30
).filter(lambda text: len(text.strip()) >= secrets.SHORT)
TEXTS = st.lists(
    st.sampled_from(FRAGMENTS + PROSE) | st.text(max_size=9), max_size=8
).map("".join)


@pytest.mark.slow
@settings(max_examples=100)
@given(
    around=st.lists(TEXTS, min_size=2, max_size=4),
    secret=KNOWN,
    token=st.none() | KNOWN,
    path=st.lists(st.sampled_from(["dict", "list", "model", "slots"]), max_size=3),
    write=st.sampled_from([str, repr, json.dumps, html.escape, urllib.parse.quote]),
    noise=NOISE,
)
@example(["{'password': '", "'}"], "a'bc", None, ["model"], str, None)
@example(["password=", "X"], "} abcd", None, [], str, None)
@example(["", ""], "correct horse", None, [], urllib.parse.quote_plus, None)
def test_no_secret_remains(around, secret, token, path, write, noise):
    # The mask itself would contain a secret of asterisks.
    assume("*" not in "".join(around))
    value = {"access_key": secret, "noise": noise}
    for step in path:
        if step == "list":
            value = [noise, value]
        elif step == "model":
            value = Model(inner=value)
        elif step == "slots":
            value = Named(noise, value)
        else:
            value = {"inner": value}
    written = write(secret.strip())
    written = written[1:-1] if write in (repr, json.dumps) else written
    text = written.join(around) + (token or "")
    masked = without(text, {"share": value}, token)
    assert written not in masked
    assert secret not in masked
    assert not token or token not in masked
    assert without(masked, {"share": value}, token) == masked


@settings(max_examples=200)
@given(text=TEXTS)
@example("Authorization: Basic a-rabbit://u:b@h1:5672,u:c@h2/")
@example("Set-Cookie: a=b; HttpOnly([('password', 'c')])")
def test_masking_a_masked_text_changes_nothing(text):
    masked = without(text)
    assert without(masked) == masked


@settings(max_examples=100)
@given(
    text=st.text("abc 019.,:;='\"`()[]{}<>/\\%&|\n-_é"),
    noise=st.dictionaries(st.sampled_from(["id", "size", "name", "key"]), WORDS),
)
def test_any_text_without_a_secret_is_not_changed(text, noise):
    assert without(text, {"share": noise}) == text


@pytest.mark.slow
@settings(max_examples=100)
@given(text=st.text(), noise=NOISE, token=st.none() | st.text())
def test_no_input_raises_an_error(text, noise, token):
    assert isinstance(without(text, {"share": noise}, token), str)


# In the log

RULE = {"access_to": "joe", "access_key": SECRET}


@pytest.fixture(params=WAYS, ids=lambda way: way.name)
def way(request):
    return request.param


def logged(caplog):
    return "\n".join(record.getMessage() for record in caplog.records)


@pytest.mark.parametrize("method", ["pre", "post", "error"])
@pytest.mark.parametrize("by", ["position", "keyword"])
def test_secrets_of_a_call_are_not_in_the_log(way, method, by, caplog):
    error = OSError(f"tried {SECRET} and {SECRET}-token")
    hook = Recorder(suppress=["pre", "post"], **{method: error})

    def body(*args, **kwargs):
        if method == "error":
            raise RuntimeError

    driver = way.driver([hook], body)
    context = SimpleNamespace(auth_token=f"{SECRET}-token")
    named = {"share": {"id": "s1"}, "share_server": {"rules": [RULE]}}
    args, kwargs = (tuple(named.values()), {}) if by == "position" else ((), named)
    try:
        way.call(driver, context, *args, **kwargs)
    except RuntimeError:
        assert method == "error"
    assert "tried *** and ***" in logged(caplog)
    assert SECRET not in logged(caplog)


@pytest.mark.parametrize("method", ["pre", "post", "error"])
def test_secrets_of_execute_hook_methods_are_not_in_the_log(method, caplog):
    error = OSError(f"tried {SECRET}")
    hook = Recorder(suppress=["pre", "post"], **{method: error})
    data = {"pre": (), "post": (None, MADE), "error": (None, RuntimeError())}
    run = getattr(hook, f"execute_{method}_hook")
    rules = [] if method == "post" else [RULE]
    run(object(), "create_share_instance", *data[method], rules=rules)
    assert "tried ***" in logged(caplog)
    assert SECRET not in logged(caplog)


MADE = {"r1": {"access_key": SECRET, "state": "active"}}


def test_secrets_that_the_driver_returns_are_not_in_the_log(way, caplog):
    error = OSError(f"tried {SECRET}")
    hook = Recorder(suppress=["post"], post=error)
    way.call(way.driver([hook], lambda *args, **kwargs: MADE), object(), {"id": "s1"})
    assert "tried ***" in logged(caplog)
    assert SECRET not in logged(caplog)


@pytest.mark.parametrize("kind", [OSError, SystemExit])
def test_error_methods_get_the_result_whose_secrets_an_error_repeats(way, kind, caplog):
    events = []

    class Emitter(testing.Recorder):
        def _execute_error_hook(self, context, func_name, data, error, *args, **kwargs):
            call = (context, func_name, args, kwargs, error)
            events.append(event.data_of(*call)["error"])
            raise LookupError(f"{error} again")

    hooks = [Recorder(post=kind(f"tried {SECRET}")), Emitter()]
    driver = way.driver(hooks, lambda *args, **kwargs: MADE)
    with pytest.raises(kind):
        way.call(driver, object(), {"id": "s1"})
    assert events == ["tried ***"]
    assert "tried *** again" in logged(caplog)
    assert SECRET not in logged(caplog)


def test_observers_get_the_result_whose_secrets_an_error_repeats():
    results = {}

    class Observer(testing.Recorder):
        def observe(self, observed):
            results[observed.kind] = observed.results

    hooks = [Observer(), Recorder(post=OSError("no")), Recorder()]
    driver = aspects.weave(Driver(lambda *args: MADE), hooks)
    with pytest.raises(OSError, match="no"):
        driver.create_share(object(), {"id": "s1"})
    assert results == {"pre": None, "driver": None, "post": MADE, "error": MADE}


def test_the_error_of_an_observer_of_a_post_method_has_no_secret_of_the_result(caplog):
    class Observer(testing.Recorder):
        def observe(self, observed):
            if observed.kind == "post":
                raise OSError(f"tried {SECRET}")

    driver = aspects.weave(Driver(lambda *args: MADE), [Observer(), Recorder()])
    driver.create_share(object(), {"id": "s1"})
    assert "tried ***" in logged(caplog)
    assert SECRET not in logged(caplog)


def test_an_operation_has_a_result_only_after_a_post_method_has_failed():
    seen = []

    class Looker(testing.Recorder):
        def _record(self, kind, context, func_name, *rest):
            seen.append((kind, func_name.results))

    driver = aspects.weave(Driver(lambda *args: MADE), [Looker(), Looker()])
    driver.create_share(object(), {"id": "s1"})
    assert seen == [("pre", None)] * 2 + [("post", None)] * 2
    assert aspects.weaving(driver).operations["create_share"].results is None


def test_secrets_in_periodic_data_are_not_in_the_log(caplog):
    error = OSError(f"tried {SECRET}")
    hook = Recorder(enabled=["periodic"], suppress=["periodic"], periodic=error)
    woven = aspects.weave(Driver(), [hook])
    assert aspects.tick(woven, object(), [{"id": "i1", "access_key": SECRET}])
    hook.execute_periodic_hook(object(), [{"id": "i1", "access_key": SECRET}])
    assert logged(caplog).count("tried ***") == 2
    assert SECRET not in logged(caplog)


def test_the_token_of_a_tick_is_not_in_the_log(caplog):
    error = OSError(f"tried {SECRET}")
    hook = Recorder(enabled=["periodic"], suppress=["periodic"], periodic=error)
    context = SimpleNamespace(auth_token=SECRET)
    assert aspects.tick(aspects.weave(Driver(), [hook]), context, [])
    assert "tried ***" in logged(caplog)
    assert SECRET not in logged(caplog)


class Indiscreet(testing.Recorder):
    """A hook whose errors have a secret in their text."""

    options = (
        cfg.StrOpt("key_phrase", secret=True),
        cfg.StrOpt("fails_in"),
        cfg.StrOpt("phrase_of"),
    )

    def _record(self, kind, *call):
        if kind == self.get_config_option("fails_in"):
            option = self.get_config_option("phrase_of") or "key_phrase"
            raise OSError(f"unknown phrase {self.get_config_option(option)}")

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
    weaving = aspects.weaving(driver)
    with caplog.at_level(logging.DEBUG, "aspects"):
        weaving.start()
        driver.create_share(object(), {"id": "s1"})
        aspects.tick(driver, object(), [])
        weaving.stop()
    assert "unknown phrase" in logged(caplog)
    assert SECRET not in logged(caplog)


class Keeper(testing.Recorder):
    """A hook with a secret option."""

    options = (cfg.StrOpt("keeper_phrase", secret=True, mutable=True),)


DRIVER_OPTIONS = [
    cfg.StrOpt("nas_password", secret=True),
    cfg.ListOpt("nas_passwords", secret=True),
    cfg.DictOpt("nas_logins", secret=True),
    cfg.StrOpt("nas_default", secret=True, default="nas-seven"),
    cfg.IntOpt("nas_pin", secret=True),
    cfg.StrOpt("nas_name"),
]

ALL = f"{SECRET}-1 {SECRET}-2 {SECRET}-3 {SECRET}-4"


@pytest.fixture
def nas(tmp_path):
    """A backend with secret options of the driver, of [DEFAULT] and of another hook."""
    text = f"""
        [DEFAULT]
        transport = {SECRET}-3
        [alpha]
        hook_drivers = one={HERE}:Indiscreet, two={HERE}:Keeper
        enable_pre_hooks = True
        suppress_pre_hooks_errors = True
        nas_password = {SECRET}-1
        nas_passwords = other-9, {SECRET}-2
        nas_logins = joe:third-9
        nas_pin = many
        nas_name = nas-seven
        [alpha:one]
        fails_in = pre
        phrase_of = all_phrases
        [alpha:two]
        keeper_phrase = {SECRET}-4
        """
    file = ConfigFile(tmp_path / "c.conf", text)
    file.conf.register_opts(DRIVER_OPTIONS, "alpha")
    file.conf.register_opt(cfg.StrOpt("transport", secret=True))
    return file


def woven_in(file):
    section = aspects.BackendSection(file.conf, "alpha")
    return aspects.weave_from_config(Driver(), section, "node1@alpha")


def test_secret_options_of_the_backend_are_masked_for_all_its_hooks(nas):
    for hook in aspects.weaving(woven_in(nas)).hooks:
        text = f"{ALL} other-9 third-9 in nas-seven or nas of many"
        masked = aspects.without_secrets(
            text, None, {}, configuration=hook.configuration
        )
        assert masked == "*** *** *** *** *** *** in nas-seven or nas of many"


def test_secret_options_of_the_driver_are_masked_with_any_configuration(nas):
    section = aspects.BackendSection(nas.conf, "alpha")
    text = f"{SECRET}-1 {SECRET}-3 {SECRET}-4"
    masked = aspects.without_secrets(text, None, {}, configuration=section)
    assert masked == f"*** *** {SECRET}-4"


def test_secret_options_follow_the_files(nas):
    driver = woven_in(nas)
    text = nas.path.read_text()
    nas.mutate(text.replace(f"keeper_phrase = {SECRET}-4", "keeper_phrase = newer-9"))
    for hook in aspects.weaving(driver).hooks:
        masked = aspects.without_secrets(
            "tried newer-9", None, {}, configuration=hook.configuration
        )
        assert masked == "tried ***"


def test_secret_options_of_the_backend_are_not_in_the_log(nas, caplog, monkeypatch):
    def phrases(self, option):
        return ALL if option == "all_phrases" else safe_get(self, option)

    safe_get = Indiscreet.get_config_option
    monkeypatch.setattr(Indiscreet, "get_config_option", phrases)
    woven_in(nas).create_share(object(), {"id": "s1"})
    assert "unknown phrase *** *** *** ***" in logged(caplog)
    assert SECRET not in logged(caplog)


def test_an_event_has_no_secret_option_of_the_backend(nas):
    driver = woven_in(nas)
    operation = aspects.weaving(driver).operations["create_share"]
    operation = operation.with_veto("two", f"a veto with {ALL}")
    configuration = aspects.weaving(driver).hooks[0].configuration
    call = (object(), operation, (), {}, OSError(f"tried {ALL}"))
    data = event.data_of(*call, configuration=configuration)
    assert data["error"] == "tried *** *** *** ***"
    assert data["would_deny"] == [
        {"hook": "two", "reason": "a veto with *** *** *** ***"}
    ]


@pytest.mark.parametrize("dispatch", ["inline", "background"])
@pytest.mark.parametrize("what", ["post", "periodic"])
def test_secrets_of_results_are_not_in_the_log_of_any_dispatch(
    tmp_path, caplog, dispatch, what
):
    text = f"""
        [alpha]
        hook_drivers = one={HERE}:Repeater
        hook_dispatch = {dispatch}
        enable_{what}_hooks = True
        suppress_{what}_hooks_errors = True
        """
    driver = aspects.weave_from_config(
        Driver(lambda *args: MADE),
        aspects.BackendSection(ConfigFile(tmp_path / "c.conf", text).conf, "alpha"),
        "node1@alpha",
    )
    driver.create_share(object(), {"id": "s1"})
    aspects.tick(driver, object(), MADE)
    aspects.weaving(driver).stop()
    assert "tried ***" in logged(caplog)
    assert SECRET not in logged(caplog)


class Repeater(testing.Recorder):
    """A hook whose errors repeat the result."""

    def _record(self, *call):
        raise OSError(f"tried {SECRET}")


# Texts that are not UTF-8


def test_a_text_that_is_not_utf_8_can_be_sent():
    text = os.fsdecode(b"no such file: /mnt/gr\xfcn")
    assert without(text) == "no such file: /mnt/gr\\udcfcn"
    assert without(without(text)) == without(text)
    masked = without(f"tried {text}", {"password": text})
    assert masked == "tried ***"
