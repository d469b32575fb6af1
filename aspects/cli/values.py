# SPDX-License-Identifier: Apache-2.0
"""Format the values of options without secrets."""

from __future__ import annotations

from typing import Any

from oslo_config import cfg

from aspects.secrets import without_secrets

#: Replaces the value of a secret option.
SECRET = "***"


def formatted(option: cfg.Opt, value: Any) -> str:
    """Return a parsed value in the syntax of a configuration file, without secrets.

    :param option: the option
    :param value: its value
    :return: ``***`` if the option is secret, ``-`` if it has no value
    """
    text = unparsed(value)
    return SECRET if option.secret and text != "-" else text


def unparsed(value: Any) -> str:
    """Return a parsed value in the syntax of a configuration file.

    :param value: the value
    :return: ``-`` if there is no value
    """
    if value is None or value == [] or value == "":
        return "-"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    if isinstance(value, dict):
        return ", ".join(f"{key}:{item}" for key, item in value.items())
    return str(value)


def redacted(option: cfg.Opt, text: str) -> str:
    """Return the raw text of a value without secrets.

    :param option: the option
    :param text: the value, as written in the file
    :return: ``***`` if the option is secret
    """
    if option.secret:
        return SECRET
    return without_secrets(text, None, {option.name: text})
