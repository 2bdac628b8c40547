"""What the statistics promise, by simulation, at a fraction of the runs of `make simulate`."""

import math

import numpy as np
import pytest

from simulations import wealth
from simulations.bounds import allowed
from simulations.faults import FAULTS, Fault
from simulations.nulls import CASES, Case
from simulations.peeking import PUBLISHED, inflation
from simulations.traffic import doses
from streamsplit.core.evidence import errors
from streamsplit.core.evidence.restarts import Restarting

RUNS = {"split": 40, "tails": 40, "shift above .1, looked at as doubled": 20, "shift, any": 20}
"""Of what keeps a state of its own; 200 of the others."""

OURS = [case for case in CASES if not case.baseline]


def test_the_published_inflation_of_a_test_that_peeks_is_met_by_integration() -> None:
    assert inflation([5, 10, 100, 1000]) == pytest.approx(PUBLISHED, abs=1e-3)


@pytest.mark.parametrize(("alpha", "most"), [(0.05, 138), (0.025, 78), (0.001, 9)])
def test_what_chance_explains_is_the_binomial_bound(alpha: float, most: int) -> None:
    assert allowed(2000, alpha) == most


def test_paths_of_many_runs_are_those_of_the_judges_own_evidence() -> None:
    counts = doses(np.random.default_rng(1), 3, 45)
    increments = counts.by_window(errors.rollback_increment(counts.columns(), 1.1, 0.001))
    paths = wealth.with_restarts(increments, errors.ROLLBACK_WEIGHTS)
    for run in range(3):
        evidence = Restarting(errors.ROLLBACK_WEIGHTS)
        for window in range(45):
            evidence.add(increments[run, window])
            assert paths[run, window] == pytest.approx(evidence.log_e, abs=1e-9)


@pytest.mark.parametrize("case", OURS, ids=[f"{case.test}, {case.null}" for case in OURS])
def test_false_alarms_are_no_more_than_chance_explains(case: Case) -> None:
    runs = RUNS.get(case.test, 40 if case.runs < 2000 else 200)
    windows = min(case.windows, 60 if runs < 200 else 120)
    alarms = case.alarms(np.random.default_rng(11), runs, windows)
    assert alarms.sum() <= allowed(runs, case.alpha)


@pytest.mark.parametrize("fault", FAULTS, ids=[fault.name for fault in FAULTS])
def test_a_fault_that_is_put_in_raises_more_alarms_than_chance_explains(fault: Fault) -> None:
    windows = min(fault.windows, 250)
    sound, wrong = (
        fault.alarms(np.random.default_rng(12), fault.few, windows, wrong=wrong).sum() for wrong in (False, True)
    )
    assert sound <= allowed(fault.few, 0.05) < wrong


def test_a_z_test_in_each_window_takes_back_many_healthy_candidates() -> None:
    """Which is why there are none here; the check that all else passes fails on it."""
    (case,) = (case for case in CASES if case.test == "z-test in each window")
    alarms = case.alarms(np.random.default_rng(13), 200, 500)
    assert alarms.mean() > 0.3
    assert alarms.sum() > allowed(200, case.alpha)


def test_the_first_window_that_reaches_it_ends_a_run() -> None:
    reached = np.array([[False, True, True], [False, False, False]])
    used = np.array([[10, 20, 30], [1, 2, 3]])
    assert wealth.until(reached, used).tolist() == [30, math.inf]
