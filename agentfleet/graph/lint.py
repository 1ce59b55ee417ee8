"""What tracing would get silently wrong, found in the source of a graph or skill when it is decorated.

`is None`, `isinstance` and class patterns are answered by the stand-in, not by the value; `try` and `with` are over
before the graph runs. Bodies of functions defined inside a graph are not looked at: those run later.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from typing import Any

from agentfleet.errors import TraceError
from agentfleet.graph.source import Function, statements, tree_of

_QUESTIONS = {"isinstance", "type", "callable", "id", "vars", "dir"}
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def lint_graph(fn: Callable[..., Any], name: str) -> None:
    """Refuse what a graph's body cannot mean. Raises TraceError with graph and line; silent without source."""
    tree = tree_of(fn)
    if tree is None:
        return
    local = _local_names(tree)
    for node in _wiring(tree):
        problem = _problem(node, local)
        if problem:
            raise TraceError(f"{name}, line {getattr(node, 'lineno', 0)}: {problem}")


def lint_skill(fn: Callable[..., Any], name: str) -> None:
    """Refuse a skill whose body is empty: it would answer None without asking anybody."""
    tree = tree_of(fn)
    if tree is None or isinstance(tree, ast.Lambda):
        return
    body = statements(tree)
    if all(isinstance(s, ast.Pass) or (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant)) for s in body):
        raise TraceError(f"{name}, line {tree.lineno}: the body asks nothing; end it with: return ask(...)")


def _wiring(tree: Function) -> Iterator[ast.AST]:
    """The nodes of a body that run while tracing (comprehensions and lambdas too, inner functions not)."""
    waiting: list[ast.AST] = list(reversed(statements(tree)))
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, _FUNCTIONS):
            waiting.extend(reversed(list(ast.iter_child_nodes(node))))


def _local_names(tree: Function) -> set[str]:
    """Parameters and names assigned in the body: those may hold step values; a module's constants may not."""
    args = (*tree.args.args, *tree.args.kwonlyargs, *tree.args.posonlyargs)
    names = {arg.arg for arg in args}
    for node in _wiring(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Lambda):
            names |= {arg.arg for arg in node.args.args}
    return names


def _may_be_traced(node: ast.expr, local: set[str]) -> bool:
    if isinstance(node, ast.Name):
        return node.id in local
    if isinstance(node, (ast.Attribute, ast.Subscript)):
        return _may_be_traced(node.value, local)
    if isinstance(node, ast.NamedExpr):
        return True
    return isinstance(node, ast.Call)


def _problem(node: ast.AST, local: set[str]) -> str:
    if isinstance(node, ast.Compare):
        return _identity(node, local)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
        asks = node.func.id in _QUESTIONS and _may_be_traced(node.args[0], local)
        return _answered(f"{node.func.id}(...)") if asks else ""
    if isinstance(node, ast.pattern):
        return _pattern(node)
    if isinstance(node, (ast.Try, ast.TryStar)):
        return (
            '"try" is over before the graph runs, so it catches nothing of a step. Handle the error inside a @step,'
            " or say what is to happen with step.using(on_fail=...)."
        )
    if isinstance(node, (ast.With, ast.AsyncWith)):
        return '"with" is left before the graph runs. Open and close inside a @step.'
    if isinstance(node, (ast.Yield, ast.YieldFrom)):
        return '"yield" makes a generator of the graph. Return a value; stream the events of a run with graph.stream.'
    return ""


def _answered(what: str) -> str:
    return f'"{what}" is answered while tracing, not when the graph runs. Ask it in a @step.'


def _identity(node: ast.Compare, local: set[str]) -> str:
    sides = [node.left, *node.comparators]
    for index, op in enumerate(node.ops):
        if isinstance(op, (ast.Is, ast.IsNot)) and any(_may_be_traced(s, local) for s in sides[index : index + 2]):
            word = "is not" if isinstance(op, ast.IsNot) else "is"
            right = sides[index + 1]
            return _answered(f"{word} {ast.unparse(right)}" if isinstance(right, ast.Constant) else word)
    return ""


def _pattern(node: ast.AST) -> str:
    """A case that asks what a value is (one that compares with ``==`` is refused while tracing)."""
    if isinstance(node, ast.MatchClass):
        return _answered(f"match {ast.unparse(node.cls)}()")
    if isinstance(node, ast.MatchSingleton):
        return _answered(f"match {node.value}")
    if isinstance(node, (ast.MatchSequence, ast.MatchMapping)):
        return _answered("match " + ("[...]" if isinstance(node, ast.MatchSequence) else "{...}"))
    return ""
