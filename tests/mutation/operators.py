"""Small changes of a program, each of which a test should notice: the mutants of `python -m tests.mutation`.

Changed are operators, comparisons, constants, conditions, keywords, return values and names that have a counterpart
(min for max); statements are left out. Not changed are annotations, docstrings and other strings, what is raised,
what runs for the type checker or the command line alone, functions that draw on axes, whose pictures are looked at, and
the strict of zip, by which the program asserts of itself what holds however it is tested. Nothing is changed that dies
at import whatever the tests are, such as a required field left out of a table: it would flatter the rate.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """A module with the bytes start..end replaced."""

    path: str
    """theory/levels.py"""
    scope: str
    """Interval.nsr, or empty at the top of the module."""
    statement: int
    """The first line of the statement that changes: a test that does not run it cannot notice."""
    start: int
    end: int
    replacement: bytes
    line: int
    original: str
    """The lines that change, in one line."""
    mutated: str
    """What they become."""

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What names the mutant though lines move."""
        return self.path, self.scope, self.original, self.mutated

    def apply(self, source: bytes) -> bytes:
        return source[: self.start] + self.replacement + source[self.end :]


def mutants(path: str, source: bytes) -> list[Mutant]:
    """Every mutant of a module, in the order of its text."""
    finder = Finder(path, source)
    finder.visit(ast.parse(source))
    return sorted(finder.found, key=lambda mutant: (mutant.start, mutant.end))


ARITHMETIC: dict[type[ast.operator], tuple[str, str]] = {
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "/"),
    ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "/"),
    ast.Mod: ("%", "*"),
    ast.Pow: ("**", "*"),
    ast.BitAnd: ("&", "|"),
    ast.BitOr: ("|", "&"),
}
COMPARISONS: dict[type[ast.cmpop], tuple[str, tuple[str, ...]]] = {
    ast.Lt: ("<", ("<=", ">=")),
    ast.LtE: ("<=", ("<", ">")),
    ast.Gt: (">", (">=", "<=")),
    ast.GtE: (">=", (">", "<")),
    ast.Eq: ("==", ("!=",)),
    ast.NotEq: ("!=", ("==",)),
    ast.Is: ("is", ("is not",)),
    ast.IsNot: ("is not", ("is",)),
    ast.In: ("in", ("not in",)),
    ast.NotIn: ("not in", ("in",)),
}
PAIRS = (
    ("min", "max"),
    ("minimum", "maximum"),
    ("amin", "amax"),
    ("argmin", "argmax"),
    ("any", "all"),
    ("floor", "ceil"),
    ("sin", "cos"),
    ("sinh", "cosh"),
    ("exp", "expm1"),
    ("log", "log1p"),
    ("zeros", "ones"),
    ("zeros_like", "ones_like"),
    ("cumsum", "cumprod"),
)
COUNTERPARTS = {**dict(PAIRS), **{b: a for a, b in PAIRS}}
TEXTS = (ast.JoinedStr, ast.List, ast.Tuple, ast.ListComp)  # + joins these: another operator is a mere TypeError


class Finder(ast.NodeVisitor):
    """Collects the mutants of one module."""

    def __init__(self, path: str, source: bytes) -> None:
        self.path, self.source = path, source
        lengths = [len(line) for line in source.splitlines(keepends=True)]
        self.offsets = [sum(lengths[:i]) for i in range(len(lengths) + 1)]  # of the lines, in bytes, as ast counts
        self.found: list[Mutant] = []
        self.scope: list[str] = []
        self.bound: list[set[str]] = []  # of the functions around: the names that have a value already
        self.statement = 0

    # Where things stand

    def start(self, node: ast.expr | ast.stmt | ast.keyword) -> int:
        return self.offsets[node.lineno - 1] + node.col_offset

    def end(self, node: ast.expr | ast.stmt | ast.keyword) -> int:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self.offsets[node.end_lineno - 1] + node.end_col_offset

    def between(self, left: ast.expr, right: ast.expr, token: str) -> tuple[int, int]:
        """Where the operator between two operands stands."""
        gap = self.source[self.end(left) : self.start(right)]
        gap = re.sub(rb"#[^\n]*", lambda comment: b" " * len(comment[0]), gap)
        first = self.end(left) + gap.index(token.encode())
        return first, first + len(token)

    def add(self, start: int, end: int, replacement: str) -> None:
        """One mutant more, told by the lines that it changes."""
        first = self.source.rfind(b"\n", 0, start) + 1
        last = end + len(self.source[end:].partition(b"\n")[0])
        changed = replacement.encode()
        original = self.source[first:last]
        mutated = self.source[first:start] + changed + self.source[end:last]
        if changed == self.source[start:end]:
            return
        before, after = (" ".join(text.decode().split()) for text in (original, mutated))
        line = self.source.count(b"\n", 0, start) + 1
        self.found.append(
            Mutant(self.path, ".".join(self.scope), self.statement, start, end, changed, line, before, after)
        )

    # Statements

    def visit(self, node: ast.AST) -> None:
        if isinstance(node, ast.stmt):
            self.statement = first_line(node)
            if self.left_out(node):
                self.add(self.start(node), self.end(node), "pass")
        super().visit(node)

    def left_out(self, node: ast.stmt) -> bool:
        """Whether the module still has a meaning without the statement."""
        if isinstance(node, ast.Expr):
            return not isinstance(node.value, ast.Constant)
        if isinstance(node, ast.Assign):
            return all(self.has_value(target) for target in node.targets)
        return isinstance(node, ast.AugAssign | ast.Raise | ast.Break | ast.Continue)

    def has_value(self, target: ast.expr) -> bool:
        if isinstance(target, ast.Name):
            return bool(self.bound) and target.id in self.bound[-1]
        if isinstance(target, ast.Tuple):
            return all(map(self.has_value, target.elts))
        return isinstance(target, ast.Attribute | ast.Subscript)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        if draws(node):
            return
        self.scope.append(node.name)
        for expression in (*node.decorator_list, *node.args.defaults, *filter(None, node.args.kw_defaults)):
            self.visit(expression)
        arguments = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
        self.bound.append({argument.arg for argument in arguments})
        for statement in node.body:
            self.visit(statement)
        self.bound.pop()
        self.scope.pop()

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.scope.append(node.name)
        for expression in (*node.decorator_list, *node.keywords):
            self.visit(expression)
        for statement in node.body:
            self.visit(statement)
        self.scope.pop()

    def visit_Assign(self, node: ast.Assign) -> None:
        if not any(isinstance(target, ast.Name) and target.id == "__all__" for target in node.targets):
            self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.visit(node.target)
        if node.value is not None and "TypeAlias" not in ast.unparse(node.annotation):
            self.visit(node.value)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if type(node.op) in ARITHMETIC and not isinstance(node.value, TEXTS):
            old, new = ARITHMETIC[type(node.op)]
            self.add(*self.between(node.target, node.value, old + "="), new + "=")
        self.generic_visit(node)

    def visit_If(self, node: ast.If) -> None:
        if ast.unparse(node.test) not in ("TYPE_CHECKING", "__name__ == '__main__'"):
            self.negate(node.test)
            self.generic_visit(node)

    def visit_While(self, node: ast.While) -> None:
        self.negate(node.test)
        self.generic_visit(node)

    def visit_Return(self, node: ast.Return) -> None:
        if node.value is not None:
            self.add(self.start(node), self.end(node), "return None")
            self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> None:
        """What is raised stays as it is; leaving it out is a mutant already."""

    # Expressions

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """Strings stay as they are."""

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Store) and self.bound:
            self.bound[-1].add(node.id)
        elif node.id in COUNTERPARTS:
            self.add(self.start(node), self.end(node), COUNTERPARTS[node.id])

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if node.attr in COUNTERPARTS:
            self.add(self.end(node) - len(node.attr), self.end(node), COUNTERPARTS[node.attr])
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, bool):
            self.add(self.start(node), self.end(node), repr(not node.value))
        elif isinstance(node.value, int | float):
            self.add(self.start(node), self.end(node), repr(node.value + 1))
            if isinstance(node.value, float) and node.value:
                self.add(self.start(node), self.end(node), f"({-node.value!r})")

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        number = node.operand.value if isinstance(node.operand, ast.Constant) else None
        whole = isinstance(node.op, ast.USub) and isinstance(number, int)  # the axis -1 is often the axis 1
        if isinstance(node.op, ast.Not | ast.USub) and not whole:
            token = "not " if isinstance(node.op, ast.Not) else "-"
            self.add(self.start(node), self.start(node) + len(token), "")
        if isinstance(number, float):
            self.add(self.start(node.operand), self.end(node.operand), repr(number + 1))
        else:
            self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        text = any(isinstance(side, TEXTS) or is_string(side) for side in (node.left, node.right))
        if type(node.op) in ARITHMETIC and not text:
            old, new = ARITHMETIC[type(node.op)]
            start, end = self.between(node.left, node.right, old)
            if isinstance(node.op, ast.Pow):  # it binds closer than what replaces it
                left, right = (self.source[a:b].decode() for a, b in ((self.start(node), start), (end, self.end(node))))
                self.add(self.start(node), self.end(node), f"({left}{new}{right})")
            else:
                self.add(start, end, new)
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        old, new = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
        for left, right in zip(node.values, node.values[1:], strict=False):
            self.add(*self.between(left, right, old), new)
        self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        operands = [node.left, *node.comparators]
        for op, left, right in zip(node.ops, operands, operands[1:], strict=False):
            old, others = COMPARISONS[type(op)]
            for new in others:
                self.add(*self.between(left, right, old), new)
        self.generic_visit(node)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self.negate(node.test)
        self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        for test in node.ifs:
            self.negate(test)
        self.generic_visit(node)

    def negate(self, test: ast.expr) -> None:
        """The condition reversed, where nothing else reverses it."""
        if not isinstance(test, ast.Compare | ast.BoolOp | ast.UnaryOp | ast.Constant):
            self.add(
                self.start(test), self.end(test), f"(not {self.source[self.start(test) : self.end(test)].decode()})"
            )

    def visit_Call(self, node: ast.Call) -> None:
        if self.bound:  # at the top of a module calls are tables, whose fields are required
            arguments: list[ast.expr | ast.keyword] = [*node.args, *node.keywords]
            given = sorted(arguments, key=self.start)
            for i, keyword in enumerate(given):
                if isinstance(keyword, ast.keyword) and keyword.arg not in (None, "strict"):
                    self.leave_out(given, i, keyword)
        self.generic_visit(node)

    def visit_keyword(self, node: ast.keyword) -> None:
        if node.arg != "strict":
            self.generic_visit(node)

    def leave_out(self, given: list[ast.expr | ast.keyword], i: int, keyword: ast.keyword) -> None:
        """keepdim=True and the comma that parts it from its neighbour."""
        if i > 0:
            comma = self.source.rindex(b",", 0, self.start(keyword))
            self.add(comma, self.end(keyword), "")
        else:
            rest = re.match(rb",\s*", self.source[self.end(keyword) :])
            self.add(self.start(keyword), self.end(keyword) + (rest.end() if rest else 0), "")
        names = {other.arg for other in given if isinstance(other, ast.keyword)}
        if keyword.arg in ("min", "max") and not {"min", "max"} <= names:
            self.add(self.start(keyword), self.start(keyword) + 3, COUNTERPARTS[keyword.arg])


def draws(node: ast.FunctionDef) -> bool:
    """Whether the function draws a picture: one of its arguments is a pair of axes."""
    arguments = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
    return any(argument.annotation is not None and "Axes" in ast.unparse(argument.annotation) for argument in arguments)


def is_string(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def first_line(node: ast.stmt) -> int:
    """Where a statement begins, its decorators included."""
    return min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", ()))])


class Probes(ast.NodeTransformer):
    """Has a module note each statement that it runs, as (path, first line), in the set sys.statements."""

    def __init__(self, path: str) -> None:
        self.path = path

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        for field in ("body", "orelse", "finalbody"):
            statements = getattr(node, field, None)
            if isinstance(statements, list):
                setattr(node, field, [part for statement in statements for part in (*self.probe(statement), statement)])
        return node

    def probe(self, statement: ast.stmt) -> list[ast.stmt]:
        docstring = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
        if docstring or (isinstance(statement, ast.ImportFrom) and statement.module == "__future__"):
            return []  # nothing may stand before these
        note = f"__import__('sys').__dict__.setdefault('statements', set()).add({(self.path, first_line(statement))})"
        return ast.parse(note).body


def with_probes(path: str, source: bytes) -> str:
    return ast.unparse(ast.fix_missing_locations(Probes(path).visit(ast.parse(source))))
