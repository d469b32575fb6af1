# SPDX-License-Identifier: Apache-2.0
"""Implement ``manila-aspects show``, which lists installed hooks or operations."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from importlib.metadata import EntryPoint
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
from aspects.cli.values import unparsed
from aspects.config.loading import driver_at, installed, not_loaded
from aspects.config.options import hook_options, instance_options
from aspects.config.problems import nearest
from aspects.errors import UnresolvedNameError
from aspects.operations import OPERATIONS
from aspects.requests import REQUESTS, SECTION


def add(commands: Any) -> argparse.ArgumentParser:
    """Add the parser of ``show``.

    :param commands: the subparsers of ``manila-aspects``
    :return: the command's parser
    """
    parser = add_command(
        commands,
        "show",
        "list the installed hooks, or the operations",
        "List the hooks and the operations that a configuration can name.",
        ("show hooks", "show operations"),
    )
    topics = parser.add_subparsers(title="topics", metavar="TOPIC", required=True)
    hooks = add_command(
        topics,
        "hooks",
        "the installed hooks and their options",
        "List the installed hooks by short name, each with its class, a summary and "
        "its options. For a hook that cannot be imported, show the reason.",
        ("show hooks", "show hooks audit"),
    )
    hooks.add_argument(
        "hook",
        metavar="NAME",
        type=_installed_hook,
        nargs="?",
        help="short name of the only hook to show (default: all hooks, and the options "
        "that they share)",
    )
    hooks.set_defaults(tables=_show_hooks)
    operations = add_command(
        topics,
        "operations",
        "the operations and their driver methods",
        "List the operations and their driver methods. For a driver class, list the "
        "methods that would be woven, and the operations that it does not implement. "
        "The class is imported, but not instantiated.",
        (
            "show operations",
            "show operations --driver my_drivers.NasDriver",
        ),
    )
    operations.add_argument(
        "--driver", metavar="PATH", help="driver class, as path.to.Driver"
    )
    operations.set_defaults(tables=_show_operations)
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Print the requested tables.

    :param arguments: the parsed command line
    :return: the exit status
    :raises CommandError: if the driver class cannot be imported
    """
    output.print_tables(arguments.tables(arguments))
    return 0


def _show_hooks(arguments: argparse.Namespace) -> list[Table]:
    with output.progress() as progress:
        if arguments.hook:
            return [_hook(arguments.hook, progress)]
        hooks = [_hook(entry_point, progress) for entry_point in installed()]
        return [*hooks, _common_options()]


def _show_operations(arguments: argparse.Namespace) -> list[Table]:
    if arguments.driver is None:
        return [_operations(), _requests()]
    import_from_current_directory()
    try:
        with output.progress() as progress:
            progress(f"importing {arguments.driver}")
            return list(_operations_of_driver(arguments.driver))
    except UnresolvedNameError as error:
        raise CommandError(f"--driver {arguments.driver}: {error}") from error


# -- hooks ---------------------------------------------------------------------


def _installed_hook(name: str) -> EntryPoint:
    """Return the entry point of an installed hook.

    :param name: the hook's short name
    :raises argparse.ArgumentTypeError: if no installed hook has the name
    """
    hooks = {entry_point.name: entry_point for entry_point in installed()}
    if name not in hooks:
        near = nearest(name, hooks)
        hint = f"did you mean {near!r}?" if near else f"installed: {', '.join(hooks)}"
        raise argparse.ArgumentTypeError(f"unknown hook {name!r}; {hint}")
    return hooks[name]


def _hook(entry_point: EntryPoint, progress: Progress) -> Table:
    """Return the table of an installed hook.

    :param entry_point: the entry point of the hook
    :param progress: called with a status message before the import
    """
    progress(f"importing {entry_point.value}")
    title = f"{entry_point.name} ({entry_point.value})"
    try:
        cls = entry_point.load()
    except (Exception, SystemExit) as error:
        return Table(title, str(not_loaded(entry_point, error)))
    # inspect.getdoc() would return the docstring of a base class.
    text = (getattr(cls, "__doc__", None) or "").strip().partition("\n")[0]
    rows = _option_rows(getattr(cls, "options", ()))
    return Table(title, text, OPTION_COLUMNS if rows else (), rows)


def _common_options() -> Table:
    """Return the table of the options that every hook has."""
    return Table(
        "every hook",
        "Options that every hook instance has in addition to its own.",
        OPTION_COLUMNS,
        _option_rows([*hook_options, *instance_options]),
    )


OPTION_COLUMNS = ("option", "type", "default", "mutable", "help")


def _option_rows(options: Iterable[Any]) -> list[tuple[str, ...]]:
    return [
        (
            option.name,
            str(option.type),
            # A default is public, even that of a secret.
            unparsed(option.default),
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
        "operations",
        "The names in hook_operations and func_name, and their driver methods.",
        ("operation", "methods"),
        rows,
    )


def _requests() -> Table:
    """Return the table of the request operations and their methods."""
    rows = [
        (operation, ", ".join(methods or (operation,)))
        for operation, methods in REQUESTS.items()
    ]
    return Table(
        "request operations",
        f"The names in [{SECTION}], and the methods of Manila's share API.",
        ("operation", "methods"),
        rows,
    )


def _operations_of_driver(path: str) -> Iterator[Table]:
    """Yield the tables of a driver class: woven methods and missing operations.

    :param path: ``path.to.Driver``
    :raises UnresolvedNameError: if the class does not exist
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
        "The methods that would be woven.",
        ("operation", "method", "defined in"),
        rows,
    )
    missing = missing_operations(cls, woven)
    yield Table("not implemented", ", ".join(missing) or "none")
