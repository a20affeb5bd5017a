"""The language of templates: Jinja's, but an allow-list of it, over JSON data, and within a budget.

A template is parsed, each node is checked against the allow-list, and the nodes whose work depends on data are wrapped
so that they spend from the budget. No attribute of a Python object can be reached: a dot looks into JSON objects alone.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from datetime import date
from typing import Any, Final, NamedTuple

from jinja2 import StrictUndefined, Template, nodes
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context, LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import missing
from jinja2.visitor import NodeTransformer

from engine.preparing import template_filters
from engine.preparing.template_budget import OPERATORS, BadTemplate, counted, weighed

MAX_SOURCE: Final = 64 * 1024
MAX_NODES: Final = 5_000
MAX_DEPTH: Final = 60
MAX_LOOPS: Final = 2
FUNCTIONS: Final = frozenset({"range"})
HIDDEN: Final = {
    "_text": template_filters.text_of,
    "_joined": template_filters.joined,
    "_counted": counted,
    "_weighed": weighed,
}
_LOOP: Final = frozenset({"index", "index0", "revindex", "revindex0", "first", "last", "length"})
_DATE: Final = frozenset({"year", "month", "day", "hour", "minute", "second"})
_EXPRESSIONS: Final = (
    *(nodes.Name, nodes.Const, nodes.TemplateData, nodes.List, nodes.Tuple, nodes.Dict, nodes.Pair, nodes.Keyword),
    *(nodes.Getattr, nodes.Getitem, nodes.Slice, nodes.Call, nodes.Filter, nodes.Test, nodes.CondExpr),
    *(nodes.Compare, nodes.Operand, nodes.Concat, nodes.And, nodes.Or, nodes.Not, nodes.Neg, nodes.Pos),
    *(nodes.Add, nodes.Sub, nodes.Mul, nodes.Div, nodes.FloorDiv, nodes.Mod, nodes.Pow),
)
_ALLOWED: Final = frozenset({*_EXPRESSIONS, nodes.Template, nodes.Output, nodes.If, nodes.For, nodes.Assign})
_TAGS: Final = {
    "CallBlock": "call",
    "FromImport": "from",
    "AssignBlock": "set ... endset",
    "FilterBlock": "filter",
    "NSRef": "set on an object",
}


class Made(NamedTuple):
    """A template, whether it is a single expression (whose value it sets as `value`), and which names it uses."""

    template: Template
    single: bool
    used: frozenset[str]


class Missing(StrictUndefined):
    """What a template names and does not find: any use of it says which name."""

    @property
    def _undefined_message(self) -> str:
        if self._undefined_hint:
            return str(self._undefined_hint)
        if self._undefined_obj is missing:
            return f"there is no {self._undefined_name!r}"
        here = self._undefined_obj
        names = ", ".join(map(str, list(here)[:20])) if isinstance(here, Mapping) else ""
        return f"there is no {self._undefined_name!r} in {_what(here)}" + (f"; there are {names}" if names else "")


def _what(value: Any) -> str:
    if isinstance(value, Mapping):
        return "this object" if value else "this empty object"
    return {str: "a text", list: "this list", type(None): "null"}.get(type(value), f"a {type(value).__name__}")


class Language(ImmutableSandboxedEnvironment):
    """Jinja's environment, cut down to what templates of parameters need."""

    intercepted_binops = frozenset(OPERATORS)

    def __init__(self) -> None:
        super().__init__(undefined=Missing, autoescape=False, optimized=False, keep_trailing_newline=True, cache_size=0)
        self.globals = {"range": template_filters.a_range}
        self.filters = {**template_filters.FILTERS, **HIDDEN}
        self.tests = dict(template_filters.TESTS)

    def getattr(self, obj: Any, attribute: str) -> Any:
        if isinstance(obj, LoopContext) and attribute in _LOOP:
            return getattr(obj, attribute)
        if isinstance(obj, date) and attribute in _DATE and hasattr(obj, attribute):
            return getattr(obj, attribute)
        return self.getitem(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        if isinstance(obj, Missing):
            obj._fail_with_undefined_error()
        if isinstance(obj, Mapping) and isinstance(argument, str):
            return obj[argument] if argument in obj else self.undefined(obj=obj, name=argument)
        if isinstance(obj, list | tuple | str) and isinstance(argument, int) and -len(obj) <= argument < len(obj):
            return obj[argument]
        return self.undefined(obj=obj, name=argument)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        for value in (left, right):
            if isinstance(value, Missing):
                value._fail_with_undefined_error()
        return OPERATORS[operator](left, right)

    def call(self, context: Context, obj: Any, *args: Any, **kwargs: Any) -> Any:
        if obj is not template_filters.a_range:
            raise SecurityError("only range(...) may be called")
        if kwargs.keys() - {"_loop_vars", "_block_vars"}:  # what compiled code adds by itself
            raise BadTemplate("range takes one to three whole numbers")
        return obj(*args)

    def made(self, source: str, names: Collection[str]) -> Made:
        """Read a template that may use these names.

        Errors: BadTemplate, Jinja's TemplateSyntaxError.
        """
        if len(source) > MAX_SOURCE:
            raise BadTemplate(f"has {len(source):,} characters, at most {MAX_SOURCE:,} are read")
        tree = self.parse(source)
        _refuse_forbidden(tree, names)
        used = frozenset(node.name for node in tree.find_all(nodes.Name) if node.ctx == "load")
        single = _single(tree)
        if single is not None:
            target = nodes.Name("value", "store", lineno=1)
            tree.body = [nodes.Assign(target, single, lineno=1)]
        _Spending().visit(tree)
        tree.set_environment(self)
        template = Template.from_code(self, self.compile(tree), self.make_globals(None))
        return Made(template, single is not None, used.intersection(names))


def _single(tree: nodes.Template) -> nodes.Expr | None:
    match tree.body:
        case [nodes.Output(nodes=[only])] if not isinstance(only, nodes.TemplateData):
            return only
    return None


def _refuse_forbidden(tree: nodes.Template, names: Collection[str]) -> None:
    """Errors: BadTemplate for a node that is not on the allow-list, too many of them, or too deep."""
    set_here = {node.name for node in tree.find_all(nodes.Name) if node.ctx == "store"}
    known = {*names, *set_here, "loop"}
    for place, (node, depth, loops) in enumerate(_walk(tree), 1):
        if place > MAX_NODES or depth > MAX_DEPTH:
            raise _bad(node, "is too large or too deeply nested")
        if type(node) not in _ALLOWED:
            tag = _TAGS.get(type(node).__name__, type(node).__name__.lower())
            raise _bad(node, f"{{% {tag} %}} is not for templates of parameters")
        if loops > MAX_LOOPS:
            raise _bad(node, f"loops are nested more than {MAX_LOOPS} deep")
        _refuse_names(node, known)


def _refuse_names(node: nodes.Node, known: Collection[str]) -> None:
    match node:
        case nodes.Name(name=name) if name.startswith("_"):
            raise _bad(node, f"the name {name!r} begins with an underscore")
        case nodes.Name(name=name, ctx="load") if name not in known and name not in FUNCTIONS:
            raise _bad(node, f"there is no {name!r}; there are {', '.join(sorted(set(known) - {'loop'}))}")
        case nodes.Call(node=called) if not (isinstance(called, nodes.Name) and called.name in FUNCTIONS):
            raise _bad(node, "only range(...) may be called; use filters, as in {{ value | upper }}")
        case nodes.Filter(name=name) if name not in template_filters.FILTERS:
            raise _bad(node, f"there is no filter {name!r}; there are {', '.join(sorted(template_filters.FILTERS))}")
        case nodes.Test(name=name) if name not in template_filters.TESTS:
            raise _bad(node, f"there is no test {name!r}")
        case nodes.Const(value=float(number)) if not math.isfinite(number):
            raise _bad(node, "a number is too large")
        case nodes.For(recursive=True):
            raise _bad(node, "loops are not recursive here")
    if getattr(node, "dyn_args", None) is not None or getattr(node, "dyn_kwargs", None) is not None:
        raise _bad(node, "* and ** are not for arguments here")


def _bad(node: nodes.Node, words: str) -> BadTemplate:
    error = BadTemplate(words)
    error.lineno = node.lineno  # type: ignore[attr-defined]
    return error


def _walk(tree: nodes.Template) -> Iterator[tuple[nodes.Node, int, int]]:
    """Every node with its depth and the loops around it, without recursion."""
    rest: list[tuple[nodes.Node, int, int]] = [(tree, 0, 0)]
    while rest:
        node, depth, loops = rest.pop()
        loops += isinstance(node, nodes.For)
        yield node, depth, loops
        rest += [(child, depth + 1, loops) for child in node.iter_child_nodes()]


class _Spending(NodeTransformer):
    """Wraps what depends on the size of data into filters that spend from the budget."""

    def visit_Output(self, node: nodes.Output) -> nodes.Node:
        self.generic_visit(node)
        values: list[Any] = node.nodes
        node.nodes = [value if isinstance(value, nodes.TemplateData) else _through("_text", value) for value in values]
        return node

    def visit_For(self, node: nodes.For) -> nodes.Node:
        self.generic_visit(node)
        node.iter = _through("_counted", node.iter)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        return _through("_joined", nodes.List(node.nodes, lineno=node.lineno))

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:
        self.generic_visit(node)
        node.expr = _through("_weighed", node.expr)
        return node

    def visit_Operand(self, node: nodes.Operand) -> nodes.Node:
        self.generic_visit(node)
        node.expr = _through("_weighed", node.expr)
        return node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:
        self.generic_visit(node)
        if isinstance(node.arg, nodes.Slice):  # slices pass the environment by
            node.node = _through("_weighed", node.node)
        return node


def _through(name: str, node: Any) -> nodes.Filter:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)
