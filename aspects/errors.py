# SPDX-License-Identifier: Apache-2.0
"""Every error that this package raises.

.. code-block:: text

    AspectsError
    |-- AlreadyWoven (TypeError)
    |-- HookConfigError
    |-- UnresolvedName
    +-- Veto
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


class AspectsError(Exception):
    """Base of the errors of this package."""


class Veto(AspectsError):
    """Raised by a pre action to forbid the call: a decision, not a fault.

    It is never suppressed. The driver is not called, and the caller gets the
    veto.
    """


class HookConfigError(AspectsError):
    """The hooks of a section are misconfigured.

    :param problems: a ``Problem`` for each thing that is wrong, in the order of the
        section
    """

    def __init__(self, problems: Iterable[Any]) -> None:
        # One line each, whatever a file or an exception has in it.
        self.problems = tuple(
            problem._make(" ".join(part.split()) for part in problem)
            for problem in problems
        )
        super().__init__("\n".join(map(str, self.problems)))


class UnresolvedName(AspectsError):
    """A name in a configuration could not be resolved.

    :param cause: in one line
    :param advice: what to write or do instead, if that is known
    """

    def __init__(self, cause: str, advice: str = "") -> None:
        super().__init__(f"{cause}: {advice}" if advice else cause)
        self.cause = cause
        self.advice = advice


class AlreadyWoven(AspectsError, TypeError):
    """The driver is already woven; its hooks would run twice."""
