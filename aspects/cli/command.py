# SPDX-License-Identifier: Apache-2.0
"""Define the interface of a subcommand, and helpers that subcommands share."""

from __future__ import annotations

import argparse
import os
import sys
import textwrap
from collections.abc import Sequence
from typing import Any, Protocol

#: Exit status of a command that failed.
FAILED = 1


class CommandError(Exception):
    """Raised when a command cannot run. Its text is one line for the user."""


class Command(Protocol):
    """A module that implements a subcommand, listed in ``aspects.cli.COMMANDS``."""

    def add(self, commands: Any) -> argparse.ArgumentParser:
        """Add the command's parser.

        :param commands: the subparsers of ``manila-aspects``
        :return: the command's parser
        """

    def run(self, arguments: argparse.Namespace) -> int:
        """Run the command.

        :param arguments: the parsed command line
        :return: the exit status
        :raises CommandError: if the command cannot run
        """


def add_command(
    commands: Any, name: str, help: str, description: str, examples: Sequence[str]
) -> argparse.ArgumentParser:
    """Add the parser of a command, whose help ends with examples.

    :param commands: the subparsers to add the parser to
    :param name: the command's name
    :param help: the command's line in the list of commands
    :param description: the first paragraph of the command's ``--help``
    :param examples: command lines, without ``manila-aspects``
    :return: the parser, to which the command adds its arguments
    """
    lines = "\n".join(f"  manila-aspects {example}" for example in examples)
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=help,
        description=textwrap.fill(description, 78),
        epilog=f"examples:\n{lines}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return parser


def add_format(parser: Any) -> None:
    """Add the option ``--format``, which selects text or JSON.

    :param parser: a parser, or a group of its options
    """
    parser.add_argument(
        "--format",
        choices=("text", "json"),
        default="text",
        help="output format (default: text)",
    )


def import_from_current_directory() -> None:
    """Add the current directory to the import path.

    Hook authors usually run the command from the directory of their hook.
    """
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
