# SPDX-License-Identifier: Apache-2.0
"""Implement ``manila-aspects check``, which validates a configuration."""

from __future__ import annotations

import argparse
import contextlib
import json
from collections.abc import Sequence
from typing import Any

from oslo_config import cfg

from aspects.cli import output
from aspects.cli.check import parsing, rules
from aspects.cli.check.diagnostics import (
    Diagnostic,
    concerns,
    located,
    problems_first,
    root_causes,
)
from aspects.cli.check.facts import gather, manila_section
from aspects.cli.check.files import (
    Source,
    add_source_arguments,
    all_sources,
    files_of,
    index_of,
)
from aspects.cli.check.report import Report, effective_backend
from aspects.cli.command import FAILED, CommandError, add_command, add_format
from aspects.cli.output import Progress
from aspects.config.problems import nearest


def add(commands: Any) -> argparse.ArgumentParser:
    """Add the parser of ``check``.

    :param commands: the subparsers of ``manila-aspects``
    :return: the command's parser
    """
    parser = add_command(
        commands,
        "check",
        "validate a configuration and show its effect",
        "Read a configuration as manila-share does, and show the hooks of each enabled "
        "backend, and with --verbose its options and woven methods. Hooks are "
        "constructed, since their constructors validate options, but not started. "
        "Manila's own drivers are read; other drivers are imported, but not "
        "constructed. The exit status is 1 if there are problems, else 0.",
        (
            "check",
            "check --config-file /etc/manila/manila.conf --backend alpha",
            "check --config-file manila.conf --format json",
        ),
    )
    add_source_arguments(parser)
    parser.add_argument(
        "--backend", metavar="BACKEND", help="limit the report to one enabled backend"
    )
    add_format(parser)
    amount = parser.add_mutually_exclusive_group()
    amount.add_argument(
        "-q", "--quiet", action="store_true", help="print only the problems"
    )
    amount.add_argument(
        "-v",
        "--verbose",
        action="store_true",
        help="print the options and the operations of each backend too",
    )
    # Shell completion runs this: see the completion command.
    parser.add_argument("--list-backends", action="store_true", help=argparse.SUPPRESS)
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Check a configuration and print the report.

    :param arguments: the parsed command line
    :return: the exit status, 1 if there are problems, else 0
    :raises CommandError: if no configuration is found, or the backend is not
        enabled
    """
    if arguments.list_backends:
        for backend in enabled_backends(arguments.sources):
            output.print_line(backend)
        return 0
    # The current directory is not added to the import path, since manila-share does
    # not import from it either.
    try:
        with output.progress() as progress:
            report = check(cfg.CONF, arguments.sources, arguments.backend, progress)
    except ValueError as error:
        if arguments.format == "text":
            raise CommandError(str(error)) from error
        report = Report([], [], [Diagnostic("", "", "", str(error))])
    if arguments.format == "json":
        output.print_line(json.dumps(report.as_dict(), indent=2))
    else:
        if report.problems or not arguments.quiet:
            output.print_line(report.summary(), report.color)
        for diagnostic in report.diagnostics:
            if not (diagnostic.warning and arguments.quiet):
                color = "yellow" if diagnostic.warning else "red"
                output.print_line(str(diagnostic), color)
        if not arguments.quiet:
            output.print_tables(report.tables(arguments.verbose))
    return FAILED if report.problems else 0


def check(
    conf: cfg.ConfigOpts,
    sources: Sequence[Source] = (),
    backend: str | None = None,
    progress: Progress = lambda text: None,
) -> Report:
    """Validate a configuration and return its effect.

    Hooks are constructed, since their constructors validate options, but not started.
    Manila's own drivers are read; others are imported, but not constructed.

    :param conf: the ``ConfigOpts`` that parses the files, e.g. ``cfg.CONF``
    :param sources: files and directories, in the order in which they are read;
        default: the files and directories that ``manila-share`` finds
    :param backend: the only backend to report; None reports all
    :param progress: called with a status message before slow steps
    :raises CommandError: if no files are found
    :raises ValueError: if the backend is not enabled
    """
    sources = all_sources(sources)
    files = list(files_of(sources))
    lines, diagnostics = parsing.read(sources)
    index = index_of(lines)
    diagnostics = diagnostics or parsing.parse(conf, sources, lines, progress)
    if diagnostics:
        # With these errors, manila-share does not start, so no backend has an effect.
        return Report(files, [], [located(found, index) for found in diagnostics])
    manila = manila_section(conf)
    if backend is not None and not list(manila.problems()):
        _require_enabled(backend, manila.safe_get("enabled_share_backends") or [])
    try:
        facts = gather(manila, lines, progress)
        diagnostics = [
            located(found, index) for found in root_causes(list(rules.diagnose(facts)))
        ]
        backends = [effective_backend(enabled, index) for enabled in facts.backends]
    except cfg.ConfigFileValueError as error:
        return Report(files, [], [located(parsing.of_invalid_value(error), index)])
    if backend is not None:
        backends = [enabled for enabled in backends if enabled.name == backend]
        diagnostics = [found for found in diagnostics if concerns(found, backend)]
    sections = [enabled.section for enabled in facts.backends]
    return Report(files, backends, problems_first(diagnostics, sections))


def enabled_backends(sources: Sequence[Source]) -> list[str]:
    """Return the names of the enabled backends, for shell completion.

    Errors are ignored, since the user is still typing. Manila is not imported, since
    that takes seconds.

    :param sources: files and directories, as for :func:`check`
    """
    conf = cfg.ConfigOpts()
    with contextlib.suppress(Exception, SystemExit):
        parsing.parse_files(conf, all_sources(sources))
        return manila_section(conf).safe_get("enabled_share_backends") or []
    return []


def _require_enabled(backend: str, enabled: Sequence[str]) -> None:
    """Raise an error if a backend is not enabled.

    :raises ValueError: if it is not, with a suggestion
    """
    if backend not in enabled:
        near = nearest(backend, enabled)
        raise ValueError(
            f"backend {backend!r} is not enabled (enabled: "
            f"{', '.join(enabled) or 'none'})"
            + (f"; did you mean {near!r}?" if near else "")
        )
