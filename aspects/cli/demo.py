# SPDX-License-Identifier: Apache-2.0
"""Implement ``manila-aspects demo``, which runs a woven driver in a real Manila."""

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
        "Start a real Manila in this process, with hooks around its drivers, and run "
        "a scenario from the creation of a share to its deletion. The exit status is "
        "0 if every share reached its expected state and every expected hook method "
        "ran, else 1.",
        ("demo", "demo --serve --config-file my-hook/demo.conf"),
    )
    parser.add_argument(
        "--keep",
        metavar="DIR",
        type=Path,
        help="directory for the demo's files, which is kept (default: a temporary "
        "directory)",
    )
    parser.add_argument(
        "--serve",
        action="store_true",
        help="run the service until Ctrl-C, without the scenario; SIGHUP reloads its "
        "configuration",
    )
    parser.add_argument(
        "--config-file",
        metavar="FILE",
        type=Path,
        action="append",
        default=[],
        help="configuration file that Manila reads after the demo's own; with --serve, "
        "the backends alpha, beta and gamma have only the hooks of these files; hooks "
        "are also imported from the current directory; repeatable",
    )
    parser.add_argument(
        "--ticks",
        action="store_true",
        help="print each tick on which hooks run (default: those with an error)",
    )
    amount = parser.add_mutually_exclusive_group()
    amount.add_argument(
        "-q",
        "--quiet",
        action="store_true",
        help="print only calls that failed or in which a method raised, failed "
        "checks and the result",
    )
    amount.add_argument(
        "-v",
        "--verbose",
        action="store_true",
        help="print the duration of each method, whole results and the tracebacks of "
        "hooks",
    )
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Run the demo.

    Its libraries are imported only here, since no other command needs them.

    :param arguments: the parsed command line
    :return: the exit status
    :raises CommandError: if the demo cannot run
    """
    for file in arguments.config_file:
        if not file.is_file():
            raise CommandError(f"--config-file {file}: no such file")
    import_from_current_directory()
    # Manila's libraries issue deprecation warnings when they are imported.
    warnings.simplefilter("ignore")
    from aspects.demo import releases

    try:
        releases.choose_threads()
        from aspects.demo.run import demo
        from aspects.demo.screen import Screen
        from aspects.demo.service import ServiceError
    except ModuleNotFoundError as error:
        raise CommandError(
            f"{error}; run pip install 'manila-aspects[demo]'"
        ) from error
    try:
        return demo(
            Screen(
                verbose=arguments.verbose,
                quiet=arguments.quiet,
                ticks=arguments.ticks,
            ),
            keep=arguments.keep,
            config_files=arguments.config_file,
            serve=arguments.serve,
        )
    except ServiceError as error:
        raise CommandError(str(error)) from error
