# SPDX-License-Identifier: Apache-2.0
"""Compile and evaluate the expressions of rules, in CEL.

The types of all variables are declared, so most mistakes are found when an expression
is compiled: https://github.com/cel-expr/cel-spec/blob/master/doc/langdef.md
"""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Mapping
from typing import Any

from cel_expr_python import cel
from cel_expr_python.ext import ext_optional, ext_strings

_TYPES = {
    "string": cel.Type.STRING,
    "int": cel.Type.INT,
    "timestamp": cel.Type.TIMESTAMP,
    "list(string)": cel.Type.List(cel.Type.STRING),
    "map(string, string)": cel.Type.Map(cel.Type.STRING, cel.Type.STRING),
    "map(string, dyn)": cel.Type.Map(cel.Type.STRING, cel.Type.DYN),
}


class ExpressionError(ValueError):
    """Raised for an expression that cannot be compiled.

    :param cause: the mistake, in one line
    :param offset: its position in the text, counted from 0
    """

    def __init__(self, cause: str, offset: int) -> None:
        super().__init__(cause)
        self.offset = offset


class EvaluationError(Exception):
    """Raised for an expression that has no value, e.g. because a key is missing."""


class Expression:
    """A compiled expression, which any number of threads may evaluate.

    :param text: the expression
    :param variables: the type of each variable that it may use, by name
    :raises ExpressionError: if it is wrong, or uses an unknown name
    """

    def __init__(self, text: str, variables: Mapping[str, str]) -> None:
        self.text = text
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ExpressionError("half a surrogate pair", error.start) from None
        try:
            self._program = _environment(tuple(variables.items())).compile(text)
        except (ValueError, RuntimeError) as error:
            raise _compile_error(text, str(error), variables) from None
        serialized = self._program.serialize()
        #: The variables that it uses.
        self.names = tuple(name for name in variables if _field(name) in serialized)

    @property
    def is_condition(self) -> bool:
        """True if the value is a boolean."""
        return bool(self._program.return_type() == cel.Type.BOOL)

    def evaluate(self, values: Mapping[str, Any]) -> Any:
        """Return the value of the expression.

        :param values: the values of its variables; one that is missing is unknown
        :raises EvaluationError: if the expression has no value
        """
        try:
            result = self._program.eval(data=values)
        except Exception as error:
            raise EvaluationError(_plain(str(error))) from None
        if result.type() == cel.Type.ERROR:
            raise EvaluationError(_plain(str(result.value())))
        return result.plain_value()


def _field(name: str) -> bytes:
    # The first field of a protobuf message. Both a reference to a variable and the
    # variable in the syntax tree begin with their name.
    return bytes([0x0A, len(name)]) + name.encode()


@functools.cache
def _environment(variables: tuple[tuple[str, str], ...]) -> Any:
    return cel.NewEnv(
        variables={name: _TYPES[type_] for name, type_ in variables},
        extensions=[ext_optional.ExtOptional(), ext_strings.ExtStrings()],
    )


def _compile_error(
    text: str, error: str, variables: Mapping[str, str]
) -> ExpressionError:
    """Return the first error that the compiler reports."""
    found = re.search(r"ERROR: <input>:(\d+):(\d+): (.*)", error)
    if not found:
        return ExpressionError(_plain(error), 0)
    line, column, cause = int(found[1]), int(found[2]), found[3]
    before = text.splitlines(keepends=True)[: line - 1]
    offset = sum(map(len, before)) + max(column - 1, 0)
    cause = re.sub(r" \(in container ''\)| expecting \{.*\}| \[[A-Z_]+\]$", "", cause)
    if unknown := re.search(r"undeclared reference to '(.+)'", cause):
        near = difflib.get_close_matches(unknown[1], variables, 1)
        cause += f"; did you mean {near[0]}?" if near else ""
        # The compiler reports the position of the last dot, or of a parenthesis.
        for name in (unknown[1], unknown[1].rpartition(".")[0]):
            if text.endswith(name, 0, offset):
                offset -= len(name)
    return ExpressionError(cause, offset)


def _plain(error: str) -> str:
    """Return an error of an evaluation in the words of the documentation."""
    text = re.sub(r"^[A-Z_]+: | \[[A-Z_]+\]$", "", error)
    if unknown := re.search(r'No value with name "(.+)" found', text):
        return f"{unknown[1]} is not known in this call"
    if missing := re.search(r"Key not found in map : (.*)", text):
        return f"there is no key {missing[1]}; test for it with has() or in"
    return " ".join(text.split())
