# SPDX-License-Identifier: Apache-2.0
"""Tests that no installed hook reveals a secret in its output.

Secrets are planted wherever Manila has some: in the context, in shares, access rules
and share servers, in the results of the driver, in the data of ticks, in options of the
driver and of another hook, in the command lines of failed programs, and in the texts of
errors, which repeat them. Each hook then sees
calls that succeed, fail and are vetoed, with a working receiver and with a broken one.
Everything that it sent, wrote and logged is searched for the secrets.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
import socket
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
from oslo_concurrency import processutils
from oslo_config import cfg
from oslo_reports.generators.conf import ConfigReportGenerator
from sqlalchemy import orm
from sqlalchemy.orm import attributes

import aspects
from aspects.manila.report import report
from tests.support import otlp, rabbit, receiver, releases
from tests.support.config import woven_by
from tests.support.programs import free_port
from tests.support.wait import wait_for

broker = rabbit.broker

HERE = __name__
PROJECT = "2b1c5d3e4f60718293a4b5c6d7e8f901"
SHARE_ID = "5e8f901a2b1c5d3e4f60718293a4b5c6"

#: Secrets under a secret name, which errors repeat; secrets that look like other data;
#: secrets of a hook's own options.
PLANTED, UNMARKED, OWN = "planted-{}-Zq9", "unmarked-{}-Zq9", "own-{}-Zq9"
SIGNS = f"whsec_{'c2lnbnMt' * 4}"
SECRET = re.compile(rf"(?:planted|unmarked|own)-\w+-Zq9|{SIGNS}")


def planted(name: str) -> str:
    return PLANTED.format(name)


# The calls


def share_server(kind: type = models.ShareServer) -> Any:
    """Return a share server as Manila's database returns it."""
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
        "access_id": f"r-{kind}",
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
    "display_description": UNMARKED.format("description"),
    "share_metadata": {
        "password": planted("metadata"),
        "note": UNMARKED.format("note"),
    },
}
SERVICES = [{"type": "ldap", "password": planted("service")}]
SERVER = share_server()

#: Driver methods, with their positional and keyword arguments.
CALLS: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("create_share", ("context", SHARE), {"share_server": SERVER}),
    (
        "update_access",
        ("context", SHARE, [rule("old"), rule("new")], [rule("new")], [])
        + (([],) if releases.HAS_UPDATE_RULES else ()),
        {"share_server": SERVER},
    ),
    (
        "update_access",
        ("context", SHARE),
        {"access_rules": [], "add_rules": [], "delete_rules": [rule("old")]}
        | ({"update_rules": []} if releases.HAS_UPDATE_RULES else {}),
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

#: Result of update_access.
KEYS = {"r-new": {"access_key": planted("made"), "state": "active"}}

#: Where the calls fail.
FAULTS = ("nowhere", "driver", "pre", "post", "error", "veto", "periodic", "results")

#: The data of a tick.
INSTANCES = [{"id": "1" * 32, "access_key": planted("tick")}]


#: Forms in which errors of drivers and storage systems may contain a secret that is in
#: no argument. The secret is x-Zq9 in each.
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
        str(processutils.ProcessExecutionError(cmd="login -u joe -p x-Zq9 nas")),
        str(processutils.ProcessExecutionError(cmd=["login", "--secret", "x-Zq9"])),
    )
)


class Fault:
    """The place where calls fail now, and the texts of the errors so far."""

    where = "nowhere"
    texts: list[str] = []

    @classmethod
    def text(cls, *args: Any) -> str:
        """Return an error's text that repeats the secrets in a call's arguments."""
        known = [repr(argument) for argument in args]
        for argument in args:
            if isinstance(argument, models.ShareServer):
                known.append(repr(argument.backend_details))
            elif isinstance(argument, manila_context.RequestContext):
                known.append(argument.auth_token)
        found = re.findall(PLANTED.format(r"\w+"), " ".join(known))
        found += [planted("option"), planted("other")]
        cls.texts.append(f"tried {' and '.join(found)}, as {FORMS}")
        return cls.texts[-1]


class Driver(dummy.DummyDriver):  # type: ignore[misc]
    """Manila's dummy driver, which fails where :class:`Fault` says so."""

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
    """Manila's private storage of a driver, without its database."""

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
        # Drivers for CephFS return keys that they have just created.
        return KEYS if name == "update_access" else result

    method.__name__ = name
    # Hooks see the parameters of the wrapped method.
    method.__wrapped__ = getattr(dummy.DummyDriver, name)  # type: ignore[attr-defined]
    return method


for name in {call[0] for call in CALLS}:
    setattr(Driver, name, _failing(name))


class Faulty(aspects.HookBase):
    """A hook after the tested one, which fails where :class:`Fault` says so."""

    options = (cfg.StrOpt("faulty_password", secret=True),)

    def _fail(self, kind: str, context: Any, *args: Any) -> None:
        if Fault.where == "veto" and kind == "pre":
            raise aspects.Veto(Fault.text(context, *args))
        if Fault.where == kind:
            raise OSError(Fault.text(context, *args))

    def _execute_pre_hook(self, context, func_name, *args, **kwargs):
        self._fail("pre", context, *args, *kwargs.values())

    def _execute_post_hook(
        self, context, func_name, pre_hook_data, driver_action_results, *args, **kwargs
    ):
        # In the background, Fault.where may have changed since the call.
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
        # In the background, Fault.where may have changed since the tick.
        if Fault.where != "nowhere":
            raise OSError(Fault.text(context, periodic_hook_data))


class Refusing(aspects.HookBase):
    """A hook before the tested one, which fails calls after the driver."""

    def _execute_pre_hook(self, context, func_name, *args, **kwargs):
        pass

    def _execute_post_hook(
        self, context, func_name, pre_hook_data, driver_action_results, *args, **kwargs
    ):
        if Fault.where == "results":
            raise RefusedError(Fault.text(context, driver_action_results, *args))

    def _execute_periodic_hook(self, context, periodic_hook_data, *args, **kwargs):
        pass


class RefusedError(Exception):
    """The error of :class:`Refusing`."""


# aspects.without_secrets


class Detached(models.ShareServer):  # type: ignore[misc]
    """A share server that is detached from its database session."""

    def to_dict(self) -> dict[str, Any]:
        raise orm.exc.DetachedInstanceError


@pytest.mark.parametrize("kind", [models.ShareServer, Detached])
def test_only_the_secrets_of_a_share_server_are_removed(kind: type) -> None:
    server = share_server(kind)
    # Names in SQLAlchemy's internals of a model.
    words = (
        "append, deleted, mapper, merge, relationship, remove, select, share_servers"
    )
    text = f"{words}: tried {planted('details')}"
    for arguments in ({"share_server": server}, {"credentials": [server]}):
        assert aspects.without_secrets(text, None, arguments) == f"{words}: tried ***"


# Receivers of the hooks' output


class Sink(NamedTuple):
    """The receiver of a hook's output."""

    options: str
    """options for the hook's section"""
    output: Callable[[], str]
    """returns the output of the hook outside the test's directory"""
    shows: tuple[str, ...] = ()
    """texts that the output or the files finally contain"""
    breaks: Callable[[], object] = lambda: None
    """breaks the receiver after the hook has started"""


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
def audit_syslog(directory: Path, broken: bool, broker: Any) -> Iterator[Sink]:
    received: list[bytes] = []

    def output() -> str:
        with contextlib.suppress(BlockingIOError):
            while True:
                received.append(daemon.recv(100_000))
        return b"\n".join(received).decode()

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as daemon:
        daemon.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        daemon.bind(("127.0.0.1", 0))
        daemon.setblocking(False)
        # A path that is not a socket is an error when the service starts.
        path = directory / "log"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as unused:
            if broken:
                unused.bind(str(path))
            port = daemon.getsockname()[1]
            address = path if broken else f"udp://127.0.0.1:{port}"
            yield Sink(
                f"audit_destination = syslog\naudit_syslog_address = {address}\n",
                output,
                () if broken else (SHARE_ID, "tried ***", "joe-new"),
                unused.close,
            )


@contextlib.contextmanager
def command(directory: Path, broken: bool, broker: Any) -> Iterator[Sink]:
    script = directory / "program.sh"
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
    # Its only output is a veto.
    yield Sink("\n".join(rules), lambda: "")


@contextlib.contextmanager
def metrics(directory: Path, broken: bool, broker: Any) -> Iterator[Sink]:
    port = free_port()

    def read() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            text: bytes = answer.read()
        return text.decode()

    # An address for documentation, which no host has.
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
    # The hook sends only events of successful calls, so no error is shown.
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
            f"webhook_url = {url}\nwebhook_secret = {SIGNS}\n",
            lambda: repr([(r.path, str(r.headers), r.body) for r in server.requests]),
            (SHARE_ID, "tried ***", "joe-new"),
        )


@contextlib.contextmanager
def webhook_token(directory: Path, broken: bool, broker: Any) -> Iterator[Sink]:
    with receiver.Receiver() as server:
        if broken:
            server.answers += [receiver.status(400)] * 1000
        token = directory / "token"
        token.write_text(OWN.format("token"))
        proxy = f"http://joe:{OWN.format('proxy')}@127.0.0.1:{server.port}"
        options = [
            "webhook_url = http://receiver.invalid/",
            f"webhook_token_file = {token}",
            f"webhook_headers = X-Key:{OWN.format('header')}",
            f"webhook_proxy = {proxy}",
        ]
        yield Sink(
            "\n".join(options),
            lambda: repr([(r.path, str(r.headers), r.body) for r in server.requests]),
            (SHARE_ID, "tried ***", "joe-new", f"Bearer {OWN.format('token')}"),
        )


#: The tested hooks and their receivers.
HOOKS: list[tuple[str, Sinks]] = [
    ("audit", audit),
    ("audit", audit_cadf),
    ("audit", audit_syslog),
    ("automount", automount),
    ("command", command),
    ("guard", guard),
    ("metrics", metrics),
    ("notification", notification),
    ("tracing", tracing),
    ("webhook", webhook),
    ("webhook", webhook_token),
]

INSTALLED = {
    point.name: point for point in metadata.entry_points(group="manila_aspects.hooks")
}


def test_every_installed_hook_is_tested() -> None:
    assert {name for name, _ in HOOKS} == set(INSTALLED)


def cases() -> Iterator[Any]:
    for name, sink in HOOKS:
        for dispatch in INSTALLED[name].load().dispatches:
            for broken in (False, True):
                state = "broken" if broken else "working"
                label = f"{sink.__name__}-{dispatch}-{state}"
                yield pytest.param(name, sink, dispatch, broken, id=label)


CONFIG = """
[alpha]
hook_drivers = refusing={here}:Refusing, it={name}, faulty={here}:Faulty
nas_password = {option}
enable_pre_hooks = True
enable_post_hooks = True
enable_periodic_hooks = True
suppress_pre_hooks_errors = True
suppress_post_hooks_errors = True
suppress_periodic_hooks_errors = True

[alpha:refusing]
suppress_post_hooks_errors = False

[alpha:faulty]
hook_dispatch = {faulty}
faulty_password = {other}

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
    """Make all loggers log at all levels, and return the captured log."""
    for logger in list(logging.Logger.manager.loggerDict.values()):
        if isinstance(logger, logging.Logger):
            monkeypatch.setattr(logger, "level", logging.NOTSET)
            monkeypatch.setattr(logger, "propagate", True)
            monkeypatch.setattr(logger, "disabled", False)
            logger._cache.clear()  # type: ignore[attr-defined]
    caplog.set_level(logging.DEBUG)
    return caplog


def make_all_calls(driver: Any, context: Any) -> list[str]:
    """Make all calls with each fault, and return the texts of the vetoes."""
    vetoes = []
    for where in FAULTS:
        Fault.where = where
        for method, args, kwargs in CALLS:
            args = tuple(context if arg == "context" else arg for arg in args)
            try:
                getattr(driver, method)(*args, **kwargs)
            except aspects.Veto as veto:
                vetoes.append(str(veto))
            except exception.ShareBackendException:
                assert where in ("driver", "error")
            except RefusedError:
                assert where == "results"
        aspects.tick(driver, context, INSTANCES)
    return vetoes


def secrets_in(text: str, *allowed: str) -> set[str]:
    found = set(SECRET.findall(text)) | set(re.findall("x-Zq9", text))
    return {secret for secret in found if not secret.startswith(allowed)}


@pytest.mark.parametrize(("name", "sink", "dispatch", "broken"), cases())
def test_no_output_of_a_hook_has_a_secret(
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
    with sink(tmp_path, broken, running) as receiving:
        text = CONFIG.format(
            name=name,
            here=HERE,
            dispatch=dispatch,
            # This hook delivers no events, so it cannot be durable.
            faulty="background" if dispatch == "background" else "inline",
            directory=tmp_path,
            options=receiving.options,
            option=planted("option"),
            other=planted("other"),
            drain=1 if broken else 20,
        )
        with woven_by(text, tmp_path, Driver(tmp_path)) as driver:
            conf = aspects.weaving(driver).hooks[0].configuration.conf
            # As a driver does in its constructor.
            conf.register_opt(cfg.StrOpt("nas_password", secret=True), "alpha")
            receiving.breaks()
            vetoes = make_all_calls(driver, context)
            for shown in receiving.shows:
                wait_for(
                    lambda shown=shown: shown in all_output(receiving, tmp_path),
                    repr(shown),
                )
            output = receiving.output()
            reported = report_of(driver)
        output += receiving.output() if sink is not metrics else ""
        files = files_in(tmp_path)
        everything = output + "".join(files.values())
        for shown in receiving.shows:
            assert shown in everything

    # The errors did contain all kinds of secrets.
    assert secrets_in(" ".join(Fault.texts)) >= {
        planted(name)
        for name in (
            *("token", "key_new", "key_old", "metadata", "details", "service"),
            *("made", "tick", "option", "other"),
        )
    }
    log = everything_logged.text
    assert "tried *** and ***" in log

    assert secrets_in(log) == set()
    assert secrets_in(reported) == set()
    assert secrets_in("".join(capfd.readouterr())) == set()
    # The receiver may know the hook's own secrets, which authenticate the hook.
    assert secrets_in(output, "own-") == set()
    for path, contents in files.items():
        assert (path, secrets_in(contents)) == (path, set())
    if name == "guard":
        own_vetoes = [veto for veto in vetoes if "tried" not in veto]
        assert bool(own_vetoes) == broken
        assert secrets_in(" ".join(own_vetoes)) == set()


def report_of(driver: Any) -> str:
    """Return what the report of ``SIGUSR2`` has about a driver and its options."""
    conf = aspects.weaving(driver).hooks[0].configuration.conf
    options = ConfigReportGenerator(cnf=conf)()
    options.set_current_view_type("text")
    assert "nas_password = ***" in str(options)
    return f"{options}{report(aspects.weaving(driver))}"


def all_output(sink: Sink, directory: Path) -> str:
    return sink.output() + "".join(files_in(directory).values())


def files_in(directory: Path) -> dict[str, str]:
    """Return the contents of all files except those that an operator writes."""
    operators = {"manila.conf", "program.sh", "token"}
    return {
        str(path.relative_to(directory)): path.read_bytes().decode(errors="replace")
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.name not in operators
    }
