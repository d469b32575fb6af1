# SPDX-License-Identifier: Apache-2.0
"""The command ``manila-aspects``."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from aspects.config import HookConfigError

#: Exit status of a command that could not do what it was asked for.
FAILED = 1


class CommandError(Exception):
    """Tell in one line why a command cannot run."""


def demo(arguments: argparse.Namespace) -> int:
    """Run ``manila-aspects demo``.

    :param arguments: the parsed command line
    :returns: the exit status
    :raises CommandError: if the demo cannot run
    """
    for file in arguments.config_file:
        if not file.is_file():
            raise CommandError(f"there is no file {file}")
    # A hook that an author tries out lies where he stands, as a rule.
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    # Manila's libraries warn of eventlet while they are imported, and of more.
    warnings.simplefilter("ignore")
    try:
        from aspects.demo import run, service
    except ModuleNotFoundError as error:
        raise CommandError(f"{error}: pip install 'manila-aspects[demo]'") from error
    try:
        return run.demo(
            keep=arguments.keep,
            config_files=arguments.config_file,
            serve=arguments.serve,
        )
    except service.ServiceError as error:
        raise CommandError(str(error)) from error


def _add_demo(commands: Any) -> None:
    parser = commands.add_parser(
        "demo",
        help="run a woven driver in a real Manila",
        description="Start a real Manila in this process and take a share through "
        "its life, with hooks around its driver. Ends with 0 if every share "
        "reached its state and every hook action that was due was seen, else "
        "with 1.",
    )
    parser.add_argument(
        "--keep",
        metavar="DIR",
        type=Path,
        help="write to this folder and keep it, instead of a temporary one",
    )
    parser.add_argument(
        "--serve",
        action="store_true",
        help="leave the service up until Ctrl-C instead of running the scenario; "
        "SIGHUP makes it read its configuration again",
    )
    parser.add_argument(
        "--config-file",
        metavar="FILE",
        type=Path,
        action="append",
        default=[],
        help="configuration that Manila reads after the demo's own, so that it "
        "may add hooks to the backends alpha, beta and gamma; modules in the "
        "current folder can be named in it; may be given more than once",
    )
    parser.set_defaults(run=demo)


#: Each adds the parser of one subcommand, and sets ``run`` for it.
COMMANDS: tuple[Callable[[Any], None], ...] = (_add_demo,)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    :param argv: the arguments, without the command's name; those of the process
        by default
    :returns: the exit status
    """
    parser = argparse.ArgumentParser(
        prog="manila-aspects",
        description="Hooks around OpenStack share drivers, woven in from outside.",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for add in COMMANDS:
        add(commands)
    arguments = parser.parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except HookConfigError as error:
        for line in str(error).splitlines():
            print(line, file=sys.stderr)  # noqa: T201
    except CommandError as error:
        print(f"manila-aspects: {error}", file=sys.stderr)  # noqa: T201
    except KeyboardInterrupt:
        print("manila-aspects: interrupted", file=sys.stderr)  # noqa: T201
        return 130
    return FAILED


if __name__ == "__main__":
    sys.exit(main())
