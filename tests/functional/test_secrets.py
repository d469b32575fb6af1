# SPDX-License-Identifier: Apache-2.0
"""Nothing that any installed hook puts out has a secret in it.

Secrets are planted wherever Manila has some: in the context, in shares, access rules,
share servers, and in the texts of errors, which repeat them. Then each hook is taken
through calls that succeed, fail and are forbidden, with its other end there and not
there; and all that it sent, wrote and logged is looked through.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
import urllib.request
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from manila import context as manila_context
from manila import exception
from manila.db.sqlalchemy import models
from manila.tests.share.drivers import dummy
from oslo_config import cfg
from sqlalchemy import orm
from sqlalchemy.orm import attributes

import aspects
from tests.support import receiver
from tests.support.config import woven_by
from tests.support.programs import free_port
from tests.support.wait import wait_for

from . import otlp, rabbit

broker = rabbit.broker

HERE = __name__
PROJECT = "2b1c5d3e4f60718293a4b5c6d7e8f901"
SHARE_ID = "5e8f901a2b1c5d3e4f60718293a4b5c6"

#: What secrets look like: those that stand under the name of one, which errors
#: repeat; those that nothing tells from other data; those of a hook's own options.
PLANTED, UNTOLD, OWN = "planted-{}-Zq9", "untold-{}-Zq9", "own-{}-Zq9"
SECRET = re.compile(r"(?:planted|untold|own)-\w+-Zq9")


def planted(name: str) -> str:
    return PLANTED.format(name)


# What is called


def share_server(kind: type = models.ShareServer) -> Any:
    """Return a share server as Manila's database has it."""
    server = kind(id="8" * 32, host="node1@alpha")
    details = {
        "primary_public_ip": "10.0.0.10",
        "secondary_public_ip": "10.0.0.11",
        "service_ip": "10.0.0.12",
        "vserver_password": planted("details"),
    }
    attributes.set_committed_value(
        server,
        "_backend_details",
        [
            models.ShareServerBackendDetails(key=key, value=value)
            for key, value in details.items()
        ],
    )
    return server


def rule(kind: str) -> dict[str, Any]:
    return {
        "access_type": "ip",
        "access_to": f"joe-{kind}",
        "access_level": "rw",
        "access_key": planted(f"key_{kind}"),
    }


SHARE = {
    "id": "1" * 32,
    "share_id": SHARE_ID,
    "project_id": PROJECT,
    "share_proto": "NFS",
    "size": 5,
    "export_locations": [],
    "display_description": UNTOLD.format("description"),
    "share_metadata": {
        "password": planted("metadata"),
        "note": UNTOLD.format("note"),
    },
}
SERVICES = [{"type": "ldap", "password": planted("service")}]
SERVER = share_server()

#: Driver methods and what they are called with.
CALLS: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("create_share", ("context", SHARE), {"share_server": SERVER}),
    (
        "update_access",
        ("context", SHARE, [rule("old"), rule("new")], [rule("new")], [], []),
        {"share_server": SERVER},
    ),
    (
        "update_access",
        ("context", SHARE),
        {"access_rules": [], "add_rules": [], "delete_rules": [rule("old")]}
        | {"update_rules": []},
    ),
    ("extend_share", (SHARE, 7), {"share_server": SERVER}),
    ("delete_share", ("context", SHARE), {"share_server": SERVER}),
    (
        "teardown_server",
        (),
        {
            "server_details": {"vserver_password": planted("details")},
            "security_services": SERVICES,
        },
    ),
]

#: What update_access returns.
KEYS = {"r1": {"access_key": planted("made"), "state": "active"}}

#: Where something goes wrong in the calls.
FAULTS = ("nowhere", "driver", "pre", "post", "error", "veto", "periodic")


#: How texts of drivers and of what they talk to have secrets in them that are in no
#: argument. It is x-Zq9 in each.
FORMS = ", ".join(
    (
        "{'password': 'x-Zq9'}",
        "access_key=x-Zq9",
        "secret_key: x-Zq9",
        "X-Auth-Token: x-Zq9",
        "Authorization: Basic x-Zq9",
        "Bearer x-Zq9",
        "-o user=joe,pass=x-Zq9",
        "https://nas.example.com/a?sig=x-Zq9&X-Amz-Signature=x-Zq9&n=1",
        '{"r1": {"access_key": "x-Zq9", "state": "active"}}',
        "amqp://joe:p@x-Zq9@10.0.0.1/",
    )
)


class Fault:
    """What goes wrong now, and the errors that were made of it."""

    where = "nowhere"
    texts: list[str] = []

    @classmethod
    def text(cls, *given: Any) -> str:
        """Return an error's text that repeats the secrets that a call knows."""
        known = [repr(each) for each in given]
        for each in given:
            if isinstance(each, models.ShareServer):
                known.append(repr(each.backend_details))
            elif isinstance(each, manila_context.RequestContext):
                known.append(each.auth_token)
        found = re.findall(PLANTED.format(r"\w+"), " ".join(known))
        cls.texts.append(f"tried {' and '.join(found)}, as {FORMS}")
        return cls.texts[-1]


class Driver(dummy.DummyDriver):  # type: ignore[misc]
    """Manila's own driver for tests, which fails where it is told to."""

    def __init__(self, directory: Path) -> None:
        conf = cfg.ConfigOpts()
        lines = [
            "[alpha]",
            "driver_handles_share_servers = False",
            "dummy_driver_default_driver_method_delay = 0",
            "dummy_driver_driver_methods_delays =",
        ]
        file = directory / "driver.conf"
        file.write_text("\n".join(lines))
        conf([], default_config_files=[str(file)], default_config_dirs=[])
        section = aspects.BackendSection(conf, "alpha")
        super().__init__(configuration=section, private_storage=Storage())


class Storage(dict[str, Any]):
    """What Manila keeps for a driver, without its database."""

    def update(self, entity: str, details: Any) -> None:  # type: ignore[override]
        self[entity] = details

    def delete(self, entity: str) -> None:
        self.pop(entity, None)


def _failing(name: str) -> Callable[..., Any]:
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        if Fault.where in ("driver", "error"):
            text = Fault.text(*args, *kwargs.values())
            raise exception.ShareBackendException(msg=text)
        result = getattr(super(Driver, self), name)(*args, **kwargs)
        # As drivers for CephFS answer, with keys that are made by then.
        return KEYS if name == "update_access" else result

    method.__name__ = name
    # Whose parameters the hooks see.
    method.__wrapped__ = getattr(dummy.DummyDriver, name)  # type: ignore[attr-defined]
    return method


for name in {call[0] for call in CALLS}:
    setattr(Driver, name, _failing(name))


class Faulty(aspects.HookBase):
    """A hook after the one that is looked at, which fails where it is told to."""

    def _fail(self, action: str, context: Any, *given: Any) -> None:
        if Fault.where == "veto" and action == "pre":
            raise aspects.Veto(Fault.text(context, *given))
        if Fault.where == action:
            raise OSError(Fault.text(context, *given))

    def _execute_pre_hook(self, context, func_name, *args, **kwargs):
        self._fail("pre", context, *args, *kwargs.values())

    def _execute_post_hook(
        self, context, func_name, pre_hook_data, driver_action_results, *args, **kwargs
    ):
        # Whatever goes wrong by now, where it runs in the background.
        if Fault.where != "nowhere" and driver_action_results == KEYS:
            text = f"{json.dumps(KEYS)} or {KEYS}"
            Fault.texts.append(text)
            raise OSError(f"cannot store {text}")
        self._fail("post", context, *args, *kwargs.values())

    def _execute_error_hook(
        self, context, func_name, pre_hook_data, error, *args, **kwargs
    ):
        self._fail("error", context, *args, *kwargs.values())

    def _execute_periodic_hook(self, context, periodic_hook_data, *args, **kwargs):
        self._fail("periodic", context)


# The function itself


class Detached(models.ShareServer):  # type: ignore[misc]
    """A share server that its session has let go of."""

    def to_dict(self) -> dict[str, Any]:
        raise orm.exc.DetachedInstanceError


@pytest.mark.parametrize("kind", [models.ShareServer, Detached])
def test_secrets_of_a_share_server_are_found_and_nothing_else(kind: type) -> None:
    server = share_server(kind)
    # What SQLAlchemy has behind the attributes of a model.
    words = (
        "append, deleted, mapper, merge, relationship, remove, select, share_servers"
    )
    text = f"{words}: tried {planted('details')}"
    for arguments in ({"share_server": server}, {"credentials": [server]}):
        assert aspects.without_secrets(text, None, arguments) == f"{words}: tried ***"


# Where the hooks put it


class Sink(NamedTuple):
    """The other end of a hook."""

    options: str
    """of the hook's section"""
    put_out: Callable[[], str]
    """returns the output of the hook that is not in the test's directory"""
    shows: tuple[str, ...] = ()
    """what is in it, or in the files, in the end"""
    breaks: Callable[[], object] = lambda: None
    """called when the hook has started"""


Sinks = Callable[[Path, bool, Any], "contextlib.AbstractContextManager[Sink]"]


@contextlib.contextmanager
def audit(directory: Path, broken: bool, broker: Any, more: str = "") -> Iterator[Sink]:
    file = directory / "log" / "audit.log"
    file.parent.mkdir()
    yield Sink(
        f"audit_log_path = {file}\n{more}",
        lambda: "",
        () if broken else (SHARE_ID, "tried ***", "joe-new"),
        file.mkdir if broken else lambda: None,
    )


@contextlib.contextmanager
def audit_cadf(directory: Path, broken: bool, broker: Any) -> Iterator[Sink]:
    with audit(directory, broken, broker, "audit_format = cadf\n") as sink:
        yield sink


@contextlib.contextmanager
def command(directory: Path, broken: bool, broker: Any) -> Iterator[Sink]:
    script = directory / "told.sh"
    text = f"""#!/bin/sh
        tee -a {directory}/stdin >&2
        env | grep MANILA_ >> {directory}/environment
        echo "$@ password=$TOKEN $TOKEN" >&2
        [ "$MANILA_ASPECTS_HOOK_METHOD" = pre ] || exit {3 if broken else 0}
        """
    script.write_text(text)
    script.chmod(0o700)
    options = [
        f"command = {script} --token 1",
        f"command_environment = TOKEN={OWN.format('environment')}",
    ]
    yield Sink("\n".join(options), lambda: "", (SHARE_ID, "tried ***", "joe-new"))


@contextlib.contextmanager
def guard(directory: Path, broken: bool, broker: Any) -> Iterator[Sink]:
    rules = ["guard_max_size = 9"]
    if broken:
        rules = [
            f"guard_denied_projects = {PROJECT}",
            "hook_operations = delete_share_instance",
        ]
    # A veto is all that it puts out.
    yield Sink("\n".join(rules), lambda: "")


@contextlib.contextmanager
def metrics(directory: Path, broken: bool, broker: Any) -> Iterator[Sink]:
    port = free_port()

    def read() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            text: bytes = answer.read()
        return text.decode()

    # An address that is nobody's here.
    host = "192.0.2.1" if broken else "127.0.0.1"
    yield Sink(
        f"metrics_host = {host}\nmetrics_port = {port}\n",
        (lambda: "") if broken else read,
        () if broken else ('outcome="failure"', "create_share_instance"),
    )


@contextlib.contextmanager
def notification(
    directory: Path, broken: bool, broker: Any, shows: tuple[str, ...] = ("tried ***",)
) -> Iterator[Sink]:
    topic = directory.name
    if broken:
        password, port = OWN.format("broker"), free_port()
        url = f"rabbit://joe:{password}@127.0.0.1:{port}/"
        options = f"notification_transport_url = {url}\nnotification_timeout = 0.3\n"
        yield Sink(options, lambda: "")
        return
    with rabbit.Inbox(broker.url, topic) as inbox:
        options = f"notification_transport_url = {broker.url}\n"
        yield Sink(
            f"{options}notification_topics = {topic}\n",
            lambda: repr(inbox.messages),
            (SHARE_ID, "joe-new", *shows),
        )


@contextlib.contextmanager
def automount(directory: Path, broken: bool, broker: Any) -> Iterator[Sink]:
    # Only of what went well.
    with notification(directory, broken, broker, ()) as sink:
        yield sink


@contextlib.contextmanager
def tracing(directory: Path, broken: bool, broker: Any) -> Iterator[Sink]:
    with otlp.Collector(lambda path: 400 if broken else 200) as collector:
        login, key = f"joe:{OWN.format('login')}", OWN.format("api_key")
        url = f"http://{login}@127.0.0.1:{collector.port}/v1/traces?api_key={key}"
        yield Sink(
            f"tracing_endpoint = {url}\n",
            lambda: repr(collector.bodies),
            (SHARE_ID, "tried ***"),
        )


@contextlib.contextmanager
def webhook(directory: Path, broken: bool, broker: Any) -> Iterator[Sink]:
    with receiver.Receiver() as server:
        if broken:
            answer = receiver.status(400, b"no", WWW_Authenticate="Basic")
            server.answers += [answer] * 1000
        url = server.url.replace("//", f"//joe:{OWN.format('url')}@")
        yield Sink(
            f"webhook_url = {url}\nwebhook_secret = {OWN.format('signature')}\n",
            lambda: repr([(r.path, str(r.headers), r.body) for r in server.requests]),
            (SHARE_ID, "tried ***", "joe-new"),
        )


#: The hooks that are looked at, and their other ends.
HOOKS: list[tuple[str, Sinks]] = [
    ("audit", audit),
    ("audit", audit_cadf),
    ("automount", automount),
    ("command", command),
    ("guard", guard),
    ("metrics", metrics),
    ("notification", notification),
    ("tracing", tracing),
    ("webhook", webhook),
]

INSTALLED = {
    each.name: each for each in metadata.entry_points(group="manila_aspects.hooks")
}


def test_every_installed_hook_is_looked_at() -> None:
    assert {name for name, _ in HOOKS} == set(INSTALLED)


def cases() -> Iterator[Any]:
    for name, sink in HOOKS:
        for dispatch in INSTALLED[name].load().dispatches:
            for broken in (False, True):
                there = "broken" if broken else "there"
                label = f"{sink.__name__}-{dispatch}-{there}"
                yield pytest.param(name, sink, dispatch, broken, id=label)


CONFIG = """
[alpha]
hook_drivers = it={name}, faulty={here}:Faulty
enable_pre_hooks = True
enable_post_hooks = True
enable_periodic_hooks = True
suppress_pre_hooks_errors = True
suppress_post_hooks_errors = True
suppress_periodic_hooks_errors = True

[alpha:faulty]
hook_dispatch = {faulty}

[alpha:it]
hook_dispatch = {dispatch}
hook_drain_timeout = {drain}
hook_outbox_path = {directory}/outbox
{options}
"""


@pytest.fixture
def context(monkeypatch: pytest.MonkeyPatch) -> Any:
    made = manila_context.RequestContext(
        "a" * 32, PROJECT, is_admin=False, auth_token=planted("token")
    )
    monkeypatch.setattr(Fault, "where", "nowhere")
    monkeypatch.setattr(Fault, "texts", [])
    return made


@pytest.fixture
def everything_logged(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> pytest.LogCaptureFixture:
    """Have all loggers log all, and return what keeps it."""
    for each in list(logging.Logger.manager.loggerDict.values()):
        if isinstance(each, logging.Logger):
            monkeypatch.setattr(each, "level", logging.NOTSET)
            monkeypatch.setattr(each, "propagate", True)
            monkeypatch.setattr(each, "disabled", False)
            each._cache.clear()  # type: ignore[attr-defined]
    caplog.set_level(logging.DEBUG)
    return caplog


def take_through(driver: Any, context: Any) -> list[str]:
    """Make all calls with all that may go wrong; return the texts of vetoes."""
    vetoes = []
    for where in FAULTS:
        Fault.where = where
        for method, args, kwargs in CALLS:
            given = [context if each == "context" else each for each in args]
            try:
                getattr(driver, method)(*given, **kwargs)
            except aspects.Veto as veto:
                vetoes.append(str(veto))
            except exception.ShareBackendException:
                assert where in ("driver", "error")
        # The driver's own hook data has nothing to hide.
        aspects.tick(driver, context, [])
    return vetoes


def secrets_in(text: str, *allowed: str) -> set[str]:
    found = set(SECRET.findall(text)) | set(re.findall("x-Zq9", text))
    return {each for each in found if not each.startswith(allowed)}


@pytest.mark.parametrize(("name", "sink", "dispatch", "broken"), cases())
def test_nothing_that_a_hook_puts_out_has_a_secret_in_it(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    context: Any,
    everything_logged: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    name: str,
    sink: Sinks,
    dispatch: str,
    broken: bool,
) -> None:
    needs_broker = sink in (automount, notification)
    running = request.getfixturevalue("broker") if needs_broker else None
    with sink(tmp_path, broken, running) as other:
        text = CONFIG.format(
            name=name,
            here=HERE,
            dispatch=dispatch,
            # One of upstream's kind delivers no events.
            faulty="background" if dispatch == "background" else "inline",
            directory=tmp_path,
            options=other.options,
            drain=1 if broken else 20,
        )
        with woven_by(text, tmp_path, Driver(tmp_path)) as driver:
            other.breaks()
            vetoes = take_through(driver, context)
            if not broken:
                for each in other.shows:
                    wait_for(
                        lambda each=each: each in all_of(other, tmp_path), repr(each)
                    )
            put_out = other.put_out()
        put_out += other.put_out() if sink is not metrics else ""
        files = files_in(tmp_path)
        shown = put_out + "".join(files.values())
        for each in other.shows:
            assert each in shown

    # The test is of something.
    assert secrets_in(" ".join(Fault.texts)) >= {
        planted(each)
        for each in (
            *("token", "key_new", "key_old", "metadata", "details", "service"),
            "made",
        )
    }
    log = everything_logged.text
    assert "tried *** and ***" in log

    assert secrets_in(log) == set()
    assert secrets_in("".join(capfd.readouterr())) == set()
    # What it is sent with is the other end's to know.
    assert secrets_in(put_out, "own-") == set()
    for path, contents in files.items():
        assert (path, secrets_in(contents)) == (path, set())
    if name == "guard":
        assert bool([each for each in vetoes if "tried" not in each]) == broken
        assert secrets_in(" ".join(v for v in vetoes if "tried" not in v)) == set()


def all_of(sink: Sink, directory: Path) -> str:
    return sink.put_out() + "".join(files_in(directory).values())


def files_in(directory: Path) -> dict[str, str]:
    """Return what is in all files but those of the operator."""
    operators = {"manila.conf", "told.sh"}
    return {
        str(path.relative_to(directory)): path.read_bytes().decode(errors="replace")
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.name not in operators
    }
