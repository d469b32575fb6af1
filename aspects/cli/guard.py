# SPDX-License-Identifier: Apache-2.0
"""Implement ``manila-aspects guard``, which tests and explains rules of the guard."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import Any

from aspects.cli import output
from aspects.cli.command import FAILED, CommandError, add_command, add_format
from aspects.cli.output import Table


def add(commands: Any) -> argparse.ArgumentParser:
    """Add the parser of ``guard``.

    :param commands: the subparsers of ``manila-aspects``
    :return: the command's parser
    """
    parser = add_command(
        commands,
        "guard",
        "test the rules of the guard hook",
        "Test a file of rules for the guard hook, or explain its decisions.",
        (
            "guard test rules.yaml cases.yaml",
            "guard explain rules.yaml case.yaml",
        ),
    )
    topics = parser.add_subparsers(title="topics", metavar="TOPIC", required=True)
    test = add_command(
        topics,
        "test",
        "compare the decisions of rules with the expected ones",
        "Judge each case with the rules, and compare the decision with the expected "
        "one. The exit status is 0 if all cases pass, else 1.",
        (
            "guard test rules.yaml cases.yaml",
            "guard test rules.yaml cases.yaml --format json",
        ),
    )
    test.set_defaults(topic=_test)
    explain = add_command(
        topics,
        "explain",
        "show why rules match a case",
        "Show, for each case, the decision of each rule and the values of the "
        "variables of its condition.",
        ("guard explain rules.yaml case.yaml",),
    )
    explain.set_defaults(topic=_explain)
    for topic, metavar in ((test, "CASES"), (explain, "CASE")):
        topic.add_argument("rules", metavar="RULES", help="file of rules")
        topic.add_argument("cases", metavar=metavar, help="file of one or more cases")
        add_format(topic)
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Test or explain the rules.

    The guard's libraries are imported only here, since no other command needs them.

    :param arguments: the parsed command line
    :return: the exit status
    :raises CommandError: if a file cannot be read, or has a mistake
    """
    try:
        from hooks.guard.cases import read_cases
        from hooks.guard.rules import RuleFile
    except ImportError as error:
        raise CommandError(
            f"{error}; with Python 3.11 or later, "
            "run pip install 'manila-aspects[guard]'"
        ) from error
    rules = _read(arguments.rules, RuleFile.read)
    cases = _read(arguments.cases, read_cases)
    status: int = arguments.topic(rules, cases, arguments.format == "json")
    return status


def _read(path: str, read: Callable[[str], Any]) -> Any:
    try:
        return read(path)
    except ValueError as error:
        raise CommandError(f"{path}: {error}") from error


def _test(rules: Any, cases: Any, as_json: bool) -> int:
    """Print the decision about each case, and whether it is the expected one."""
    results = []
    for case in cases:
        if case.expect is None:
            raise CommandError(f"{case.name}: the case has no expect")
        outcome = case.outcome(rules)
        results.append(
            {
                "case": case.name,
                "passed": case.passes(outcome),
                "expected": case.expect,
                "expected_rules": case.rules,
                "decision": outcome.decision,
                "rules": outcome.rules,
                "reasons": outcome.reasons,
            }
        )
    failed = [result for result in results if not result["passed"]]
    if as_json:
        output.print_line(json.dumps(results, indent=2))
    else:
        noun = "case" if len(results) == 1 else "cases"
        text = f"{len(results)} {noun}, {len(failed)} failed"
        rows = [
            (
                "pass" if result["passed"] else "FAIL",
                result["case"],
                _decision(result["expected"], result["expected_rules"]),
                _decision(result["decision"], result["rules"]),
            )
            for result in results
        ]
        columns = ("", "case", "expected", "decision")
        output.print_tables([Table(str(rules), text, columns, rows)])
    return FAILED if failed else 0


def _decision(decision: str, rules: Any) -> str:
    return f"{decision} ({', '.join(rules)})" if rules else decision


def _explain(rules: Any, cases: Any, as_json: bool) -> int:
    """Print the decision of each rule about each case."""
    found = [(case, case.outcome(rules), case.explain(rules)) for case in cases]
    if as_json:
        documents = [
            {
                "case": case.name,
                "decision": outcome.decision,
                "rules": [explanation._asdict() for explanation in explanations],
            }
            for case, outcome, explanations in found
        ]
        output.print_line(json.dumps(documents, indent=2, default=str))
        return 0
    columns = ("rule", "result", "because", "values")
    output.print_tables(
        Table(
            case.name,
            _decision(outcome.decision, outcome.rules),
            columns,
            [
                (
                    explanation.rule,
                    explanation.result,
                    explanation.because,
                    ", ".join(
                        f"{name} = {json.dumps(value, default=str)}"
                        for name, value in explanation.values.items()
                    ),
                )
                for explanation in explanations
            ],
        )
        for case, outcome, explanations in found
    )
    return 0
