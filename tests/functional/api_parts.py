# SPDX-License-Identifier: Apache-2.0
"""A hook for a real API process, which records its life in a file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from oslo_config import cfg

import aspects


class Witness(aspects.HookBase):
    """Record each event with the ID of the process, and deny operations."""

    options = (
        cfg.StrOpt("witness_file"),
        cfg.StrOpt("witness_denies", default="", mutable=True),
    )

    def _note(self, event: str) -> None:
        with Path(self.get_config_option("witness_file")).open("a") as file:
            file.write(f"{event} {os.getpid()}\n")

    def start(self) -> None:
        self._note("start")

    def stop(self) -> None:
        self._note("stop")

    def _execute_pre_hook(
        self, context: Any, func_name: Any, *args: Any, **kwargs: Any
    ) -> None:
        self._note(func_name)
        if func_name == self.get_config_option("witness_denies"):
            raise aspects.Veto(f"{func_name} is denied")

    def _execute_post_hook(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing."""

    def _execute_periodic_hook(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing."""
