"""The source text of a function, found once, as an AST: for the lint and for digests of bodies.

Comments, blank lines, docstrings, decorators and annotations do not count in a digest: none of them changes what
a body does (instructions and schemas are fingerprinted apart).
"""

from __future__ import annotations

import ast
import inspect
import linecache
from collections.abc import Callable, Iterator
from types import CodeType
from typing import Any, TypeAlias

from agentfleet.ids import digest

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


def code_of(fn: Callable[..., Any]) -> CodeType | None:
    """The code object of a Python function (of the innermost one, where decorators wrapped it), else None."""
    return getattr(inspect.unwrap(fn), "__code__", None)


def nested(code: CodeType, names: tuple[str, ...] | None = None) -> Iterator[CodeType]:
    """The code objects inside another one, at any depth; only those called `names` where given."""
    for const in code.co_consts:
        if isinstance(const, CodeType) and (names is None or const.co_name in names):
            yield const
            yield from nested(const, names)


def _last_line(code: CodeType) -> int:
    ends = [position[1] or 0 for position in code.co_positions()]
    return max([code.co_firstlineno, *ends, *map(_last_line, nested(code))])


def _parse(text: str, first: int) -> ast.Module | None:
    indented = text[:1] in " \t"
    try:
        tree = ast.parse(f"if True:\n{text}" if indented else text)
    except (SyntaxError, ValueError):
        return None
    return ast.increment_lineno(tree, first - (2 if indented else 1))


def tree_of(fn: Callable[..., Any]) -> Function | None:
    """The AST of a function with the file's line numbers; None where its source cannot be had."""
    code = code_of(fn)
    if code is None:
        return None
    lines = linecache.getlines(code.co_filename, getattr(fn, "__globals__", None))
    first = code.co_firstlineno
    tree = _parse("".join(lines[first - 1 : _last_line(code)]), first) if lines else None
    if tree is None:
        tree = _from_inspect(code)
    return _find(tree, code) if tree is not None else None


def _from_inspect(code: CodeType) -> ast.Module | None:
    """The slow way, for the few functions whose compiled lines do not show their end."""
    try:
        lines, first = inspect.getsourcelines(code)
    except (OSError, TypeError, SyntaxError, IndexError):
        return None
    return _parse("".join(lines), first or 1)


def _find(tree: ast.Module, code: CodeType) -> Function | None:
    if code.co_name == "<lambda>":
        lambdas = [node for node in ast.walk(tree) if isinstance(node, ast.Lambda)]
        places = {position[:4] for position in code.co_positions()}  # several may stand in one line
        return next((n for n in lambdas if _position(n.body) in places), lambdas[0] if len(lambdas) == 1 else None)
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name == code.co_name:
            return node
    return None


def _position(node: ast.expr) -> tuple[int, int | None, int, int | None]:
    return node.lineno, node.end_lineno, node.col_offset, node.end_col_offset


def statements(tree: Function) -> list[ast.stmt]:
    """The statements of a body, without its docstring."""
    body = [ast.Expr(tree.body)] if isinstance(tree, ast.Lambda) else tree.body
    first = body[0] if body else None
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        return list(body[1:])
    return list(body)


def body_digest(fn: Callable[..., Any]) -> str:
    """A digest of what a function does, by its source; by its compiled code where there is no source."""
    tree = tree_of(fn)
    if tree is not None:
        defaults = [*tree.args.defaults, *(d for d in tree.args.kw_defaults if d is not None)]
        names = [a.arg for a in (*tree.args.posonlyargs, *tree.args.args, *tree.args.kwonlyargs)]
        parts = [*names, *map(ast.unparse, defaults), *map(ast.unparse, statements(tree))]
        return digest("\n".join(parts))
    code = code_of(fn)
    return digest(repr(fn) if code is None else _compiled(code))


def _compiled(code: CodeType) -> str:
    consts = [c for c in code.co_consts if not isinstance(c, CodeType)]
    inner = [_compiled(c) for c in code.co_consts if isinstance(c, CodeType)]
    return f"{code.co_code.hex()} {code.co_names!r} {consts!r} {inner!r}"
