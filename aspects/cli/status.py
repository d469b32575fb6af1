# SPDX-License-Identifier: Apache-2.0
"""Implement ``manila-aspects status``, which shows the hooks of running services."""

from __future__ import annotations

import argparse
import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from oslo_config import cfg

from aspects.cli import output
from aspects.cli.check import parsing
from aspects.cli.check.facts import manila_section
from aspects.cli.check.files import (
    Source,
    add_source_arguments,
    all_sources,
    index_of,
)
from aspects.cli.command import FAILED, CommandError, add_command, add_format
from aspects.cli.output import Table
from aspects.config.loading import class_named, parse_entry
from aspects.config.options import section_options
from aspects.config.sections import BackendSection, InstanceSection
from aspects.errors import UnresolvedNameError
from aspects.requests import SECTION

#: Seconds to wait for the answer of a service.
TIMEOUT = 5.0

#: Seconds between two answers with ``--watch``.
INTERVAL = 2.0

#: Maximum size of an answer, in bytes.
MAX_SIZE = 16 * 1024 * 1024

#: An address to listen on -> the address to connect to.
WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}


class Place(NamedTuple):
    """The metrics server of a backend."""

    backend: str
    url: str
    """the URL of the status; empty if the configuration has none"""
    problem: str = ""
    """the mistake in the configuration; empty if it has a URL"""


class Answer(NamedTuple):
    """The status of a backend, or the reason why it is not known."""

    place: Place
    status: dict[str, Any]
    problem: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the answer as JSON-compatible data."""
        problem = {"problem": self.problem} if self.problem else {}
        place = {"backend": self.place.backend, "url": self.place.url}
        return place | self.status | problem

    def tables(self) -> Iterator[Table]:
        """Yield the tables of the hooks, and of a reload that was rejected."""
        status = self.status
        ticks = "1 tick" if status["ticks"] == 1 else f"{status['ticks']} ticks"
        reload = status["last_reload"]
        text = f"host {status['host']}, process {status['pid']}, {ticks}, "
        if reload is None:
            text += "no reload"
        else:
            result = "rejected" if reload["problems"] else "accepted"
            text += f"reload {result} at {reload['time']}"
        rows = [_row(n, hook) for n, hook in enumerate(status["chain"], 1)]
        yield Table(f"backend {self.place.backend}", _printable(text), COLUMNS, rows)
        if reload and reload["problems"]:
            rows = [(_printable(problem),) for problem in reload["problems"]]
            yield Table(f"rejected reload of {self.place.backend}", "", ("",), rows)


COLUMNS = (
    *("", "hook", "enabled", "dispatch", "breaker", "waiting", "oldest"),
    *("dead", "dropped", "suppressed", "skipped"),
)


def _row(number: int, hook: dict[str, Any]) -> tuple[str, ...]:
    queue, outbox = hook["queue"] or {}, hook["outbox"] or {}
    age = outbox.get("oldest_age")
    values = (
        number,
        hook["hook"],
        ", ".join(hook["enabled"]) or "none",
        hook["dispatch"],
        hook["breaker"],
        (outbox or queue).get("pending"),
        None if age is None else f"{age:.0f} s",
        outbox.get("dead_letters"),
        queue.get("dropped"),
        hook["counts"]["suppressed"],
        hook["counts"]["skipped"],
    )
    return tuple("-" if value is None else _printable(value) for value in values)


def _printable(value: Any) -> str:
    """Return a value as text that cannot control a terminal."""
    return "".join(c if c.isprintable() else "?" for c in str(value))


def add(commands: Any) -> argparse.ArgumentParser:
    """Add the parser of ``status``.

    :param commands: the subparsers of ``manila-aspects``
    :return: the command's parser
    """
    parser = add_command(
        commands,
        "status",
        "show the hooks of running services",
        "Ask the metrics hook of each enabled backend for the state of the hooks, and "
        "show it. The exit status is 1 if a backend does not answer, else 0.",
        (
            "status",
            "status --watch",
            "status --config-file /etc/manila/manila.conf --format json",
        ),
    )
    add_source_arguments(parser)
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--watch",
        action="store_true",
        help=f"show the state every {INTERVAL:g} seconds until Ctrl-C",
    )
    add_format(how)
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Ask the services, and print their answers.

    :param arguments: the parsed command line
    :return: the exit status, 1 if a backend does not answer, else 0
    :raises CommandError: if the configuration cannot be read, or nothing is to be
        asked
    """
    with output.progress():
        places = list(places_of(arguments.sources))
    if not places:
        raise CommandError("no enabled backend has hooks; set hook_drivers")
    if arguments.watch:
        watch(places)
    answers = ask(places)
    problems = [answer for answer in answers if answer.problem]
    if arguments.format == "json":
        document = [answer.as_dict() for answer in answers]
        output.print_line(json.dumps({"backends": document}, indent=2))
    else:
        output.print_tables(_tables(answers))
        for answer in problems:
            output.print_error(_line(answer))
    return FAILED if problems else 0


def watch(places: Sequence[Place]) -> None:
    """Show the answers again and again, until Ctrl-C.

    :param places: the metrics servers
    :raises CommandError: without a terminal or without rich
    """
    with output.live() as show:
        while True:
            answers = ask(places)
            lines = [f"{time.strftime('%X')}, every {INTERVAL:g} s until Ctrl-C"]
            lines += [_line(answer) for answer in answers if answer.problem]
            show(lines, _tables(answers))
            time.sleep(INTERVAL)


def _tables(answers: Sequence[Answer]) -> list[Table]:
    return [t for answer in answers if answer.status for t in answer.tables()]


def _line(answer: Answer) -> str:
    return f"backend {answer.place.backend}: {answer.problem}"


# -- the configuration ---------------------------------------------------------


def places_of(sources: Sequence[Source]) -> Iterator[Place]:
    """Yield the metrics server of each enabled backend, and of the share API.

    Manila is not imported, and hooks are not constructed.

    :param sources: files and directories, in the order in which they are read
    :raises CommandError: if the configuration cannot be read
    """
    sources = all_sources(sources)
    lines, diagnostics = parsing.read(sources)
    if diagnostics:
        raise CommandError(f"{diagnostics[0]}; run manila-aspects check")
    conf = cfg.ConfigOpts()
    try:
        parsing.parse_files(conf, sources)
    except cfg.Error as error:
        raise CommandError(f"{error}; run manila-aspects check") from error
    enabled = manila_section(conf).safe_get("enabled_share_backends") or [None]
    if (SECTION, "") in index_of(lines):
        enabled = [*enabled, SECTION]
    for backend in dict.fromkeys(enabled):
        configuration = BackendSection(conf, backend)
        own = InstanceSection(configuration, None)
        own.append_config_values(section_options)
        if entries := own.safe_get("hook_drivers"):
            yield _place(configuration, entries)


def _place(configuration: BackendSection, entries: Sequence[str]) -> Place:
    """Return the metrics server of a backend.

    :param configuration: the backend section
    :param entries: the value of its ``hook_drivers``
    """
    name = configuration.config_group or "DEFAULT"
    problem = "hook_drivers has no metrics hook; add metrics to it"
    for entry in entries:
        try:
            instance, what = parse_entry(entry)
            options = getattr(class_named(what), "options", ())
        except UnresolvedNameError as error:
            # It may be the metrics hook.
            problem = f"hook_drivers = {entry}: {error}"
            continue
        section = InstanceSection(configuration, instance)
        section.append_config_values(options)
        if not {"metrics_host", "metrics_port"} <= section.options.keys():
            continue
        for found in section.problems():
            if found.option in ("metrics_host", "metrics_port"):
                return Place(name, "", str(found))
        host, port = section.safe_get("metrics_host"), section.safe_get("metrics_port")
        if not port:
            return Place(name, "", "metrics_port = 0 selects any port; set a port")
        host = WILDCARDS.get(host, host)
        host = f"[{host}]" if ":" in host else host
        return Place(name, f"http://{host}:{port}/status")
    return Place(name, "", problem)


# -- the services --------------------------------------------------------------


def ask(places: Sequence[Place]) -> list[Answer]:
    """Ask each server once, and return an answer for each backend.

    :param places: the metrics servers
    """
    replies: dict[str, dict[str, dict[str, Any]] | str] = {}
    answers = []
    for place in places:
        if place.problem:
            answers.append(Answer(place, {}, place.problem))
            continue
        if place.url not in replies:
            replies[place.url] = _get(place.url)
        reply = replies[place.url]
        if isinstance(reply, str):
            answers.append(Answer(place, {}, reply))
        elif place.backend not in reply:
            others = _printable(", ".join(reply)) or "none"
            problem = (
                f"{place.url} serves other backends ({others}); check whether the "
                "hooks of this one have started"
            )
            answers.append(Answer(place, {}, problem))
        else:
            answers.append(Answer(place, reply[place.backend]))
    return answers


def _get(url: str) -> dict[str, dict[str, Any]] | str:
    """Return the status of each backend of a server, or why it is not known.

    :param url: the URL of the status
    """
    # No proxy: the server usually listens on the loopback interface.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=TIMEOUT) as reply:
            text = reply.read(MAX_SIZE)
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        cause = getattr(reason, "strerror", None) or reason or type(error).__name__
        return f"{url} does not answer: {cause}; check whether the service runs"
    try:
        found = json.loads(text)
        status = {
            backend["backend"]: {"pid": found["pid"], **backend}
            for backend in found["backends"]
        }
        for name, backend in status.items():
            # The service may have another version.
            list(Answer(Place(name, url), backend).tables())
    except (ValueError, TypeError, LookupError, AttributeError):
        return f"{url} does not answer with a status; check what uses the port"
    return status
