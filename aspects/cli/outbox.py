# SPDX-License-Identifier: Apache-2.0
"""Implement ``manila-aspects outbox``, which manages the outboxes of hooks."""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from oslo_config import cfg

from aspects.cli import output
from aspects.cli.check import parsing
from aspects.cli.check.facts import manila_section
from aspects.cli.check.files import (
    Line,
    Source,
    add_source_arguments,
    all_sources,
    index_of,
)
from aspects.cli.command import CommandError, add_command, add_format
from aspects.cli.output import Progress, Table
from aspects.config.loading import class_named, parse_entry
from aspects.config.options import hook_options, instance_options, section_options
from aspects.config.problems import nearest
from aspects.config.sections import BackendSection, InstanceSection
from aspects.errors import UnresolvedNameError
from aspects.requests import SECTION
from hooks.events.admin import Entry, OutboxError, OutboxFiles, State
from hooks.events.delivery import DeliveryHook, directory_name, outbox_path

#: Seconds in which the events are counted that are written and delivered.
SAMPLE_SECONDS = 1.0

#: Number of events of each state and outbox that are listed.
LIST_SIZE = 100


def add(commands: Any) -> argparse.ArgumentParser:
    """Add the parser of ``outbox``.

    :param commands: the subparsers of ``manila-aspects``
    :return: the command's parser
    """
    parser = add_command(
        commands,
        "outbox",
        "show events of hook_dispatch = durable, and retry dead letters",
        "Show the events that wait for delivery and the dead letters of the hook "
        "instances with hook_dispatch = durable, and retry or discard dead letters. It "
        "can run while the services are running.",
        ("outbox status", "outbox list --state dead", "outbox retry --all"),
    )
    topics = parser.add_subparsers(title="topics", metavar="TOPIC", required=True)
    status = add_command(
        topics,
        "status",
        "count the events that wait and the dead letters",
        "Count the events that wait and the dead letters, and measure for a second how "
        "many are written and delivered.",
        ("outbox status", "outbox status --instance alpha.ops --format json"),
    )
    status.set_defaults(topic=_status)
    listed = add_command(
        topics,
        "list",
        "list the events",
        "List the dead letters and the events that wait, in the order in which they "
        "were written.",
        ("outbox list", "outbox list --state dead --limit 1000 --format json"),
    )
    listed.set_defaults(topic=_list)
    listed.add_argument(
        "--state",
        choices=("waiting", "dead"),
        help="limit the list to events that wait, or to dead letters",
    )
    listed.add_argument(
        "--limit",
        metavar="N",
        type=_positive,
        default=LIST_SIZE,
        help="maximum number of events of each state and hook instance "
        "(default: %(default)s)",
    )
    show = add_command(
        topics,
        "show",
        "show an event",
        "Show an event, and why it is a dead letter.",
        ("outbox show 7a1f0c52-5b0e-4c2e-9a55-0f1f3a3f6c11",),
    )
    show.set_defaults(topic=_show)
    show.add_argument("id", metavar="ID", help="ID of the event")
    retry = add_command(
        topics,
        "retry",
        "deliver dead letters again",
        "Move dead letters back to the end of the queue of waiting events.",
        (
            "outbox retry 7a1f0c52-5b0e-4c2e-9a55-0f1f3a3f6c11",
            "outbox retry --all --instance alpha.ops",
        ),
    )
    retry.set_defaults(topic=_retry)
    discard = add_command(
        topics,
        "discard",
        "delete dead letters",
        "Delete dead letters for good.",
        (
            "outbox discard 7a1f0c52-5b0e-4c2e-9a55-0f1f3a3f6c11",
            "outbox discard --all --instance alpha.ops",
        ),
    )
    discard.set_defaults(topic=_discard)
    for topic in (retry, discard):
        which = topic.add_mutually_exclusive_group(required=True)
        which.add_argument(
            "ids", metavar="ID", nargs="*", default=[], help="IDs of dead letters"
        )
        which.add_argument("--all", action="store_true", help="all dead letters")
    for topic in topics.choices.values():
        _add_common(topic)
    return parser


def _add_common(parser: argparse.ArgumentParser) -> None:
    add_source_arguments(parser)
    parser.add_argument(
        "--instance",
        metavar="INSTANCE",
        help="limit the command to one hook instance, <backend>.<name>, e.g. alpha.ops",
    )
    add_format(parser)
    # Shell completion runs this: see the completion command.
    parser.add_argument(
        "--list-instances", action=_ListInstances, nargs=0, help=argparse.SUPPRESS
    )


class _ListInstances(argparse.Action):
    """List the durable hook instances of the sources before this option, and exit.

    The rest of the command line may be incomplete.
    """

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        for name in durable_instances(namespace.sources):
            output.print_line(name)
        parser.exit()


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def run(arguments: argparse.Namespace) -> int:
    """Run a topic for the outboxes of a configuration.

    :param arguments: the parsed command line
    :return: the exit status
    :raises CommandError: if the configuration is invalid, or a file cannot be used
    """
    try:
        with output.progress() as progress:
            outboxes = find_outboxes(
                cfg.CONF, arguments.sources, arguments.instance, progress
            )
            document, tables = arguments.topic(outboxes, arguments, progress)
    except OutboxError as error:
        raise CommandError(str(error)) from error
    if arguments.format == "json":
        output.print_line(json.dumps(document, indent=2))
    else:
        output.print_tables(tables)
    return 0


# -- the outboxes of a configuration ---------------------------------------------


def find_outboxes(
    conf: cfg.ConfigOpts,
    sources: Sequence[Source],
    instance: str | None = None,
    progress: Progress = lambda text: None,
) -> list[OutboxFiles]:
    """Return the outboxes of the hook instances with ``hook_dispatch = durable``.

    Hooks are imported, but not constructed.

    :param conf: the ``ConfigOpts`` that parses the files, e.g. ``cfg.CONF``
    :param sources: files and directories, in the order in which they are read;
        default: the files and directories that ``manila-share`` finds
    :param instance: the only instance, as ``<backend>.<name>``; None for all
    :param progress: called with a status message before slow steps
    :raises CommandError: if the configuration is invalid, or has no such instance
    """
    sources = all_sources(sources)
    lines, diagnostics = parsing.read(sources)
    diagnostics = diagnostics or parsing.parse(conf, sources, lines, progress)
    if diagnostics:
        raise CommandError(str(diagnostics[0]).removeprefix("problem: "))
    outboxes: list[OutboxFiles] = []
    names = []
    for name, section, what in _instances(conf, lines):
        names.append(name)
        if instance in (None, name):
            progress(f"importing {what}")
            outboxes += _outbox(section, what, name, required=instance is not None)
    if instance is not None and instance not in names:
        near = nearest(instance, names)
        raise CommandError(
            f"--instance {instance}: no such hook instance (configured: "
            f"{', '.join(names) or 'none'})"
            + (f"; did you mean {near}?" if near else "")
        )
    return outboxes


def durable_instances(sources: Sequence[Source]) -> list[str]:
    """Return the hook instances with ``hook_dispatch = durable``, for shell completion.

    Errors are ignored, since the user is still typing. Nothing is imported, since that
    takes seconds.

    :param sources: files and directories, as for :func:`find_outboxes`
    """
    conf = cfg.ConfigOpts()
    names = []
    with contextlib.suppress(Exception, SystemExit):
        sources = all_sources(sources)
        parsing.parse_files(conf, sources)
        for name, section, _ in _instances(conf, parsing.read(sources)[0]):
            section.append_config_values(instance_options)
            if section.safe_get("hook_dispatch") == "durable":
                names.append(name)
    return names


def _instances(
    conf: cfg.ConfigOpts, lines: Sequence[Line]
) -> Iterator[tuple[str, InstanceSection, str]]:
    """Yield the hook instances of a configuration.

    :return: the name of the outbox, if it has one; the section; the name of the class
    """
    manila = manila_section(conf)
    _require_valid(manila, "enabled_share_backends")
    backends = [*(manila.safe_get("enabled_share_backends") or [None])]
    if (SECTION, "") in index_of(lines):
        backends.append(SECTION)
    for backend in dict.fromkeys(backends):
        own = InstanceSection(BackendSection(conf, backend), None)
        own.append_config_values(section_options)
        _require_valid(own, "hook_drivers")
        for entry in own.safe_get("hook_drivers"):
            with _resolving(own, entry):
                name, what = parse_entry(entry)
            section = InstanceSection(BackendSection(conf, backend), name)
            yield directory_name(backend or "DEFAULT", name), section, what


def _outbox(
    section: InstanceSection, what: str, name: str, required: bool
) -> Iterator[OutboxFiles]:
    """Yield the outbox of a hook instance, if it has one.

    :param required: whether to raise an error if it has none
    """
    with _resolving(section, what):
        cls = class_named(what)
    options: tuple[Any, ...] = (*hook_options, *instance_options)
    durable = issubclass(cls, DeliveryHook)
    if durable:
        section.append_config_values([*options, *DeliveryHook.options])
        _require_valid(section, "hook_dispatch", "hook_outbox_path")
        durable = section.safe_get("hook_dispatch") == "durable"
    if durable:
        try:
            yield OutboxFiles(Path(outbox_path(section.safe_get)) / name)
        except ValueError as error:
            raise CommandError(f"{name}: {error}") from error
    elif required:
        raise CommandError(
            f"--instance {name}: hook_dispatch is not durable, so it has no outbox"
        )


def _require_valid(section: InstanceSection, *options: str) -> None:
    """Raise an error if one of some options is invalid.

    :raises CommandError: if it is
    """
    for problem in section.problems():
        if problem.option in options:
            raise CommandError(str(problem))


@contextlib.contextmanager
def _resolving(section: InstanceSection, entry: str) -> Iterator[None]:
    try:
        yield
    except UnresolvedNameError as error:
        backend = section.config_group or "DEFAULT"
        raise CommandError(f"[{backend}] hook_drivers = {entry}: {error}") from error


# -- topics ----------------------------------------------------------------------

#: The document in JSON, and the tables.
_Answer = tuple[Any, list[Table]]


def _status(
    outboxes: Sequence[OutboxFiles], arguments: argparse.Namespace, progress: Progress
) -> _Answer:
    """Return the numbers of events, and their rates."""
    progress("counting events")
    before = [(time.monotonic(), outbox.totals()) for outbox in outboxes]
    if outboxes:
        progress("measuring the rate of deliveries")
        time.sleep(SAMPLE_SECONDS)
    document = []
    rows = []
    for outbox, (began, first) in zip(outboxes, before):
        last = outbox.totals()
        seconds = time.monotonic() - began
        found = {
            "instance": outbox.path.name,
            "path": str(outbox.path),
            "waiting": last.waiting,
            "oldest": _time(last.oldest),
            "dead": last.dead,
            "written_per_second": _rate(
                last.ever_waiting - first.ever_waiting, seconds
            ),
            "delivered_per_second": _rate(last.delivered - first.delivered, seconds),
        }
        document.append(found)
        cells = (value for name, value in found.items() if name != "path")
        rows.append(
            tuple(
                f"{cell:,}" if isinstance(cell, (int, float)) else str(cell or "-")
                for cell in cells
            )
        )
    columns = ("instance", "waiting", "oldest", "dead", "written/s", "delivered/s")
    return document, [Table("outboxes", _none(outboxes), columns, rows)]


def _rate(count: int, seconds: float) -> float:
    # The file may have been replaced meanwhile.
    return round(max(count, 0) / seconds, 1)


def _list(
    outboxes: Sequence[OutboxFiles], arguments: argparse.Namespace, progress: Progress
) -> _Answer:
    """Return the first events of each outbox."""
    states: tuple[State, ...] = ("dead", "waiting")
    document = []
    tables = []
    for outbox in outboxes:
        progress(f"reading {outbox.path.name}")
        found = [
            entry
            for state in states
            if arguments.state in (None, state)
            for entry in outbox.entries(state, arguments.limit)
        ]
        document += [_summary(outbox, entry) for entry in found]
        rows = [
            (
                _printable(entry.id),
                entry.state,
                _time(entry.written) or "-",
                _printable((entry.event or {}).get("type", "not an event")),
                _printable(entry.key),
                _printable(entry.reason),
            )
            for entry in found
        ]
        columns = ("id", "state", "written", "type", "key", "reason")
        text = "" if rows else "no events"
        tables.append(Table(outbox.path.name, text, columns, rows))
    return document, tables or [Table("outboxes", _none(outboxes))]


def _show(
    outboxes: Sequence[OutboxFiles], arguments: argparse.Namespace, progress: Progress
) -> _Answer:
    """Return the events with an ID."""
    document = []
    tables = []
    for outbox in outboxes:
        for entry in outbox.find([arguments.id], progress=progress):
            document.append(_summary(outbox, entry) | _content(entry))
            rows = [
                (
                    name,
                    _printable(value if isinstance(value, str) else json.dumps(value)),
                )
                for name, value in _flattened(document[-1])
            ]
            tables.append(Table(_printable(entry.id), "", ("", ""), rows))
    if not document:
        raise CommandError(
            f"{arguments.id}: no such event; run manila-aspects outbox list"
        )
    return document, tables


def _retry(
    outboxes: Sequence[OutboxFiles], arguments: argparse.Namespace, progress: Progress
) -> _Answer:
    """Make dead letters wait again, and return their numbers."""
    return _changed(OutboxFiles.retry, "retried", outboxes, arguments, progress)


def _discard(
    outboxes: Sequence[OutboxFiles], arguments: argparse.Namespace, progress: Progress
) -> _Answer:
    """Delete dead letters, and return their numbers."""
    return _changed(OutboxFiles.discard, "discarded", outboxes, arguments, progress)


def _changed(
    change: Callable[..., int],
    name: str,
    outboxes: Sequence[OutboxFiles],
    arguments: argparse.Namespace,
    progress: Progress,
) -> _Answer:
    """Change dead letters, and return their numbers.

    :param change: changes dead letters of an outbox; all for None
    :param name: the key of the numbers
    :raises CommandError: if an ID is not that of a dead letter; nothing is changed
    """
    entries: dict[OutboxFiles, list[Entry] | None] = dict.fromkeys(outboxes)
    if not arguments.all:
        for outbox in outboxes:
            entries[outbox] = outbox.find(arguments.ids, ("dead",), progress)
        known = {entry.id for found in entries.values() for entry in found or ()}
        for id_ in arguments.ids:
            if id_ not in known:
                raise CommandError(
                    f"{id_}: no such dead letter; "
                    "run manila-aspects outbox list --state dead"
                )
    document = [
        {"instance": outbox.path.name, name: change(outbox, chosen, progress)}
        for outbox, chosen in entries.items()
    ]
    rows = [(str(found["instance"]), f"{found[name]:,}") for found in document]
    return document, [Table("outboxes", _none(outboxes), ("instance", name), rows)]


def _summary(outbox: OutboxFiles, entry: Entry) -> dict[str, Any]:
    return {
        "instance": outbox.path.name,
        "id": entry.id,
        "state": entry.state,
        "written": _time(entry.written),
        "type": (entry.event or {}).get("type"),
        "key": entry.key,
        "reason": entry.reason,
    }


def _content(entry: Entry) -> dict[str, Any]:
    """Return the event, or the text of a row that is not an event."""
    if (event := entry.event) is not None:
        return {"event": event}
    return {"text": entry.data.decode(errors="replace")}


def _flattened(document: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of a document, each with its path."""
    for name, value in document.items():
        if isinstance(value, dict):
            yield from _flattened(value, f"{prefix}{_printable(name)}.")
        elif value not in (None, ""):
            shown = _printable(value) if isinstance(value, str) else value
            yield f"{prefix}{_printable(name)}", shown


def _none(outboxes: Sequence[OutboxFiles]) -> str:
    return "" if outboxes else "no hook instance has hook_dispatch = durable"


def _time(seconds: float | None) -> str | None:
    """Return a time in ISO 8601; None if it is not known."""
    try:
        found = datetime.datetime.fromtimestamp(seconds or 0, datetime.timezone.utc)
    except (ValueError, OverflowError, OSError):
        # Another program may have written any number.
        return None
    return found.isoformat(timespec="seconds") if seconds is not None else None


def _printable(value: Any) -> str:
    """Return a text that a terminal shows as it is."""
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}"
        for character in str(value)
    )
