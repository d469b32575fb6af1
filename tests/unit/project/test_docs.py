# SPDX-License-Identifier: Apache-2.0
"""The examples on the pages work: ``tests/support/reader.py`` has the rules."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.support.pages import Block, blocks_of, file_of, needs_manila, pages
from tests.support.reader import (
    RUN_ELSEWHERE,
    SKIPPED_BLOCKS,
    Reader,
    extras,
    is_skipped,
)

# Some examples run pytest in a process of its own.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reader:
    return Reader(tmp_path, monkeypatch)


# tests/functional/test_docs.py reads the pages that need Manila.
@pytest.mark.parametrize("page", [page for page in pages() if not needs_manila(page)])
def test_the_examples_of_a_page_work(page: str, reader: Reader) -> None:
    text = file_of(page).read_text("utf-8")
    if sys.version_info < (3, 11) and "guard_rules_file" in text:
        pytest.skip("a file of rules requires Python 3.11")
    reader.follow(page)


def test_every_block_that_is_left_out_exists() -> None:
    blocks = [block for page in pages() for block in blocks_of(page)]
    found = [block for block in blocks if is_skipped(block)]
    assert len(found) == len(SKIPPED_BLOCKS)
    assert set(RUN_ELSEWHERE) <= set(pages())


@pytest.mark.parametrize("page", pages())
def test_extras_on_a_page_exist(page: str) -> None:
    named = re.findall(r"manila-aspects\[([\w,]+)\]", file_of(page).read_text("utf-8"))
    assert {extra for names in named for extra in names.split(",")} <= extras()


# The tests below test the reader: it detects mistakes on a page.

HOOK = """
import aspects


class H(aspects.HookBase):
    def _execute_pre_hook(self, context, func_name, *args, **kwargs): ...
    def _execute_post_hook(self, *args, **kwargs): ...
    def _execute_periodic_hook(self, *args, **kwargs): ...
"""


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("python", "nothing_of_that_name"),
        ("ini", "[alpha]\nhook_drivers = no.such:Hook"),
        ("ini", "[alpha]\nhook_drivers = own:H\nenable_pre_hook = True"),
        ("ini", "[alpha]\nhook_drivers = own:H\n[alpha:H]\naudit_log_path = /tmp/a"),
        ("ini", "[alpha]\nhook_drivers = own:H\n[alpha:G]\nenable_pre_hooks = True"),
        ("ini", "[alpha]\nhook_drivers = own:H\nenable_pre_hooks = ture"),
        ("ini", "[alpha]\nenable_pre_hooks = True"),
        ("console", "$ manila-aspects demonstrate"),
        ("console", "$ manila-aspects demo --sreve"),
        ("console", "$ . .venv/bin/activate && pytest --no-such-option"),
        ("console", "$ nothing-of-that-name"),
        ("", "python3 -m venv --no-such-option .venv"),
        ("console", "$ pip install 'manila-aspects[no_such_extra]'"),
        ("sh", "if true; then"),
        ("yaml", "a: b: c"),
        ("json", "{"),
        ("text", "what is that?"),
    ],
)
def test_reader_rejects_a_wrong_block(reader: Reader, language: str, text: str) -> None:
    reader.try_block(Block("p.rst", 1, "python", "own.py", HOOK))
    with pytest.raises(AssertionError, match=r"p\.rst:2"):
        reader.try_block(Block("p.rst", 2, language, "", text))


@pytest.mark.parametrize(
    ("language", "caption", "text"),
    [
        ("python", "", "driver.create_share(None, {})"),
        (
            "ini",
            "",
            "[alpha]\nhook_drivers = own:H\n[alpha:H]\nenable_pre_hooks = True",
        ),
        ("console", "", "$ cd there && manila-aspects demo --serve | tee demo.out"),
        ("console", "", "$ pip install 'manila-aspects[demo]'\nwhat it prints"),
        ("", "", "python3 -m venv .venv && .venv/bin/pip install --quiet '.[demo]'"),
        ("yaml", "", "a: b"),
    ],
)
def test_reader_accepts_a_correct_block(
    reader: Reader, language: str, caption: str, text: str
) -> None:
    reader.try_block(Block("p.rst", 1, "python", "own.py", HOOK))
    reader.try_block(Block("p.rst", 2, language, caption, text))


def test_reader_rejects_a_failing_test(reader: Reader) -> None:
    block = Block("p.rst", 1, "python", "test_it.py", "def test(): assert 1 == 2")
    with pytest.raises(AssertionError, match="1 failed"):
        reader.try_block(block)
