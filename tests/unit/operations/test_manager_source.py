# SPDX-License-Identifier: Apache-2.0
"""The reader of Manila's source finds everything that Manila does with a driver."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.manager_source import read

MANAGER = """
def on_a_lock(function):
    return function


class ShareManager:
    def __init__(self):
        self.driver = import_object()
        self.helper = Helper(self.driver)

    def init_host(self):
        self.driver.do_setup()
        self.pool.run(self._ensure)

    def _ensure(self):
        self.driver.ensure_share()
        self.driver.get_pool()

    @add_hooks
    @utils.require_driver_initialized
    def create_share(self):
        @on_a_lock
        def wrapped():
            return self.driver.create_share()

        self._pool()
        return wrapped()

    def _pool(self):
        return self.driver.get_pool

    @periodic_task.periodic_task(spacing=60)
    def migration_continue(self):
        for each in [self.driver.migration_continue]:
            each()
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    (tmp_path / "share" / "drivers").mkdir(parents=True)
    (tmp_path / "share" / "manager.py").write_text(MANAGER)
    own = "class ShareDriver:\n    def create_share(self): self.driver.helper()\n"
    (tmp_path / "share" / "driver.py").write_text(own)
    (tmp_path / "share" / "drivers" / "generic.py").write_text(own)
    return tmp_path


def test_the_reader_finds_driver_methods_and_when_they_are_called(
    package: Path,
) -> None:
    assert read(package) == {
        "attributes": [
            *("create_share", "do_setup", "ensure_share", "get_pool"),
            "migration_continue",
        ],
        "passed": ["share/manager.py: Helper(self.driver)"],
        "hooked": ["create_share"],
        "by_itself": ["do_setup", "ensure_share", "migration_continue"],
    }


@pytest.mark.parametrize(
    ("file", "code", "attributes", "passed"),
    [
        ("share/new.py", "self.driver.new()", {"new"}, []),
        ("data/new.py", "driver.new()", {"new"}, []),
        ("share/new.py", "call(self.manager.driver.new)", {"new"}, []),
        ("share/new.py", "self.driver.new = True", {"new"}, []),
        ("share/new.py", "it = self.driver", set(), ["it = self.driver"]),
        (
            "share/new.py",
            "getattr(self.driver, name)()",
            set(),
            ["getattr(self.driver, name)"],
        ),
        (
            "share/new.py",
            "call(this=self.driver)",
            set(),
            ["this=self.driver"],
        ),
    ],
)
def test_the_reader_finds_every_way_to_use_a_driver(
    package: Path, file: str, code: str, attributes: set[str], passed: list[str]
) -> None:
    before = read(package)
    (package / file).parent.mkdir(exist_ok=True)
    (package / file).write_text(code)
    after = read(package)
    assert set(after["attributes"]) - set(before["attributes"]) == attributes
    assert set(after["passed"]) - set(before["passed"]) == {
        f"{file}: {expression}" for expression in passed
    }
