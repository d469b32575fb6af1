# SPDX-License-Identifier: Apache-2.0
"""Every share driver of Manila's tree can be woven, and nobody can tell.

It is run by itself: to import all drivers is to register all their options, some of
which are required, and no Manila would start in this process.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import pkgutil
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest
from manila.share import driver, drivers
from manila.tests.share.drivers import dummy

import aspects
from aspects.operations import METHODS

#: Modules that need a library of a vendor's, which Manila does not install.
NEED_MORE: dict[str, str] = {}

#: More than any method takes.
TOO_MANY = tuple(range(60))


class Witness(aspects.HookBase):
    """Is there, and sees what it gets."""

    def __init__(self) -> None:
        super().__init__(None, "node1@alpha")
        self.pre_hooks_enabled = self.post_hooks_enabled = True
        self.seen: list[str] = []

    def _execute_pre_hook(self, context: Any, func_name: Any, *args: Any, **kw: Any):
        self.seen.append(func_name.method)

    def _execute_post_hook(self, *args: Any, **kwargs: Any) -> None:
        pass

    def _execute_periodic_hook(self, *args: Any, **kwargs: Any) -> None:
        pass


def classes() -> list[type]:
    """Return all driver classes that can be imported."""
    for module in pkgutil.walk_packages(drivers.__path__, "manila.share.drivers."):
        try:
            importlib.import_module(module.name)
        except ImportError as error:
            NEED_MORE[module.name] = str(error)
    found: list[type] = [dummy.DummyDriver]
    todo = [driver.ShareDriver]
    while todo:
        for each in todo.pop().__subclasses__():
            if each not in found and each.__module__.startswith("manila.share."):
                found.append(each)
            todo.append(each)
    return sorted(set(found), key=lambda cls: f"{cls.__module__}.{cls.__name__}")


CLASSES = classes()


def constructed(cls: type) -> Any:
    """Make an instance with its constructor; None if that needs more than a section."""
    for handles_share_servers in (False, True):
        section = mock.MagicMock(config_group="alpha", network_config_group=None)
        section.driver_handles_share_servers = handles_share_servers
        section.dummy_driver_default_driver_method_delay = 0
        section.dummy_driver_driver_methods_delays = {}
        section.safe_get = functools.partial(getattr, section)
        with mock.patch("manila.network.API"), contextlib.suppress(Exception):
            return cls(configuration=section)
    return None


#: The classes whose constructors do without hardware.
CONSTRUCTED = [cls for cls in CLASSES if constructed(cls) is not None]


def specified(cls: type) -> Any:
    """Make what stands for an instance in the tests of Manila."""
    return mock.create_autospec(cls, instance=True)


def test_there_are_some_forty() -> None:
    assert len(CLASSES) >= 38
    assert len(CONSTRUCTED) >= 20
    # Nothing but a library that is not there keeps a module from being imported.
    for cause in NEED_MORE.values():
        assert "No module named" in cause


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("cls", "make"),
    [(cls, specified) for cls in CLASSES] + [(cls, constructed) for cls in CONSTRUCTED],
    ids=lambda each: each.__name__,
)
def test_nobody_can_tell(cls: type, make: Callable[[type], Any]) -> None:
    plain = make(cls)
    hook = Witness()
    woven = aspects.weave(plain, [hook], "alpha")
    assert isinstance(woven, cls)
    assert woven.__class__ is plain.__class__
    assert dir(woven) == dir(plain)
    assert aspects.weaving(woven).operations.keys() >= {
        name for name in METHODS if callable(getattr(plain, name, None))
    }
    names = [name for name in dir(plain) if not name.startswith("_")]
    assert len(names) > 30
    for name in names:
        assert hasattr(woven, name) == hasattr(plain, name)
        mine = getattr(plain, name, None)
        ours = getattr(woven, name, None)
        if not callable(mine):
            continue
        assert callable(ours)
        signature = inspect.signature(mine)
        assert inspect.signature(ours) == signature
        for args, kwargs in ((TOO_MANY, {}), ((), {"no_such_argument": 1})):
            try:
                signature.bind(*args, **kwargs)
            except TypeError:
                assert said(ours, *args, **kwargs) == said(mine, *args, **kwargs)
    assert not hasattr(woven, "no_such_method")
    # And it is woven.
    assert hook.seen
    assert aspects.unweave(woven) is plain


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_a_hook_is_told_the_context_as_such(cls: type) -> None:
    context = object()
    # What it is made of does not matter: its methods are those of its class.
    operations = aspects.weaving(aspects.weave(cls.__new__(cls), [])).operations
    found = 0
    for name, operation in operations.items():
        declared = inspect.signature(
            getattr(driver.ShareDriver, name, getattr(cls, name))
        )
        if [*declared.parameters][1:2] == ["context"]:
            found += 1
            taken = operation.take_context((context, "share"), {})
            assert taken == (context, ("share",), {}), name
    assert found > 20


def said(method: Callable[..., Any], *args: Any, **kwargs: Any) -> str | None:
    """Return how a method refuses arguments: itself, or a decorator of it."""
    try:
        method(*args, **kwargs)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None
