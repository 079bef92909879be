"""The committed tables of the searches keep the protocol's rules."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pandas as pd
import pytest

from toy.config import ARMS, PRESETS
from toy.search.design import entries
from toy.search.experiments import EXPERIMENTS
from toy.search.space import RANGES, Range, edge
from toy.search.tables import Tables
from toy.sweep.collect import RESULTS
from toy.sweep.experiments import SPACE

MEASURED = [name for name in EXPERIMENTS if (RESULTS / f"{name}.json").exists()]


def edges(arms: pd.DataFrame) -> list[str]:
    """The settings that lie within the outer tenth of the range that was searched."""
    return [
        f"{row['cell']}: {row['arm']}: {name} {row[name]:g}"
        for row in arms.to_dict("records")
        for name, usual in RANGES.items()
        if row.get(name, float("nan")) == row.get(name)
        and edge(row[name], Range(row[f"{name}_low"], row[f"{name}_high"], usual.zero))
    ]


def unequal(arms: pd.DataFrame) -> list[str]:
    """The cells whose arms had not as many trials, and those with fewer than the protocol's 30."""
    counts = arms.groupby("cell").trials.agg(["min", "max"])
    return counts[(counts["min"] < counts["max"]) | (counts["min"] < 30)].index.tolist()


def test_some_are_there() -> None:
    assert "core" in MEASURED


@pytest.mark.parametrize("name", MEASURED)
def test_no_best_setting_lies_at_an_edge(name: str) -> None:
    arms = Tables.read(RESULTS, EXPERIMENTS[name]).arms
    assert edges(arms) == []
    assert edges(arms.assign(lr=arms.lr_high * 0.99)) != []  # the near-miss


@pytest.mark.parametrize("name", MEASURED)
def test_all_arms_of_a_cell_had_as_many_trials(name: str) -> None:
    tables = Tables.read(RESULTS, EXPERIMENTS[name])
    assert unequal(tables.arms) == []
    fewer = tables.arms.copy()
    fewer.loc[0, "trials"] -= 1
    assert unequal(fewer) == [fewer.cell[0]]
    counted = tables.trials.groupby(["cell", "arm"]).size()
    for row in tables.arms.to_dict("records"):
        assert counted[row["cell"], row["arm"]] == row["trials"]


@pytest.mark.parametrize("name", MEASURED)
def test_tables_agree(name: str) -> None:
    """Arms are those of the definition, seeds those of the comparison; the verdicts follow from the values."""
    tables = Tables.read(RESULTS, EXPERIMENTS[name])
    defined = {(row.cell.name, row.arm.text) for row in entries(EXPERIMENTS[name])}
    kept = set(zip(tables.arms.cell, tables.arms.arm, strict=True))
    assert kept <= defined
    cells = {cell for cell, _ in kept}
    assert {place for place in defined if place[0] in cells} == kept  # cells are whole
    assert set(tables.made) == cells
    assert (tables.values.groupby(["cell", "arm"]).size() == 32).all()
    verdicts_follow(tables, RESULTS / f"{name}.verdicts.csv")


def verdicts_follow(tables: Tables, path: Path) -> None:
    """The kept verdicts, which the report reads, are those of the values."""
    stored = pd.read_csv(path)
    again = tables.verdicts()
    names = ["cell", "arm", "metric", "seeds", "verdict"]
    pd.testing.assert_frame_equal(again[names], stored[names], check_dtype=False)
    rounding = 1e-3 * (stored["mean"].abs() + stored.baseline_mean.abs())  # values and verdicts have 4 digits each
    for name in ("mean", "difference", "low", "high"):
        undefined = again[name].isna() & stored[name].isna()  # a metric that too few seeds have
        assert (((again[name] - stored[name]).abs() <= rounding) | undefined).all(), name


@pytest.mark.parametrize("name", [name for name in MEASURED if (RESULTS / "second" / f"{name}.json").exists()])
def test_a_second_search_keeps_the_rules_too(name: str) -> None:
    """Other proposals, 64 other seeds; no best setting at an edge, as many trials for all arms of a cell."""
    tables = Tables.read(RESULTS / "second", EXPERIMENTS[name])
    first = Tables.read(RESULTS, EXPERIMENTS[name])
    assert (edges(tables.arms), unequal(tables.arms)) == ([], [])
    assert {(made["search"], made["seeds"]) for made in tables.made.values()} == {(1, 64)}
    assert (tables.values.groupby(["cell", "arm"]).size() == 64).all()
    assert not set(tables.values.seed) & set(first.values.seed)
    verdicts_follow(tables, RESULTS / "second" / f"{name}.verdicts.csv")


@pytest.mark.parametrize(("preset", "experiment", "ending"), [("healthy", "core", ""), ("lazy", "lazy", ", every 8")])
def test_presets_are_what_the_searches_chose(preset: str, experiment: str, ending: str) -> None:
    """Their game is that of the cell, and each arm's setting the chosen one; what lazy does not search is healthy's."""
    arms = Tables.read(RESULTS, EXPERIMENTS[experiment]).arms
    arms = arms[arms.cell == "space, x1"]
    rows = {row["arm"]: row for row in arms.to_dict("records")}
    config, checked = PRESETS[preset], 0
    game = dataclasses.replace(SPACE, every=config.every, samples=config.samples, seeds=config.seeds)
    for name in ARMS:
        row = rows.get(name if name == "gan" else name + ending)
        if row is None:
            assert config.arm(name) == PRESETS["healthy"].arm(name)
            continue
        checked += 1
        found, options = config.arm(name), ("lr", "d_lr", "gamma", *(("weight",) if name != "gan" else ()))
        assert [getattr(found, option) for option in options] == [row[option] for option in options]
        game = game.with_arm(name, found)
    assert checked == (6 if preset == "healthy" else 4)
    for name in set(ARMS) - {arm.removesuffix(ending) for arm in rows}:
        game = game.with_arm(name, config.arm(name))
    assert game == config


def test_the_default_run_is_what_its_search_chose() -> None:
    """Its game is that of the cell; bounded has decoupled's setting, the others summed's."""
    arms = Tables.read(RESULTS, EXPERIMENTS["default"]).arms.set_index("arm")
    config = PRESETS["saturated"]
    (cell,) = EXPERIMENTS["default"].cells()
    assert config == dataclasses.replace(cell.config, samples=config.samples)
    for name in ARMS:
        row = arms.loc[name if name in arms.index else "decoupled" if name == "bounded" else "summed"]
        found = config.arm(name)
        assert [found.lr, found.weight] == [row.lr, row.weight if name != "gan" else 0]
    assert set(arms.index) == {"gan", "summed", "decoupled"}


def places(text: str) -> list[str]:
    """The absolute paths in a text: those of one machine."""
    return re.findall(r"(?<![\w.])/[\w.-]+/[\w./-]*", text)


def test_no_committed_command_names_a_place_of_one_machine() -> None:
    for path in (*RESULTS.rglob("*.json"), *(RESULTS.parents[1] / "images" / "results").glob("*.json")):
        commands = re.findall(r'"command": "(.*)"', path.read_text())
        assert [found for command in commands for found in places(command)] == [], path
    assert places("python -m toy.search core --cache /home/me/cache --out toy/results") == ["/home/me/cache"]
