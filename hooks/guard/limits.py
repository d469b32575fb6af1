# SPDX-License-Identifier: Apache-2.0
"""The rules that the options of a guard define."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aspects
from hooks.events.values import get
from hooks.guard.subjects import arguments_of, new_size, subjects_of
from hooks.guard.windows import UTC, Window


class NoValidHost(aspects.Veto):
    """A veto of the size or the share type of a new share.

    Manila selects the text of its user message by the name of the exception's class,
    and knows only this name. The message advises users to try another size or share
    type.
    """


@dataclass(frozen=True)
class Limits:
    """The rules of a guard, as its options define them.

    :param freeze: the periods in which operations are frozen
    :param allowed_projects: project IDs; empty allows all
    :param denied_projects: project IDs
    :param allowed_share_types: share type IDs or names; empty allows all
    :param denied_share_types: share type IDs or names
    :param min_size: the minimum size, in GiB; None for no minimum
    :param max_size: the maximum size, in GiB; None for no maximum
    """

    freeze: tuple[Window, ...]
    allowed_projects: frozenset[str]
    denied_projects: frozenset[str]
    allowed_share_types: frozenset[str]
    denied_share_types: frozenset[str]
    min_size: int | None
    max_size: int | None

    @property
    def concern_shares(self) -> bool:
        """True if a rule depends on the shares of a call."""
        return bool(
            self.allowed_projects
            or self.denied_projects
            or self.allowed_share_types
            or self.denied_share_types
            or self.min_size
            or self.max_size
        )

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Limits:
        """Construct the limits from the values of the options.

        :param values: the values by option name
        :raises ValueError: naming the option, its value and the cause, if one is
            invalid
        """
        freeze = []
        # An empty value clears the value inherited from [backend] or [DEFAULT].
        for text in filter(None, values["guard_freeze"]):
            try:
                freeze.append(Window.parse(text))
            except ValueError as error:
                raise ValueError(f"guard_freeze = {text}: {error}") from None
        minimum, maximum = values["guard_min_size"], values["guard_max_size"]
        if minimum is not None and maximum is not None and minimum > maximum:
            raise ValueError(
                f"guard_min_size = {minimum}: exceeds guard_max_size = {maximum}"
            )
        return cls(
            freeze=tuple(freeze),
            allowed_projects=frozenset(values["guard_allowed_projects"]),
            denied_projects=frozenset(values["guard_denied_projects"]),
            allowed_share_types=frozenset(values["guard_allowed_share_types"]),
            denied_share_types=frozenset(values["guard_denied_share_types"]),
            min_size=minimum,
            max_size=maximum,
        )

    def check(
        self,
        context: Any,
        operation: aspects.Operation,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> None:
        """Raise a veto if a call is denied.

        :param context: the request's context
        :param operation: the operation
        :param args: the positional arguments, without the context
        :param kwargs: the keyword arguments, without the context
        :raises Veto: naming the option, if a rule denies the call
        """
        _check_freeze(self, operation)
        if self.concern_shares:
            arguments = arguments_of(operation, args, kwargs)
            new = operation in ("create_share_instance", "create_share_replica")
            veto = NoValidHost if new else aspects.Veto
            subjects = subjects_of(operation, context, arguments)
            projects = [subject.project for subject in subjects if subject.project]
            # A call without shares belongs to the project of the request.
            for project in projects or [get(context, "project_id")]:
                _check_project(self, project)
            for subject in subjects:
                _check_type(self, subject.share_type, veto)
            for subject in filter(lambda subject: subject.is_share, subjects):
                size = new_size(operation, subject, arguments)
                if size is not None:
                    _check_size(self, operation, size, veto)


# -- the rules -----------------------------------------------------------------


def _check_freeze(limits: Limits, operation: str) -> None:
    now = datetime.datetime.now(UTC)
    ends = [(end, w) for w in limits.freeze if (end := w.end(now)) is not None]
    if ends:
        end, window = max(ends, key=lambda pair: pair[0])
        until = end.isoformat(timespec="minutes")
        raise aspects.Veto(
            f"{operation} is frozen until {until} (guard_freeze = {window.text})"
        )


def _check_project(limits: Limits, project: str | None) -> None:
    if project is None:
        return
    if project in limits.denied_projects:
        raise aspects.Veto(f"project {project} is denied (guard_denied_projects)")
    if limits.allowed_projects and project not in limits.allowed_projects:
        raise aspects.Veto(f"project {project} is not allowed (guard_allowed_projects)")


def _check_type(limits: Limits, names: Sequence[str], veto: type[aspects.Veto]) -> None:
    if not names:
        return
    if not limits.denied_share_types.isdisjoint(names):
        raise veto(f"share type {names[0]} is denied (guard_denied_share_types)")
    if limits.allowed_share_types and limits.allowed_share_types.isdisjoint(names):
        raise veto(f"share type {names[0]} is not allowed (guard_allowed_share_types)")


def _check_size(
    limits: Limits, operation: str, size: int, veto: type[aspects.Veto]
) -> None:
    # A share that is too large may shrink, and a share that is too small may grow,
    # even if its new size is still outside of the limits.
    minimum = limits.min_size if operation != "extend_share" else None
    maximum = limits.max_size if operation != "shrink_share" else None
    if minimum is not None and size < minimum:
        raise veto(
            f"size {size} GiB is below the minimum of {minimum} GiB "
            f"(guard_min_size = {minimum})"
        )
    if maximum is not None and size > maximum:
        raise veto(
            f"size {size} GiB exceeds the maximum of {maximum} GiB "
            f"(guard_max_size = {maximum})"
        )
