# SPDX-License-Identifier: Apache-2.0
"""A hook for test_missing_receivers that breaks a directory."""

from __future__ import annotations

from pathlib import Path

from oslo_config import cfg

import aspects


class Break(aspects.HookBase):
    """Replaces a directory by a file when it starts, and so before later hooks do."""

    options = (cfg.StrOpt("break_path"),)

    def start(self):
        path = Path(self.get_config_option("break_path"))
        if path.exists():
            path.rmdir()
        path.write_text("")

    def _execute_pre_hook(self, context, func_name, *args, **kwargs):
        """Do nothing."""

    _execute_post_hook = _execute_periodic_hook = _execute_pre_hook
