# SPDX-License-Identifier: Apache-2.0
"""Every error that this package raises.

.. code-block:: text

    AspectsError
    |-- AlreadyWoven (TypeError)
    |-- HookConfigError
    |-- UnresolvedNameError
    +-- Veto
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


class AspectsError(Exception):
    """Base of the errors of this package."""


class AlreadyWoven(AspectsError, TypeError):
    """The driver is already woven; its hooks would run twice."""


class HookConfigError(AspectsError):
    """The hooks of a section are misconfigured.

    :param problems: a ``Problem`` for each mistake, in the order of the section
    """

    def __init__(self, problems: Iterable[Any]) -> None:
        # One line each, whatever line breaks a file or an exception has.
        self.problems = tuple(
            problem._make(" ".join(part.split()) for part in problem)
            for problem in problems
        )
        super().__init__("\n".join(map(str, self.problems)))


class UnresolvedNameError(AspectsError):
    """A name in a configuration could not be resolved.

    :param cause: in one line
    :param advice: what to write or do instead, if that is known
    """

    def __init__(self, cause: str, advice: str = "") -> None:
        super().__init__(f"{cause}; {advice}" if advice else cause)
        self.cause = cause
        self.advice = advice


class Veto(AspectsError):
    """Raised by a pre method to forbid the call: a decision, not a fault.

    It is never suppressed. The driver is not called, and the veto reaches the
    caller, unless ``hook_enforcement`` is ``warn``.
    """

    @staticmethod
    def within(error: BaseException) -> Veto | None:
        """Return the veto that an exception is or, as a group, contains.

        :param error: any exception
        :return: the first veto found, or None
        """
        if isinstance(error, Veto):
            return error
        # Python 3.10 has groups from a library, and no common base class.
        try:
            nested = tuple(error.exceptions)  # type: ignore[attr-defined]
        except Exception:
            return None
        vetoes = (Veto.within(each) for each in nested if each is not error)
        return next(filter(None, vetoes), None)
