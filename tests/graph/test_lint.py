"""What tracing would get silently wrong is found in the source; what is harmless is let through."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

import pytest
from graph.desk import Parcel, gist, length, mood, parcel

from agentfleet import TraceError, extract, graph, step, when
from agentfleet.graph.lint import lint_graph
from agentfleet.graph.source import body_digest, tree_of

VERBOSE: bool | None = None


def is_none(mail: str) -> str:
    it = parcel(mail)
    return "none" if it is None else it.code


def is_not_none(mail: str) -> str:
    it = parcel(mail)
    return it.code if it is not None else "none"


def in_a_call(mail: str) -> str:
    return "none" if parcel(mail) is None else mail


def in_a_comprehension(mail: str) -> list[str]:
    return [text for text in [gist(mail)] if text is not None]


def in_a_lambda(mail: str) -> Any:
    return list(filter(lambda it: it is not None, [parcel(mail)]))


def asked_class(mail: str) -> str:
    return "parcel" if isinstance(parcel(mail), Parcel) else "none"


def asked_type(mail: str) -> str:
    it = gist(mail)
    return str(type(it))


def match_class(mail: str) -> str:
    match parcel(mail):
        case Parcel():
            return "parcel"
    return "none"


def match_none(mail: str) -> str:
    match parcel(mail):
        case None:
            return "none"
    return "parcel"


def match_sequence(mail: str) -> str:
    match gist(mail):
        case [first, *_]:
            return str(first)
    return ""


def tried(mail: str) -> str:
    try:
        return gist(mail)
    except ValueError:
        return ""


def opened(mail: str) -> str:
    with open(mail) as file:  # noqa: PTH123
        return gist(file.read())


def yielded(mail: str) -> Any:
    yield gist(mail)


REFUSED: list[tuple[Callable[..., Any], int, str]] = [
    (is_none, 2, '"is None" is answered while tracing, not when the graph runs. Ask it in a @step.'),
    (is_not_none, 2, '"is not None" is answered while tracing'),
    (in_a_call, 1, '"is None" is answered while tracing'),
    (in_a_comprehension, 1, '"is not None" is answered while tracing'),
    (in_a_lambda, 1, '"is not None" is answered while tracing'),
    (asked_class, 1, '"isinstance(...)" is answered while tracing'),
    (asked_type, 2, '"type(...)" is answered while tracing'),
    (match_class, 2, '"match Parcel()" is answered while tracing'),
    (match_none, 2, '"match None" is answered while tracing'),
    (match_sequence, 2, '"match [...]" is answered while tracing'),
    (tried, 1, '"try" is over before the graph runs'),
    (opened, 1, '"with" is left before the graph runs'),
    (yielded, 1, '"yield" makes a generator of the graph'),
]


@pytest.mark.parametrize(("fn", "offset", "text"), REFUSED, ids=[fn.__name__ for fn, _, _ in REFUSED])
def test_refused_with_graph_and_line(fn: Callable[..., Any], offset: int, text: str) -> None:
    line = fn.__code__.co_firstlineno + offset
    with pytest.raises(TraceError, match=rf"^{fn.__name__}, line {line}: {re.escape(text)}"):
        graph(fn)


def test_what_is_no_step_value_is_let_through() -> None:
    @graph
    def g(mail: str) -> str:
        if VERBOSE is None:
            return gist(mail)
        return mail

    assert list(g.dag.nodes) == ["gist"]


def test_bodies_of_steps_inside_a_graph_run_later() -> None:
    @graph
    def g(mail: str) -> str:
        @step
        def code(it: Parcel | None) -> str:
            try:
                return "" if it is None else it.code
            except ValueError:
                return ""

        return code(parcel(mail))

    assert list(g.dag.nodes) == ["parcel", "code"]


def test_none_may_be_compared_by_value() -> None:
    @graph
    def g(mail: str) -> str:
        return when(parcel(mail) == None, "none", otherwise=mail)  # noqa: E711

    assert list(g.dag.nodes) == ["parcel"]


def test_without_source_the_lint_is_silent() -> None:
    space: dict[str, Any] = {"gist": gist}
    exec("def g(mail: str) -> str:\n    return gist(mail)\n", space)
    lint_graph(space["g"], "g")
    assert list(graph(space["g"]).dag.nodes) == ["gist"]


def test_skill_with_an_ellipsis_for_a_body() -> None:
    with pytest.raises(TraceError, match="the body asks nothing"):

        @extract(tier="small")
        def f(mail: str) -> str:
            """Words."""
            ...  # noqa: PIE790


def test_lambdas_and_wrapped_functions_have_their_own_source() -> None:
    @functools.wraps(is_none)
    def wrapper(mail: str) -> str:
        return is_none(mail)

    tree = tree_of(wrapper)
    assert tree is not None and tree.lineno == is_none.__code__.co_firstlineno
    assert tree_of(lambda text: text.upper()) is not None


def test_digest_of_a_body() -> None:
    def plain(text: str) -> str:
        return text.upper()

    def dressed(text: str) -> str:
        """With words about it."""
        # and a comment

        return text.upper()

    def other(text: str) -> str:
        return text.lower()

    assert body_digest(plain) == body_digest(dressed) != body_digest(other)
    assert body_digest(lambda x: x + 1) != body_digest(lambda x: x + 2)


def test_digest_counts_defaults() -> None:
    def two(text: str, limit: int = 2) -> str:
        return text[:limit]

    def three(text: str, limit: int = 3) -> str:
        return text[:limit]

    assert body_digest(two) != body_digest(three)


def test_dead_code_at_the_end_of_a_body_is_no_obstacle() -> None:
    @graph
    def g(mail: str) -> str:
        return when(mood(mail) == "calm", gist(mail), otherwise="")
        if False:
            length(mail)

    assert list(g.dag.nodes) == ["mood", "gist"]
