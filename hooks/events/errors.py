# SPDX-License-Identifier: Apache-2.0
"""Errors of deliveries."""

from __future__ import annotations


class RejectedError(Exception):
    """The other end will never take this event: it is no use to try again."""


class DeliveryFailedError(Exception):
    """The event was not delivered this time.

    Any other exception says the same; this one may also tell when to try again.

    :param text: why, without secrets
    :param retry_after: seconds that the other end asks to wait
    """

    def __init__(self, text: str, retry_after: float = 0.0) -> None:
        super().__init__(text)
        self.retry_after = retry_after
