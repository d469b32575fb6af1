# SPDX-License-Identifier: Apache-2.0
"""Test directories import only from the directories that they may use."""

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("directory", "others"),
    [
        ("unit", {"drivers", "functional", "stress"}),
        ("support", {"drivers", "functional", "stress", "unit"}),
    ],
)
def test_a_directory_uses_no_other_suite(directory, others):
    # Searches the text, because scripts that a test runs are strings.
    for file in (TESTS / directory).rglob("*.py"):
        text = file.read_text("utf-8")
        absolute = re.findall(r"\btests\.(\w+)|from tests import (\w+)", text)
        relative = re.findall(r"from \.{2,}(\w+)|from \.{2,} import (\w+)", text)
        used = {name for found in (*absolute, *relative) for name in found}
        assert not used & others, f"{file.relative_to(TESTS)}: {used & others}"
