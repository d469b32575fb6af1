# SPDX-License-Identifier: Apache-2.0
"""Helpers shared by the tests of the chain."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.support.hooks import (
    PlainRecorder,
    Recorder,
    UpstreamRecorder,
)

CONTEXT = object()


def tracing(trace: list[Any], outcome: Any = "result") -> Callable[..., Any]:
    def body(*args: Any, **kwargs: Any) -> Any:
        trace.append("driver")
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    return body


def three(trace: list[Any], **answers: Any) -> list[Recorder]:
    """Return the hooks one, two and three; ``answers`` are those of two."""
    options = {
        key: answers.pop(key) for key in ("enabled", "suppress") if key in answers
    }
    return [
        Recorder("one", trace, pre="data of one"),
        Recorder("two", trace, **options, **{"pre": "data of two", **answers}),
        Recorder("three", trace, pre="data of three"),
    ]


KINDS = [Recorder, PlainRecorder]

HOOK_KINDS = [Recorder, PlainRecorder, UpstreamRecorder]


class Living(Recorder):
    """A hook that records its start and stop too."""

    def answer(self, **answers: Any) -> None:
        self._answers.update(answers)

    def start(self) -> None:
        self.note("start")

    def stop(self) -> None:
        self.note("stop")


class Access:
    """A driver with one method, whose rules select one of three operations."""

    def update_access(
        self,
        context: Any,
        share: Any,
        access_rules: Any,
        add_rules: Any,
        delete_rules: Any,
    ) -> str:
        return "updated"
