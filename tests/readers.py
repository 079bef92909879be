"""Each kind of file that the project reads back: how a sound one is made, how it is damaged, what its reader gives.

Formats of others (IDX, CIFAR10's archives, JPEG and so on, EDM's pickles, guided-diffusion's state dicts) are damaged
in images/tests/test_hostile.py.
"""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import pandas as pd
import torch

from figures.tools import results
from images import publish, sample, table
from images import train as images_train
from images.datasets import archive
from images.datasets.dataset import Images
from images.datasets.splits import Splits
from images.denoisers import published, small
from images.denoisers.precondition import EDMScore
from images.metrics import classifier, features
from images.metrics.distances import Moments
from images.metrics.references import read_reference, read_samples, save_reference
from images.recipes import DIGITS, FREE
from images.recipes import as_dict as recipe_dict
from images.training import run as images_run
from images.training.inputs import real_images
from tests import damage
from theory.common import files
from theory.common.files import checksum
from theory.common.logs import Table
from theory.common.statistics import summary
from theory.levels import Interval
from theory.manifolds import Points, make
from toy import run as toy_run
from toy.config import Config, as_dict
from toy.jobs.board import NoBoard
from toy.jobs.job import Job
from toy.jobs.worker import trainer_of, work
from toy.metrics import Reference
from toy.search import cache as search_cache
from toy.search.experiments import EXPERIMENTS
from toy.search.tables import Tables
from toy.sweep import cache as sweep_cache
from toy.sweep.collect import RESULTS, collect
from toy.sweep.design import Task
from toy.training import checkpoint
from toy.training.denoiser import cached_denoiser

Breaker = Callable[[bytes, random.Random], bytes]


class Kind(NamedTuple):
    """A kind of file, in a directory of its own."""

    make: Callable[[Path], object]
    broken: Mapping[str, Breaker]
    """The files that are damaged, one at a time, and how."""
    read: Callable[[Path], object]
    """What the reader gives, equal only for equal bits."""
    sealed: bool = True
    """Whether a sound file of another content can be told from the right one: by a checksum, or by a file beside it."""


# ---- toy

CONFIG = Config(width=8, layers=1, batch=8, steps=6, eval_every=3, d_ahead=2, samples=16, seeds=2,
                arms=("gan", "decoupled"))  # fmt: skip
SEEDS = (0, 1)
RECORDS = [(step, "coverage", [0.1, 1 / 3]) for step in (0, 3)]


def toy_files(directory: Path) -> None:
    """A run that was killed after three of six steps."""
    for arm in CONFIG.arms:
        trainer = trainer_of(CONFIG, arm, SEEDS)
        reference, records = Reference.of(trainer.law, SEEDS, n=CONFIG.samples), []
        trainer.train_ahead()
        for step in range(4):
            if step % CONFIG.eval_every == 0:
                records += [(step, name, x.tolist()) for name, x in trainer.evaluate(reference).items()]
            if step < 3:
                trainer.step()
        state = {"records": records, "picture": {"start": torch.zeros(2)}, "trainer": trainer.state()}
        checkpoint.save(directory / "checkpoint.pt", CONFIG, Job(CONFIG, arm, SEEDS).key, state)
    files.write_json(directory / "config.json", as_dict(CONFIG))


def resumed(directory: Path) -> object:
    """toy.run --resume up to its training: the configuration."""
    found: list[Config] = []
    with (
        mock.patch.object(toy_run, "in_worker", lambda processes, function, *given: function(*given)),
        mock.patch.object(toy_run, "execute", lambda config, *_: found.append(config)),
    ):
        toy_run.main(["--out", str(directory), "--resume", "--processes", "1"])
    return as_dict(found[0])


def ended(directory: Path) -> object:
    """The results of both jobs, trained to the end."""
    made = []
    for arm in CONFIG.arms:
        result = work(Job(CONFIG, arm, SEEDS), 0, NoBoard(), directory / "checkpoint.pt")
        if result.failure is not None:
            raise result.failure
        assert result.samples is not None
        made.append((result.records, torch.from_numpy(result.samples)))
    return checksum(made)


def told(directory: Path) -> object:
    """metrics.csv of a run that goes on; when it ends all is written again, of the checkpoint."""
    growing = Table(directory / "metrics.csv")
    growing.begin()
    growing("gan", SEEDS, RECORDS)
    return True


TASK = Task(Job(CONFIG, "gan", SEEDS))
SEARCHED = search_cache.Task(CONFIG, "gan", (CONFIG.gan,), SEEDS, compared=True)
VALUES = {"coverage": [0.1, 1 / 3], "w2": [0.5, float("nan")]}
AGAIN = "computed again"


def entry_of_sweep(directory: Path) -> None:
    sweep_cache.Cache(directory).put(TASK, sweep_cache.Outcome(VALUES, 1.5))
    (path,) = directory.iterdir()
    path.rename(directory / "entry.json")


def of_sweep(directory: Path) -> object:
    (path,) = directory.glob("*.json")
    path = path.rename(directory / f"{sweep_cache.key(TASK)}.json")
    found = sweep_cache.Cache(directory)
    outcome, costs = found.get(sweep_cache.key(TASK)), list(found.seconds())
    path.rename(directory / "entry.json")
    assert len(costs) == (outcome is not None and outcome.failure is None)
    return AGAIN if outcome is None else repr((outcome, costs))


def entry_of_search(directory: Path) -> None:
    search_cache.Cache(directory).put(SEARCHED, search_cache.Outcome(VALUES, 1.5))
    (path,) = directory.iterdir()
    path.rename(directory / "entry.json")


def of_search(directory: Path) -> object:
    name = f"{sweep_cache.digest(search_cache.description(SEARCHED))}.json"
    path = (directory / "entry.json").rename(directory / name)
    outcome = search_cache.Cache(directory).get(SEARCHED)
    path.rename(directory / "entry.json")
    return AGAIN if outcome is None else repr(outcome)


def resealed_entry(data: bytes, rng: random.Random) -> bytes:
    """Another outcome, with the checksum that belongs to it."""
    content = json.loads(data)
    content["outcome"] = json.loads(json.dumps(damage.changed(content["outcome"], rng)))
    return json.dumps(content | {"sha256": sweep_cache.digest(content["outcome"])}).encode()


def denoiser(directory: Path) -> object:
    found = cached_denoiser(make("ring"), 3, Interval(0.05, 0.15), directory=directory)
    return checksum([found.precondition.sigma_data, dict(found.state_dict())])


def tables_of_search(directory: Path) -> None:
    """The first cell of the committed search."""
    found = Tables.read(RESULTS, EXPERIMENTS["core"])
    cell = found.arms.cell[0]
    for name in ("arms", "values", "trials"):
        rows = getattr(found, name)
        setattr(found, name, rows[rows.cell == cell].groupby("arm", sort=False).head(8).reset_index(drop=True))
    found.write(directory)


def of_tables(directory: Path) -> object:
    found = Tables.read(directory, EXPERIMENTS["core"])
    texts = [found.arms.to_csv(), found.values.to_csv(), found.trials.to_csv(), found.verdicts().to_csv()]
    return repr((texts, found.made, found.lost))


def tables_of_sweep(directory: Path) -> None:
    for ending in (".csv", ".verdicts.csv", ".json"):
        lines = (RESULTS / f"interval{ending}").read_text().splitlines(keepends=True)
        (directory / f"interval{ending}").write_text("".join(lines[:40]))


def collected(directory: Path) -> object:
    collect(directory, directory / "kept")
    return [path.read_bytes() for path in sorted((directory / "kept").iterdir())]


def read_results(directory: Path) -> object:
    """As figures and the report read them."""
    found = results.table(directory / "interval.csv", ["cell", "arm", "lr", "weight", "seed", "metric", "value"])
    kept = results.table(
        directory / "interval.verdicts.csv", ["cell", "arm", "metric", "mean", "difference", "verdict"]
    )
    return found.to_csv(), kept.to_csv(), results.record(directory / "interval.json")


# ---- images

TINY = dataclasses.replace(DIGITS, width=4, latent=4, batch=8, images=80, burn_in=40, ema=40, seeds=1,
                           couplings=("gan",))  # fmt: skip


def job_in(directory: Path) -> images_run.Job:
    return images_run.Job(TINY, "gan", 0, directory, directory)


@cache
def trainer() -> Any:
    return images_run.trainer_of(job_in(Path("nowhere")))


def image_run(directory: Path) -> None:
    """A run that was killed after a step, with the same checkpoint as the one before it."""
    job = job_in(directory)
    job.checkpoint.parent.mkdir()
    made = images_run.trainer_of(job)
    made.step()
    for _ in range(2):
        images_run.save(job, made, [(1, "d_loss", 0.5)], [(1, 0)])
    files.write_json(directory / "config.json", recipe_dict(TINY))


def alone(directory: Path) -> None:
    """The same, without the one before."""
    image_run(directory)
    (directory / "gan-0" / "checkpoint.previous.pt").unlink()


def restored(directory: Path) -> object:
    job = job_in(directory)
    records = images_run.restored(trainer(), images_run.loaded(job, job.checkpoint), job.checkpoint)
    return checksum([trainer().state(), records])


def generator(directory: Path) -> object:
    g, recipe = sample.generator_of(directory / "gan-0" / "checkpoint.pt", torch.device("cpu"))
    return checksum([dict(g.state_dict()), recipe_dict(recipe)])


def resumed_images(directory: Path) -> object:
    """images.train --resume up to its training: the recipe, but for what may be changed when a run is resumed."""
    found: list[Any] = []
    with mock.patch.object(images_train, "execute", lambda options, recipe, *_: found.append(recipe)):
        images_train.main(["--out", str(directory), "--resume", "--processes", "1"])
    (recipe,) = found
    images_run.checkpoint.load(directory / "gan-0" / "checkpoint.pt", recipe_dict(recipe))
    return {name: value for name, value in recipe_dict(recipe).items() if name not in FREE}


@cache
def score() -> EDMScore:
    torch.manual_seed(0)
    return EDMScore(small.Denoiser.of(TINY).network(), 0.4).requires_grad_(False).eval()


def score_file(directory: Path) -> None:
    published.save(score(), directory / "score.pt")


def of_score(directory: Path) -> object:
    found = published.load(directory / "score.pt").score
    return checksum([dict(found.state_dict()), found.sigma_data])


def cached_score(directory: Path) -> object:
    path = directory / small.Denoiser.of(TINY).file
    (directory / "score.pt").rename(path)
    with mock.patch.object(small, "train", return_value=score()):
        found = small.score_for(TINY, real_images(TINY, None, directory), directory)
    path.rename(directory / "score.pt")
    return checksum([dict(found.state_dict()), found.sigma_data])


def digits_classifier(directory: Path) -> object:
    def trained() -> features.DigitsClassifier:
        torch.manual_seed(0)
        return features.DigitsClassifier()

    with mock.patch.object(features, "train_digits_classifier", trained):
        return checksum(dict(features.digits_classifier(directory).state_dict()))


def splits() -> Splits:
    images = Images(torch.from_numpy(pixels(4)), torch.tensor([0, 1, 0, 1]))
    return Splits(images, images)


def other_classifier(directory: Path) -> object:
    """Of images that have a training and a test split."""
    with (
        mock.patch.object(classifier, "fresh", fresh),
        mock.patch.object(classifier, "train"),
        mock.patch.object(classifier, "accuracy_of", return_value=0.5),
    ):
        known = classifier.classifier("fashion", splits(), directory)
    return checksum([dict(known.network.state_dict()), known.accuracy])


def fresh(data: str, found: Splits) -> classifier.Classifier:
    torch.manual_seed(0)
    return classifier.Classifier(data, (1, 8, 8), 2, False)


def pixels(n: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, 1, 8, 8), np.uint8)


def image_archive(directory: Path) -> None:
    archive.write(directory / "a.zip", ((x, i % 2) for i, x in enumerate(pixels(3))), ["cat", "dog"])


def of_images(read: Callable[[Path], Images], name: str, directory: Path) -> object:
    found = read(directory / name)
    assert isinstance(found.images, torch.Tensor)
    return checksum([found.images, found.labels])


def reference(directory: Path) -> None:
    made = torch.arange(4.0, dtype=torch.float64), torch.eye(4, dtype=torch.float64)
    save_reference(directory / "a.npz", Moments(*made), "digits", 5, 8)


def of_reference(directory: Path) -> object:
    found = read_reference(directory / "a.npz")
    return checksum([*found.moments, found.kind, found.features, found.count, found.resolution])


def image_samples(directory: Path) -> None:
    np.savez(directory / "a.npz", arr_0=pixels(3).transpose(0, 2, 3, 1), arr_1=np.array([0, 1, 0]))


def finished(directory: Path) -> None:
    rows = [("gan", 0, step, name, 0.5 * step) for step in (1, 2) for name in ("recall", "precision")]
    made = pd.DataFrame(rows, columns=["arm", "seed", "step", "metric", "value"])
    files.write_table(directory / "metrics.csv", made, digits=6)
    files.write_json(directory / "summary.json", summary(made) | {"real": {"recall": 1.0}})
    files.write_json(directory / "config.json", recipe_dict(TINY))
    files.write_json(directory / "run.json", {"command": "python", "commit": "0", "cost": {"seconds": 1}})
    images = np.zeros((20, 1, 8, 8), np.float32), np.ones((10, 12, 1, 8, 8), np.float32)
    np.savez_compressed(directory / "samples.npz", **dict(zip(("gan-0", "interpolation-gan-0"), images, strict=True)))


def published_run(directory: Path) -> object:
    into = directory / "into"
    publish.publish(directory, None, into, directory)
    return [(path.name, path.read_bytes()) for path in sorted(into.iterdir())]


def report(directory: Path) -> None:
    made = {"samples": {"file": "a.zip", "count": 50_000}, "reference": {"kind": "EDM moments", "count": None},
            "values": {"FID": 2.5, "recall": 0.6}, "notes": []}  # fmt: skip
    files.write_json(directory / "cifar10-summed.json", made)


# ---- data of the user's


def points(directory: Path) -> None:
    made = np.arange(12.0).reshape(6, 2)
    np.save(directory / "points.npy", made)
    (directory / "points.csv").write_text("x,y\n" + "".join(f"{a},{b}\n" for a, b in made))


def of_points(name: str, directory: Path) -> object:
    return Points.read(directory / name).means


CHECKPOINT, BEFORE = "gan-0/checkpoint.pt", "gan-0/checkpoint.previous.pt"
SEARCH_TABLES = {f"core{end}": damage.csv_broken for end in (".csv", ".arms.csv", ".trials.csv")}
KINDS: dict[str, Kind] = {
    "toy: checkpoint": Kind(toy_files, {"checkpoint.pt": damage.tensors_broken}, ended),
    "toy: checkpoint, checksum right": Kind(toy_files, {"checkpoint.pt": damage.resealed}, ended, sealed=False),
    "toy: config.json": Kind(toy_files, {"config.json": damage.json_broken}, resumed),
    "toy: metrics.csv": Kind(
        told, {"metrics.csv": damage.csv_broken}, told
    ),
    "toy: cached score network": Kind(
        denoiser, {"denoiser-*.pt": damage.tensors_broken}, denoiser
    ),
    "toy: cached score network, checksum right": Kind(
        denoiser, {"denoiser-*.pt": damage.resealed}, denoiser, sealed=False
    ),
    "toy.sweep: cache entry": Kind(entry_of_sweep, {"entry.json": damage.json_broken}, of_sweep),
    "toy.sweep: cache entry, checksum right": Kind(
        entry_of_sweep, {"entry.json": resealed_entry}, of_sweep, sealed=False
    ),
    "toy.search: cache entry": Kind(entry_of_search, {"entry.json": damage.json_broken}, of_search),
    "toy.search: cache entry, checksum right": Kind(
        entry_of_search, {"entry.json": resealed_entry}, of_search, sealed=False
    ),
    "toy.search: tables": Kind(
        tables_of_search, SEARCH_TABLES | {"core.json": damage.json_broken}, of_tables, sealed=False
    ),
    "toy.sweep: tables": Kind(
        tables_of_sweep,
        {"interval.csv": damage.csv_broken, "interval.json": damage.json_broken},
        collected,
        sealed=False,
    ),
    "figures: results": Kind(
        tables_of_sweep,
        {f"interval{end}": damage.csv_broken for end in (".csv", ".verdicts.csv")}
        | {"interval.json": damage.json_broken},
        read_results,
        sealed=False,
    ),
    "images: checkpoint": Kind(alone, {CHECKPOINT: damage.tensors_broken}, restored),
    "images: checkpoint, checksum right": Kind(alone, {CHECKPOINT: damage.resealed}, restored, sealed=False),
    "images: checkpoint with the one before": Kind(image_run, {CHECKPOINT: damage.tensors_broken}, restored),
    "images: checkpoint before": Kind(image_run, {BEFORE: damage.tensors_broken}, restored),
    "images: config.json": Kind(image_run, {"config.json": damage.json_broken}, resumed_images),
    "images.sample: checkpoint": Kind(alone, {CHECKPOINT: damage.tensors_broken}, generator),
    "images.sample: checkpoint, checksum right": Kind(alone, {CHECKPOINT: damage.resealed}, generator, sealed=False),
    "images: score model": Kind(score_file, {"score.pt": damage.tensors_broken}, of_score),
    "images: score model, checksum right": Kind(score_file, {"score.pt": damage.resealed}, of_score, sealed=False),
    "images: cached score model": Kind(score_file, {"score.pt": damage.tensors_broken}, cached_score),
    "images: cached digits classifier": Kind(
        digits_classifier, {"digits-*.pt": damage.tensors_broken}, digits_classifier
    ),
    "images: cached classifier": Kind(
        other_classifier, {"fashion-*.pt": damage.tensors_broken}, other_classifier
    ),
    "images: cached classifier, checksum right": Kind(
        other_classifier, {"fashion-*.pt": damage.resealed}, other_classifier, sealed=False
    ),
    "images: archive, its bytes": Kind(
        image_archive, {"a.zip": damage.broken}, partial(of_images, Images.open, "a.zip")
    ),
    "images: archive, packed again": Kind(
        image_archive, {"a.zip": damage.zip_broken}, partial(of_images, Images.open, "a.zip"), sealed=False
    ),
    "images: reference, its bytes": Kind(reference, {"a.npz": damage.broken}, of_reference),
    "images: reference, packed again": Kind(reference, {"a.npz": damage.zip_broken}, of_reference, sealed=False),
    "images: samples, their bytes": Kind(
        image_samples, {"a.npz": damage.broken}, partial(of_images, read_samples, "a.npz")
    ),
    "images: samples, packed again": Kind(
        image_samples, {"a.npz": damage.zip_broken}, partial(of_images, read_samples, "a.npz"), sealed=False
    ),
    "images.publish: a run": Kind(
        finished,
        {f"{name}.json": damage.json_broken for name in ("config", "run", "summary")}
        | {"metrics.csv": damage.csv_broken, "samples.npz": damage.zip_broken},
        published_run,
        sealed=False,
    ),
    "images.table: evaluations": Kind(
        report, {"*.json": damage.json_broken}, lambda directory: table.ours(directory, "cifar10", "summed"),
        sealed=False,
    ),
    "points: CSV": Kind(points, {"points.csv": damage.csv_broken}, partial(of_points, "points.csv"), sealed=False),
    "points: npy": Kind(points, {"points.npy": damage.broken}, partial(of_points, "points.npy"), sealed=False),
}  # fmt: skip
