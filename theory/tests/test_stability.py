"""The eigenvalues of the Dirac-GAN: their closed forms, and the numbers of claim C5."""

from __future__ import annotations

import doctest
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from theory import stability as module
from theory.claims.stability import played_rate
from theory.stability import Steps, dirac_eigenvalues, dirac_rate

small = st.floats(0, 0.4)
slopes = st.floats(0.3, 1.0)


def test_the_examples_run():
    found = doctest.testmod(module)
    assert found.attempted >= 5
    assert found.failed == 0


def test_the_rate_of_a_played_game_is_the_one_predicted():
    assert round(dirac_rate(2 * 0.05, step=0.1), 6) == -0.003764
    assert played_rate(0.05, step=0.1) == pytest.approx(-0.003764, abs=5e-7)


@given(small, small, slopes)
def test_the_flow_has_the_trace_and_determinant_of_j(score, gamma, slope):
    found = dirac_eigenvalues(score, slope, gamma)
    assert complex(found.sum()) == pytest.approx(-(score + gamma), abs=1e-12)
    assert complex(found.prod()) == pytest.approx(score * gamma + slope**2, abs=1e-12)
    swapped = dirac_eigenvalues(gamma, slope, score)  # the term is to one player what R1 is to the other
    assert np.sort_complex(swapped) == pytest.approx(np.sort_complex(found), abs=1e-12)


@given(small, small, slopes, st.floats(0.01, 1))
def test_the_modulus_of_complex_eigenvalues(score, gamma, slope, h):
    if abs(score - gamma) >= 2 * slope - 1e-3:
        return
    simultaneous = 1 - h * (score + gamma) + h**2 * (score * gamma + slope**2)
    assert dirac_rate(score, slope, gamma, h) == pytest.approx(math.log(simultaneous) / 2, abs=1e-9)
    found = dirac_eigenvalues(score, slope, gamma, h, alternating=True)
    if abs(found[0].imag) > 1e-3:
        modulus = math.sqrt((1 - h * score) * (1 - h * gamma))
        assert np.abs(found) == pytest.approx([modulus, modulus], abs=1e-9)


def test_the_largest_step_of_simultaneous_play():
    score, gamma, slope = 0.1, 0.2, 0.5
    largest = (score + gamma) / (score * gamma + slope**2)
    assert dirac_rate(score, slope, gamma, 0.999 * largest) < 0 < dirac_rate(score, slope, gamma, 1.001 * largest)


@given(small, slopes, st.floats(0.05, 0.5), st.integers(2, 6), st.booleans())
def test_a_lazy_cycle_is_the_product_of_its_steps(score, slope, h, every, alternating):
    found = dirac_eigenvalues(score, slope, 0.1, h, alternating, every)
    idle, acting = (dirac_eigenvalues(s, slope, 0.1, h, alternating).prod() for s in (0.0, every * score))
    assert complex(found.prod()) == pytest.approx(complex(acting * idle ** (every - 1)), abs=1e-9)
    assert abs(dirac_rate(0.0, slope, 0.1, h, alternating, every) - dirac_rate(0.0, slope, 0.1, h, alternating)) < 1e-9


def test_steps_of_their_own():
    """Equal steps are one number; the discriminator's multiplies its row, and the order of moves does not matter."""
    assert dirac_rate(0.1, step=Steps(0.2, 0.2)) == dirac_rate(0.1, step=0.2)
    matrix = np.array([[1 - 0.1 * 0.3, -0.1 * 0.5], [0.4 * 0.5, 1 - 0.4 * 0.2]])
    found = dirac_eigenvalues(0.3, 0.5, 0.2, Steps(0.1, 0.4))
    assert np.sort_complex(found) == pytest.approx(np.sort_complex(np.linalg.eigvals(matrix)))
    generator, discriminator = np.array([matrix[0], [0, 1]]), np.array([[1, 0], matrix[1]])
    for first, second in ((generator, discriminator), (discriminator, generator)):
        wanted = np.linalg.eigvals(second @ first)
        found = dirac_eigenvalues(0.3, 0.5, 0.2, Steps(0.1, 0.4), alternating=True)
        assert np.sort_complex(found) == pytest.approx(np.sort_complex(wanted))


def test_overdamped_players_and_the_order_of_the_eigenvalues():
    found = dirac_eigenvalues(score=3.0, slope=0.5)
    assert found.real[0] > found.real[1]
    assert np.abs(dirac_eigenvalues(3.0, 0.5, step=0.1))[0] == pytest.approx(1 + 0.1 * found.real[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"score": -1.0}, "score must be at least 0"),
        ({"gamma": math.nan}, "gamma must be a finite number"),
        ({"slope": 0.0}, "slope must not be 0"),
        ({"step": 0.0}, "step of the generator must be positive"),
        ({"step": Steps(0.1, -1)}, "step of the discriminator must be positive"),
        ({"every": 0, "step": 0.1}, "every must be a whole number of at least 1"),
        ({"alternating": True}, "step must be given for alternating or lazy steps"),
        ({"every": 2}, "step must be given for alternating or lazy steps"),
    ],
)
def test_bad_input(change, message):
    with pytest.raises(ValueError, match=message):
        dirac_eigenvalues(**{"score": 0.1} | change)
