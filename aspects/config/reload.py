# SPDX-License-Identifier: Apache-2.0
"""Hot reload: follow the configuration files.

On ``SIGHUP`` a service calls ``mutate_config_files()``, and oslo.config reads its files
again. Then the following steps run for each woven driver:

1. :func:`plan` reads the backend section and constructs the hooks that are new or have
   to be re-created. It does not touch the running chain.
2. If the section has errors, all of them are logged, and nothing else changes.
3. The hooks that are kept get the new values of their options.
4. ``Weaving.replace`` starts the new hooks, replaces the chain as a whole, and stops
   each removed hook after its last call.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Iterable

from oslo_config import cfg
from oslo_log import log

from aspects.config.plan import Instance, Plan, plan
from aspects.config.problems import Problem
from aspects.errors import HookConfigError
from aspects.hook import Configuration
from aspects.weaving import Reload, Weaving

LOG = log.getLogger(__name__)


def follow_section(
    configuration: Configuration, planned: Plan, weaving: Weaving
) -> None:
    """Update the hooks of a driver after each ``mutate_config_files()``.

    :param configuration: the backend's section
    :param planned: the hooks that are woven now
    :param weaving: the hooks around the driver
    """
    weaving.instances = planned.instances
    # A weak reference, because the options outlive the driver and its hooks.
    reference = weakref.ref(weaving)

    def mutated() -> bool:
        alive = reference()
        if alive is not None:
            reload(configuration, alive)
        return alive is not None

    follow(planned.own.conf, mutated)


def reload(configuration: Configuration, weaving: Weaving) -> None:
    """Update the hooks of a driver to its section, as a whole or not at all.

    :param configuration: the backend's section
    :param weaving: the hooks around the driver
    """
    new = plan(
        configuration,
        weaving.host,
        before=weaving.instances,
        interface=weaving.interface,
    )
    weaving.last_reload = Reload(time.time(), log_rejection(new.problems))
    if new.problems:
        return
    weaving.instances = [_updated(found, weaving.instances) for found in new.instances]
    weaving.periodic_hooks_ticks = new.own.safe_get("periodic_hooks_ticks")
    weaving.replace(new.hooks, new.set_switches)


def _updated(new: Instance, before: Iterable[Instance]) -> Instance:
    """Return an instance of the new chain, with the new values.

    A hook that is kept also keeps its configuration object, which is updated.
    """
    for old in before:
        if old.hook is new.hook:
            old.section.update(new.section)
            return old
    return new


def log_rejection(problems: Iterable[Problem]) -> tuple[str, ...]:
    """Log the errors because of which a reload is rejected.

    :param problems: the errors; there may be none
    :return: a line for each
    """
    lines = tuple(map(str, HookConfigError(problems).problems))
    for line in lines:
        LOG.error("Configuration reload rejected, keeping the current hooks: %s", line)
    return lines


# -- oslo.config's hook --------------------------------------------------------


class _Followers:
    """Functions to call after the files were read again."""

    def __init__(self) -> None:
        self.functions: list[Callable[[], bool]] = []

    def mutated(self, conf: cfg.ConfigOpts, fresh: object) -> None:
        """Call all functions; oslo.config calls this.

        :param conf: the options
        :param fresh: the options that have changed
        """
        for function in tuple(self.functions):
            if not function():
                self.functions.remove(function)


# Keyed by the ID of the options, which are not hashable. The mutate hook that is
# registered with the options keeps the followers alive.
_followers: weakref.WeakValueDictionary[int, _Followers] = weakref.WeakValueDictionary()


def follow(conf: cfg.ConfigOpts, mutated: Callable[[], bool]) -> None:
    """Call a function after each ``mutate_config_files()``.

    Unlike a mutate hook of oslo.config, the function may register further functions
    while it runs.

    :param conf: the options
    :param mutated: the function; called until it returns False
    """
    followers = _followers.get(id(conf))
    if followers is None:
        followers = _followers[id(conf)] = _Followers()
        conf.register_mutate_hook(followers.mutated)
    followers.functions.append(mutated)
