"""Random numbers are functions of (seed, stream, where)."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from theory.common.seeds import generator, one_thread, usual_state


def draw(*key: int) -> torch.Tensor:
    return torch.randn(1000, generator=generator(*key))


def test_equal_numbers_give_equal_draws_and_others_do_not() -> None:
    keys = [(0, 1), (1, 0), (0, 2), (0, 1, 1), (0, 1, 2), (1, 1, 1), (0, 1, 1, 1), (0, 2, 1), (2**32 - 1, 1)]
    for key in keys:
        assert torch.equal(draw(*key), draw(*key))
    for a, b in itertools.combinations(keys, 2):
        assert not torch.equal(draw(*a), draw(*b)), (a, b)


def test_streams_are_uncorrelated() -> None:
    # 64 steps of two streams: each of 2016 + 1 correlations of 1000 normal pairs is beyond 5.5 / sqrt(1000) less than
    # once in 1e4 trials of all of them
    steps = torch.stack([draw(0, 1, step) for step in range(1, 65)])
    correlations = torch.corrcoef(steps) - torch.eye(64)
    assert correlations.abs().max() < 5.5 / math.sqrt(1000)
    same = torch.corrcoef(torch.stack([draw(0, 1, 5), draw(0, 1, 5)]))  # the near-miss
    assert same[0, 1] > 5.5 / math.sqrt(1000)


def test_zeros_at_the_end_do_not_count_among_four_numbers() -> None:
    assert torch.equal(draw(3, 1), draw(3, 1, 0))
    assert torch.equal(draw(3, 1), draw(3, 1, 0, 0))
    assert not torch.equal(draw(3, 1), draw(3, 1, 0, 0, 0))
    assert not torch.equal(draw(3, 1, 0, 2), draw(3, 1, 2))  # in the middle they do


def test_committed_results_can_be_made_again() -> None:
    # whole numbers, equal on every processor: another release of numpy or torch that changed them would be seen here
    states = [generator(0, 1, step).initial_seed() for step in range(3)]
    assert states == [2918264622725855778, 1554199118406742183, 1535930435702422785]
    integers = torch.randint(10**6, (3,), generator=generator(0, 1)).tolist()
    assert integers == [742741, 554523, 687130]


@pytest.mark.parametrize("key", [(-1, 0), (0, -1), (0, 1, -1)])
def test_negative_numbers_are_refused(key: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="non-negative"):
        generator(*key)


def test_one_thread_within_the_block_or_the_function() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with one_thread():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
        assert one_thread()(torch.get_num_threads)() == 1
        with pytest.raises(KeyError), one_thread():
            raise KeyError
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_usual_state_is_that_of_a_fresh_process() -> None:
    """Whatever the caller has set; and all of it is set again after the block, which may fail."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"), torch.inference_mode():
            with usual_state():
                x = torch.ones(2)
                assert (torch.get_num_threads(), x.dtype, x.device.type) == (1, torch.float32, "cpu")
                assert not x.is_inference()
            with pytest.raises(KeyError), usual_state():
                raise KeyError
            x = torch.ones(2)
            assert (torch.get_num_threads(), x.dtype, x.device.type) == (2, torch.float64, "meta")
            assert x.is_inference()
    finally:
        torch.set_num_threads(before)
        torch.set_default_dtype(torch.float32)
