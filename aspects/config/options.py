# SPDX-License-Identifier: Apache-2.0
"""The options of a backend section and of a hook instance."""

from __future__ import annotations

from typing import Any

from oslo_config import cfg

#: Where installed hooks are found by their short names.
ENTRY_POINTS = "manila_aspects.hooks"


class SharedOpt(cfg.Opt):
    """An option that stands in for Manila's own of its name.

    oslo.config refuses a second, unequal option of one name, in whichever
    order the two are registered, and Manila registers its own when its manager
    is imported. This one is equal to any option of its name.
    """

    def __eq__(self, other: object) -> bool:
        return isinstance(other, cfg.Opt) and other.dest == self.dest

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = cfg.Opt.__hash__


class _SharedBoolOpt(SharedOpt, cfg.BoolOpt):
    pass


class _SharedFloatOpt(SharedOpt, cfg.FloatOpt):
    pass


#: Names, types and defaults are those of ``manila.share.hook.hook_options``;
#: ``suppress_periodic_hooks_errors`` is new.
hook_options: list[cfg.Opt] = [
    _SharedBoolOpt(
        "enable_pre_hooks",
        default=False,
        mutable=True,
        help="Whether to run pre actions, before the driver.",
    ),
    _SharedBoolOpt(
        "enable_post_hooks",
        default=False,
        mutable=True,
        help="Whether to run the endings, after the driver: the post action "
        "when it returned, the error action when it raised.",
    ),
    _SharedBoolOpt(
        "enable_periodic_hooks",
        default=False,
        mutable=True,
        help="Whether to run periodic actions.",
    ),
    _SharedBoolOpt(
        "suppress_pre_hooks_errors",
        default=False,
        mutable=True,
        help="Whether an error of a pre action is logged and the driver called "
        "all the same. A veto is never suppressed.",
    ),
    _SharedBoolOpt(
        "suppress_post_hooks_errors",
        default=False,
        mutable=True,
        help="Whether an error of a post action is logged and the driver's "
        "result returned all the same.",
    ),
    _SharedBoolOpt(
        "suppress_periodic_hooks_errors",
        default=False,
        mutable=True,
        help="Whether an error of a periodic action is logged and the next "
        "hook's periodic action run all the same.",
    ),
    _SharedFloatOpt(
        "periodic_hooks_interval",
        default=300.0,
        help="Seconds between two ticks. Read from [DEFAULT] when the share "
        "service starts.",
    ),
]

#: Options of a hook instance that Manila's hooks do not have.
instance_options: list[cfg.Opt] = [
    cfg.ListOpt(
        "hook_operations",
        default=["*"],
        mutable=True,
        help="Operations that the hook runs for: names or glob patterns, e.g. "
        "create_*, delete_*. A pattern that begins with ! excludes operations; "
        "exclusions alone exclude them from all. An empty list is no operation. "
        "Ticks are not operations: enable_periodic_hooks enables them.",
    ),
    cfg.StrOpt(
        "hook_enforcement",
        default="deny",
        choices=[
            ("deny", "the call is denied"),
            ("warn", "the veto is reported, and the call goes on"),
        ],
        mutable=True,
        help="Effect of a veto of the hook.",
    ),
    cfg.StrOpt(
        "hook_dispatch",
        default="inline",
        choices=[
            ("inline", "in the caller's thread"),
            (
                "background",
                "endings and periodic actions in order in a thread of their own; "
                "they cannot update results",
            ),
            (
                "durable",
                "of a hook that delivers events: each is on disk before the caller "
                "goes on, and delivered at least once",
            ),
        ],
        help="How the hook is run. A pre action always is in the caller's thread.",
    ),
    cfg.IntOpt(
        "hook_queue_size",
        default=1000,
        min=1,
        max=100_000,
        help="How many actions or events may wait in the background.",
    ),
    cfg.FloatOpt(
        "hook_queue_timeout",
        default=1.0,
        min=0,
        max=86400,
        help="Seconds that a caller waits for room in a full queue before the "
        "action is dropped, which is counted and logged.",
    ),
    cfg.FloatOpt(
        "hook_drain_timeout",
        default=10.0,
        min=0,
        max=86400,
        help="Seconds that a service that stops waits for what is in the queue.",
    ),
    cfg.FloatOpt(
        "hook_slow_seconds",
        default=0.0,
        min=0,
        mutable=True,
        help="An action that takes longer, in seconds, is counted and a warning in "
        "the log; 0 for never.",
    ),
    cfg.IntOpt(
        "hook_failure_limit",
        default=0,
        min=0,
        mutable=True,
        help="After so many suppressed errors in a row the hook is skipped for a "
        "while; 0 for never. A hook that may veto is never skipped.",
    ),
    cfg.FloatOpt(
        "hook_failure_pause",
        default=60.0,
        min=0,
        mutable=True,
        help="Seconds for which it is skipped, before it is tried once more.",
    ),
]

#: The attributes of a hook that make its part in a chain, and the option of each.
SWITCHES = {
    "hook_operations": "hook_operations",
    "hook_enforcement": "hook_enforcement",
    "hook_slow_seconds": "hook_slow_seconds",
    "hook_failure_limit": "hook_failure_limit",
    "hook_failure_pause": "hook_failure_pause",
    "pre_hooks_enabled": "enable_pre_hooks",
    "post_hooks_enabled": "enable_post_hooks",
    "periodic_hooks_enabled": "enable_periodic_hooks",
    "suppress_pre_hooks_errors": "suppress_pre_hooks_errors",
    "suppress_post_hooks_errors": "suppress_post_hooks_errors",
    "suppress_periodic_hooks_errors": "suppress_periodic_hooks_errors",
}


class _SharedListOpt(SharedOpt, cfg.ListOpt):
    pass


section_options: list[cfg.Opt] = [
    _SharedListOpt(
        "hook_drivers",
        default=[],
        mutable=True,
        help="The hooks of this backend, in order. An entry is [name=]what; what "
        "is path.to:Class, path.to.Class or the short name of an installed hook. "
        "Options of one instance go into a section [backend:name].",
    ),
    cfg.ListOpt(
        "hook_methods",
        default=[],
        help="Further driver methods to weave, under their own names.",
    ),
    cfg.IntOpt(
        "periodic_hooks_ticks",
        default=1,
        min=1,
        mutable=True,
        help="Run periodic actions on every so-manieth tick.",
    ),
]


#: Read once, when the service starts: by Manila itself, and for the proxy's class.
AT_START = ("periodic_hooks_interval", "hook_methods")


#: The name that stands for the operator's own.
BACKEND = "backend"


def list_opts() -> list[tuple[Any, list[cfg.Opt]]]:
    """Return the options of a backend and of the installed hooks.

    It is the entry point ``manila_aspects`` of ``oslo.config.opts``.

    :return: pairs of a group and its options; a hook whose library is not
        installed is left out
    """
    from stevedore.extension import ExtensionManager

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
