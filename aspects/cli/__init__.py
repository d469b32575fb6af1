# SPDX-License-Identifier: Apache-2.0
"""The command ``manila-aspects``."""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import sys
import textwrap
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from aspects.cli.show import Table
from aspects.errors import HookConfigError, UnresolvedName

#: Exit status of a command that could not do what it was asked for.
FAILED = 1


class CommandError(Exception):
    """Tell in one line why a command cannot run."""


# -- the commands --------------------------------------------------------------


def run_demo(arguments: argparse.Namespace) -> int:
    """Run ``manila-aspects demo``.

    :param arguments: the parsed command line
    :returns: the exit status
    :raises CommandError: if the demo cannot run
    """
    for file in arguments.config_file:
        if not file.is_file():
            raise CommandError(f"there is no file {file}")
    _import_from_here()
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


def show_hooks(arguments: argparse.Namespace) -> int:
    """Run ``manila-aspects show hooks``.

    :param arguments: the parsed command line
    :returns: the exit status
    """
    from aspects.cli import show

    with _progress() as progress:
        tables = list(show.hooks(progress))
    _print_tables(tables)
    return 0


def show_operations(arguments: argparse.Namespace) -> int:
    """Run ``manila-aspects show operations``.

    :param arguments: the parsed command line
    :returns: the exit status
    :raises CommandError: if there is no such driver
    """
    from aspects.cli import show

    if arguments.driver is None:
        _print_tables([show.operations()])
        return 0
    _import_from_here()
    try:
        with _progress() as progress:
            progress(f"importing {arguments.driver}")
            tables = list(show.operations_of_driver(arguments.driver))
    except UnresolvedName as error:
        raise CommandError(f"--driver {arguments.driver}: {error}") from error
    _print_tables(tables)
    return 0


def run_check(arguments: argparse.Namespace) -> int:
    """Run ``manila-aspects check``.

    :param arguments: the parsed command line
    :returns: the exit status: 0 if there is no problem, else 1
    :raises CommandError: if there is no such configuration or backend
    """
    from oslo_config import cfg

    from aspects.cli import check

    # Nothing is imported from the current folder that manila-share could not import.
    try:
        with _progress() as progress:
            report = check.check(
                cfg.CONF, arguments.sources, arguments.backend, progress
            )
    except ValueError as error:
        raise CommandError(str(error)) from error
    if arguments.format == "json":
        _print(json.dumps(report.as_dict(), indent=2))
    else:
        _print_tables(report.tables())
        for finding in report.findings:
            _print(str(finding), "yellow" if finding.warning else "red")
        _print(report.summary())
    return FAILED if report.problems else 0


def run_new_hook(arguments: argparse.Namespace) -> int:
    """Run ``manila-aspects new-hook``.

    :param arguments: the parsed command line
    :returns: the exit status
    :raises CommandError: if the skeleton cannot be written
    """
    from aspects.cli import new_hook

    try:
        folder, files = new_hook.write(arguments.name, arguments.directory)
    except (ValueError, OSError) as error:
        raise CommandError(str(error)) from error
    for file in files:
        _print(str(file))
    _print("")
    _print("try it:")
    for line in new_hook.next_steps(folder):
        _print(f"  {line}")
    return 0


def run_completion(arguments: argparse.Namespace) -> int:
    """Run ``manila-aspects completion``.

    :param arguments: the parsed command line
    :returns: the exit status
    :raises CommandError: without the library that writes completions
    """
    try:
        import shtab
    except ModuleNotFoundError as error:
        raise CommandError(f"{error}: pip install 'manila-aspects[cli]'") from error
    parser = make_parser()
    for action in _actions(parser):
        if action.type is Path:
            folder = action.metavar == "DIR"
            action.complete = shtab.DIRECTORY if folder else shtab.FILE  # type: ignore[attr-defined]
    _print(shtab.complete(parser, shell=arguments.shell))
    return 0


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Yield the arguments of a parser and of its subcommands."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for each in action.choices.values():
                yield from _actions(each)


def _import_from_here() -> None:
    """Have modules in the current folder found.

    A hook that an author tries out lies where he stands, as a rule.
    """
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())


# -- the screen ----------------------------------------------------------------


def _console(stream: TextIO) -> Any:
    """Return a rich console; None where there is no terminal, or no rich."""
    if not stream.isatty():
        return None
    try:
        from rich.console import Console
    except ModuleNotFoundError:
        return None
    return Console(file=stream, highlight=False, emoji=False)


def _print(text: str, style: str = "") -> None:
    console = _console(sys.stdout) if style else None
    if console is None:
        print(text)  # noqa: T201
    else:
        console.print(text, style=style, markup=False, soft_wrap=True)


def _print_tables(tables: Iterable[Table]) -> None:
    console = _console(sys.stdout)
    for table in tables:
        if console is None:
            print("\n".join(_plain(table)))  # noqa: T201
        else:
            _print_rich(console, table)


def _plain(table: Table) -> Iterator[str]:
    """Yield the lines of a table."""
    yield table.title
    if table.text:
        yield f"  {table.text}"
    if table.rows:
        # A value may have several lines in the file.
        rows = [
            [" ".join(c.split()) for c in row] for row in (table.columns, *table.rows)
        ]
        widths = [max(map(len, column)) for column in zip(*rows)]
        for row in rows:
            cells = (cell.ljust(width) for cell, width in zip(row, widths))
            yield f"  {'  '.join(cells)}".rstrip()
    yield ""


def _print_rich(console: Any, table: Table) -> None:
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    console.print(Text(table.title, "bold"))
    if table.text:
        console.print(Text(f"  {table.text}"))
    if table.rows:
        shown = RichTable(box=box.SIMPLE_HEAD, header_style="cyan", pad_edge=True)
        for column in table.columns:
            shown.add_column(column, overflow="fold")
        for row in table.rows:
            shown.add_row(*map(Text, row))
        console.print(shown)
    else:
        console.print()


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """Show on a terminal what takes its time, for as long as it does.

    What is imported meanwhile is to be quiet.
    """
    warnings.simplefilter("ignore")
    logging.getLogger().addHandler(logging.NullHandler())
    console = _console(sys.stderr)
    with contextlib.redirect_stdout(sys.stderr):
        if console is None:
            yield lambda text: None
            return
        from rich.text import Text

        with console.status("") as status:
            yield lambda text: status.update(Text(text))


# -- the command line ----------------------------------------------------------


def _command(
    commands: Any,
    name: str,
    run: Callable[[argparse.Namespace], int] | None,
    help: str,
    description: str,
    examples: Sequence[str],
) -> argparse.ArgumentParser:
    """Add the parser of a subcommand.

    :param commands: what to add it to
    :param name: its name
    :param run: what it does
    :param help: a line for the list of commands
    :param description: what ``--help`` says
    :param examples: command lines, without the command's own name
    """
    lines = "\n".join(f"  manila-aspects {example}" for example in examples)
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=help,
        description=textwrap.fill(description, 78),
        epilog=f"examples:\n{lines}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if run is not None:
        parser.set_defaults(run=run)
    return parser


def _add_demo(commands: Any) -> None:
    parser = _command(
        commands,
        "demo",
        run_demo,
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


class _Source(argparse.Action):
    """Appends the option and its value to one list, for the order of them all."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        before = getattr(namespace, self.dest)
        setattr(namespace, self.dest, [*before, (self.option_strings[0], values)])


def _add_check(commands: Any) -> None:
    parser = _command(
        commands,
        "check",
        run_check,
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
        "--config-file",
        dest="sources",
        metavar="FILE",
        type=Path,
        action=_Source,
        default=[],
        help="a file to read; may be given more than once; by default what "
        "manila-share reads, e.g. /etc/manila/manila.conf",
    )
    parser.add_argument(
        "--config-dir",
        dest="sources",
        metavar="DIR",
        type=Path,
        action=_Source,
        default=[],
        help="a folder whose *.conf files are read; may be given more than once; of "
        "all files and folders the later one counts",
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


def _add_show(commands: Any) -> None:
    parser = _command(
        commands,
        "show",
        None,
        "show the installed hooks, or the operations",
        "Show what can be used in a configuration.",
        ("show hooks", "show operations"),
    )
    things = parser.add_subparsers(title="what to show", metavar="WHAT", required=True)
    _command(
        things,
        "hooks",
        show_hooks,
        "the installed hooks and their options",
        "Show the installed hooks by their short names: the class of each, what it "
        "does, its options; and what is missing where one cannot be imported.",
        ("show hooks",),
    )
    parser = _command(
        things,
        "operations",
        show_operations,
        "the operations and their driver methods",
        "Show which driver methods are which operations. Of a driver class, show "
        "the methods that would be woven and the operations that it lacks; no "
        "driver is made.",
        (
            "show operations",
            "show operations --driver my_drivers.NasDriver",
        ),
    )
    parser.add_argument(
        "--driver", metavar="PATH", help="a driver class, as path.to.Driver"
    )


def _add_new_hook(commands: Any) -> None:
    parser = _command(
        commands,
        "new-hook",
        run_new_hook,
        "write the skeleton of a hook of your own",
        "Write a folder with a package: a hook with an option, its entry point, a "
        "test that passes, a configuration to begin with, and one that runs it in "
        "manila-aspects demo.",
        ("new-hook quota", "new-hook quota-guard --directory ~/src"),
    )
    parser.add_argument(
        "name",
        metavar="NAME",
        help="the hook's short name: letters, digits, - and _",
    )
    parser.add_argument(
        "--directory",
        metavar="DIR",
        type=Path,
        default=Path(),
        help="where to make the folder NAME; the current folder by default",
    )


def _add_completion(commands: Any) -> None:
    parser = _command(
        commands,
        "completion",
        run_completion,
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


#: Each adds the parser of one subcommand.
COMMANDS: tuple[Callable[[Any], None], ...] = (
    _add_check,
    _add_show,
    _add_new_hook,
    _add_demo,
    _add_completion,
)


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="manila-aspects",
        description="Hooks around OpenStack share drivers, woven in from outside.",
        epilog="manila-aspects COMMAND --help has examples.",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for add in COMMANDS:
        add(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    :param argv: the arguments, without the command's name; those of the process
        by default
    :returns: the exit status
    """
    arguments = make_parser().parse_args(argv)
    try:
        status = int(arguments.run(arguments))
        # Here, so that a pipe that is closed is told here.
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
        # As of `| head`. Python would write the rest when it ends, and fail.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return FAILED
