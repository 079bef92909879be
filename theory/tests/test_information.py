"""P4: the identity needs the mutual information."""

from __future__ import annotations

from theory.claims.information import LAWS, check_kl


def test_without_the_information_the_identity_fails_for_every_law_that_is_no_point():
    for found in check_kl(laws=LAWS[:3], information=0.0):
        assert (found.error > 0.1) == ("three atoms" in found.what)
