# SPDX-License-Identifier: Apache-2.0
"""The options of a backend section and of a hook instance."""

from __future__ import annotations

from typing import Any

from oslo_config import cfg

#: The entry point group of installed hooks; an entry point's name is a short name.
ENTRY_POINTS = "manila_aspects.hooks"


class SharedOpt(cfg.Opt):
    """An option that can be registered beside Manila's option of the same name.

    Manila registers its own option when its manager is imported, before or after this
    one. oslo.config rejects a second option of one name unless the two are equal, so
    this one equals any option of its name.
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
        help="Whether to run pre methods, before the driver method.",
    ),
    _SharedBoolOpt(
        "enable_post_hooks",
        default=False,
        mutable=True,
        help="Whether to run the completions, after the driver method: the post "
        "method when it returned, the error method when it raised.",
    ),
    _SharedBoolOpt(
        "enable_periodic_hooks",
        default=False,
        mutable=True,
        help="Whether to run periodic methods.",
    ),
    _SharedBoolOpt(
        "suppress_pre_hooks_errors",
        default=False,
        mutable=True,
        help="Whether to log errors of pre methods and still call the driver "
        "method. A veto is never suppressed.",
    ),
    _SharedBoolOpt(
        "suppress_post_hooks_errors",
        default=False,
        mutable=True,
        help="Whether to log errors of post methods and still return the result "
        "of the driver method.",
    ),
    _SharedBoolOpt(
        "suppress_periodic_hooks_errors",
        default=False,
        mutable=True,
        help="Whether to log errors of periodic methods and still run the "
        "periodic methods of the remaining hooks.",
    ),
    _SharedFloatOpt(
        "periodic_hooks_interval",
        default=300.0,
        help="Interval between two ticks, in seconds. Read from [DEFAULT] when the "
        "share service starts. 0 means 60 seconds; a negative value disables ticks.",
    ),
]

#: Options of a hook instance that Manila's hooks do not have.
instance_options: list[cfg.Opt] = [
    cfg.ListOpt(
        "hook_operations",
        default=["*"],
        mutable=True,
        help="Operations that the hook runs for, as names or glob patterns, e.g. "
        "create_*, delete_*. A pattern that begins with ! excludes operations; "
        "exclusions alone allow all other operations. An empty list allows none. "
        "Ticks are not operations; enable_periodic_hooks enables them.",
    ),
    cfg.StrOpt(
        "hook_enforcement",
        default="deny",
        choices=[
            ("deny", "deny the call"),
            ("warn", "report the veto and let the call proceed"),
        ],
        mutable=True,
        help="Effect of a veto of the hook.",
    ),
    cfg.StrOpt(
        "hook_dispatch",
        default="inline",
        choices=[
            ("inline", "run all methods in the caller's thread"),
            (
                "background",
                "run completions and periodic methods, in order, in a thread of the "
                "hook; they cannot update results",
            ),
            (
                "durable",
                "write each event to disk before the call returns, and deliver it at "
                "least once; only for hooks that deliver events",
            ),
        ],
        help="Where the methods of the hook run. Pre methods always run in the "
        "caller's thread.",
    ),
    cfg.IntOpt(
        "hook_queue_size",
        default=1000,
        min=1,
        max=100_000,
        help="Maximum number of hook methods in the queue of a hook that runs in the "
        "background, including the one that is running.",
    ),
    cfg.FloatOpt(
        "hook_queue_timeout",
        default=1.0,
        min=0,
        max=86400,
        help="Time, in seconds, that a caller waits for capacity in a full queue "
        "before the hook method is dropped. Drops are counted and logged.",
    ),
    cfg.FloatOpt(
        "hook_drain_timeout",
        default=10.0,
        min=0,
        max=86400,
        help="Time, in seconds, that a stopping service waits for the queue of the "
        "hook to drain.",
    ),
    cfg.FloatOpt(
        "hook_slow_seconds",
        default=0.0,
        min=0,
        mutable=True,
        help="Time, in seconds, after which a run of a hook method counts as slow and "
        "is logged as a warning. 0 disables the warning.",
    ),
    cfg.IntOpt(
        "hook_failure_limit",
        default=0,
        min=0,
        mutable=True,
        help="Number of consecutive suppressed errors after which calls skip the hook "
        "temporarily. 0 disables the limit. A hook that may veto and whose pre method "
        "is enabled is never skipped.",
    ),
    cfg.FloatOpt(
        "hook_failure_pause",
        default=60.0,
        min=0,
        mutable=True,
        help="Time, in seconds, for which calls skip a hook that has reached "
        "hook_failure_limit, before one call tries it again.",
    ),
]

#: Switch, an attribute of a hook -> the option that sets it.
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
        help="Hooks of this backend, in order. Each entry is [name=]hook, where hook "
        "is path.to:Class, path.to.Class or the short name of an installed hook. "
        "Options of one instance belong in a section [backend:name].",
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
        help="Number of ticks per run of the periodic methods. 1 runs them on every "
        "tick.",
    ),
]


#: The options that are read only when the service starts: Manila schedules ticks then,
#: and the class of the proxy is created then.
AT_START = ("periodic_hooks_interval", "hook_methods")


#: The placeholder for the name of a backend in the sample configuration.
BACKEND = "backend"


def list_opts() -> list[tuple[Any, list[cfg.Opt]]]:
    """Return the options of a backend and of the installed hooks.

    This is the entry point ``manila_aspects`` of ``oslo.config.opts``.

    :return: pairs of a group and its options; hooks whose libraries are not installed
        are omitted
    """
    from stevedore.extension import ExtensionManager

    backend = cfg.OptGroup(
        BACKEND,
        help="Section of one backend. Replace backend with its name in "
        "enabled_share_backends. Options here apply to all hooks of the backend; "
        "options in [DEFAULT] apply to the hooks of all backends.",
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
                help=f"Section of the hook instance {name!r} of a backend. Options of "
                "[backend] can be set here too, for this instance alone.",
            )
            groups.append((group, options))
    return groups
