# SPDX-License-Identifier: Apache-2.0
"""``manila-aspects show``: the installed hooks, or the operations."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from typing import Any

from oslo_config import cfg

from aspects.cli import output
from aspects.cli.command import (
    CommandError,
    add_command,
    import_from_current_directory,
)
from aspects.cli.drivers import defined_in, missing_operations, woven_methods
from aspects.cli.output import Progress, Table
from aspects.cli.values import formatted
from aspects.config.loading import driver_at, installed, not_loaded
from aspects.config.options import hook_options, instance_options
from aspects.errors import UnresolvedNameError
from aspects.operations import OPERATIONS


def add(commands: Any) -> argparse.ArgumentParser:
    """Add the parser of ``show``.

    :param commands: the subparsers of ``manila-aspects``
    :return: the command's parser
    """
    parser = add_command(
        commands,
        "show",
        "show the installed hooks, or the operations",
        "Show what can be used in a configuration.",
        ("show hooks", "show operations"),
    )
    things = parser.add_subparsers(title="what to show", metavar="WHAT", required=True)
    hooks = add_command(
        things,
        "hooks",
        "the installed hooks and their options",
        "Show the installed hooks by their short names: the class of each, what it "
        "does, its options; and what is missing where one cannot be imported.",
        ("show hooks",),
    )
    hooks.set_defaults(tables=_show_hooks)
    operations = add_command(
        things,
        "operations",
        "the operations and their driver methods",
        "Show which driver methods are which operations. Of a driver class, show "
        "the methods that would be woven and the operations that it lacks; no "
        "driver is made.",
        (
            "show operations",
            "show operations --driver my_drivers.NasDriver",
        ),
    )
    operations.add_argument(
        "--driver", metavar="PATH", help="a driver class, as path.to.Driver"
    )
    operations.set_defaults(tables=_show_operations)
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Print the tables that were asked for.

    :param arguments: the parsed command line
    :return: the exit status
    :raises CommandError: if there is no such driver
    """
    output.print_tables(arguments.tables(arguments))
    return 0


def _show_hooks(arguments: argparse.Namespace) -> list[Table]:
    with output.progress() as progress:
        return list(_hooks(progress))


def _show_operations(arguments: argparse.Namespace) -> list[Table]:
    if arguments.driver is None:
        return [_operations()]
    import_from_current_directory()
    try:
        with output.progress() as progress:
            progress(f"importing {arguments.driver}")
            return list(_operations_of_driver(arguments.driver))
    except UnresolvedNameError as error:
        raise CommandError(f"--driver {arguments.driver}: {error}") from error


# -- hooks ---------------------------------------------------------------------


def _hooks(progress: Progress) -> Iterator[Table]:
    """Yield a table for each installed hook, and one for their common options."""
    for entry_point in installed():
        progress(f"importing {entry_point.value}")
        title = f"{entry_point.name} ({entry_point.value})"
        try:
            cls = entry_point.load()
        except (Exception, SystemExit) as error:
            yield Table(title, f"cannot be imported: {not_loaded(entry_point, error)}")
            continue
        # inspect.getdoc() would return the docstring of a base class.
        text = (getattr(cls, "__doc__", None) or "").strip().partition("\n")[0]
        rows = _option_rows(getattr(cls, "options", ()))
        yield Table(title, text, OPTION_COLUMNS if rows else (), rows)
    yield Table(
        "every hook",
        "Options that each instance has beside its own.",
        OPTION_COLUMNS,
        _option_rows([*hook_options, *instance_options]),
    )


OPTION_COLUMNS = ("option", "type", "default", "mutable", "help")


def _option_rows(options: Iterable[Any]) -> list[tuple[str, ...]]:
    return [
        (
            option.name,
            str(option.type),
            formatted(option, option.default),
            "yes" if option.mutable else "no",
            " ".join((option.help or "").split()),
        )
        for option in options
        if isinstance(option, cfg.Opt)
    ]


# -- operations ----------------------------------------------------------------


def _operations() -> Table:
    """Return the table of the operations and their driver methods."""
    rows = [
        (operation, ", ".join((operation, *methods)))
        for operation, methods in OPERATIONS.items()
    ]
    return Table(
        "operations", "What a hook gets as func_name.", ("operation", "methods"), rows
    )


def _operations_of_driver(path: str) -> Iterator[Table]:
    """Yield the woven methods of a driver class, and its missing operations.

    :param path: ``path.to.Driver``
    :raises UnresolvedNameError: if there is no such class
    """
    cls = driver_at(path)
    woven = woven_methods(cls)
    rows = [
        (operation, method, defined_in(cls, method))
        for operation, methods in woven.items()
        for method in methods
    ]
    yield Table(
        path,
        "Its methods that are woven.",
        ("operation", "method", "defined in"),
        rows,
    )
    missing = missing_operations(cls, woven)
    yield Table("lacks", ", ".join(missing) or "no operation")
