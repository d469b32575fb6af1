# SPDX-License-Identifier: Apache-2.0
"""Suggest corrections for values, entries of ``hook_drivers`` and names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from oslo_config import cfg, types

from aspects.config.loading import suggested_entry
from aspects.config.options import SWITCHES
from aspects.config.problems import COMMENT, nearest

#: The cutoff of :func:`nearest` for a name that probably has nothing to do with this
#: project.
SURE = 0.86

# -- values --------------------------------------------------------------------


def for_value(option: cfg.Opt | None, value: str, cause: str) -> str:
    """Suggest a correction for a value that its option rejects.

    :param option: the option; None if it is unknown
    :param value: the value, as written in the file
    :param cause: the error
    :return: the suggestion; empty if there is none
    """
    if re.search(r"(^|\s)[#;]", value):
        return COMMENT
    if cause.startswith("no such option"):
        return "refer to an existing option, or write $$ for a literal $"
    kind = getattr(option, "type", None)
    if isinstance(kind, types.Boolean):
        return "use True or False"
    if isinstance(kind, types.Number):
        return _for_number(kind, value)
    if isinstance(kind, types.HostAddress):
        return "use only letters, digits, - and ."
    if choices := getattr(kind, "choices", None):
        near = nearest(value, map(str, choices))
        if near:
            return f"did you mean {near}?"
        return f"use {' or '.join(map(str, choices))}"
    return ""


def _for_number(kind: types.Number, value: str) -> str:
    """Suggest a correction for a value that is not a number, or is out of range."""
    match = re.match(r"([+-]?\d*\.?\d*)\s*(.*)", value)
    number, rest = match.groups() if match else ("", "")
    if not re.search(r"\d", number):
        return "use a number"
    if rest:
        return f"use {number}"
    if kind.min is not None and float(number) < kind.min:
        return f"use {kind.min} or more"
    if kind.max is not None and float(number) > kind.max:
        return f"use {kind.max} or less"
    return "use a whole number" if isinstance(kind, types.Integer) else ""


# -- entries of hook_drivers ---------------------------------------------------


def suggested_entries(entry: str) -> list[str]:
    """Return the entries that one entry of ``hook_drivers`` was probably meant to be.

    :param entry: the entry, e.g. two entries without a comma, or an entry in quotes
    """
    plain = re.sub(r"\s*=\s*", "=", re.sub(r"[][()'\"]", "", entry))
    return [suggested_entry(part) for part in re.split(r"[\s;]+", plain.strip())]


def for_entry(entry: str) -> str:
    """Suggest a correction for an entry of ``hook_drivers``.

    :param entry: the entry, as written in the file
    :return: the suggestion; empty if there is none
    """
    if re.search(r"(^|\s)[#;]", entry):
        return COMMENT
    entries = suggested_entries(entry)
    if entry and entries != [entry.replace(" ", "")]:
        return f"did you mean {', '.join(entries)}?"
    name, _, what = entry.rpartition("=")
    if ":" in name and ":" not in what:
        return f"did you mean {what}={name}?"
    return ""


# -- names ---------------------------------------------------------------------


def for_instance(
    name: str, section: str, instances: Iterable[str], default_names: Mapping[str, str]
) -> str:
    """Suggest a correction for the section of an unknown hook instance.

    :param name: the unknown instance
    :param section: the backend section
    :param instances: the instances of the backend
    :param default_names: the default name of each instance -> the actual name
    """
    by_default_name = {key.lower(): actual for key, actual in default_names.items()}
    near = by_default_name.get(name.lower()) or nearest(name, instances)
    if near:
        return f"did you mean [{section}:{near}]?"
    if name:
        return f"add {name} to hook_drivers"
    return "add the name of an instance after the colon"


def nearest_option(name: str, options: Iterable[str], cutoff: float) -> str:
    """Return the option that was probably meant by an unknown name.

    :param name: the unknown name, or the attribute of a hook that mirrors an option
    :param options: the names of the options
    :param cutoff: the minimum similarity, from 0 to 1
    :return: the option's name; empty if none is similar enough
    """
    name = SWITCHES.get(name, name)
    return nearest(name.lower().replace("-", "_"), options, cutoff)
