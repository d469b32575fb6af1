# SPDX-License-Identifier: Apache-2.0
"""``manila-aspects completion``: print a completion script for a shell."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aspects.cli import output
from aspects.cli.command import CommandError, add_command


def add(commands: Any) -> argparse.ArgumentParser:
    """Add the parser of ``completion``.

    :param commands: the subparsers of ``manila-aspects``
    :return: the command's parser
    """
    parser = add_command(
        commands,
        "completion",
        "print what completes this command in a shell",
        "Print a script with which a shell completes the commands, options and "
        "files of this command.",
        (
            "completion bash > /etc/bash_completion.d/manila-aspects",
            "completion zsh > ~/.zfunc/_manila-aspects",
            "completion fish | source",
        ),
    )
    parser.add_argument("shell", choices=("bash", "zsh", "fish"), help="the shell")
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Print the script.

    :param arguments: the parsed command line, with the parser of all commands
    :return: the exit status
    :raises CommandError: if shtab, which writes the script, is not installed
    """
    try:
        import shtab
    except ModuleNotFoundError as error:
        raise CommandError(f"{error}: pip install 'manila-aspects[cli]'") from error
    for action in _actions(arguments.parser):
        if action.type is Path:
            is_directory = action.metavar == "DIR"
            action.complete = shtab.DIRECTORY if is_directory else shtab.FILE  # type: ignore[attr-defined]
    output.print_line(shtab.complete(arguments.parser, shell=arguments.shell))
    return 0


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Yield the arguments of a parser and of its subcommands."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for subparser in action.choices.values():
                yield from _actions(subparser)
