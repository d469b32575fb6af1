# SPDX-License-Identifier: Apache-2.0
"""Find the existing shares that violate rules, and report changes of that."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

from oslo_log import log

import aspects
from hooks.events.values import get
from hooks.guard.rules import Rule, RuleError, RuleFile
from hooks.guard.variables import Scene
from hooks.guard.windows import UTC

LOG = log.getLogger(__name__)


class Violation(NamedTuple):
    """A share for which the condition of a rule is true."""

    rule: str
    reason: str
    share_id: str
    share_instance_id: str
    share_project_id: str | None


class Changes(NamedTuple):
    """The difference between the violations of two ticks."""

    appeared: list[Violation]
    resolved: list[Violation]


class Audit:
    """The violations on the last tick. It starts with none."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], Violation] = {}
        self._rules: tuple[str, ...] = ()

    def counts(self) -> dict[str, int]:
        """Return the number of violations of each rule with ``audit: true``."""
        found = Counter(violation.rule for violation in self._found.values())
        return {rule: found[rule] for rule in self._rules}

    def update(
        self,
        file: RuleFile | None,
        context: Any,
        operation: aspects.Operation,
        share_instances: Iterable[Any],
    ) -> Changes:
        """Judge all shares, and return what has changed since the last tick.

        :param file: the rules; None for no rules
        :param context: the context of the tick
        :param operation: the operation of the tick
        :param share_instances: the share instances of the backend
        """
        before, found = self._found, {}
        rules = [rule for rule in file.rules if rule.audit] if file else []
        now = datetime.datetime.now(UTC)
        scenes = {
            str(id_): Scene(context, operation, {}, now, share)
            for share in share_instances
            if (id_ := get(share, "id")) is not None
        }
        for rule in rules:
            errors = []
            for id_, scene in scenes.items():
                try:
                    violation = _violation(rule, id_, scene)
                except RuleError as error:
                    errors.append(error)
                    violation = before.get((rule.name, id_))
                if violation:
                    found[rule.name, id_] = violation
            if errors:
                LOG.warning(
                    "Failed to audit %(count)d of %(all)d shares: %(error)s",
                    {"count": len(errors), "all": len(scenes), "error": errors[0]},
                )
        self._found, self._rules = found, tuple(rule.name for rule in rules)
        return Changes(
            [violation for key, violation in found.items() if key not in before],
            [violation for key, violation in before.items() if key not in found],
        )


def _violation(rule: Rule, id_: str, scene: Scene) -> Violation | None:
    reason = rule.judge(scene)
    if reason is None:
        return None
    share = scene.share
    return Violation(
        rule.name,
        aspects.without_secrets(reason, scene.context, {"share": share}),
        str(get(share, "share_id") or id_),
        id_,
        get(share, "project_id"),
    )
