"""Jinja with nothing in it that a text does not need, and with an end in sight whatever the template asks for.

Work is counted, strings, lists and numbers stay small, and only harmless filters and methods exist. So the worst
template ends within about a second, and on every machine at the same place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date
from functools import wraps
from typing import Any

from jinja2 import StrictUndefined, Undefined, filters, nodes
from jinja2.runtime import LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from tasks.settings import mistakes

LONGEST = 10_000
"""Characters of any string on the way, and of what comes out."""
MOST_ROUNDS = 200
"""Rounds of all loops together, and members of any list."""
MOST_WORK = 20_000
"""Operations, where long strings and lists count several times."""
LARGEST = 10**18

PLAIN = (str, int, float, date, Undefined)
FILTERS = ("abs", "capitalize", "default", "d", "first", "float", "int", "last", "length", "count", "list", "lower", "max",
           "min", "reverse", "sort", "string", "sum", "title", "trim", "truncate", "unique", "upper")  # fmt: skip
METHODS: dict[type, frozenset[str]] = {
    str: frozenset({"capitalize", "endswith", "lower", "split", "startswith", "strip", "title", "upper"}),
    date: frozenset({"isocalendar", "isoformat", "isoweekday", "strftime", "toordinal", "weekday"}),
    LoopContext: frozenset({"cycle"}),
}


class RefusedError(Exception):
    """A template that asks for more than a text needs. Its words are the sentence, without file and key."""


class Sandbox(ImmutableSandboxedEnvironment):
    """One is made for each rendering, since it counts."""

    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%"})

    def __init__(self) -> None:
        # No comments: {# is just text here, as in {#fox|#cat}. And nothing is worked out before it can be counted.
        super().__init__(
            undefined=StrictUndefined,
            comment_start_string="\0{",
            comment_end_string="}\0",
            optimized=False,
            finalize=self._shown,
            cache_size=0,
        )
        self.rounds = self.work = 0
        self.globals = {"range": _range}
        self.filters = {name: self._checked(function) for name, function in OFFERED.items()}
        self.filters |= {"counted": self._counted, "flat": self._flat, "joined": self._checked(_join)}
        self.filters["compared"] = self.take  # to look for one long text in another takes long

    def take(self, value: Any) -> Any:
        """The value itself, unless it is too large or nothing that a text is made of. This is where work is counted."""
        self.work += 1 + (len(value) // 100 if isinstance(value, str) else 0)
        if self.work > MOST_WORK:
            raise RefusedError("its template takes too long: make it simpler")
        if isinstance(value, list | tuple | range):
            few_enough(len(value))
            self.work += len(value) // 4
            for each in value:
                _plain(each)
        elif value is not None:
            _plain(value)
        return value

    def _shown(self, value: Any) -> Any:
        if isinstance(value, list | tuple | range) or value is None:
            raise RefusedError("its template shows a list or nothing at all: show a text, a number or a date")
        return self.take(value)

    def _counted(self, values: Any) -> Iterator[Any]:
        for each in values:
            self.rounds += 1
            few_enough(self.rounds)
            yield each

    def _flat(self, values: Any) -> Any:
        """Lists in lists could be compared for ever."""
        for each in values.values() if isinstance(values, dict) else values:
            _plain(each)
        return values

    def _checked(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A filter that takes and gives small values only. The mark by which it asks for Jinja itself is kept."""

        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            for each in (*args, *kwargs.values()):
                if not isinstance(each, Sandbox | nodes.EvalContext):
                    self.take(each)
            found = function(*args, **kwargs)
            return self.take(list(found) if isinstance(found, Iterator) else found)

        return call

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Values of dates and loops, and the few methods that always give the same small answer."""
        if not super().is_safe_attribute(obj, attr, value):
            return False
        return not callable(value) or any(isinstance(obj, kind) and attr in names for kind, names in METHODS.items())

    def is_safe_callable(self, obj: Any) -> bool:
        return obj is _range or type(getattr(obj, "__self__", None)) in METHODS

    def call(__self, __context: Any, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805
        for each in (*args, *(value for name, value in kwargs.items() if not name.startswith("_"))):
            __self.take(each)  # names with _ are Jinja's own
        return __self.take(super().call(__context, __obj, *args, **kwargs))

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        self.take(left)
        self.take(right)
        if operator == "%" and isinstance(left, str):
            raise RefusedError("its template formats a text with %: use ~ to join texts")
        if operator == "*":
            _check_times(left, right)
        return self.take(super().call_binop(context, operator, left, right))


def short_enough(length: int) -> None:
    if length > LONGEST:
        raise RefusedError(f"its template makes a text of more than {LONGEST} characters: make it shorter")


def few_enough(length: int) -> None:
    if length > MOST_ROUNDS:
        raise RefusedError(f"its template loops or lists more than {MOST_ROUNDS} times: ask for less")


def _plain(value: Any) -> None:
    if not isinstance(value, PLAIN):
        raise RefusedError(
            "its template uses something that is no text, number, date or flat list: use the given names"
        )
    if isinstance(value, str):
        short_enough(len(value))
    elif isinstance(value, int | float) and abs(value) >= LARGEST:
        raise RefusedError("its template counts beyond 10^18: use smaller numbers")


def _check_times(left: Any, right: Any) -> None:
    """Before it is worked out: `'a' * 10000000000` would fill the memory first."""
    for some, times in ((left, right), (right, left)):
        if isinstance(some, str) and isinstance(times, int):
            short_enough(len(some) * times)
        elif isinstance(some, list | tuple) and isinstance(times, int):
            few_enough(len(some) * times)


def _join(values: Any, between: str = "") -> str:
    parts = [str(each) for each in values]
    short_enough(sum(map(len, parts)) + len(str(between)) * len(parts))
    return str(between).join(parts)


def _replace(text: Any, old: str, new: str) -> str:
    text, old, new = str(text), str(old), str(new)
    short_enough(len(text) + text.count(old) * len(new))
    return text.replace(old, new)


def _round(value: float, digits: int = 0) -> float:
    return round(float(value), max(0, min(digits, 9)))


def _range(*bounds: int) -> range:
    found = range(*bounds)
    few_enough(abs(found.stop - found.start) // abs(found.step))  # len() fails on the largest ones
    return found


OFFERED: dict[str, Callable[..., Any]] = {
    **{name: filters.FILTERS[name] for name in FILTERS},
    "join": _join,
    "replace": _replace,
    "round": _round,
}
"""The filters that a template may use."""

_NOT_IN_TEXTS = {
    nodes.Macro: "macro",
    nodes.CallBlock: "call",
    nodes.Block: "block",
    nodes.Extends: "extends",
    nodes.Include: "include",
    nodes.Import: "import",
    nodes.FromImport: "import",
    nodes.Pow: "**",
    nodes.ScopedEvalContextModifier: "autoescape",
}


class Fence(NodeTransformer):
    """Takes out of a parsed template what cannot be bounded, and lets the sandbox count the rest."""

    def visit(self, node: nodes.Node, *args: Any, **kwargs: Any) -> Any:
        if word := _NOT_IN_TEXTS.get(type(node)):
            raise RefusedError(f"its template uses {word}, which texts do not have: write it out")
        return super().visit(node, *args, **kwargs)

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802
        if node.recursive:
            raise RefusedError("its template has a recursive loop, which texts do not have: write it out")
        self.generic_visit(node)
        node.iter = _through("counted", node.iter)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _through("joined", nodes.List(node.nodes, lineno=node.lineno))

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        node.expr = _through("compared", node.expr)
        for operand in node.ops:
            operand.expr = _through("compared", operand.expr)
        return node

    def visit_List(self, node: nodes.List) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _through("flat", node)

    visit_Dict = visit_List  # noqa: N815

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _through("flat", node) if node.ctx == "load" else node

    def visit_Filter(self, node: nodes.Filter) -> nodes.Node:  # noqa: N802
        if node.name not in OFFERED:
            raise RefusedError(
                f"its template uses the filter {node.name}, which is unknown{mistakes.near(node.name, list(OFFERED))}"
            )
        self.generic_visit(node)
        return node


def _through(name: str, node: nodes.Node) -> nodes.Filter:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)
