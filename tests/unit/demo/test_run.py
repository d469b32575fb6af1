# SPDX-License-Identifier: Apache-2.0
"""The warnings that the demo prints between calls, and the outcome of a reload."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

import aspects
from aspects.demo.journal import Journal
from aspects.demo.watch import watching
from aspects.testing import FakeDriver, Recorder

pytest.importorskip("rich")
pytest.importorskip("cheroot")
pytest.importorskip("prometheus_client")

from aspects.config import reload
from aspects.config.problems import Problem
from aspects.demo import run
from aspects.demo.screen import Screen
from aspects.demo.service import ServiceError


class Service:
    """A service that logs while it reloads its configuration, or raises."""

    def __init__(self, *records: tuple[str, str], error: str = "") -> None:
        self._records, self._error = records, error

    def reload(self) -> None:
        for name, text in self._records:
            logging.getLogger(name).error(text)
        if self._error:
            raise ServiceError(self._error)


@pytest.fixture
def warnings() -> Iterator[run._Warnings]:
    with run._Warnings(Screen()) as warnings, watching(Journal()):
        yield warnings


def test_reload_with_errors_in_a_section_is_rejected(warnings, capsys):
    class Rejecting:
        def reload(self) -> None:
            cause = "no module named 'no'"
            reload.log_rejection([Problem("alpha", "hook_drivers", "no.such", cause)])

    assert run._reload(Rejecting(), warnings).startswith("configuration rejected")
    assert "hook_drivers = no.such" in capsys.readouterr().out
    assert run._reload(Service(), warnings) == "configuration reloaded"


def test_reload_of_an_unreadable_file_is_rejected(warnings):
    outcome = run._reload(Service(error="manila.conf:1"), warnings)
    assert outcome == "configuration rejected, nothing has changed: manila.conf:1"


def test_hook_that_cannot_start_does_not_reject_a_reload(warnings, capsys):
    service = Service(("aspects.core.lease", "Failed to start hook b"))
    assert run._reload(service, warnings) == "configuration reloaded"
    assert capsys.readouterr().out == "error: Failed to start hook b\n"


@pytest.mark.parametrize(
    ("answer", "printed"),
    [
        # The call itself has the error of a method.
        (KeyError("size"), ""),
        # Replacing an argument fails after the method has returned.
        (aspects.UpdatedArguments({"length": 1}), "no argument 'length'"),
    ],
)
def test_suppressed_error_is_printed_once(warnings, capsys, answer, printed):
    hook = Recorder(pre=answer, suppress=["pre"])
    aspects.weave(FakeDriver(), [hook], "alpha").create_share(None, {})
    output = capsys.readouterr().out
    assert output.count("warning: Suppressed an error") == bool(printed)
    assert printed in output


@pytest.mark.parametrize("enabled", [True, False])
def test_backends_of_an_author_have_no_hooks_and_options_of_hooks(enabled):
    sections = run.backends.backends(hooks=enabled)
    options = {name for options in sections.values() for name in options}
    assert any("hook" in name for name in options) is enabled
