# SPDX-License-Identifier: Apache-2.0
"""The errors that this package raises.

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


class AlreadyWoven(AspectsError, TypeError):  # noqa: N818 (a public name)
    """Raised when a driver is already woven; its hooks would run twice."""


class HookConfigError(AspectsError):
    """Raised when the hooks of a section are misconfigured.

    :param problems: a ``Problem`` for each mistake, in the order of the section
    """

    def __init__(self, problems: Iterable[Any]) -> None:
        # A value or the text of an exception may have line breaks; a problem has none.
        self.problems = tuple(
            problem._make(" ".join(part.split()) for part in problem)
            for problem in problems
        )
        super().__init__("\n".join(map(str, self.problems)))


class UnresolvedNameError(AspectsError):
    """Raised when a name in a configuration cannot be resolved.

    :param cause: the cause, in one line
    :param advice: the suggested fix, or an empty string
    """

    def __init__(self, cause: str, advice: str = "") -> None:
        super().__init__(f"{cause}; {advice}" if advice else cause)
        self.cause = cause
        self.advice = advice


class Veto(AspectsError):  # noqa: N818 (a public name, and not an error)
    """Raised by a pre method to deny the call.

    A veto is a decision, not a fault, so it is never suppressed. The driver is not
    called, and the caller gets the veto, unless ``hook_enforcement`` is ``warn``.

    :param args: the reason
    :param enforcement: ``warn`` to report this veto and let the call proceed, as with
        ``hook_enforcement = warn``
    """

    #: ``deny`` or ``warn``.
    enforcement: str = "deny"

    def __init__(self, *args: Any, enforcement: str = "deny") -> None:
        super().__init__(*args)
        self.enforcement = enforcement

    @staticmethod
    def within(error: BaseException) -> Veto | None:
        """Return the veto that an exception is or, as a group, contains.

        :param error: any exception
        :return: the first veto found, or None
        """
        if isinstance(error, Veto):
            return error
        # In Python 3.10 a library defines exception groups, without a common base.
        try:
            nested = tuple(error.exceptions)  # type: ignore[attr-defined]
        except Exception:
            return None
        vetoes = (Veto.within(inner) for inner in nested if inner is not error)
        return next(filter(None, vetoes), None)
