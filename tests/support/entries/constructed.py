# SPDX-License-Identifier: Apache-2.0
"""Hooks whose constructors have an effect."""

from __future__ import annotations

import sys
from typing import Any

from oslo_config import cfg

from .recording import Recorder


class Needy(Recorder):
    """A hook whose constructor checks an option."""

    options = (cfg.StrOpt("needy_url"), cfg.StrOpt("needy_key", secret=True))

    def __init__(self, configuration: Any, host: str | None) -> None:
        super().__init__(configuration, host)
        if not self.get_config_option("needy_url"):
            raise ValueError("needy_url is not set")
        if not str(self.get_config_option("needy_url")).startswith("http"):
            raise ValueError("needy_url is not an HTTP URL")

    def _execute_error_hook(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing."""


class Loud(Recorder):
    """A hook whose constructor writes to standard output, which it should not."""

    def __init__(self, configuration: Any, host: str | None) -> None:
        super().__init__(configuration, host)
        sys.stdout.write("here I am\n")
