# SPDX-License-Identifier: Apache-2.0
"""Test the skeletons of driver classes, which are built from their source."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from aspects.cli import skeleton
from aspects.cli.drivers import is_factory, missing_operations, woven_methods

#: The base class of the drivers, in a module that cannot be imported.
BASE = """\
import abc
import no_such_module


class Base(object):
    def __init__(self, *args, **kwargs): ...

    def create_share(self, context, share, share_server=None):
        raise NotImplementedError()

    def extend_share(self, share, new_size):
        raise NotImplementedError()
"""

Build = Callable[[str], "type | None"]


@pytest.fixture
def build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Build:
    """Return a function that returns the skeleton of ``Driver`` in a module."""
    # A name of its own, since the trees of modules are cached.
    package = f"package_{abs(hash(request.node.nodeid))}"
    (tmp_path / package / "drivers").mkdir(parents=True)
    (tmp_path / package / "__init__.py").touch()
    # Importing it fails, as does importing any module in it.
    (tmp_path / package / "drivers" / "__init__.py").write_text("import no_such_module")
    (tmp_path / package / "drivers" / "base.py").write_text(BASE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(skeleton, "PACKAGE", package)

    def build(source: str) -> type | None:
        text = textwrap.dedent(source).replace("PACKAGE", package)
        (tmp_path / package / "drivers" / "nas.py").write_text(text)
        found = skeleton.skeleton(f"{package}.drivers.nas.Driver")
        assert not any(module.startswith(f"{package}.") for module in sys.modules)
        return found

    return build


@pytest.mark.parametrize(
    "source",
    [
        """
        from PACKAGE.drivers import base

        class Driver(base.Base):
            {body}
        """,
        """
        from PACKAGE.drivers.base import Base as Common

        class Mixin: ...

        class Driver(Mixin, Common):
            {body}
        """,
        """
        import abc
        import PACKAGE.drivers.base

        class Driver(PACKAGE.drivers.base.Base, metaclass=abc.ABCMeta):
            {body}
        """,
        """
        import PACKAGE.drivers.base as base

        class Parent(base.Base):
            {body}

        class Driver(Parent):
            DEFAULT_SIZE = base.SIZE
        """,
    ],
)
def test_methods_are_inherited_overridden_and_recognized_as_stubs(
    build: Build, source: str
) -> None:
    body = "def extend_share(self, share: base.Share, new_size=base.SIZE): ..."
    found = build(source.format(body=body))
    assert found is not None
    woven = woven_methods(found)
    assert [*woven] == ["create_share_instance", "extend_share"]
    missing = missing_operations(found, woven)
    assert "create_share_instance" in missing
    assert "extend_share" not in missing
    assert not is_factory(found)


def test_a_factory_is_recognized(build: Build) -> None:
    found = build("class Driver:\n    def __new__(cls, *args): ...")
    assert found is not None
    assert is_factory(found)


def test_a_base_class_of_another_package_is_imported(build: Build) -> None:
    found = build("import collections\n\nclass Driver(collections.UserList): ...")
    assert found is not None
    assert "append" in dir(found)


def test_decorators_are_not_evaluated(build: Build) -> None:
    found = build(
        """
        class Driver:
            @property
            def size(self): ...

            @size.setter
            def size(self, value): ...

            @synchronized("a")
            def create_share(self): ...

            @staticmethod
            def extend_share(share): ...
        """
    )
    assert found is not None
    assert isinstance(vars(found)["size"], property)
    assert [*woven_methods(found)] == ["create_share_instance", "extend_share"]


@pytest.mark.parametrize(
    "source",
    [
        "Driver = make_driver()",
        "if True:\n    class Driver: ...",
        "class Driver: ...\n\nDriver.create_share = print",
        "class Driver: ...\n\nclass Driver: ...",
        "@decorated\nclass Driver: ...",
        "class Driver(metaclass=Traced): ...",
        "class Driver(make_base()): ...",
        "class Driver(Unknown): ...",
        "from . import base\n\nclass Driver(base.Base): ...",
        "from PACKAGE.drivers import gone\n\nclass Driver(gone.Base): ...",
        "import no_such_module\n\nclass Driver(no_such_module.Base): ...",
        "class Driver:\n    create_share = other",
        "class Driver:\n    if True:\n        def create_share(self): ...",
        "class Driver:\n    @decorated\n    def create_share(self):\n"
        "        raise NotImplementedError()",
        "class A: ...\n\nclass B(A): ...\n\nclass Driver(A, B): ...",
        "class Driver:",
    ],
)
def test_source_that_leaves_a_doubt_has_no_skeleton(build: Build, source: str) -> None:
    assert build(source) is None


def test_a_class_of_another_package_has_no_skeleton() -> None:
    assert skeleton.skeleton("collections.UserList") is None
