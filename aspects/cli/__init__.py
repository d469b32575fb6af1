# SPDX-License-Identifier: Apache-2.0
"""The command ``manila-aspects``: one module a command."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from aspects.cli import check, completion, demo, new_hook, show
from aspects.cli.command import FAILED, Command, CommandError
from aspects.errors import HookConfigError

#: The commands, in the order of the help.
COMMANDS: tuple[Command, ...] = (check, show, new_hook, demo, completion)


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line, with all commands."""
    parser = argparse.ArgumentParser(
        prog="manila-aspects",
        description="Hooks around OpenStack share drivers, woven in from outside.",
        epilog="manila-aspects COMMAND --help has examples.",
    )
    # For the completion script, which is generated from it.
    parser.set_defaults(parser=parser)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add(commands).set_defaults(run=command.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    :param argv: the arguments, without the command's name; those of the process
        by default
    :return: the exit status
    """
    arguments = make_parser().parse_args(argv)
    try:
        status = int(arguments.run(arguments))
        # A closed pipe has to fail here, not when the interpreter exits.
        sys.stdout.flush()
        return status
    except HookConfigError as error:
        for line in str(error).splitlines():
            print(line, file=sys.stderr)  # noqa: T201
    except CommandError as error:
        print(f"manila-aspects: {error}", file=sys.stderr)  # noqa: T201
    except KeyboardInterrupt:
        print("manila-aspects: interrupted", file=sys.stderr)  # noqa: T201
        return 130
    except BrokenPipeError:
        # The reader is gone, e.g. `| head`. At exit, Python would write the rest of
        # the buffer to the closed pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return FAILED
