# SPDX-License-Identifier: Apache-2.0
"""``manila-aspects demo``: run a woven driver in a real Manila."""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from typing import Any

from aspects.cli.command import (
    CommandError,
    add_command,
    import_from_current_directory,
)


def add(commands: Any) -> argparse.ArgumentParser:
    """Add the parser of ``demo``.

    :param commands: the subparsers of ``manila-aspects``
    :return: the command's parser
    """
    parser = add_command(
        commands,
        "demo",
        "run a woven driver in a real Manila",
        "Start a real Manila in this process and take a share through "
        "its life, with hooks around its driver. Ends with 0 if every share "
        "reached its state and every hook action that was due was seen, else "
        "with 1.",
        ("demo", "demo --serve --config-file my-hook/demo.conf"),
    )
    parser.add_argument(
        "--keep",
        metavar="DIR",
        type=Path,
        help="write to this directory and keep it, instead of a temporary one",
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
        "current directory can be named in it; may be given more than once",
    )
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Run the demo, whose libraries are imported only here.

    :param arguments: the parsed command line
    :return: the exit status
    :raises CommandError: if the demo cannot run
    """
    for file in arguments.config_file:
        if not file.is_file():
            raise CommandError(f"there is no file {file}")
    import_from_current_directory()
    # Manila's libraries warn about eventlet, and more, while they are imported.
    warnings.simplefilter("ignore")
    try:
        from aspects.demo.run import demo
        from aspects.demo.service import ServiceError
    except ModuleNotFoundError as error:
        raise CommandError(f"{error}: pip install 'manila-aspects[demo]'") from error
    try:
        return demo(
            keep=arguments.keep,
            config_files=arguments.config_file,
            serve=arguments.serve,
        )
    except ServiceError as error:
        raise CommandError(str(error)) from error
