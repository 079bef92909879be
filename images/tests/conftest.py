"""Annotated shapes are checked at run time, here only."""

import pytest
import torch
from jaxtyping import install_import_hook

# Not the whole package: the hook would take the test modules from pytest, which rewrites their asserts.
install_import_hook(
    [
        "images.datasets.archive",
        "images.datasets.cifar10",
        "images.datasets.dataset",
        "images.datasets.idx",
        "images.datasets.sources",
        "images.layers.resample",
        "images.metrics.distances",
        "images.metrics.references",
        "images.training.losses",
    ],
    "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))",
)

torch.set_num_threads(1)  # the tensors are small: a second thread costs more than it gives


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "cuda: needs a CUDA device; skipped where there is none")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("cuda"):
                item.add_marker(pytest.mark.skip(reason="no CUDA device"))
