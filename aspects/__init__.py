# SPDX-License-Identifier: Apache-2.0
"""Hooks around the calls of an OpenStack share driver, woven in from outside."""

from aspects import testing
from aspects.config.sections import BackendSection
from aspects.config.weave import weave_from_config
from aspects.core.dispatch import Background
from aspects.core.log import hook_name
from aspects.core.status import hook_status
from aspects.decorators import add_hooks
from aspects.errors import AlreadyWoven, AspectsError, HookConfigError, Veto
from aspects.hook import HookBase, Observed, UpdatedArguments, UpdatedResults
from aspects.operations import OPERATIONS, Operation, is_coroutine
from aspects.periodic import tick
from aspects.requests import REQUESTS
from aspects.secrets import without_secrets
from aspects.shares import ShareType, share_metadata, share_type
from aspects.weaving import (
    Weaving,
    is_woven,
    started_weavings,
    unweave,
    weave,
    weaving,
)

__all__ = [
    "OPERATIONS",
    "REQUESTS",
    "AlreadyWoven",
    "AspectsError",
    "BackendSection",
    "Background",
    "HookBase",
    "HookConfigError",
    "Observed",
    "Operation",
    "ShareType",
    "UpdatedArguments",
    "UpdatedResults",
    "Veto",
    "Weaving",
    "add_hooks",
    "hook_name",
    "hook_status",
    "is_coroutine",
    "is_woven",
    "share_metadata",
    "share_type",
    "started_weavings",
    "testing",
    "tick",
    "unweave",
    "weave",
    "weave_from_config",
    "weaving",
    "without_secrets",
]
