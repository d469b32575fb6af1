# SPDX-License-Identifier: Apache-2.0
"""The rules of a file: read, compile and evaluate them."""

from __future__ import annotations

import datetime
import difflib
import fnmatch
import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import yaml
from oslo_log import log

import aspects
from hooks.guard.expressions import EvaluationError, Expression, ExpressionError
from hooks.guard.subjects import arguments_of
from hooks.guard.variables import (
    SHARE_VARIABLES,
    VARIABLES,
    Call,
    Parts,
    Scene,
    Variable,
    types_of,
)
from hooks.guard.windows import UTC

LOG = log.getLogger(__name__)

#: The keys of a rule.
KEYS = ("name", "operations", "when", "reason", "enforcement", "audit")

#: Operation -> the methods behind it, in addition to one of its own name.
_OPERATIONS = {**aspects.OPERATIONS, **aspects.REQUESTS}

#: What becomes of a call that a rule matches.
DENY, WARN = "deny", "warn"


class RuleError(aspects.AspectsError):
    """Raised when a rule cannot be evaluated. It is an error, not a decision."""


class Match(NamedTuple):
    """A rule that matches a call or a share."""

    rule: Rule
    reason: str
    """the reason of the rule, with the name of the rule"""


class Verdict(NamedTuple):
    """The decision of all rules about a call."""

    denials: list[Match]
    """the rules that deny the call"""
    warnings: list[Match]
    """the rules that would deny the call, if they were enforced"""
    errors: list[tuple[Rule, str]]
    """the rules that could not be evaluated, with the cause"""


class Reason:
    """The text of a veto, with expressions in braces.

    :param parts: texts and expressions
    """

    def __init__(self, parts: Iterable[str | Expression]) -> None:
        self.parts = tuple(parts)
        expressions = [part for part in self.parts if isinstance(part, Expression)]
        #: The variables in the expressions.
        self.names = tuple(name for found in expressions for name in found.names)

    def text(self, values: Mapping[str, Any]) -> str:
        """Return the text for one evaluation.

        :param values: the values of the variables
        :return: the text, with ``?`` in place of an expression without a value
        """
        return "".join(
            part if isinstance(part, str) else _shown(part, values)
            for part in self.parts
        )


def _shown(expression: Expression, values: Mapping[str, Any]) -> str:
    try:
        value = expression.evaluate(values)
    except EvaluationError:
        # The rule matches, so the call is denied even without a part of the reason.
        return "?"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value)


@dataclass(frozen=True)
class Rule:
    """A rule of a file.

    :param name: the name, which is unique in the file
    :param operations: names and patterns, as in ``hook_operations``
    :param when: the condition under which the rule matches
    :param reason: the reason of the veto
    :param enforcement: ``deny`` or ``warn``
    :param audit: whether the rule is applied to the existing shares too
    """

    name: str
    operations: tuple[str, ...]
    when: Expression
    reason: Reason
    enforcement: str
    audit: bool

    @functools.cached_property
    def parts(self) -> Parts:
        """The parts of a call that the rule is about."""
        return Parts.of(self.when.names, self.reason.names)

    def matches(self, call: Call) -> str | None:
        """Return the reason for which the rule matches a call, or None.

        :param call: the call
        :raises RuleError: if the condition has no value for a share, etc. of the call
        """
        scenes = call.scenes(self.parts)
        reasons = [reason for scene in scenes if (reason := self.judge(scene))]
        return "; ".join(dict.fromkeys(reasons)) or None

    def judge(self, scene: Scene) -> str | None:
        """Return the reason for which the rule matches one scene, or None.

        :param scene: a share, access rule, etc. of a call, or a share on a tick
        :raises RuleError: if the condition has no value
        """
        try:
            if not self.when.evaluate(scene.values(self.when.names)):
                return None
        except EvaluationError as error:
            raise RuleError(f"rule {self.name}: {error}") from None
        names = (*self.when.names, *self.reason.names)
        return f"{self.reason.text(scene.values(names))} (rule {self.name})"


class RuleFile:
    """The rules of a file. It is immutable: a changed file is another object.

    :param path: the path of the file
    :param text: its content
    :raises ValueError: with the line and column of each mistake, if there is any
    """

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self._text = text
        reader = _Reader(text)
        self.rules = reader.rules()
        if reader.mistakes:
            raise ValueError("; ".join(map(str, sorted(reader.mistakes))))
        self._by_operation: dict[str, tuple[Rule, ...]] = {}

    @classmethod
    def read(cls, path: str) -> RuleFile:
        """Read a file.

        :param path: the path of the file
        :raises ValueError: if it cannot be read, or has a mistake
        """
        try:
            with open(path, encoding="utf-8-sig") as file:
                return cls(path, file.read())
        except OSError as error:
            raise ValueError(error.strerror or str(error)) from None
        except UnicodeDecodeError as error:
            raise ValueError(f"the file is not in UTF-8: {error}") from None

    # A reload keeps the rules if neither the path nor the content has changed.

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RuleFile) and (self.path, self._text) == (
            other.path,
            other._text,
        )

    def __hash__(self) -> int:
        return hash((self.path, self._text))

    def __str__(self) -> str:
        return self.path

    def rules_for(self, operation: str) -> tuple[Rule, ...]:
        """Return the rules for an operation, in the order of the file.

        :param operation: the operation
        """
        rules = self._by_operation.get(operation)
        if rules is None:
            name = aspects.Operation(operation)
            rules = tuple(rule for rule in self.rules if name.matches(rule.operations))
            self._by_operation[str(operation)] = rules
        return rules

    def check(
        self,
        context: Any,
        operation: aspects.Operation,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        configuration: Any = None,
    ) -> None:
        """Raise a veto if a rule matches a call.

        :param context: the request's context
        :param operation: the operation
        :param args: the positional arguments, without the context
        :param kwargs: the keyword arguments, without the context
        :param configuration: the hook's configuration, whose secrets are masked
        :raises Veto: with the reasons of all rules that deny the call, or else of those
            with ``enforcement: warn``
        :raises RuleError: if no rule denies the call, and one cannot be evaluated
        """
        arguments = arguments_of(operation, args, kwargs)
        now = datetime.datetime.now(UTC)
        verdict = self.judge(Call(context, operation, arguments, now))

        def safe(texts: Iterable[str]) -> str:
            text = "; ".join(texts)
            known = (context, arguments)
            return aspects.without_secrets(text, *known, configuration=configuration)

        if verdict.denials:
            raise aspects.Veto(safe(match.reason for match in verdict.denials))
        for rule, error in verdict.errors:
            if rule.enforcement == DENY:
                raise RuleError(safe([error]))
            # A rule that is tried out must not fail a request.
            LOG.warning("%(error)s", {"error": safe([error])})
        if verdict.warnings:
            reason = safe(match.reason for match in verdict.warnings)
            raise aspects.Veto(reason, enforcement=WARN)

    def judge(self, call: Call) -> Verdict:
        """Return the decision of all rules about a call.

        :param call: the call
        """
        verdict = Verdict([], [], [])
        for rule in self.rules_for(call.operation):
            try:
                reason = rule.matches(call)
            except RuleError as error:
                verdict.errors.append((rule, str(error)))
                continue
            if reason is not None:
                denies = rule.enforcement == DENY
                matches = verdict.denials if denies else verdict.warnings
                matches.append(Match(rule, reason))
        return verdict


# -- reading -------------------------------------------------------------------


class Mistake(NamedTuple):
    """A mistake in a file."""

    line: int
    """the line, counted from 1"""
    column: int
    """the column, counted from 1"""
    cause: str

    def __str__(self) -> str:
        return f"line {self.line}, column {self.column}: {self.cause}"


def _nearest(name: str) -> str | None:
    """Return the operation that is probably meant by a name that no operation has.

    :return: None if the name may be that of a driver's own method in ``hook_methods``
    """
    for operation, methods in _OPERATIONS.items():
        if name in methods:
            return operation
    return next(iter(difflib.get_close_matches(name, _OPERATIONS, 1, 0.75)), None)


class _Reader:
    """Reads the rules of a file, and collects its mistakes.

    :param text: the content of the file
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.mistakes: list[Mistake] = []

    def rules(self) -> tuple[Rule, ...]:
        """Return the rules without mistakes, and note the mistakes of the others."""
        try:
            root = yaml.compose(self.text, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            self._note(mark.index if mark else 0, str(error.problem or error.context))
            return ()
        except yaml.YAMLError as error:
            self._note(0, " ".join(str(error).split()))
            return ()
        if not isinstance(root, yaml.SequenceNode):
            self._note(root.start_mark.index if root else 0, "expected a list of rules")
            return ()
        rules: dict[str, Rule] = {}
        for node in root.value:
            rule = self._rule(node)
            if rule is not None and rule.name in rules:
                self._note(node.start_mark.index, f"duplicate rule name {rule.name!r}")
            elif rule is not None:
                rules[rule.name] = rule
        return tuple(rules.values())

    def _note(self, index: int, cause: str) -> None:
        line = self.text.count("\n", 0, index) + 1
        column = index - self.text.rfind("\n", 0, index)
        self.mistakes.append(Mistake(line, column, cause))

    def _rule(self, node: Any) -> Rule | None:
        """Return a rule; None if it has a mistake, which is noted."""
        before = len(self.mistakes)
        fields = self._fields(node)
        is_audit = self._choice(fields.get("audit"), ("false", "true")) == "true"
        variables = SHARE_VARIABLES if is_audit else VARIABLES
        name, operations = fields.get("name"), fields.get("operations")
        when, reason = fields.get("when"), fields.get("reason")
        rule = Rule(
            self._text(name) if name else "",
            self._operations(operations) if operations else ("*",),
            self._condition(when, variables) if when else None,  # type: ignore[arg-type]
            Reason(self._parts(reason, variables) if reason else ()),
            self._choice(fields.get("enforcement"), (DENY, WARN)),
            is_audit,
        )
        return rule if len(self.mistakes) == before else None

    def _fields(self, node: Any) -> dict[str, Any]:
        """Return the values of a rule's keys."""
        if not isinstance(node, yaml.MappingNode):
            self._note(node.start_mark.index, "expected a rule, with name and when")
            return {}
        fields: dict[str, Any] = {}
        for key, value in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else ""
            if name not in KEYS:
                near = difflib.get_close_matches(name, KEYS, 1) or [", ".join(KEYS)]
                advice = f"did you mean {near[0]}?"
                self._note(key.start_mark.index, f"unknown key {name!r}; {advice}")
            elif name in fields:
                self._note(key.start_mark.index, f"duplicate key {name!r}")
            else:
                fields[name] = value
        for name in ("name", "when", "reason"):
            if name not in fields:
                self._note(node.start_mark.index, f"the rule has no {name}")
        return fields

    def _text(self, node: Any) -> str:
        """Return a text as written, also where YAML would make it a number, etc."""
        if not isinstance(node, yaml.ScalarNode) or not node.value.strip():
            cause = "expected a text"
            if not node.tag.startswith("tag:yaml.org,"):
                cause += "; put one that begins with ! in quotes, or after |"
            self._note(node.start_mark.index, cause)
            return ""
        return str(node.value)

    def _choice(self, node: Any, choices: tuple[str, ...]) -> str:
        """Return one of several words, by default the first."""
        if node is None:
            return choices[0]
        text = node.value if isinstance(node, yaml.ScalarNode) else "a list or mapping"
        if text not in choices:
            cause = f"expected {' or '.join(choices)}, got {text!r}"
            self._note(node.start_mark.index, cause)
        return str(text)

    def _operations(self, node: Any) -> tuple[str, ...]:
        if isinstance(node, yaml.SequenceNode):
            return tuple(map(self._operation, node.value))
        self._note(node.start_mark.index, "expected a list of operations")
        return ()

    def _operation(self, node: Any) -> str:
        """Return a name or pattern, and note one that is probably misspelled."""
        pattern = self._text(node)
        name = pattern.removeprefix("!")
        if name and not fnmatch.filter(_OPERATIONS, name) and (near := _nearest(name)):
            cause = f"no operation matches {name!r}; did you mean {near}?"
            self._note(node.start_mark.index, cause)
        return pattern

    def _condition(
        self, node: Any, variables: Mapping[str, Variable]
    ) -> Expression | None:
        text = self._text(node)
        when = self._expression(node, text, 0, variables) if text else None
        if when is not None and not when.is_condition:
            self._note(node.start_mark.index, "expected a condition, which is a bool")
        return when

    def _parts(
        self, node: Any, variables: Mapping[str, Variable]
    ) -> Iterator[str | Expression]:
        """Yield the texts and the expressions of a reason."""
        text = self._text(node)
        for found in re.finditer(r"\{\{|\}\}|\{([^{}]*)\}|[{}]|[^{}]+", text):
            if found[1] is not None:
                at = found.start(1)
                if expression := self._expression(node, found[1], at, variables):
                    yield expression
            elif found[0] in ("{", "}"):
                cause = f"unbalanced {found[0]}; write {found[0] * 2} for a literal one"
                self._note(self._index_in(node, found.start()), cause)
            else:
                yield found[0][:1] if found[0] in ("{{", "}}") else found[0]

    def _expression(
        self, node: Any, text: str, at: int, variables: Mapping[str, Variable]
    ) -> Expression | None:
        """Compile an expression.

        :param node: the value that has it
        :param text: the expression
        :param at: its position in the value
        :param variables: the variables that it may use
        """
        try:
            return Expression(text, types_of(variables))
        except ExpressionError as error:
            cause = str(error)
            if variables is SHARE_VARIABLES and cause.startswith("undeclared"):
                cause += "; a rule with audit may use only share, now and backend"
            self._note(self._index_in(node, at + error.offset), cause)
        return None

    def _index_in(self, node: Any, offset: int) -> int:
        """Return the index in the file of a character of a value.

        Quotes, indentation and folded lines change only the space around the
        characters of a value, so the others are counted.

        :param node: the value
        :param offset: the position in the value
        """
        start, end = node.start_mark.index, node.end_mark.index
        # The position of a value is that of its anchor or tag.
        if found := re.match(r"([&!]\S*\s+)+", self.text[start:end]):
            start += found.end()
        source = self.text[start:end]
        if node.style in ("|", ">"):
            start += source.find("\n") + 1
        elif node.style:
            start, end = start + 1, end - 1
        if (node.style == '"' and "\\" in source) or (
            node.style == "'" and "''" in source
        ):
            return int(start)
        before = len("".join(node.value[:offset].split()))
        places = [at for at in range(start, end) if not self.text[at].isspace()]
        if before < len(places):
            return places[before]
        return places[-1] + 1 if places else int(start)
