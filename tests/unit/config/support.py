# SPDX-License-Identifier: Apache-2.0
"""A backend section in a real file, whose hooks have the options of a test."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from oslo_config import cfg

import aspects
from aspects.config.problems import Problem
from tests.support.config import ConfigFile
from tests.support.entries.recording import Driver, OtherRecorder


class Backend:
    """The section ``[alpha]`` with one hook for each list of options.

    The instances are named ``ops``, ``day`` and ``night``, in this order.
    """

    def __init__(
        self, directory: Path, *of_hooks: list[cfg.Opt], **of_file: str
    ) -> None:
        self._directory = directory
        self.classes = [
            type(name.title(), (OtherRecorder,), {"options": options})
            for name, options in zip(("ops", "day", "night"), of_hooks)
        ]
        module = sys.modules[__name__]
        for cls in self.classes:
            setattr(module, cls.__name__, cls)
        self.file = ConfigFile(directory / "service.conf", self.text(**of_file))
        self.conf: cfg.ConfigOpts = self.file.conf
        self.woven: Any = None

    def text(self, sections: str = "", alpha: str = "") -> str:
        """Return the text of the file.

        :param sections: the sections other than ``[alpha]``
        :param alpha: the lines of ``[alpha]``
        """
        hooks = ", ".join(
            f"{cls.__name__.lower()}={__name__}:{cls.__name__}" for cls in self.classes
        )
        return f"[alpha]\nhook_drivers = {hooks}\n{alpha}\n{sections}\n"

    def weave(self) -> list[Any]:
        """Weave the hooks and return them."""
        section = aspects.BackendSection(self.conf, "alpha")
        self.woven = aspects.weave_from_config(Driver(), section, "node1@alpha")
        return self.hooks

    @property
    def hooks(self) -> list[Any]:
        """The hooks that are woven now."""
        return list(aspects.weaving(self.woven).hooks)

    def values(self, name: str) -> list[Any]:
        """Return the value of an option for each hook."""
        return [hook.get_config_option(name) for hook in self.hooks]

    def edit(self, **of_file: str) -> None:
        """Edit the file and reload it, as on ``SIGHUP``."""
        self.file.mutate(self.text(**of_file))

    def problems(self) -> list[Problem]:
        """Return the errors in the section; there has to be at least one."""
        try:
            self.weave()
        except aspects.HookConfigError as error:
            return list(error.problems)
        raise AssertionError("no error")


def remove_classes() -> None:
    """Remove the hook classes of a test."""
    for name in ("Ops", "Day", "Night"):
        vars(sys.modules[__name__]).pop(name, None)
