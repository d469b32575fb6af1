# SPDX-License-Identifier: Apache-2.0
"""The page about rules: its table of variables and its examples."""

import re

import pytest

from aspects import cli
from tests.support.pages import DOCS, blocks_of

pytest.importorskip("cel_expr_python")

from hooks.guard.cases import read_cases
from hooks.guard.rules import KEYS, RuleFile
from hooks.guard.variables import VARIABLES

PAGE = "admin/rules.rst"
RULES = DOCS / "admin" / "rules" / "rules.yaml"
CASES = DOCS / "admin" / "rules" / "cases.yaml"


def table(columns):
    """Return the rows of the table that has a number of columns and this header."""
    lines = (DOCS / PAGE).read_text("utf-8").splitlines()
    start = next(n for n, line in enumerate(lines) if line.split() == columns)
    edge = lines[start + 1]
    begins = [found.start() for found in re.finditer(r"=+", edge)]
    rows = []
    for line in lines[start + 2 : lines.index(edge, start + 2)]:
        ends = [*begins[1:], None]
        cells = [line[i:j].strip() for i, j in zip(begins, ends)]
        if cells[0]:
            rows.append(cells)
        else:
            rows[-1] = [f"{a} {b}".strip() for a, b in zip(rows[-1], cells)]
    return rows


def test_table_of_variables_is_complete():
    documented = {
        name.strip("`"): (type_, text)
        for name, type_, text in table(["variable", "type", "meaning"])
    }
    assert documented == {
        name: (variable.type, variable.help) for name, variable in VARIABLES.items()
    }


def test_table_of_keys_is_complete():
    assert tuple(name.strip("`") for name, _ in table(["key", "meaning"])) == KEYS


def test_rules_on_the_page_are_correct():
    blocks = [block for block in blocks_of(PAGE) if block.language == "yaml"]
    assert blocks
    for block in blocks:
        assert RuleFile(PAGE, block.text).rules


def test_examples_pass_their_cases(capsys):
    assert cli.main(["guard", "test", str(RULES), str(CASES)]) == 0
    printed = capsys.readouterr().out
    count = len(read_cases(str(CASES)))
    assert f"{count} cases, 0 failed" in printed
    assert f"{count} cases, 0 failed" in (DOCS / PAGE).read_text("utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("rule", RuleFile.read(str(RULES)).rules, ids=lambda r: r.name)
def test_each_example_decides_a_case(rule):
    outcomes = [
        case.outcome(RuleFile.read(str(RULES))) for case in read_cases(str(CASES))
    ]
    decided = [outcome for outcome in outcomes if rule.name in outcome.rules]
    assert {outcome.decision for outcome in decided} == {rule.enforcement}
    # It is not true of all cases for its operations.
    assert len(decided) < len(outcomes)
