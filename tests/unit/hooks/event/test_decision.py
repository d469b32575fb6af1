# SPDX-License-Identifier: Apache-2.0
"""Tests of decisions, as JSON from a receiver or a program."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hooks.events.decision import MAX_NAME, Decision, decision_in
from hooks.events.errors import InvalidDecisionError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
ANSWERS = st.fixed_dictionaries(
    {},
    optional={
        "allowed": st.booleans() | JSON,
        "reason": st.text() | JSON,
        "arguments": st.dictionaries(st.sampled_from(["size", "name"]), JSON) | JSON,
        "further": JSON,
    },
)


def expected(answer):
    """Return the decision in a JSON value; None if it is not one."""
    if not isinstance(answer, dict) or not isinstance(answer.get("allowed"), bool):
        return None
    reason, arguments = answer.get("reason"), answer.get("arguments")
    if not answer["allowed"]:
        return Decision(False, reason if isinstance(reason, str) else "")
    if arguments is None:
        return Decision()
    if not isinstance(arguments, dict):
        return None
    if not all(name.isidentifier() for name in arguments):
        return None
    return Decision(arguments=arguments)


@pytest.mark.slow
@given(ANSWERS | JSON)
def test_only_an_object_with_allowed_decides(answer):
    text = json.dumps(answer).encode()
    if (decision := expected(answer)) is None:
        with pytest.raises(InvalidDecisionError):
            decision_in(text)
    else:
        assert decision_in(text) == decision


@given(st.binary())
def test_any_bytes_are_a_decision_or_an_error(text):
    try:
        decision = decision_in(text)
    except InvalidDecisionError:
        return
    assert decision == expected(json.loads(text) if text.strip() else {"allowed": True})


@pytest.mark.parametrize("text", [b"", b"\n", b" \r\n"])
def test_an_empty_answer_allows(text):
    assert decision_in(text) == Decision()


@pytest.mark.parametrize(
    "text",
    [
        b"ok",
        b"[" * 100_000,
        b'{"allowed": true, "arguments": {"size": NaN}}',
        b'{"allowed": true}{"allowed": true}',
        json.dumps({"allowed": True, "arguments": {"n" * (MAX_NAME + 1): 1}}).encode(),
        b'{"allowed": true, "arguments": {"hunter2 hunter2": 1}}',
        b'{"allow": true, "reason": "hunter2"}',
    ],
)
def test_an_error_has_no_part_of_the_answer(text):
    with pytest.raises(InvalidDecisionError) as caught:
        decision_in(text)
    assert len(str(caught.value)) < 80
    assert "hunter2" not in str(caught.value)
