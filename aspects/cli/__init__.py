# SPDX-License-Identifier: Apache-2.0
"""Run the ``manila-aspects`` command. Each subcommand is a module."""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import sys
from collections.abc import Sequence

from aspects.cli import (
    check,
    completion,
    demo,
    guard,
    new_hook,
    outbox,
    output,
    show,
    status,
)
from aspects.cli.command import FAILED, Command, CommandError
from aspects.config.loading import DISTRIBUTION
from aspects.errors import HookConfigError

#: The subcommands, in the order of the help.
COMMANDS: tuple[Command, ...] = (
    *(check, status, guard, outbox, show, new_hook, demo, completion),
)


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line, with all subcommands."""
    parser = argparse.ArgumentParser(
        prog="manila-aspects",
        description="Validate the configuration of hooks around Manila share drivers, "
        "show the hooks of running services, test guard rules, manage outboxes, list "
        "and create hooks, and run a demo.",
        epilog="Run manila-aspects COMMAND --help for examples.",
    )
    parser.add_argument(
        "--version",
        action="version",
        version=f"{DISTRIBUTION} {_version()}",
        help="print the version and exit",
    )
    # The completion command generates its script from this parser.
    parser.set_defaults(parser=parser)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add(commands).set_defaults(run=command.run)
    return parser


def _version() -> str:
    """Return the version in the metadata of the installed package."""
    try:
        return importlib.metadata.version(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        # The source tree runs without being installed, too.
        return "(not installed)"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    :param argv: the arguments, without the command's name; default: the arguments of
        the process
    :return: the exit status
    """
    arguments = make_parser().parse_args(argv)
    try:
        status = int(arguments.run(arguments))
        # Flushed here, since an error while the interpreter exits cannot be caught.
        sys.stdout.flush()
        return status
    except HookConfigError as error:
        for line in str(error).splitlines():
            print(line, file=sys.stderr)  # noqa: T201
    except CommandError as error:
        output.print_error(str(error))
    except KeyboardInterrupt:
        output.print_error("interrupted")
        return 130
    except BrokenPipeError:
        # The reader has closed the pipe, e.g. `| head`. Python flushes the rest of the
        # buffer when it exits, which must not fail on the closed pipe again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return FAILED
