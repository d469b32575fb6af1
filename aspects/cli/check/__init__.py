# SPDX-License-Identifier: Apache-2.0
"""``manila-aspects check``: validate a configuration and show its effect."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from oslo_config import cfg

from aspects.cli import output
from aspects.cli.check import parsing, rules
from aspects.cli.check.diagnostics import (
    concerns,
    located,
    problems_first,
    root_causes,
)
from aspects.cli.check.facts import gather, manila_section
from aspects.cli.check.files import (
    DIRECTORY,
    FILE,
    Source,
    default_sources,
    files_of,
    index_of,
)
from aspects.cli.check.report import Report, effective_backend
from aspects.cli.command import FAILED, CommandError, add_command
from aspects.cli.output import Progress
from aspects.config.problems import nearest


class _AppendSource(argparse.Action):
    """Append the option and its value to one list, which keeps their order."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        sources = getattr(namespace, self.dest)
        setattr(namespace, self.dest, [*sources, (self.option_strings[0], values)])


def add(commands: Any) -> argparse.ArgumentParser:
    """Add the parser of ``check``.

    :param commands: the subparsers of ``manila-aspects``
    :return: the command's parser
    """
    parser = add_command(
        commands,
        "check",
        "say what a configuration will do, and what is wrong with it",
        "Read a configuration as Manila would, import every hook and driver that "
        "it names, and say for each enabled backend what will happen. Hooks are "
        "made, since they check their options then, but never started; no driver "
        "is made. Ends with 1 if there is a problem, else with 0.",
        (
            "check",
            "check --config-file /etc/manila/manila.conf --backend alpha",
            "check --config-file manila.conf --format json",
        ),
    )
    parser.add_argument(
        FILE,
        dest="sources",
        metavar="FILE",
        type=Path,
        action=_AppendSource,
        default=[],
        help="a file to read; may be given more than once; by default what "
        "manila-share reads, e.g. /etc/manila/manila.conf",
    )
    parser.add_argument(
        DIRECTORY,
        dest="sources",
        metavar="DIR",
        type=Path,
        action=_AppendSource,
        default=[],
        help="a directory whose *.conf files are read; may be given more than once; of "
        "all files and directories the later one counts",
    )
    parser.add_argument(
        "--backend", metavar="NAME", help="tell of this enabled backend alone"
    )
    parser.add_argument(
        "--format",
        choices=("text", "json"),
        default="text",
        help="how to tell it; text by default",
    )
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Check a configuration and print the report.

    :param arguments: the parsed command line
    :return: the exit status: 0 if there is no problem, else 1
    :raises CommandError: if there is no such configuration or backend
    """
    # The current directory is not added to the path of imports: manila-share does
    # not import from it either.
    try:
        with output.progress() as progress:
            report = check(cfg.CONF, arguments.sources, arguments.backend, progress)
    except ValueError as error:
        raise CommandError(str(error)) from error
    if arguments.format == "json":
        output.print_line(json.dumps(report.as_dict(), indent=2))
    else:
        output.print_tables(report.tables())
        for diagnostic in report.diagnostics:
            color = "yellow" if diagnostic.warning else "red"
            output.print_line(str(diagnostic), color)
        output.print_line(report.summary())
    return FAILED if report.problems else 0


def check(
    conf: cfg.ConfigOpts,
    sources: Sequence[Source] = (),
    backend: str | None = None,
    progress: Progress = lambda text: None,
) -> Report:
    """Validate a configuration and return its effect.

    Hooks are made, since they check their options then, but not started. Drivers are
    imported, but not made.

    :param conf: the options to parse it with, as ``cfg.CONF``
    :param sources: files, and directories with files, in the order in which they
        are read; those that ``manila-share`` reads by default
    :param backend: the only backend to report
    :param progress: called with a status message before slow steps
    :raises ValueError: if there is no file to read, or no such backend
    """
    sources = [*default_sources(sources), *sources]
    if not sources:
        raise ValueError("there is no configuration: name one with --config-file")
    files = list(files_of(sources))
    lines, diagnostics = parsing.read(sources)
    index = index_of(lines)
    diagnostics = diagnostics or parsing.parse(conf, sources, lines, progress)
    if diagnostics:
        # Manila does not start with these either.
        return Report(files, [], [located(found, index) for found in diagnostics])
    manila = manila_section(conf)
    if backend is not None and not list(manila.problems()):
        _require_enabled(backend, manila.safe_get("enabled_share_backends") or [])
    facts = gather(manila, lines, progress)
    diagnostics = [
        located(found, index) for found in root_causes(list(rules.diagnose(facts)))
    ]
    backends = [effective_backend(enabled, index) for enabled in facts.backends]
    if backend is not None:
        backends = [enabled for enabled in backends if enabled.name == backend]
        diagnostics = [found for found in diagnostics if concerns(found, backend)]
    sections = [enabled.section for enabled in facts.backends]
    return Report(files, backends, problems_first(diagnostics, sections))


def _require_enabled(backend: str, enabled: Sequence[str]) -> None:
    """Raise an error if a backend is not enabled.

    :raises ValueError: with the backend that is probably meant
    """
    if backend not in enabled:
        near = nearest(backend, enabled)
        raise ValueError(
            f"{backend!r} is not an enabled backend (enabled: "
            f"{', '.join(enabled) or 'none'})"
            + (f"; did you mean {near!r}?" if near else "")
        )
