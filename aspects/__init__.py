# SPDX-License-Identifier: Apache-2.0
"""Hooks around the calls of an OpenStack share driver, woven in from outside."""

from aspects.config import BackendSection, HookConfigError, weave_from_config
from aspects.decorators import add_hooks
from aspects.dispatch import Background
from aspects.health import hook_name
from aspects.hook import HookBase, UpdatedResults, Veto
from aspects.operations import Operation, is_coroutine
from aspects.periodic import tick
from aspects.proxy import AlreadyWoven, Weaving, is_woven, unweave, weave, weaving
from aspects.secrets import without_secrets

__all__ = [
    "AlreadyWoven",
    "BackendSection",
    "Background",
    "HookBase",
    "HookConfigError",
    "Operation",
    "UpdatedResults",
    "Veto",
    "Weaving",
    "add_hooks",
    "hook_name",
    "is_coroutine",
    "is_woven",
    "tick",
    "unweave",
    "weave",
    "weave_from_config",
    "weaving",
    "without_secrets",
]
