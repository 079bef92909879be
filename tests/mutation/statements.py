"""What the claims state: the part of a claim's module that its checks compare with measurements.

That is the predicted side of every comparison, what the names in it are assigned in the same function, the module's own
functions that it calls, and the defaults of a check's arguments. A wrong number or operator there is a wrong statement.
It is not so in the functions of SETTINGS, which say where and for which laws a claim is checked: any others will do.
"""

from __future__ import annotations

import ast
from dataclasses import replace

from tests.mutation.operators import Finder, Mutant, mutants

COMPARING = ("compare", "compare_exactly", "compare_at_least", "finite_or_exact")
SETTINGS = frozenset(
    {
        *("game", "games", "grid", "places", "off_circle", "beside_circle"),
        *("densities", "random_law", "mixed_carriers"),
    }
)
PREDICTED = 2  # what, measured, predicted
Span = tuple[int, int]


def of_statements(path: str, source: bytes) -> list[Mutant]:
    """The mutants of a module that lie in what its claims state, with numbers 10 % larger in the place of 1 more.

    Statements that are left out are no such.
    """
    spans = spans_of(path, source)
    return [
        nearer(mutant, source)
        for mutant in mutants(path, source)
        if mutant.replacement not in (b"pass", b"return None")
        and any(start <= mutant.start and mutant.end <= end for start, end in spans)
    ]


def nearer(mutant: Mutant, source: bytes) -> Mutant:
    """The mutant; where it makes a number larger by 1, one that makes it larger by 10 %."""
    try:
        old, new = (ast.literal_eval(text.decode()) for text in (source[mutant.start : mutant.end], mutant.replacement))
    except (ValueError, SyntaxError):
        return mutant
    if isinstance(old, bool) or not isinstance(old, int | float) or new != old + 1 or old == 0:
        return mutant
    text = f"{1.1 * old:.12g}".encode()
    before = source[: mutant.start].rpartition(b"\n")[2]
    after = source[mutant.end :].partition(b"\n")[0]
    return replace(mutant, replacement=text, mutated=" ".join((before + text + after).decode().split()))


def spans_of(path: str, source: bytes) -> list[Span]:
    """Where the expressions stand that say what is predicted, in bytes."""
    tree, places = ast.parse(source), Finder(path, source)
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    found: list[ast.expr] = []
    waiting = [(node, function) for function in functions.values() for node in predicted_in(function)]
    for function in functions.values():
        if function.name.startswith("check"):
            waiting += [(value, function) for value in (*function.args.defaults, *function.args.kw_defaults) if value]
    seen: set[int] = set()
    while waiting:
        node, function = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        found.append(node)
        names = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
        waiting += [(value, function) for value in assigned_in(function, names)]
        for name in (names & functions.keys()) - SETTINGS:
            waiting += [(value, functions[name]) for value in values_in(functions[name])]
    return [(places.start(node), places.end(node)) for node in found]


def predicted_in(function: ast.FunctionDef) -> list[ast.expr]:
    """The predicted side of each comparison that the function makes."""
    calls = [node for node in ast.walk(function) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    comparing = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id in COMPARING]
    return [call.args[PREDICTED] for call in comparing if len(call.args) > PREDICTED]


def assigned_in(function: ast.FunctionDef, names: set[str]) -> list[ast.expr]:
    """The values that the function assigns to the names, those of a loop among them; of a pair, only the name's."""
    values: list[ast.expr] = []
    for node in ast.walk(function):
        pairs: list[tuple[ast.expr, ast.expr]] = []
        if isinstance(node, ast.Assign):
            pairs = [(target, node.value) for target in node.targets]
        elif isinstance(node, ast.AnnAssign | ast.AugAssign) and node.value is not None:
            pairs = [(node.target, node.value)]
        for target, value in pairs:
            values += matching(target, value, names)
    return values


def matching(target: ast.expr, value: ast.expr, names: set[str]) -> list[ast.expr]:
    """The value if the target is one of the names; of two tuples, the parts that belong together."""
    if isinstance(target, ast.Name):
        return [value] if target.id in names else []
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
        parts = zip(target.elts, value.elts, strict=True)
        return [found for left, right in parts for found in matching(left, right, names)]
    return []


def values_in(function: ast.FunctionDef) -> list[ast.expr]:
    """What a function that is called to predict computes: its whole body."""
    return [
        node.value
        for node in ast.walk(function)
        if isinstance(node, ast.Return | ast.Assign | ast.AugAssign | ast.Expr)
        and node.value is not None
        and not isinstance(node.value, ast.Constant)
    ]
