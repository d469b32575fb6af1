# SPDX-License-Identifier: Apache-2.0
"""Veto calls by rule: by the rules of a file, and by limits that options set."""

from __future__ import annotations

import sys
import weakref
from typing import TYPE_CHECKING, Any, ClassVar

from oslo_config import cfg, types
from oslo_log import log

import aspects
from hooks.events.event import violation_event_of
from hooks.guard.limits import Limits, NoValidHost
from hooks.guard.subjects import is_manilas_own

if TYPE_CHECKING:
    from hooks.guard.audit import Audit, Violation
    from hooks.guard.rules import RuleFile

__all__ = ["GuardHook", "NoValidHost"]

LOG = log.getLogger(__name__)


class Rules(types.ConfigType):  # type: ignore[misc]
    """The type of an option that names a file of rules; its value is the rules."""

    def __init__(self) -> None:
        super().__init__(type_name="file of rules")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Rules)

    __hash__ = types.ConfigType.__hash__

    def __repr__(self) -> str:
        return "File"

    def _formatter(self, value: Any) -> str:
        """Return the default as the sample configuration shows it."""
        return str(value)

    def __call__(self, value: Any) -> RuleFile | None:
        """Read the file.

        :param value: the path; the rules if they were read before
        :return: the rules; None for an empty path
        :raises ValueError: if the file cannot be read, or has a mistake
        """
        if not isinstance(value, str):
            return value  # type: ignore[no-any-return]
        if not value:
            return None
        try:
            # Only this option needs the libraries that this imports.
            from hooks.guard.rules import RuleFile
        except ImportError as error:
            if sys.version_info < (3, 11):
                raise ValueError("a file of rules requires Python 3.11") from error
            raise ValueError(
                f"{error}; run pip install 'manila-aspects[guard]'"
            ) from error
        return RuleFile.read(value)


class GuardHook(aspects.HookBase):
    """Veto the calls that a rule denies, before the driver is called.

    It needs ``enable_pre_hooks``. On ticks, with ``enable_periodic_hooks``, it reports
    the shares that violate rules with ``audit: true``. All options are mutable.

    :raises ValueError: naming the option, if an option is invalid
    """

    required_methods: ClassVar = ("pre",)

    options = (
        cfg.Opt(
            "guard_rules_file",
            type=Rules(),
            mutable=True,
            help="Path of a YAML file of rules. A reload reads the file again.",
        ),
        cfg.MultiStrOpt(
            "guard_freeze",
            default=[],
            mutable=True,
            help="Period in which the operations are frozen, as in 0 22 * * fri 60h "
            "Europe/Berlin: the start as five cron fields, the duration in m, h or "
            "d, and the time zone. May be given multiple times.",
        ),
        cfg.ListOpt(
            "guard_allowed_projects",
            default=[],
            mutable=True,
            help="IDs of the allowed projects. Empty allows all projects.",
        ),
        cfg.ListOpt(
            "guard_denied_projects",
            default=[],
            mutable=True,
            help="IDs of the denied projects.",
        ),
        cfg.ListOpt(
            "guard_allowed_share_types",
            default=[],
            mutable=True,
            help="IDs or names of the allowed share types. Empty allows all share "
            "types.",
        ),
        cfg.ListOpt(
            "guard_denied_share_types",
            default=[],
            mutable=True,
            help="IDs or names of the denied share types.",
        ),
        cfg.IntOpt(
            "guard_min_size",
            min=1,
            mutable=True,
            help="Minimum size, in GiB, of shares and replicas that are created, or "
            "shrunk.",
        ),
        cfg.IntOpt(
            "guard_max_size",
            min=1,
            mutable=True,
            help="Maximum size, in GiB, of shares and replicas that are created, or "
            "extended.",
        ),
    )

    def __init__(self, configuration: Any, host: str | None) -> None:
        super().__init__(configuration, host)
        self._audit: Audit | None = None
        #: The hooks of the chain that emit events.
        self._reporters: list[weakref.ref[Any]] = []
        self._cache: tuple[dict[str, Any], Limits] | None = None
        # Report invalid options when the service starts, not at the first call.
        self.limits()

    def limits(self) -> Limits:
        """Return the rules of the current options.

        :raises ValueError: naming the option, its value and the cause, if one is
            invalid
        """
        names = (option.name for option in self.options[1:])
        values = {name: self.get_config_option(name) for name in names}
        if self._cache is None or values != self._cache[0]:
            self._cache = values, Limits.of(values)
        return self._cache[1]

    def ineffective(self) -> tuple[str, str] | None:
        """Return why the guard vetoes nothing."""
        if not self.hook_operations:
            advice = "list the operations to guard"
            return "the hook has no effect, since hook_operations is empty", advice
        limits = self.limits()
        file = self.get_config_option("guard_rules_file")
        has_rule = limits.freeze or limits.concern_shares or (file and file.rules)
        if not has_rule:
            advice = "set guard_rules_file, guard_freeze or another of its rules"
            return "the hook has no effect, since it has no rule", advice
        return super().ineffective()

    def _execute_pre_hook(
        self, context: Any, func_name: Any, *args: Any, **kwargs: Any
    ) -> None:
        named = func_name in self.hook_operations
        if not named and is_manilas_own(context, func_name, args, kwargs):
            return
        self.limits().check(context, func_name, args, kwargs)
        # Read once: a reload may replace the rules during the call.
        rules = self.get_config_option("guard_rules_file")
        if rules is not None:
            rules.check(context, func_name, args, kwargs, self.configuration)

    def _execute_post_hook(
        self,
        context: Any,
        func_name: Any,
        pre_hook_data: Any,
        driver_action_results: Any,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """Do nothing: the call was allowed."""

    def _execute_periodic_hook(
        self, context: Any, periodic_hook_data: Any, *args: Any, **kwargs: Any
    ) -> None:
        file = self.get_config_option("guard_rules_file")
        if self._audit is None:
            if file is None:
                return
            # Only rules need the libraries that this imports.
            from hooks.guard.audit import Audit

            self._audit = Audit()
        backend = getattr(self.configuration, "config_group", None)
        tick = aspects.Operation("periodic", backend=backend, host=self.host)
        # The driver may return anything for its periodic hooks.
        is_list = isinstance(periodic_hook_data, (list, tuple))
        shares = periodic_hook_data if is_list else ()
        for state, violations in (
            self._audit.update(file, context, tick, shares)._asdict().items()
        ):
            for violation in violations:
                self._report(state, violation, context, backend)

    def _report(
        self, state: str, violation: Violation, context: Any, backend: str | None
    ) -> None:
        """Log a violation that has appeared or was resolved, and emit an event."""
        LOG.warning(
            "Hook %(hook)s of backend %(backend)s: violation %(state)s: share "
            "%(share_id)s (instance %(share_instance_id)s): %(reason)s",
            {
                "hook": aspects.hook_name(self),
                "backend": backend,
                "state": state,
                **violation._asdict(),
            },
        )
        data = {"hook": aspects.hook_name(self), **violation._asdict()}
        event = violation_event_of(state, data, context, backend, self.host)
        for reference in self._reporters:
            hook = reference()
            if hook is None or not hook.periodic_hooks_enabled:
                continue
            try:
                hook.report(context, event)
            except Exception as error:
                # An error of one hook must not keep the others from the event.
                LOG.warning(
                    "Hook %(hook)s failed to report a violation: %(type)s",
                    {"hook": aspects.hook_name(hook), "type": type(error).__name__},
                )

    def violations(self) -> dict[str, int]:
        """Return the number of shares that violate each rule with ``audit: true``."""
        return {} if self._audit is None else self._audit.counts()

    def chain_changed(self, hooks: tuple[Any, ...]) -> None:
        """Keep the hooks that emit events, for those about violations."""
        self._reporters = [
            weakref.ref(hook) for hook in hooks if hasattr(hook, "report")
        ]
