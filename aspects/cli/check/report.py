# SPDX-License-Identifier: Apache-2.0
"""The report of ``check``: the effective configuration and the diagnostics."""

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
    """An option that is set somewhere."""

    option: str
    value: str
    section: str
    place: str
    """``file:line``, or the environment variable"""


class Hook(NamedTuple):
    """The effective configuration of one hook instance."""

    instance: str
    hook: str
    """its class"""
    actions: tuple[str, ...]
    """the enabled ones"""
    suppressed: tuple[str, ...]
    """the actions whose errors are suppressed"""
    dispatch: str
    operations: tuple[str, ...]
    settings: list[Setting]


class Backend(NamedTuple):
    """The effective configuration of one enabled backend."""

    name: str
    host: str
    driver: str
    ticks: int
    chain: list[Hook]
    """the hooks that could be made, in order"""
    settings: list[Setting]
    """the options of the backend alone"""
    woven: Mapping[str, list[str]]
    """the woven methods of the driver, by operation"""
    lacks: list[str]
    """the operations that the driver does not implement"""

    def tables(self) -> Iterator[Table]:
        """Yield the backend's hooks, its settings and its operations."""
        summary = f"driver {self.driver}, host {self.host}"
        if not self.chain:
            named = any(setting.option == "hook_drivers" for setting in self.settings)
            why = "its hooks cannot be made" if named else "no hooks: it is not woven"
            yield Table(f"backend {self.name}", f"{summary}, {why}")
            return
        ticks = "every tick" if self.ticks == 1 else f"one tick in {self.ticks}"
        yield Table(
            f"backend {self.name}",
            f"{summary}, periodic actions on {ticks}",
            ("", "instance", "hook", "on", "suppressed", "dispatch", "operations"),
            [
                (
                    str(number),
                    hook.instance,
                    hook.hook,
                    ", ".join(hook.actions) or "nothing",
                    ", ".join(hook.suppressed) or "-",
                    hook.dispatch,
                    ", ".join(hook.operations) or "none",
                )
                for number, hook in enumerate(self.chain, 1)
            ],
        )
        settings = [("-", *setting) for setting in self.settings]
        for hook in self.chain:
            settings += [(hook.instance, *setting) for setting in hook.settings]
        yield Table(
            f"options of {self.name}",
            "What is not the default, and where it is from.",
            ("instance", "option", "value", "section", "from"),
            settings,
        )
        if self.woven:
            yield Table(
                f"operations of {self.name}",
                f"It lacks {', '.join(self.lacks) or 'none'}.",
                ("operation", "methods that are woven"),
                [
                    (operation, ", ".join(methods))
                    for operation, methods in self.woven.items()
                    if operation not in self.lacks
                ],
            )

    def as_dict(self) -> dict[str, Any]:
        """Return the backend as plain data, ready for JSON."""
        chain = [hook._asdict() | _settings_as_dicts(hook) for hook in self.chain]
        return self._asdict() | {"chain": chain} | _settings_as_dicts(self)


class Report(NamedTuple):
    """The effective configuration of all backends, and the diagnostics."""

    files: list[str]
    """the files that were read, in that order"""
    backends: list[Backend]
    diagnostics: list[Diagnostic]

    @property
    def problems(self) -> list[Diagnostic]:
        """The diagnostics that are not mere warnings."""
        return [found for found in self.diagnostics if not found.warning]

    @property
    def warnings(self) -> list[Diagnostic]:
        """The diagnostics that may be intended."""
        return [found for found in self.diagnostics if found.warning]

    def tables(self) -> Iterator[Table]:
        """Yield the effective configuration."""
        for backend in self.backends:
            yield from backend.tables()

    def summary(self) -> str:
        """Return the number of problems and warnings, and the files."""
        counts = [
            f"{len(found) or 'no'} {noun}{'' if len(found) == 1 else 's'}"
            for found, noun in ((self.problems, "problem"), (self.warnings, "warning"))
        ]
        return f"{', '.join(counts)} in {', '.join(self.files)}"

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain data, ready for JSON."""
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

    :param facts: the facts about it
    :param index: the effective lines
    """
    return Backend(
        facts.section,
        facts.host,
        facts.driver.path,
        facts.plan.own.safe_get("periodic_hooks_ticks"),
        [_hook(instance, index) for instance in facts.plan.instances],
        list(_settings(facts.plan.own, index)),
        facts.woven,
        facts.missing_operations,
    )


def _hook(instance: Instance, index: Index) -> Hook:
    _, section, hook = instance
    enabled = {
        action: section.safe_get(f"enable_{action}_hooks")
        for action in ("pre", "post", "periodic")
    }
    actions = [action for action in enabled if enabled[action]]
    if enabled["post"] and error_method(hook):
        actions.insert(actions.index("post") + 1, "error")
    return Hook(
        str(section.name),
        f"{type(hook).__module__}:{type(hook).__qualname__}",
        tuple(actions),
        tuple(
            action
            for action in enabled
            if section.safe_get(f"suppress_{action}_hooks_errors")
        ),
        section.safe_get("hook_dispatch"),
        tuple(section.safe_get("hook_operations")),
        list(_settings(section, index)),
    )


def _settings(section: InstanceSection, index: Index) -> Iterator[Setting]:
    """Yield the options that are set, each from the section that takes effect."""
    for option in section.options.values():
        origin = section.origin(option.dest)
        if origin is None:
            continue
        value = formatted(option, section.safe_get(option.dest))
        line = index.get((normalized(origin.section), origin.name))
        place = origin.detail
        if line and not origin.in_environment:
            place = f"{line.file}:{line.number}"
        yield Setting(option.name, redacted(option, value), origin.section, place)
