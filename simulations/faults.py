"""Faults put in on purpose: each must raise more false alarms than chance explains, so that the check can fail."""

from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from simulations import own_level, sticky
from simulations.nulls import ALPHA, histogram
from simulations.traffic import DEFAULT, Doses, Rule, doses
from simulations.users import Broken
from simulations.wealth import ever, with_restarts
from streamsplit.core.evidence import bounded, errors
from streamsplit.core.guards import Direction

Alarms = NDArray[np.bool_]

_SIMPSON = (Rule(500, 0.002, (0.05,)), Rule(500, 0.01, (0.75,)))
_STEPS = (0.1, 0.12, 0.14, 0.16, 0.18, 0.2, 0.22, 0.24)
_UNITS = 20_000
_FAILING_UNITS = 200


class Judging(Protocol):
    """The judging of identical models, with or without a fault."""

    def __call__(self, generator: np.random.Generator, runs: int, windows: int, *, wrong: bool) -> Alarms:
        """Which runs alarm: bool (runs,); `wrong`: whether the fault is in."""
        ...


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault and the same judging without it.

    Attributes:
        name: What is wrong.
        alarms: The judging.
        windows: Of a run at full size.
        runs: At full size.
        few: Runs in which it shows, for the tests.
    """

    name: str
    alarms: Judging
    windows: int = 500
    runs: int = 2000
    few: int = 150


def _judged(counts: Doses, *, times: int = 1) -> Alarms:
    increments = counts.by_window(errors.rollback_increment(counts.columns(), 1.0, 0.0))
    return ever(with_restarts(times * increments, errors.ROLLBACK_WEIGHTS), ALPHA)


def dose_twice(generator: np.random.Generator, runs: int, windows: int, *, wrong: bool) -> Alarms:
    """Every dose is added twice, as by a judge that reads its summaries again after a take-over."""
    return _judged(doses(generator, runs, windows, DEFAULT), times=2 if wrong else 1)


def pooled_rules(generator: np.random.Generator, runs: int, windows: int, *, wrong: bool) -> Alarms:
    """Rules with different rates and shares are thrown together (Simpson)."""
    counts = doses(generator, runs, windows, _SIMPSON)
    return _judged(counts.pooled() if wrong else counts)


def rows_of_failed_runs(generator: np.random.Generator, runs: int, windows: int, *, wrong: bool) -> Alarms:
    """A run of up to 256 rows in a thousand fails in either arm, and its rows count as errors of their own."""
    counts = doses(generator, runs, windows, (Rule(1000, 0.01),))
    if wrong:
        counts = Doses(
            counts.control,
            _with_failed_runs(generator, counts.control, counts.control_errors),
            counts.candidate,
            _with_failed_runs(generator, counts.candidate, counts.candidate_errors),
        )
    return _judged(counts)


def one_seed(generator: np.random.Generator, runs: int, windows: int, *, wrong: bool) -> Alarms:
    """Control's and the candidate's values are shuffled with the same numbers, which pairs them by rank."""
    increments = np.empty((runs, windows, len(bounded.LAMBDAS)))
    for run in range(runs):
        for window in range(windows):
            control, candidate = histogram(generator, 40), histogram(generator, 40)
            of_control = bounded.generator(f"run {run}", "score", window, -1, 7)
            of_candidate = bounded.generator(f"run {run}", "score", window, -1, 7) if wrong else of_control
            x, y = bounded.dealt(bounded.shuffled(control, of_control), bounded.shuffled(candidate, of_candidate))
            said = bounded.rollback_increment(x, y, margin=0.0, relative=False, direction=Direction.DROP)
            increments[run, window] = said[Direction.DROP]
    return ever(with_restarts(increments, bounded.WEIGHTS), ALPHA)


def without_movers_rule(generator: np.random.Generator, runs: int, windows: int, *, wrong: bool) -> Alarms:
    """Sticky units, some of which always fail: the first request of every unit counts again in each step.

    With the rule the candidate's are the units that moved from control in this step. A window is a step here.
    """
    steps = _STEPS[:windows]
    left = np.full(runs, _FAILING_UNITS)
    moved_before, counts = 0, []
    for share in steps:
        moved = round(share * _UNITS)
        on_control = _UNITS - moved_before
        failing = generator.hypergeometric(left, on_control - left, moved - moved_before)
        left = left - failing
        candidate = (moved, _FAILING_UNITS - left) if wrong else (moved - moved_before, failing)
        counts.append((np.full(runs, _UNITS - moved), left, np.full(runs, candidate[0]), candidate[1]))
        moved_before = moved
    columns = [np.stack(column, axis=1)[:, :, None] for column in zip(*counts, strict=True)]
    return _judged(Doses(*columns))


def _with_failed_runs(
    generator: np.random.Generator, requests: NDArray[np.int64], failed: NDArray[np.int64]
) -> NDArray[np.int64]:
    lost = generator.binomial(-(-requests // 256), 0.001) * np.minimum(requests, 256)
    return np.asarray(np.minimum(requests, failed + lost))


def every_request_of_users(generator: np.random.Generator, runs: int, windows: int, *, wrong: bool) -> Alarms:
    """Through the judge itself: sticky users, of whom all requests are taken for evidence."""
    broken = Broken.REQUESTS if wrong else Broken.NOTHING
    return sticky.taken_back(generator, runs, windows, climb=sticky.RAMP, broken=broken)


def users_again(generator: np.random.Generator, runs: int, windows: int, *, wrong: bool) -> Alarms:
    """Through the judge itself: sticky users, of whom those that met the candidate before count in each stay."""
    broken = Broken.EXPOSED if wrong else Broken.NOTHING
    return sticky.taken_back(generator, runs, windows, climb=sticky.SLOW, broken=broken)


def movers_lost(generator: np.random.Generator, runs: int, windows: int, *, wrong: bool) -> Alarms:
    """Through the judge itself: a part of those that moved to the candidate is lost; the split is to say so."""
    return sticky.mismatched(generator, runs, windows, lost=0.15 if wrong else 0.0)


FAULTS = (
    Fault("a dose twice", dose_twice),
    Fault("rules pooled", pooled_rules),
    Fault("rows of failed runs as errors", rows_of_failed_runs),
    Fault("one seed for both arms", one_seed, windows=60, runs=600, few=40),
    Fault("first requests without the movers' rule", without_movers_rule, windows=len(_STEPS), few=600),
    Fault("every request of sticky users", every_request_of_users, windows=45, runs=600, few=20),
    Fault("movers' rule left out by workers", users_again, windows=100, runs=600, few=40),
    Fault("records of movers lost", movers_lost, windows=20, runs=200, few=20),
    Fault("control's level taken for exact", partial(own_level.alarms, known=100)),
    Fault("errors by tens taken as single ones", own_level.alarms_in_groups),
    Fault("routes of control not weighted", own_level.alarms_of_a_segment, windows=60, runs=600, few=40),
)
