"""The table of published numbers: what it says of ours, and of files that are none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from images.recipes import OFFERED, RECIPES
from images.table import NOT_BUILT, NOT_RUN, main, table
from theory.common.commandline import run


def report(path: Path, **values: float) -> None:
    content = {"values": values, "samples": {"count": 50_000}, "reference": {"kind": "EDM moments"}}
    path.write_text(json.dumps(content))


def test_nothing_of_ours_is_there_until_it_was_measured(tmp_path: Path) -> None:
    rows = table(tmp_path)
    assert set(rows.ours) == {NOT_RUN, NOT_BUILT}
    assert (rows.ours.eq(NOT_RUN) == rows.recipe.ne("")).all()
    report(tmp_path / "imagenet64-decoupled.json", FID=3.14159)
    changed = table(tmp_path)
    (i,) = changed.index[changed.ours != rows.ours]
    assert changed.ours[i] == "3.14 (50,000 images, EDM moments)"
    assert (changed.recipe[i], changed.coupling[i]) == ("imagenet64", "decoupled")


def test_rows_are_those_of_recipes() -> None:
    """Each recipe of the paper with these couplings once, at the resolution of its images."""
    rows = table(Path("nowhere"))
    ours = rows[rows.recipe.ne("")]
    couplings = ("gan", "summed", "own-step", "decoupled")
    big = list(OFFERED)
    assert sorted(zip(ours.recipe, ours.coupling, strict=True)) == sorted((r, c) for r in big for c in couplings)
    assert all(RECIPES[recipe].resolution == side for recipe, side in zip(ours.recipe, ours.resolution, strict=True))
    assert rows.source.ne("").all()
    assert (rows.fid.ne("") | rows.recipe.ne("")).all()


def test_the_paper_s_numbers() -> None:
    rows = table(Path("nowhere")).set_index(["dataset", "resolution", "method"]).fid
    assert (rows["ImageNet", 64, "Aurora"], rows["ImageNet", 64, "Aurora + SMaRt"]) == ("8.87", "7.11")


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(main, ["--results", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert out.count(NOT_RUN) == 4 * len({*table(tmp_path).recipe} - {""})  # couplings
    assert "Aurora + SMaRt" in out
    assert "\x1b" not in out
    for content, said in (
        ("{", "is damaged or no report of images.evaluate --json"),
        (None, "has Frechet distance (digits classifier); wanted: FID, which needs --inception"),
    ):
        path = tmp_path / "cifar10-summed.json"
        if content is None:
            report(path, **{"Frechet distance (digits classifier)": 1.0})
        else:
            path.write_text(content)
        assert run(main, ["--results", str(tmp_path)]) == 2
        err = capsys.readouterr().err
        assert err.startswith("error: ")
        assert err.count("\n") == 1
        assert said in err
