"""The imports of the whole repository: no circle, no arrow upwards, no crowded folder.

Read from the source, so that an import inside a function, or one for types only, counts as well. Modules that a table
names as text (`theory.common.commandline.dispatch`) are not imports.
"""

from __future__ import annotations

import ast
import graphlib
import itertools
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = {  # which rooms a room may import
    "theory": {"theory"},
    "toy": {"toy", "theory"},
    "images": {"images", "theory"},
    "figures": {"figures", "toy", "images", "theory"},
}
FILES = 16  # of one folder, at most

Sources = dict[str, str]  # the path of a Python file -> its text
Graph = dict[str, set[str]]  # a module -> the modules that it imports


@cache
def sources() -> Sources:
    """Every Python file of the repository."""
    return {
        str(path.relative_to(ROOT)): path.read_text()
        for room in (*ROOMS, "tests")
        for path in sorted((ROOT / room).rglob("*.py"))
    }


def module(path: str) -> str:
    """The file's name in an import; a package's is that of its __init__."""
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def parents(name: str) -> list[str]:
    """a and a.b for a.b.c."""
    parts = name.split(".")
    return [".".join(parts[:n]) for n in range(1, len(parts))]


def imports(files: Sources) -> Graph:
    """What each module imports. a.b.c stands for a and a.b too, unless the importer lies below them.

    Raises:
        ValueError: an import is relative.
    """
    known = {module(path) for path in files}
    graph: Graph = {}
    for path, text in files.items():
        name, found = module(path), set()
        for node in ast.walk(ast.parse(text, path)):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                if node.level or node.module is None:
                    raise ValueError(f"{path}:{node.lineno}: a relative import")
                for alias in node.names:
                    below = f"{node.module}.{alias.name}"
                    found.add(below if below in known else node.module)
        implied = {parent for target in found for parent in parents(target)} - {name, *parents(name)}
        graph[name] = (found | implied) & known
    return graph


@cache
def read() -> Graph:
    """Those of the repository."""
    return imports(sources())


def circles(graph: Graph) -> list[str]:
    """Circles of imports, "a -> b -> a", until no other is left once an import of each is taken away."""
    graph, found = {name: set(targets) for name, targets in graph.items()}, []
    while True:
        try:
            graphlib.TopologicalSorter(graph).prepare()
            return found
        except graphlib.CycleError as error:
            circle = error.args[1][::-1]  # in graphlib's order each is imported by the next
            found.append(" -> ".join(circle))
            graph[circle[0]].discard(circle[1])


def is_test(name: str) -> bool:
    return "tests" in name.split(".")


def refused(graph: Graph) -> list[str]:
    """The imports that point upwards or across: "theory.levels -> toy.run"."""
    return [f"{name} -> {target}" for name in graph for target in sorted(graph[name]) if not allowed(name, target)]


def allowed(name: str, target: str) -> bool:
    """Whether the module may import the target: the rooms below its own; tests alone may import tests.

    theory.common imports nothing of ours but itself; a room's tests stay within what the room may import.
    """
    room, other = name.split(".")[0], target.split(".")[0]
    if is_test(target):
        return is_test(name) and other in ("tests", room)
    if within(name, "theory.common"):
        return within(target, "theory.common") or target == "theory"
    return room == "tests" or other in ROOMS[room]


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def crowded(files: Sources) -> list[str]:
    """Folders with more than FILES Python files: "17 in toy". Tests and the figures' notebooks list themselves."""
    count = Counter(
        str(Path(path).parent)
        for path, text in files.items()
        if not Path(path).name.startswith("test_") and not text.startswith("# ---\n# jupyter:")
    )
    return [f"{n} in {folder}" for folder, n in sorted(count.items()) if n > FILES]


def test_there_is_no_circle() -> None:
    assert circles(read()) == []


def test_no_import_points_upwards_or_across() -> None:
    assert refused(read()) == []


def test_no_folder_is_crowded() -> None:
    assert crowded(sources()) == []


def test_every_room_was_read() -> None:
    graph = read()
    assert {name.split(".")[0] for name in graph} == {*ROOMS, "tests"}
    assert "theory.levels" in graph["theory.regularity"]
    assert "theory.common.commandline" in graph["toy.run"]


# What the rules must refuse


@pytest.mark.parametrize(
    ("files", "circle"),
    [
        ({"toy/a.py": "import toy.b", "toy/b.py": "import toy.a"}, {"toy.a", "toy.b"}),
        ({"toy/a.py": "def f():\n    from toy.b import g", "toy/b.py": "from toy.a import f"}, {"toy.a", "toy.b"}),
        (  # for types only
            {"toy/a.py": "if TYPE_CHECKING:\n    from toy import b", "toy/b.py": "from toy.a import f"},
            {"toy.a", "toy.b"},
        ),
        ({"toy/a.py": "import toy.a"}, {"toy.a"}),
        (  # the package's __init__ is run on the way to c
            {"toy/p/__init__.py": "import toy.a", "toy/p/c.py": "", "toy/a.py": "from toy.p.c import f"},
            {"toy.p", "toy.a"},
        ),
        (  # a name of the package's __init__, from within the package
            {"toy/p/__init__.py": "from toy.p.c import f", "toy/p/c.py": "from toy.p import g"},
            {"toy.p", "toy.p.c"},
        ),
        (
            {"toy/a.py": "import toy.b", "toy/b.py": "import toy.c", "toy/c.py": "import toy.a"},
            {"toy.a", "toy.b", "toy.c"},
        ),
    ],
)
def test_a_circle_is_found(files: Sources, circle: set[str]) -> None:
    [found] = circles(imports(files))
    names = found.split(" -> ")
    assert set(names) == circle
    assert names[0] == names[-1]
    graph = imports(files)
    assert all(b in graph[a] for a, b in itertools.pairwise(names))


def test_two_circles_are_both_found() -> None:
    pairs = ("a", "b"), ("b", "a"), ("c", "d"), ("d", "c")
    assert len(circles(imports({f"toy/{a}.py": f"import toy.{b}" for a, b in pairs}))) == 2


def test_a_package_that_imports_its_own_modules_is_no_circle() -> None:
    files = {"toy/p/__init__.py": "from toy.p import c", "toy/p/c.py": "from toy.p.d import f", "toy/p/d.py": ""}
    assert circles(imports(files)) == []


def test_a_relative_import_is_refused() -> None:
    with pytest.raises(ValueError, match=r"toy/a\.py:1: a relative import"):
        imports({"toy/a.py": "from . import b"})


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("theory/levels.py", "from toy.run import main"),
        ("theory/levels.py", "from images import recipes"),
        ("theory/common/files.py", "import theory.levels"),
        ("theory/common/files.py", "def f():\n    import toy.run"),
        ("toy/run.py", "import images.recipes"),
        ("images/recipes.py", "import toy.run"),
        ("toy/run.py", "import figures.training"),
        ("toy/run.py", "from toy.tests.test_run import TINY"),
        ("figures/training.py", "from tests.commands import TINY"),
        ("toy/tests/test_run.py", "import images.recipes"),
        ("toy/tests/test_run.py", "import images.tests.test_recipes"),
        ("theory/tests/test_levels.py", "import toy.run"),
        ("theory/tests/test_levels.py", "import figures.training"),
    ],
)
def test_an_arrow_upwards_or_across_is_refused(path: str, text: str) -> None:
    names = ("theory/levels", "toy/run", "images/recipes", "figures/training", "tests/commands")
    others = ("toy/tests/test_run", "images/tests/test_recipes")
    files = {f"{name}.py": "" for name in (*names, *others)}
    [arrow] = refused(imports(files | {path: text}))[:1]
    assert arrow.startswith(f"{module(path)} -> ")


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("figures/training.py", "import toy.run, images.recipes, theory.levels"),
        ("toy/run.py", "import theory.common.files"),
        ("theory/levels.py", "import theory.common.files"),
        ("tests/test_run.py", "import toy.run, images.recipes, figures.training, tests.commands"),
        ("toy/tests/test_run.py", "import toy.run, toy.tests.test_metrics, tests.commands"),
    ],
)
def test_an_arrow_downwards_is_not(path: str, text: str) -> None:
    names = ("theory/levels", "theory/common/files", "toy/run", "images/recipes", "figures/training")
    files = {f"{name}.py": "" for name in (*names, "tests/commands", "toy/tests/test_metrics")}
    assert refused(imports(files | {path: text})) == []


def test_a_crowded_folder_is_refused() -> None:
    files = {f"toy/f{n}.py": "" for n in range(FILES + 1)} | {f"images/f{n}.py": "" for n in range(FILES)}
    assert crowded(files) == ["17 in toy"]
    assert crowded({f"toy/tests/test_f{n}.py": "" for n in range(FILES + 1)}) == []
