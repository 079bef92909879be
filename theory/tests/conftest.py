"""Annotated shapes are checked at run time, here only; hypothesis draws the same examples in every run."""

import torch
from hypothesis import settings
from jaxtyping import install_import_hook

# Not the whole package: the hook would take the test modules from pytest, which rewrites their asserts.
install_import_hook(["theory.manifolds"], "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))")

torch.set_num_threads(1)  # the tensors are small: a second thread costs more than it gives

settings.register_profile("theory", derandomize=True, deadline=None, max_examples=25)
settings.load_profile("theory")
