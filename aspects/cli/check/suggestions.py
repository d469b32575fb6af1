# SPDX-License-Identifier: Apache-2.0
"""Suggest corrections: for values, for entries of ``hook_drivers``, for names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from oslo_config import cfg, types

from aspects.config.loading import suggested_entry
from aspects.config.options import SWITCHES
from aspects.config.problems import nearest

#: The cutoff of :func:`nearest` for a name that most likely is not one of this
#: project's.
SURE = 0.86

COMMENT = "a comment needs a line of its own"

# -- values --------------------------------------------------------------------


def for_value(option: cfg.Opt | None, value: str, cause: str) -> str:
    """Suggest a correction for a value that its option rejects.

    :param option: the option; None if it is unknown
    :param value: the value, as written
    :param cause: the error
    :return: empty if there is no suggestion
    """
    if re.search(r"(^|\s)[#;]", value):
        return COMMENT
    if cause.startswith("no such option"):
        return "name one that there is, or write $$ for a $"
    kind = getattr(option, "type", None)
    if isinstance(kind, types.Boolean):
        return "write True or False"
    if isinstance(kind, types.Number):
        return _for_number(kind, value)
    if isinstance(kind, types.HostAddress):
        return "write letters, digits, - and . alone"
    if choices := getattr(kind, "choices", None):
        near = nearest(value, map(str, choices))
        return f"write {near}" if near else f"write {' or '.join(map(str, choices))}"
    return ""


def _for_number(kind: types.Number, value: str) -> str:
    """Suggest a correction for a value that is not a number, or is out of range."""
    match = re.match(r"([+-]?\d*\.?\d*)\s*(.*)", value)
    number, rest = match.groups() if match else ("", "")
    if not re.search(r"\d", number):
        return "write a number"
    if rest:
        return f"write {number}"
    if kind.min is not None and float(number) < kind.min:
        return f"write {kind.min} or more"
    if kind.max is not None and float(number) > kind.max:
        return f"write {kind.max} or less"
    return "write a whole number" if isinstance(kind, types.Integer) else ""


# -- entries of hook_drivers ---------------------------------------------------


def suggested_entries(entry: str) -> list[str]:
    """Return the entries that were probably meant by one entry of ``hook_drivers``.

    :param entry: the entry, e.g. two without the comma, or one in quotes
    """
    plain = re.sub(r"\s*=\s*", "=", re.sub(r"[][()'\"]", "", entry))
    return [suggested_entry(part) for part in re.split(r"[\s;]+", plain.strip())]


def for_entry(entry: str) -> str:
    """Suggest a correction for an entry of ``hook_drivers``.

    :param entry: the entry, as written
    :return: empty if there is no suggestion
    """
    if re.search(r"(^|\s)[#;]", entry):
        return COMMENT
    entries = suggested_entries(entry)
    if entry and entries != [entry.replace(" ", "")]:
        return f"write {', '.join(entries)}"
    name, _, what = entry.rpartition("=")
    if ":" in name and ":" not in what:
        return f"write {what}={name}"
    return ""


# -- names ---------------------------------------------------------------------


def for_instance(
    name: str, section: str, instances: Iterable[str], default_names: Mapping[str, str]
) -> str:
    """Suggest a correction for the section of an unknown hook instance.

    :param name: the unknown instance
    :param section: the section of its backend
    :param instances: the instances of the backend
    :param default_names: the name that each instance would have without its own
        -> its own
    """
    by_default_name = {key.lower(): own for key, own in default_names.items()}
    near = by_default_name.get(name.lower()) or nearest(name, instances)
    if near:
        return f"write [{section}:{near}]"
    return f"add {name} to it" if name else "write an instance after the colon"


def nearest_option(name: str, options: Iterable[str], cutoff: float) -> str:
    """Return the option that a name is a misspelling of.

    :param name: the unknown name; may be the attribute of a hook instead of the option
    :param options: the names of the options
    :param cutoff: the least similarity, from 0 to 1
    :return: empty if none is similar enough
    """
    name = SWITCHES.get(name, name)
    return nearest(name.lower().replace("-", "_"), options, cutoff)
