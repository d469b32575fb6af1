# SPDX-License-Identifier: Apache-2.0
"""Hot reload: follow the configuration files."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable

from oslo_config import cfg
from oslo_log import log

from aspects.config.plan import Instance, Plan, _set_switches, plan
from aspects.config.problems import Problem
from aspects.errors import HookConfigError
from aspects.hook import Configuration
from aspects.weaving import Weaving

LOG = log.getLogger(__name__)


def _follow(configuration: Configuration, planned: Plan, woven: Weaving) -> None:
    """Have a chain follow the files after ``mutate_config_files()``."""
    # What is here lives as long as the options do: nothing of the hooks is.
    woven.instances = planned.instances
    reference, conf = weakref.ref(woven), planned.own.conf
    del woven, planned

    def mutated() -> bool:
        about = reference()
        if about is None:
            return False
        new = plan(configuration, about.host, before=about.instances)
        if new.problems:
            log_refusal(new.problems)
            return True
        instances = []
        for what, section, hook in new.instances:
            # A hook that is kept has its own section, which gets the new values.
            known = [old for old in about.instances if old.hook is hook]
            for old in known:
                old.section.values = section.values
            instances.append(known[0] if known else Instance(what, section, hook))
        about.instances = instances
        about.periodic_hooks_ticks = new.own.safe_get("periodic_hooks_ticks")
        about.replace(new.hooks, lambda: _set_switches(new))
        return True

    follow(conf, mutated)


class _Followers:
    """What is to be done when the options have changed; the options keep it."""

    def __init__(self) -> None:
        self.each: list[Callable[[], bool]] = []

    def mutated(self, conf: cfg.ConfigOpts, fresh: object) -> None:
        for each in tuple(self.each):
            if not each():
                self.each.remove(each)


# By the options' id, since they have no hash.
_followers: weakref.WeakValueDictionary[int, _Followers] = weakref.WeakValueDictionary()


def follow(conf: cfg.ConfigOpts, mutated: Callable[[], bool]) -> None:
    """Have something done after each ``mutate_config_files()``.

    Unlike oslo.config's own hooks, it may be what is done that calls this again.

    :param conf: the options
    :param mutated: what to do; false when it need not be done again
    """
    followers = _followers.get(id(conf))
    if followers is None:
        followers = _followers[id(conf)] = _Followers()
        conf.register_mutate_hook(followers.mutated)
    followers.each.append(mutated)


def log_refusal(problems: Iterable[Problem]) -> None:
    """Log what is wrong with an edited configuration."""
    for problem in HookConfigError(problems).problems:
        LOG.error("The hooks go on as they were: %s", problem)
