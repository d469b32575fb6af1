# SPDX-License-Identifier: Apache-2.0
"""Every share driver in Manila's tree can be woven, without a visible difference.

These tests run in a process of their own. Importing all drivers registers all their
options, and some of these are required, so Manila could not start in this process.
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
from aspects.cli import drivers as of_class
from aspects.cli.skeleton import skeleton
from aspects.operations import DRIVER, METHODS
from aspects.signatures import SIGNATURES

#: Module that needs the library of a vendor -> the error of its import.
NOT_IMPORTED: dict[str, str] = {}

#: More arguments than any driver method takes.
TOO_MANY = tuple(range(60))


class Recorder(aspects.HookBase):
    """A hook that records the driver methods that are called."""

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
            NOT_IMPORTED[module.name] = str(error)
    found: list[type] = [dummy.DummyDriver]
    todo = [driver.ShareDriver]
    while todo:
        for cls in todo.pop().__subclasses__():
            if cls not in found and cls.__module__.startswith("manila.share."):
                found.append(cls)
            todo.append(cls)
    return sorted(set(found), key=lambda cls: f"{cls.__module__}.{cls.__name__}")


CLASSES = classes()


def constructed(cls: type) -> Any:
    """Construct an instance; return None if that needs more than a backend section."""
    for handles_share_servers in (False, True):
        section = mock.MagicMock(config_group="alpha", network_config_group=None)
        section.driver_handles_share_servers = handles_share_servers
        section.dummy_driver_default_driver_method_delay = 0
        section.dummy_driver_driver_methods_delays = {}
        section.safe_get = functools.partial(getattr, section)
        with mock.patch("manila.network.API"), contextlib.suppress(Exception):
            return cls(configuration=section)
    return None


#: The classes that can be constructed without hardware.
CONSTRUCTED = [cls for cls in CLASSES if constructed(cls) is not None]


def specified(cls: type) -> Any:
    """Return a mock with the attributes of an instance."""
    return mock.create_autospec(cls, instance=True)


def test_most_drivers_can_be_imported_and_many_constructed() -> None:
    assert len(CLASSES) >= 38
    assert len(CONSTRUCTED) >= 20
    # A missing library is the only reason why a module cannot be imported.
    for cause in NOT_IMPORTED.values():
        assert "No module named" in cause


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("cls", "make"),
    [(cls, specified) for cls in CLASSES] + [(cls, constructed) for cls in CONSTRUCTED],
    ids=lambda value: value.__name__,
)
def test_woven_driver_looks_like_the_driver(
    cls: type, make: Callable[[type], Any]
) -> None:
    plain = make(cls)
    hook = Recorder()
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
        plain_method = getattr(plain, name, None)
        woven_method = getattr(woven, name, None)
        if not callable(plain_method):
            continue
        assert callable(woven_method)
        signature = inspect.signature(plain_method)
        assert inspect.signature(woven_method) == signature
        for args, kwargs in ((TOO_MANY, {}), ((), {"no_such_argument": 1})):
            try:
                signature.bind(*args, **kwargs)
            except TypeError:
                error = error_of(plain_method, *args, **kwargs)
                assert error_of(woven_method, *args, **kwargs) == error
    assert not hasattr(woven, "no_such_method")
    # The hook has run, so the driver is woven.
    assert hook.seen
    assert aspects.unweave(woven) is plain


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_context_is_separated_from_the_other_arguments(cls: type) -> None:
    context = object()
    # The constructor is not needed, because the class has the methods.
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


def error_of(method: Callable[..., Any], *args: Any, **kwargs: Any) -> str | None:
    """Return the text of the error that a call raises, or None if it does not."""
    try:
        method(*args, **kwargs)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_arguments_have_manilas_names_however_a_driver_names_them(cls: type) -> None:
    instance = cls.__new__(cls)
    for method, signature in SIGNATURES.items():
        function = getattr(instance, method, None)
        if function is None:
            continue  # Another release has it.
        operation = DRIVER.operation(method, function)
        texts = [text.strip() for text in signature.split(",")]
        required = [text for text in texts if not {"=", "*"} & set(text)]
        passed = {name: f"the {name}" for name in required}
        server = {"share_server": "the server"} if "share_server=None" in texts else {}
        context, args, _ = operation.take_context(tuple(passed.values()), {})
        if passed.pop("context", None):
            assert context == "the context", method
        found = operation.manila_arguments(args, server)
        assert found == {**passed, **server}, method


def _methods(cls: type) -> set[str]:
    return {name for name in dir(cls) if callable(getattr(cls, name))}


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_the_skeleton_of_a_class_has_its_methods(cls: type) -> None:
    found = skeleton(f"{cls.__module__}.{cls.__name__}")
    if found is None:
        # Each of its methods is decorated by its metaclass.
        assert cls.__name__ == "VASTShareDriver"
        return
    assert found.__module__ == cls.__module__
    assert found.__init__ is not cls.__init__
    assert _methods(found) == _methods(cls)
    woven = of_class.woven_methods(cls)
    assert of_class.woven_methods(found) == woven
    missing = of_class.missing_operations(cls, woven)
    assert of_class.missing_operations(found, woven) == missing
    assert of_class.is_factory(found) == of_class.is_factory(cls)
