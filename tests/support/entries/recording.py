# SPDX-License-Identifier: Apache-2.0
"""Hooks that record their calls."""

from oslo_config import cfg

import aspects


class Driver:
    """A share driver that calls ``during`` in each call."""

    def __init__(self, during=lambda: None):
        self.during = during
        self.calls = 0

    def create_share(self, context, share, share_server=None):
        self.calls += 1
        self.during()
        return "export"

    def further(self, context):
        return "further"


class _Methods:
    def _remember(self, *what):
        if "seen" not in vars(self):
            self.seen = []
        self.seen.append(what)

    def _execute_pre_hook(self, context, func_name, *args, **kwargs):
        self._remember("pre", func_name)

    def _execute_post_hook(
        self, context, func_name, pre_hook_data, driver_action_results, *args, **kwargs
    ):
        self._remember("post", func_name)

    def _execute_periodic_hook(self, context, periodic_hook_data, *args, **kwargs):
        self._remember("periodic", periodic_hook_data)


class Recorder(_Methods, aspects.HookBase):
    """A hook with its own options."""

    options = (
        cfg.StrOpt("color", default="gray", mutable=True),
        cfg.IntOpt("depth", default=3),
        cfg.IntOpt("pin", default=0, secret=True),
        cfg.BoolOpt("failing", default=False, mutable=True),
    )

    def _remember(self, *what):
        super()._remember(*what)
        if self.get_config_option("failing"):
            raise OSError(f"{what[0]} of {self.instance_name} failed")


class OtherRecorder(_Methods, aspects.HookBase):
    """A hook with an option of the same name as another hook's, but another default."""

    options = (cfg.StrOpt("color", default="teal", mutable=True),)


class HandMade(_Methods, aspects.HookBase):
    """A hook that registers its options itself, as upstream's hooks have to."""

    def __init__(self, configuration, host):
        super().__init__(configuration, host)
        options = [cfg.StrOpt("color", default="gray"), cfg.IntOpt("depth", default=3)]
        configuration.append_config_values(options)
        self.color = self.get_config_option("color")


class Upstream(_Methods):
    """A hook like one that inherits Manila's ``HookBase``.

    Its switches are plain attributes. The options that it registers are immutable, and
    differ from those of ``aspects``.
    """

    options = [
        cfg.BoolOpt("enable_pre_hooks", default=False, help="Whether to pre."),
        cfg.BoolOpt("enable_post_hooks", default=False, help="Whether to post."),
        cfg.BoolOpt("enable_periodic_hooks", default=False, help="Whether to tick."),
        cfg.BoolOpt("suppress_pre_hooks_errors", default=False, help="Whether."),
        cfg.BoolOpt("suppress_post_hooks_errors", default=False, help="Whether."),
        cfg.FloatOpt("periodic_hooks_interval", default=300.0, help="Interval."),
    ]
    fails_in = None

    def __init__(self, configuration, host):
        self.configuration = configuration
        self.host = host
        configuration.append_config_values(self.options)
        get = configuration.safe_get
        self.pre_hooks_enabled = get("enable_pre_hooks")
        self.post_hooks_enabled = get("enable_post_hooks")
        self.periodic_hooks_enabled = get("enable_periodic_hooks")
        self.suppress_pre_hooks_errors = get("suppress_pre_hooks_errors")
        self.suppress_post_hooks_errors = get("suppress_post_hooks_errors")

    def _remember(self, *what):
        super()._remember(*what)
        if self.fails_in == what[0]:
            raise OSError(f"{what[0]} failed")


class FailsInPeriodic(Upstream):
    fails_in = "periodic"


class Incomplete(aspects.HookBase):
    def _execute_pre_hook(self, context, func_name, *args, **kwargs):
        pass

    def _execute_periodic_hook(self, context, periodic_hook_data, *args, **kwargs):
        pass


class Choosy(Recorder):
    def __init__(self, configuration, host):
        super().__init__(configuration, host)
        raise LookupError("no such queue")


class Indiscreet(Recorder):
    """A hook whose constructor raises an error with a secret option in its text."""

    options = (
        *Recorder.options,
        cfg.StrOpt("key_phrase", default="", secret=True),
    )

    def __init__(self, configuration, host):
        super().__init__(configuration, host)
        phrase = self.get_config_option("key_phrase")
        raise LookupError(f"unknown phrase {phrase}")


not_a_class = 3

# A trailing comma turns a class into a tuple.
in_a_tuple = (Recorder,)
