"""Points read from a file, as a law."""

from __future__ import annotations

import csv
import io
import math
import os
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from theory.common.errors import FileError
from theory.manifolds.gaussians import Gaussians
from theory.manifolds.law import check_points

MOST = 4096  # points: a score is a sum over all of them
PAIRS = 2**27  # numbers in the table of differences of all pairs of points, which a law makes once: 1 GiB


class Points(Gaussians):
    """Given points x_k, equally likely: 1/K sum_k N(x_k, std^2 I), of point masses where std is 0.

    >>> Points([(0.0, 0.0), (1.0, 0.0)], std=0.1).dim
    2
    """

    @classmethod
    def read(cls, path: str | os.PathLike[str], std: float = 0.0) -> Points:
        """The points in a file: a row a point, a column a coordinate.

        A .npy file holds one array [K, d] of real numbers. Any other file is read as CSV: lines of numbers between
        commas; empty lines, lines that begin with #, and a first line without a number in it (the columns' names) are
        left out.

        Raises:
            FileError: the file cannot be read, is no such table, holds a number that is not finite, no point or too
                many (MOST; fewer above 8 coordinates); it names the file, and the line of a CSV.
            ValueError: std is not in [0, inf).
        """
        table = _array(path) if Path(path).suffix.lower() == ".npy" else _table(path)
        return cls(table.tolist(), std)

    def project(self, x: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
        """The nearest point, [..., d]."""
        check_points(x, self.dim, "x")
        points = self._means.to(x)
        far = torch.cdist(x.detach().reshape(-1, self.dim), points, compute_mode="donot_use_mm_for_euclid_dist")
        return points[far.argmin(-1).view(x.shape[:-1])]


def _array(path: str | os.PathLike[str]) -> np.ndarray:
    """The array [K, d] in a .npy file, float64."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)  # mapped: a header that lies about the size allocates
    except OSError as error:
        raise FileError(f"{path}: {error.strerror or 'is no .npy file'}") from None
    except MemoryError:
        raise
    except Exception as error:  # numpy parses the header as Python: tokenizer, parser and evaluation each have theirs
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise FileError(f"{path} is no .npy file of numbers: {why[:120]}") from None
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "iuf" or array.ndim != 2:
        given = f"{array.dtype} {list(array.shape)}" if isinstance(array, np.ndarray) else "an archive"
        raise FileError(f"{path} must hold real numbers [points, coordinates]; given {given}")
    _check_count(path, *array.shape)
    table = np.array(array, np.float64)
    if bad := np.argwhere(~np.isfinite(table)).tolist():
        raise FileError(f"{path}: row {bad[0][0]}, column {bad[0][1]} is {table[tuple(bad[0])]}")
    return table


def _table(path: str | os.PathLike[str]) -> np.ndarray:
    """The numbers in a CSV file [K, d], float64."""
    try:
        lines = csv.reader(io.StringIO(Path(path).read_text(encoding="utf-8-sig")))
        numbered = [(lines.line_num, cells) for cells in lines if cells and not cells[0].lstrip().startswith("#")]
    except OSError as error:
        raise FileError(f"{path}: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error):
        raise FileError(f"{path} is no text of numbers between commas") from None
    if numbered and not any(map(_is_number, numbered[0][1])):
        del numbered[0]
    _check_count(path, len(numbered), len(numbered[0][1]) if numbered else 0)
    rows, first = [], numbered[0]
    for line, cells in numbered:
        if len(cells) != len(first[1]):
            raise FileError(f"{path}, line {line}: {len(cells)} columns, and line {first[0]} has {len(first[1])}")
        for cell in cells:
            if not _is_number(cell) or not math.isfinite(float(cell)):
                raise FileError(f"{path}, line {line}: {cell.strip()[:40]!r} is no finite number")
        rows.append([float(cell) for cell in cells])
    return np.array(rows, np.float64)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _check_count(path: str | os.PathLike[str], points: int, coordinates: int) -> None:
    if not points or not coordinates:
        raise FileError(f"{path} holds no points")
    most = min(MOST, math.isqrt(PAIRS // coordinates))
    if points > most:
        raise FileError(f"{path} holds {points} points, and at most {most} can be used: take a random part of them")
