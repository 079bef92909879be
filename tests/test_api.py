"""`toy.api.compare`: arms x manifolds x seeds to a DataFrame, as README shows it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from tests.processes import forked
from theory.common.errors import FileError
from theory.common.parts import OBJECTS
from theory.manifolds import Mixture, Sphere
from toy import api
from toy.api import compare, table_of
from toy.search import cache as search_cache

ROOT = Path(__file__).parents[1]
TINY = {"width": 8, "layers": 1, "samples": 64, "batch": 8, "d_ahead": 2, "d_steps": 1, "latent": 2, "processes": 1}
SNIPPET = re.search(r"```python\n(from toy.api import compare\n.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[1]
EYE = Mixture([Sphere(2, 0.3), Sphere(2, 1.0)], weights=(0.25, 0.75))


def own_r1(d, real, fake):
    (g,) = torch.autograd.grad(d(real).sum(), real, create_graph=True)
    return g.square().sum(-1) / 2


def broken(d, real, fake):
    raise RuntimeError("no penalty")


def test_the_lines_of_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    """2 arms x 3 manifolds x 32 seeds in at most ten lines; here with small networks and few steps."""
    assert len(SNIPPET.splitlines()) <= 10
    assert SNIPPET.count("steps=1000") == 1
    monkeypatch.chdir(tmp_path)
    found: dict = {}
    exec(SNIPPET.replace("steps=1000", f"steps=3, **{TINY}"), found)
    table = found["table"]
    assert len(table) == 2 * 3 * 4
    assert list(dict.fromkeys(table.manifold)) == ["ring", "8-ring", "spiral"]
    assert (table[table.arm == "summed"].groupby("manifold").size() == 4).all()
    assert set(table[table.metric == "w2"].seeds) == {32}
    assert set(table[table.arm == "gan"].verdict) == {""}
    assert set(table[table.arm == "summed"].verdict) <= {"helps", "hurts", "equal", "unknown"}
    assert "verdict" in capsys.readouterr().out


def test_again_trains_nothing_and_gives_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {**TINY, "seeds": 3, "steps": 2, "cache": tmp_path / "cache"}
    first = compare(["gan", "decoupled"], ["ring"], **options)
    monkeypatch.setattr(api, "finish_with", lambda *_: pytest.fail("trained again"))
    pd.testing.assert_frame_equal(compare(["gan", "decoupled"], ["ring"], **options), first)
    with pytest.raises(pytest.fail.Exception, match="trained again"):
        compare(["gan", "decoupled"], ["ring"], **{**options, "steps": 3})


OBJECTS_SCRIPT = """
import torch
from theory.manifolds import Mixture, Sphere
from toy.api import compare

eye = Mixture([Sphere(2, 0.3), Sphere(2, 1.0)], weights=(0.25, 0.75))
loss = lambda real, fake: -(real - fake).tanh(), lambda real, fake: (real - fake).tanh()

def r1(d, real, fake):
    (g,) = torch.autograd.grad(d(real).sum(), real, create_graph=True)
    return g.square().sum(-1) / 2

class Net(torch.nn.Linear):
    pass

def table(processes, cache):
    own = {"generator": Net, "loss": loss, "regulariser": r1}
    return compare(["gan"], {"eye": eye}, seeds=3, steps=3, gamma=0.3, **own, cache=cache, OPTIONS)

if __name__ == "__main__":
    table(2, "cache").to_csv("two.csv")
"""


def test_objects_go_to_other_processes(tmp_path: Path) -> None:
    """A law, a generator, a loss and a regulariser that are in no file: over two processes as in one."""
    options = ", ".join(f"{name}={value}" for name, value in TINY.items() if name != "processes")
    script = OBJECTS_SCRIPT.replace("OPTIONS", f"{options}, processes=processes")
    done = forked("-c", script, cwd=tmp_path)
    assert done.status == 0, done.err
    here: dict = {"__name__": "here"}
    exec(script, here)
    here["table"](1, tmp_path / "cache-here").to_csv(tmp_path / "one.csv")
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "two.csv").read_bytes()
    assert set(pd.read_csv(tmp_path / "one.csv").manifold) == {"eye"}


def test_other_code_is_another_key() -> None:
    one, same, other = (api.given("f", eval(f"lambda x: x + {n}")) for n in (1, 1, 2))
    assert one == same != other
    assert all(OBJECTS[key](1) == value for key, value in ((one, 2), (other, 3)))


def test_two_objects_of_one_class_keep_apart(tmp_path: Path) -> None:
    table = compare(["gan"], [EYE, Mixture([Sphere(2, 0.5)], weights=(1.0,))], seeds=2, steps=1, cache=tmp_path, **TINY)
    assert list(dict.fromkeys(table.manifold)) == ["Mixture", "Mixture 2"]


@pytest.mark.parametrize(
    ("error", "says", "change"),
    [
        (ValueError, "unknown manifold 'rign'.*did you mean 'ring'", {"manifolds": ["rign"]}),
        (ValueError, "unknown arm 'gann'", {"arms": ["gann"]}),
        (ValueError, "unknown option 'stpes'.*did you mean 'steps'", {"stpes": 3}),
        (ValueError, "unknown metric 'fid'", {"metrics": ["fid"]}),
        (ValueError, "seeds must be a whole number of at least 1; given 0", {"seeds": 0}),
        (FileError, "points.csv: No such file", {"manifolds": ["points.csv"]}),
        (FileError, "is no law, nor does it return one", {"manifolds": [3.5]}),
        (api.Failure, "ring, gan: FileError: .*broken.*no penalty", {"regulariser": broken, "gamma": 0.1}),
        (ValueError, "manifold must be picklable", {"manifolds": [(x for x in [])]}),
    ],
)
def test_refused(error: type[Exception], says: str, change: dict, tmp_path: Path) -> None:
    given = {"arms": ["gan"], "manifolds": ["ring"], "seeds": 2, "steps": 1, "cache": tmp_path, **TINY, **change}
    with pytest.raises(error, match=says):
        compare(given.pop("arms"), given.pop("manifolds"), **given)


def test_the_table_s_numbers_by_hand() -> None:
    """Three seeds: means, a difference that all seeds share, one that is undefined."""
    rows = [
        ("ring", arm, seed, "w2", value + seed) for arm, value in (("gan", 4.0), ("summed", 1.0)) for seed in range(3)
    ]
    rows += [("ring", arm, seed, "kl", np.nan) for arm in ("gan", "summed") for seed in range(3)]
    table = table_of(
        pd.DataFrame(rows, columns=["cell", "arm", "seed", "metric", "value"]), {"w2": "lower", "kl": "lower"}
    ).set_index(["arm", "metric"])
    assert table.loc[("gan", "w2"), "mean"] == 5
    assert table.loc[("summed", "w2"), ["mean", "difference", "difference_low", "difference_high"]].tolist() == [
        2,
        -3,
        -3,
        -3,
    ]
    assert table.loc[("summed", "w2"), "p"] == 2 / 2**3  # all of one sign: two of the eight patterns
    assert table.loc[("summed", "kl"), ["seeds", "undefined", "verdict"]].tolist() == [0, 3, "unknown"]


def test_work_of_the_search_is_used() -> None:
    """One cache format, with checksums: toy.search's."""
    assert api.Cache is search_cache.Cache
