"""Annotated shapes are checked at run time, here only."""

import torch
from jaxtyping import install_import_hook

# Not the whole package: the hook would take the test modules from pytest, which rewrites their asserts.
install_import_hook(
    ["images.archive", "images.cifar10", "images.dataset", "images.distances", "images.references", "images.sources"],
    "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))",
)

torch.set_num_threads(1)  # the tensors are small: a second thread costs more than it gives
