# SPDX-License-Identifier: Apache-2.0
"""Errors of deliveries."""

from __future__ import annotations


def text_of(error: BaseException) -> str:
    """Return the text of an error; empty if it cannot be read.

    :param error: any exception
    """
    try:
        return str(error)
    except Exception:
        return ""


class RejectedError(Exception):
    """Raised when the receiver rejects an event permanently, so a retry is useless."""


class InvalidDecisionError(Exception):
    """Raised when an answer of a receiver or a program is not a decision."""


class DeliveryFailedError(Exception):
    """Raised when an attempt to deliver an event has failed and a retry may succeed.

    Any exception but :class:`RejectedError` means the same for a delivery.
    This one can also carry the delay that the receiver asks for.

    :param text: the reason, without secrets
    :param retry_after: seconds that the receiver asks to wait before the next attempt
    """

    def __init__(self, text: str, retry_after: float = 0.0) -> None:
        super().__init__(text)
        self.retry_after = retry_after
