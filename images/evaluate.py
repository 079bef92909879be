"""python -m images.evaluate: distances between samples and real images.

With the user's Inception of 2015: FID and KID. Without it the same distances under other names: on digits in the
features of a small classifier, on any images in coarse pixels. Against real images also precision, recall, and the
share of samples that are copies.
Exit status: 0 done, 2 bad usage or bad files (one line), 1 anything else.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from theory.common.checks import existing, whole
from theory.common.commandline import parse, run, usage
from theory.common.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from images.datasets.dataset import Images
    from images.metrics.features import Features
    from images.metrics.references import Reference

PROG = "python -m images.evaluate"
PUBLISHED = 50_000  # images of a published FID; with fewer it comes out larger


@dataclass(frozen=True)
class Options:
    """Compare samples with real images: Frechet and kernel distance, precision and recall, nearest neighbours.

    SAMPLES is an archive (.zip), an npz with arr_0 uint8 [n, h, w, c] and, if there are classes, arr_1 [n], or a folder
    of images. The reference is an archive, or an npz of means and covariances: EDM's, ADM's (they are not
    interchangeable), or one made by --save-reference.
    """

    samples: Annotated[Path, tyro.conf.Positional]
    reference: Path | None = None
    """Real images, or their moments; always needed."""
    inception: Path | None = None
    """NVIDIA's inception-2015-12-05.pt, a file that you bring."""
    features: Literal["inception", "digits", "pixels"] = "inception"
    """digits: those of a classifier of 8x8 digits, trained in seconds and cached; pixels: means over an 8 x 8 grid, of
    images of any kind. Their distances are no FID."""
    trust_torchscript: bool = False
    """Run --inception even if it is another program than NVIDIA's; its distances are no FID."""
    save_reference: Path | None = None
    """Also store mean and covariance of the reference's features here, an .npz."""
    pairs: int = 10_000
    """Precision, recall and neighbours, whose cost is quadratic, take the first so many images of each side."""
    batch: int = 250
    """Images that the feature network handles at once."""
    device: str = "cpu"
    """cpu, cuda or cuda:1."""
    json: bool = False
    """Print JSON."""

    def __post_init__(self) -> None:
        if self.features != "inception" and self.inception is not None:
            raise ValueError(f"give --inception or --features {self.features}, not both")
        whole("pairs", self.pairs, 4)
        whole("batch", self.batch, 1)
        if self.save_reference is not None and self.save_reference.suffix != ".npz":
            raise ValueError(f"save-reference must be an .npz; given {self.save_reference}")


def main(arguments: list[str]) -> int:
    with usage():
        options = parse(Options, arguments, PROG)
        check(options)
        report = evaluate(options)
    if options.json:
        print(json.dumps(report, indent=1))
    else:
        show(report)
    return 0


def check(options: Options) -> None:
    """Checks the options without torch.

    Raises:
        ValueError: a file does not exist. UsageError: no reference, or of another kind; no feature network.
    """
    for name in ("samples", "reference", "inception"):
        if (path := getattr(options, name)) is not None:
            existing(name, path)
    if options.reference is None:
        raise UsageError("no reference: give --reference, an archive (.zip) of real images or their moments (.npz)")
    if options.reference.suffix not in (".zip", ".npz"):
        raise UsageError(f"reference must be a .zip or an .npz; given {options.reference}")
    if options.features == "inception" and options.inception is None:
        raise UsageError(
            "no Inception file: give --inception inception-2015-12-05.pt (NVIDIA's, 95 MB, not part of this project); "
            "for 8x8 digits --features digits needs no file, and its distances are no FID; nor does --features pixels, "
            "for any images"
        )


def evaluate(options: Options) -> dict[str, Any]:
    """The report as --json prints it.

    Raises:
        ValueError: no such device; files that are damaged or do not fit each other, in one line.
    """
    from images.metrics.exact import exact
    from images.metrics.references import read_reference
    from images.training.parallel import usable

    assert options.reference is not None
    device = usable(options.device)
    samples = read(options.samples)
    archive = options.reference.suffix == ".zip"
    against = read(options.reference) if archive else read_reference(options.reference)
    check_fit(samples, against)
    with exact():
        return compare(samples, against, load(options).to(device), options)


def read(path: Path) -> Images:
    """Images of an archive, an npz or a folder.

    Raises:
        FileError: as their readers.
    """
    from images.datasets import sources
    from images.datasets.dataset import Images
    from images.metrics.references import read_samples
    from theory.common.errors import FileError

    if path.suffix == ".zip":
        return Images.open(path)
    if path.suffix == ".npz":
        return read_samples(path)
    if not path.is_dir():
        raise FileError(f"samples must be a .zip, an .npz or a folder; given {path}")
    return Images.of(sources.folder(path, sources.How()).items)


def check_fit(samples: Images, against: Images | Reference) -> None:
    """FileError unless the samples can be compared with the reference: resolution, channels, classes."""
    from images.datasets.dataset import Images
    from theory.common.errors import FileError

    shape = list(samples.shape)
    if not isinstance(against, Images):
        if against.resolution not in (None, shape[-1]):
            raise FileError(f"samples are {shape[-1]} pixels wide, the reference {against.resolution}")
    elif samples.shape != against.shape:
        raise FileError(f"samples are {shape} (channels, height, width), the reference {list(against.shape)}")
    elif samples.classes > against.classes > 0:
        raise FileError(f"samples have {samples.classes} classes (largest label + 1), the reference {against.classes}")


def load(options: Options) -> Any:
    """The feature network."""
    from images.metrics.features import Inception, Pixels, digits_classifier

    if options.inception is not None:
        return Inception(options.inception, options.trust_torchscript)
    if options.features == "pixels":
        return Pixels()
    return digits_classifier()


def compare(samples: Images, against: Images | Reference, network: Features, options: Options) -> dict[str, Any]:
    """The report: what was compared, the distances under their names, and notes on how to read them.

    Raises:
        FileError: a reference of other features.
    """
    from images.datasets.dataset import Images
    from images.metrics import distances
    from images.metrics.features import DigitsClassifier, extract
    from images.metrics.references import save_reference
    from theory.common.errors import FileError

    def features(images: Any, what: str) -> Tensor:
        return extract(network, images, options.batch, options.device, what)

    found = features(samples.images, "samples")
    count: int | None
    images: Any
    real: Tensor | None
    if isinstance(against, Images):
        kind, count, images = "images", len(against), against.images
        real = features(images, "reference")
        target = distances.moments(real)
    else:
        kind, count, target, images = f"{against.kind} moments", against.count, against.moments, against.images
        made_of = against.features or "inception-2015-12-05"
        if made_of != network.name:
            raise FileError(f"{options.reference} holds moments of {made_of}; these features are {network.name}")
        real = None if images is None else features(images, "reference")
    values = {network.frechet: distances.frechet(distances.moments(found), target)}
    if real is not None and images is not None:
        if isinstance(against, Images):
            values[network.kernel], values[f"{network.kernel} standard deviation"] = distances.kernel_distance(
                real, found
            )
        some_real, some = real[: options.pairs], found[: options.pairs]
        values |= distances.precision_recall(some_real, some)._asdict()
        values["memorised"] = distances.memorised(some, some_real)
    if isinstance(network, DigitsClassifier) and samples.labels is not None:
        agree = network.classify(samples.images[:].to(options.device)).cpu() == samples.labels
        values["label accuracy"] = agree.double().mean().item()
    if options.save_reference is not None:
        if not isinstance(against, Images):
            raise FileError("--save-reference is for references that are images")
        save_reference(options.save_reference, target, network.name, len(against), against.shape[-1])
    return {
        "samples": {"file": str(options.samples), "count": len(samples), "shape": list(samples.shape)},
        "reference": {"file": str(options.reference), "kind": kind, "count": count},
        "features": network.name,
        "values": values,
        "notes": notes(network.frechet, len(samples), kind),
    }


def notes(frechet: str, count: int, kind: str) -> list[str]:
    """Notes on how to read the numbers."""
    said = []
    if frechet != "FID":
        said.append(f"{frechet} is no FID, and is comparable with itself only")
    elif count < PUBLISHED:
        said.append(f"FID of {count} samples comes out larger than that of {PUBLISHED}, which is what is published")
    if kind in ("EDM moments", "ADM moments"):
        other = "ADM" if kind.startswith("EDM") else "EDM"
        said.append(f"measured against {kind.split()[0]}'s reference; values against {other}'s are not comparable")
    return said


def show(report: dict[str, Any]) -> None:
    """Prints the report, a line a value."""
    samples, reference = report["samples"], report["reference"]
    print(f"{samples['file']}: {samples['count']} images {samples['shape']}")
    print(f"against {reference['file']}: {reference['kind']}, {reference['count'] or 'an unknown number of'} images")
    width = max(map(len, report["values"]))
    for name, value in report["values"].items():
        print(f"{name:{width}}  {value:.5g}")
    for note in report["notes"]:
        print(f"note: {note}")


if __name__ == "__main__":
    sys.exit(run(main))
