# SPDX-License-Identifier: Apache-2.0
"""Build the report of ``check`` and format it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from aspects.cli.check.diagnostics import Diagnostic
from aspects.cli.check.facts import BackendFacts
from aspects.cli.check.files import Index, normalized
from aspects.cli.output import Table
from aspects.cli.values import formatted, redacted
from aspects.config.plan import Instance
from aspects.config.sections import InstanceSection
from aspects.core.step import error_method


class Setting(NamedTuple):
    """An option whose value differs from its default."""

    option: str
    value: str
    section: str
    place: str
    """``file:line``, or the environment variable"""


class Hook(NamedTuple):
    """The effective configuration of one hook instance."""

    instance: str
    hook: str
    """the class, as ``module:Class``"""
    enabled: tuple[str, ...]
    """the enabled hook methods"""
    suppressed: tuple[str, ...]
    """the hook methods whose errors are suppressed"""
    dispatch: str
    operations: tuple[str, ...]
    settings: list[Setting]


class Backend(NamedTuple):
    """The effective configuration of one enabled backend."""

    name: str
    host: str
    driver: str
    ticks: int
    """periodic hooks run every N ticks; 0 for the share API, which has no ticks"""
    chain: list[Hook]
    """the hooks that could be constructed, in order"""
    settings: list[Setting]
    """the options of the backend itself"""
    woven: Mapping[str, list[str]]
    """the woven methods of the driver, by operation"""
    missing_operations: list[str]
    """the operations that the driver does not implement"""
    factory: bool = False
    """whether the driver class constructs an object of another class"""

    def tables(self, verbose: bool = False) -> Iterator[Table]:
        """Yield the tables of the hooks, the options and the operations.

        :param verbose: whether to yield the options and the operations
        """
        summary = f"driver {self.driver}, host {self.host}"
        if not self.chain:
            named = any(
                setting.option == "hook_drivers" and setting.value != "-"
                for setting in self.settings
            )
            why = "hooks failed to load" if named else "no hooks configured"
            yield Table(f"backend {self.name}", f"{summary}, {why}")
            return
        ticks = "tick" if self.ticks == 1 else f"{self.ticks} ticks"
        periodic = f"periodic hooks every {ticks}" if self.ticks else "no ticks"
        yield Table(
            f"backend {self.name}",
            f"{summary}, {periodic}",
            ("", "instance", "hook", "enabled", "suppressed", "dispatch", "operations"),
            [
                (
                    str(number),
                    hook.instance,
                    hook.hook,
                    ", ".join(hook.enabled) or "none",
                    ", ".join(hook.suppressed) or "none",
                    hook.dispatch,
                    ", ".join(hook.operations) or "none",
                )
                for number, hook in enumerate(self.chain, 1)
            ],
        )
        if not verbose:
            return
        settings = [("-", *setting) for setting in self.settings]
        for hook in self.chain:
            settings += [(hook.instance, *setting) for setting in hook.settings]
        yield Table(
            f"options of {self.name}",
            "Options that differ from their defaults, and where they are set.",
            ("instance", "option", "value", "section", "set in"),
            settings,
        )
        if self.factory:
            yield Table(
                f"operations of {self.name}",
                "Not known: the driver class constructs an object of another class.",
            )
        elif self.woven:
            yield Table(
                f"operations of {self.name}",
                f"Not implemented: {', '.join(self.missing_operations) or 'none'}.",
                ("operation", "woven methods"),
                [
                    (operation, ", ".join(methods))
                    for operation, methods in self.woven.items()
                    if operation not in self.missing_operations
                ],
            )

    def as_dict(self) -> dict[str, Any]:
        """Return the backend as JSON-compatible data."""
        chain = [hook._asdict() | _settings_as_dicts(hook) for hook in self.chain]
        return self._asdict() | {"chain": chain} | _settings_as_dicts(self)


class Report(NamedTuple):
    """The effective configuration of all backends, and the diagnostics."""

    files: list[str]
    """the files, in the order in which they were read"""
    backends: list[Backend]
    diagnostics: list[Diagnostic]

    @property
    def problems(self) -> list[Diagnostic]:
        """The diagnostics that are errors."""
        return [found for found in self.diagnostics if not found.warning]

    @property
    def warnings(self) -> list[Diagnostic]:
        """The diagnostics of settings that may be intended."""
        return [found for found in self.diagnostics if found.warning]

    def tables(self, verbose: bool = False) -> Iterator[Table]:
        """Yield the tables of the effective configuration.

        :param verbose: whether to yield the options and the operations
        """
        for backend in self.backends:
            yield from backend.tables(verbose)

    @property
    def color(self) -> str:
        """The color of the summary."""
        if self.problems:
            return "red"
        return "yellow" if self.warnings else "green"

    def summary(self) -> str:
        """Return the numbers of problems and warnings, and the files, in one line."""
        counts = [
            f"{len(found) or 'no'} {noun}{'' if len(found) == 1 else 's'}"
            for found, noun in ((self.problems, "problem"), (self.warnings, "warning"))
        ]
        return f"{', '.join(counts)} in {', '.join(self.files)}"

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON-compatible data."""
        return {
            "files": self.files,
            "backends": [backend.as_dict() for backend in self.backends],
            "problems": [_diagnostic_as_dict(found) for found in self.problems],
            "warnings": [_diagnostic_as_dict(found) for found in self.warnings],
        }


def _settings_as_dicts(owner: Hook | Backend) -> dict[str, Any]:
    return {"settings": [setting._asdict() for setting in owner.settings]}


def _diagnostic_as_dict(diagnostic: Diagnostic) -> dict[str, Any]:
    internal = ("warning", "invalidates", "depends_on")
    fields = diagnostic._asdict().items()
    return {name: value for name, value in fields if name not in internal}


# -- construct -----------------------------------------------------------------


def effective_backend(facts: BackendFacts, index: Index) -> Backend:
    """Return the effective configuration of a backend.

    :param facts: the facts about the backend
    :param index: the effective lines
    """
    return Backend(
        facts.section,
        facts.host,
        facts.driver.path,
        0 if facts.is_api else facts.plan.own.safe_get("periodic_hooks_ticks"),
        [_hook(instance, index) for instance in facts.plan.instances],
        list(_settings(facts.plan.own, index)),
        facts.woven,
        facts.missing_operations,
        facts.driver.factory,
    )


def _hook(instance: Instance, index: Index) -> Hook:
    _, section, hook = instance
    methods = ("pre", "post", "periodic")
    enabled = [
        method for method in methods if section.safe_get(f"enable_{method}_hooks")
    ]
    if "post" in enabled and error_method(hook):
        enabled.insert(enabled.index("post") + 1, "error")
    return Hook(
        str(section.name),
        f"{type(hook).__module__}:{type(hook).__qualname__}",
        tuple(enabled),
        tuple(
            method
            for method in methods
            if section.safe_get(f"suppress_{method}_hooks_errors")
        ),
        section.safe_get("hook_dispatch"),
        tuple(section.safe_get("hook_operations")),
        list(_settings(section, index)),
    )


def _settings(section: InstanceSection, index: Index) -> Iterator[Setting]:
    """Yield the options that are set, each with the section that takes effect."""
    for option in section.options.values():
        origin = section.origin(option.dest)
        value = section.safe_get(option.dest)
        if origin is None or value == option.default:
            continue
        value = formatted(option, value)
        line = index.get((normalized(origin.section), origin.name))
        place = origin.detail
        if line and not origin.in_environment:
            place = f"{line.file}:{line.number}"
        yield Setting(option.name, redacted(option, value), origin.section, place)
