# SPDX-License-Identifier: Apache-2.0
"""The options for oslo.config's generator and validator.

Sections have the names that an operator chooses. Here they are those of a backend
called ``backend`` with one instance of each installed hook.
"""

from __future__ import annotations

from typing import Any

from oslo_config import cfg
from stevedore.extension import ExtensionManager

from aspects.config import section_options
from aspects.hook import hook_options, instance_options
from aspects.names import ENTRY_POINTS

#: The name that stands for the operator's own.
BACKEND = "backend"


def list_opts() -> list[tuple[Any, list[cfg.Opt]]]:
    """Return the options of a backend and of the installed hooks.

    It is the entry point ``manila_aspects`` of ``oslo.config.opts``.

    :return: pairs of a group and its options; a hook whose library is not
        installed is left out
    """
    backend = cfg.OptGroup(
        BACKEND,
        help="The section of one backend: its name is that in "
        "enabled_share_backends. What stands here is for all of its hooks, what "
        "stands in [DEFAULT] for those of all backends.",
    )
    groups: list[tuple[Any, list[cfg.Opt]]] = [
        (backend, [*section_options, *hook_options, *instance_options])
    ]
    installed: Any = ExtensionManager(
        ENTRY_POINTS, on_load_failure_callback=lambda *failure: None
    )
    for name, hook in sorted((found.name, found.plugin) for found in installed):
        if options := list(getattr(hook, "options", ())):
            group = cfg.OptGroup(
                f"{BACKEND}:{name}",
                help=f"The section of the hook instance {name!r} of a backend. "
                "The options of [backend] can stand here too, for it alone.",
            )
            groups.append((group, options))
    return groups
