"""Whole rollouts decided by the judge itself, at a fraction of the runs of `make simulate`."""

import numpy as np
import pytest

from simulations.ramp import OUTCOMES, RAMPS, Ramp, outcomes, segmented
from simulations.sections import Size, ramps


@pytest.mark.parametrize("ramp", RAMPS, ids=[ramp.name for ramp in RAMPS])
def test_healthy_candidates_are_promoted_and_bad_ones_taken_back(ramp: Ramp) -> None:
    ended = outcomes(ramp.world, np.random.default_rng(2), 4)[:, 0]
    assert ended.tolist() == [OUTCOMES.index(ramp.phase)] * 4


def test_a_segment_has_a_weight_and_errors_of_its_own() -> None:
    one = segmented(1, error_rate=1.0)
    one.batch()
    counts = {(window.rule, window.arm): window for window in one.log[0][0].windows}
    assert set(counts) == {(-1, "control"), (-1, "canary"), (0, "control"), (0, "canary")}
    assert counts[0, "canary"].outcomes == {"fallback_error": counts[0, "canary"].requests}
    assert counts[-1, "canary"].outcomes["ok"] > 0.9 * counts[-1, "canary"].requests
    assert counts[0, "canary"].requests / counts[0, "control"].requests == pytest.approx(1 / 3, rel=0.5)


def test_the_table_of_rollouts_counts_what_became_of_each() -> None:
    sheet = ramps(Size(part=100, processes=1))
    assert not sheet.failed
    assert next(line[:6] for line in sheet.lines) == ["healthy", "as promised", "3", "3", "0", "0"]
