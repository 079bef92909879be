"""Annotated shapes are checked at run time, here only; hypothesis draws the same examples in every run."""

from collections.abc import Iterator

import jaxtyping
import pytest
import torch
from hypothesis import settings
from jaxtyping import install_import_hook

# Not the whole package: the hook would take the test modules from pytest, which rewrites their asserts.
install_import_hook(["theory.manifolds"], "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))")

torch.set_num_threads(1)  # the tensors are small: a second thread costs more than it gives

settings.register_profile("theory", derandomize=True, deadline=None, max_examples=15)
settings.load_profile("theory")

USERS = ("claims", "critical", "equilibrium", "finite_samples", "regularity")  # tests that use the laws


@pytest.fixture(scope="module", autouse=True)
def shapes(request: pytest.FixtureRequest) -> Iterator[None]:
    """The checks take time: they are off where laws are used and not tested."""
    jaxtyping.config.update("jaxtyping_disable", request.path.stem.removeprefix("test_") in USERS)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


SHARED = ("test_claims.py", "test_accuracy.py")  # a computation is kept for all tests that are given the same name


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those tests follow one another, as pytest-xdist gives neighbours to one process: it is then made once."""

    def group(item: pytest.Item) -> object:
        call = getattr(item, "callspec", None)  # of a test with parameters
        name = call.params.get("name") if call is not None and item.path.name in SHARED else None
        return item.nodeid if name is None else (item.path, name)

    first: dict[object, int] = {}
    for i, item in enumerate(items):
        first.setdefault(group(item), i)
    items.sort(key=lambda item: first[group(item)])
