# SPDX-License-Identifier: Apache-2.0
"""The options that oslo.config's generator of sample files finds."""

from __future__ import annotations

import sys
from importlib import metadata
from typing import Any

import pytest

from aspects.config.loading import ENTRY_POINTS
from aspects.config.options import list_opts

pytest.importorskip("stevedore")


def installed() -> dict[str, Any]:
    """Return the classes of the installed hooks whose libraries are there, by name."""
    found = {}
    for entry_point in metadata.entry_points(group=ENTRY_POINTS):
        try:
            found[entry_point.name] = entry_point.load()
        except ImportError:
            continue
    return found


def test_the_options_of_each_backend_come_first() -> None:
    group, options = list_opts()[0]
    assert group.name == "backend"
    assert group.help == (
        "Section of one backend. Replace backend with its name in "
        "enabled_share_backends. Options here apply to all hooks of the backend; "
        "options in [DEFAULT] apply to the hooks of all backends."
    )
    names = {option.name for option in options}
    assert {"hook_drivers", "enable_pre_hooks", "hook_dispatch"} <= names


def test_each_installed_hook_with_options_has_a_group() -> None:
    expected = {
        f"backend:{name}": list(hook.options)
        for name, hook in sorted(installed().items())
        if getattr(hook, "options", ())
    }
    found = {group.name: options for group, options in list_opts()[1:]}
    assert found == expected
    assert list(found) == list(expected)
    assert "backend:audit" in found
    for group, _ in list_opts()[1:]:
        name = group.name.partition(":")[2]
        assert group.help == (
            f"Section of the hook instance {name!r} of a backend. Options of [backend] "
            "can be set here too, for this instance alone."
        )


def test_a_hook_whose_library_is_missing_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    for name in [name for name in sys.modules if name.startswith("hooks.metrics")]:
        monkeypatch.delitem(sys.modules, name)
    groups = [group.name for group, _ in list_opts()]
    assert "backend:metrics" not in groups
    assert "backend:audit" in groups
