# SPDX-License-Identifier: Apache-2.0
"""Cases that rules are tested with: calls, and the decision expected for each."""

from __future__ import annotations

import datetime
import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import yaml
from oslo_context import context as oslo_context

import aspects
from hooks.guard.rules import DENY, WARN, RuleError, RuleFile
from hooks.guard.variables import Call
from hooks.guard.windows import UTC

ALLOW, ERROR = "allow", "error"

#: The decisions that a case may expect.
DECISIONS = (ALLOW, WARN, DENY, ERROR)

#: The keys of a case.
KEYS = (
    *("name", "operation", "backend", "arguments", "user", "now", "event"),
    *("expect", "rules"),
)

#: Fields of an event -> the key of a share in a call.
_SHARE_FIELDS = {
    "share_id": "share_id",
    "share_name": "display_name",
    "share_size": "size",
    "share_proto": "share_proto",
    "share_project_id": "project_id",
    "metadata": "metadata",
}

#: Fields of an event that a call has under the same name.
_ARGUMENTS = ("new_size", "add_rules", "delete_rules", "update_rules")


class Outcome(NamedTuple):
    """The decision of rules about a case."""

    decision: str
    """``allow``, ``warn``, ``deny`` or ``error``"""
    rules: tuple[str, ...]
    """the names of the rules that decided"""
    reasons: tuple[str, ...]
    """their reasons, or their errors"""


class Explanation(NamedTuple):
    """The decision of one rule about a case."""

    rule: str
    result: str
    """``deny``, ``warn``, ``error``, ``no match`` or ``not applied``"""
    because: str
    """the reason of the rule, or why it does not match"""
    values: Mapping[str, Any]
    """the values of the variables of its condition, if it was evaluated"""


@dataclass(frozen=True)
class Case:
    """A call, and the decision that is expected.

    :param name: the name of the case
    :param call: the call
    :param expect: the expected decision; None if there is none
    :param rules: the names of the rules that have to decide; None for any
    """

    name: str
    call: Call
    expect: str | None
    rules: tuple[str, ...] | None

    @classmethod
    def of(cls, values: Any, number: int) -> Case:
        """Construct a case from the values of a file.

        :param values: the values by key
        :param number: the position in the file, counted from 1
        :raises ValueError: if there is a mistake
        """
        if not isinstance(values, Mapping):
            raise ValueError(f"case {number}: expected a mapping")
        name = str(values.get("name", f"case {number}"))
        for key in values:
            if key not in KEYS:
                near = difflib.get_close_matches(str(key), KEYS, 1) or [", ".join(KEYS)]
                cause = f"unknown key {key!r}; did you mean {near[0]}?"
                raise ValueError(f"{name}: {cause}")
        expect = values.get("expect")
        if expect is not None and expect not in DECISIONS:
            raise ValueError(
                f"{name}: expect: expected {', '.join(DECISIONS)}, got {expect!r}"
            )
        data = _mapping(_mapping(values, "event", name), "data", name)
        operation = values.get("operation", data.get("operation"))
        if not isinstance(operation, str):
            raise ValueError(f"{name}: the case has no operation")
        user = _mapping(values, "user", name)
        roles, rules = user.get("roles") or [], values.get("rules")
        for key, names in (("roles", roles), ("rules", rules)):
            if names is not None and not isinstance(names, list):
                raise ValueError(f"{name}: {key}: expected a list, got {names!r}")
        context = oslo_context.RequestContext(
            user_id=user.get("id", data.get("user_id")),
            project_id=user.get("project", data.get("project_id")),
            roles=roles,
            overwrite=False,
        )
        call = Call(
            context,
            aspects.Operation(
                operation, backend=values.get("backend", data.get("backend"))
            ),
            {**_arguments_of(data), **_mapping(values, "arguments", name)},
            _time(values, name),
        )
        return cls(name, call, expect, None if rules is None else (*rules,))

    def outcome(self, file: RuleFile) -> Outcome:
        """Return the decision of rules about the case.

        :param file: the rules
        """
        verdict = file.judge(self.call)
        if verdict.denials:
            decision, found = DENY, verdict.denials
        elif errors := [pair for pair in verdict.errors if pair[0].enforcement == DENY]:
            names = tuple(rule.name for rule, _ in errors)
            return Outcome(ERROR, names, tuple(text for _, text in errors))
        else:
            decision, found = (WARN if verdict.warnings else ALLOW), verdict.warnings
        names = tuple(match.rule.name for match in found)
        return Outcome(decision, names, tuple(match.reason for match in found))

    def passes(self, outcome: Outcome) -> bool:
        """Return whether an outcome is the expected one.

        :param outcome: the outcome of this case
        """
        return outcome.decision == self.expect and (
            self.rules is None or sorted(self.rules) == sorted(outcome.rules)
        )

    def explain(self, file: RuleFile) -> list[Explanation]:
        """Return the decision of each rule about the case.

        :param file: the rules
        """
        explanations = []
        for rule in file.rules:
            if rule not in file.rules_for(self.call.operation):
                because = f"it is not for {self.call.operation}"
                explanations.append(Explanation(rule.name, "not applied", because, {}))
                continue
            scenes = self.call.scenes(rule.parts)
            if not scenes:
                because = "the call has nothing of what the condition names"
                explanations.append(Explanation(rule.name, "not applied", because, {}))
            for scene in scenes:
                values = scene.values(rule.when.names)
                try:
                    reason = rule.judge(scene)
                except RuleError as error:
                    result, because = ERROR, str(error)
                else:
                    result = rule.enforcement if reason else "no match"
                    because = reason or " ".join(rule.when.text.split())
                explanations.append(Explanation(rule.name, result, because, values))
        return explanations


def read_cases(path: str) -> list[Case]:
    """Read the cases of a file.

    :param path: the path of a YAML or JSON file, with a list of cases or one case
    :raises ValueError: if the file cannot be read, or has a mistake
    """
    try:
        with open(path, encoding="utf-8-sig") as file:
            found = yaml.safe_load(file)
    except OSError as error:
        raise ValueError(error.strerror or str(error)) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(" ".join(str(error).split())) from None
    values = found if isinstance(found, list) else [found]
    return [Case.of(value, number) for number, value in enumerate(values, 1)]


def _mapping(values: Mapping[str, Any], key: str, name: str) -> Mapping[str, Any]:
    found = values.get(key)
    if found is None:
        return {}
    if not isinstance(found, Mapping):
        raise ValueError(f"{name}: {key}: expected a mapping, got {found!r}")
    return found


def _arguments_of(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that the data of an event has."""
    arguments = {name: data[name] for name in _ARGUMENTS if name in data}
    share = {key: data[field] for field, key in _SHARE_FIELDS.items() if field in data}
    share["share_type"] = {
        "id": data.get("share_type_id"),
        "name": data.get("share_type_name"),
    }
    if "snapshot_id" in data:
        arguments["snapshot"] = {
            "snapshot_id": data["snapshot_id"],
            "display_name": data.get("snapshot_name"),
            "size": data.get("snapshot_size"),
        }
    return {**arguments, "share": share} if "share_id" in data else arguments


def _time(values: Mapping[str, Any], name: str) -> datetime.datetime:
    found = values.get("now")
    if found is None:
        return datetime.datetime.now(UTC)
    if isinstance(found, str):
        try:
            found = datetime.datetime.fromisoformat(found)
        except ValueError:
            found = None
    if not isinstance(found, datetime.datetime):
        raise ValueError(
            f"{name}: now: expected a time, as in 2026-11-30T12:00:00+01:00"
        )
    return found if found.tzinfo else found.replace(tzinfo=UTC)
