# SPDX-License-Identifier: Apache-2.0
"""Implement ``manila-aspects completion``, which prints a shell completion script."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from aspects.cli import output
from aspects.cli.command import CommandError, add_command


def _names(noun: str) -> dict[str, Any]:
    """Return the completion of names in a configuration, in the format of shtab.

    It runs the command line that is being completed, with an option to list the names
    instead. They come from a file, so no shell may expand them, as `compgen -W` would.

    :param noun: the plural in the name of that option, e.g. ``backends``
    """
    function, option = f"_manila_aspects_{noun}", f"--list-{noun}"
    bash = f"""\
{function}() {{
  local name
  while IFS= read -r name; do
    [[ $name == "$1"* ]] && printf '%s\\n' "$name"
  done < <("${{COMP_WORDS[@]}}" {option} 2>/dev/null)
}}
"""
    zsh = f"""\
{function}() {{
  local -a names
  names=(${{(f)"$(manila-aspects "${{(@Q)words}}" {option} 2>/dev/null)"}})
  compadd -a names
}}
"""
    return {
        "bash": function,
        "zsh": function,
        "fish": f"(manila-aspects (commandline -opc)[2..] '' {option} 2>/dev/null)",
        "preamble": {"bash": bash, "zsh": zsh},
    }


def add(commands: Any) -> argparse.ArgumentParser:
    """Add the parser of ``completion``.

    :param commands: the subparsers of ``manila-aspects``
    :return: the command's parser
    """
    parser = add_command(
        commands,
        "completion",
        "print a shell completion script",
        "Print a script that completes subcommands, options, files, and the names of "
        "backends and hook instances in a shell.",
        (
            "completion bash > /etc/bash_completion.d/manila-aspects",
            "completion zsh > ~/.zfunc/_manila-aspects",
            "completion fish | source",
        ),
    )
    parser.add_argument(
        "shell", choices=("bash", "zsh", "fish"), help="shell to print the script for"
    )
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Print the script.

    :param arguments: the parsed command line, and the parser of all commands
    :return: the exit status
    :raises CommandError: if shtab, which generates the script, is not installed
    """
    try:
        import shtab
    except ModuleNotFoundError as error:
        raise CommandError(f"{error}; run pip install 'manila-aspects[cli]'") from error
    # The metavar of an argument determines its completion.
    completions = {
        "BACKEND": _names("backends"),
        "INSTANCE": _names("instances"),
        "DIR": shtab.DIRECTORY,
        "FILE": shtab.FILE,
    }
    for action in _actions(arguments.parser):
        if action.metavar in completions:
            action.complete = completions[action.metavar]  # type: ignore[attr-defined]
    output.print_line(shtab.complete(arguments.parser, shell=arguments.shell))
    return 0


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Yield the arguments of a parser and of its subparsers."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for subparser in action.choices.values():
                yield from _actions(subparser)
