# SPDX-License-Identifier: Apache-2.0
"""The call protocol and its coroutine twin have the same source but for ``await``."""

from __future__ import annotations

import ast
import inspect

from aspects.core import chain


class WithoutAwait(ast.NodeTransformer):
    """Converts a coroutine function into a function."""

    def visit_Await(self, node: ast.Await) -> ast.AST:
        return self.generic_visit(node.value)


def protocols() -> tuple[ast.FunctionDef, ast.AsyncFunctionDef]:
    (around,) = ast.parse(inspect.getsource(chain.around)).body
    assert isinstance(around, ast.FunctionDef)
    (function,) = (n for n in around.body if isinstance(n, ast.FunctionDef))
    (coroutine,) = (n for n in around.body if isinstance(n, ast.AsyncFunctionDef))
    return function, coroutine


def test_function_and_coroutine_differ_by_await_only() -> None:
    function, coroutine = protocols()
    assert sum(isinstance(node, ast.Await) for node in ast.walk(coroutine)) == 1
    plain = [ast.dump(WithoutAwait().visit(statement)) for statement in coroutine.body]
    assert plain == [ast.dump(statement) for statement in function.body]
    assert ast.dump(coroutine.args) == ast.dump(function.args)


def test_the_protocol_fits_on_one_screen() -> None:
    function, _ = protocols()
    assert function.end_lineno is not None
    assert function.end_lineno - function.lineno < 50
