"""Probes of run times: lognormal, with noise that both runs of a probe share and noise of their own."""

import numpy as np
from numpy.typing import NDArray

from simulations.wealth import ever, until, with_restarts, without_restarts
from streamsplit.core.evidence import errors, speed
from streamsplit.core.evidence.tails import Tails

PROBES = 5
"""Of a window."""

NOISE = 0.25
"""Standard deviation of the logarithm of a time over the typical one."""

TOLERATED = 1.2
GOOD_ENOUGH = 1.5
_FLOOR_SECONDS = 0.002
_ALPHA = 0.05
_ROWS = 64
_TAIL_PROBES = 10


def times(
    generator: np.random.Generator, shape: tuple[int, ...], ratio: float, floor_seconds: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Control's and the candidate's times in microseconds: the candidate's typical one is `ratio` times + the floor."""
    shared = 20_000 * np.exp(generator.normal(0, 0.5, shape))
    control = shared * np.exp(generator.normal(0, NOISE / np.sqrt(2), shape))
    candidate = shared * np.exp(generator.normal(0, NOISE / np.sqrt(2), shape))
    return control, ratio * candidate + floor_seconds * 1e6


def slower(
    generator: np.random.Generator,
    runs: int,
    windows: int,
    ratio: float,
    tolerated: float,
    *,
    floor: float,
    probes: int,
) -> NDArray[np.int64]:
    """In how many probes of each window the candidate was slower than tolerated: int64 (runs, windows)."""
    control, candidate = times(generator, (runs, windows, probes), ratio, floor)
    never = np.zeros(control.shape, np.bool_)
    said = speed.slower(control, candidate, tolerated, floor, control_over=never, candidate_over=never, in_doubt=False)
    return np.asarray(said.sum(axis=2))


def speed_path(counts: NDArray[np.int64], probes: int, *, promotion: bool = False) -> NDArray[np.float64]:
    """The e-value in each window: float64 (runs, windows)."""
    increment = speed.promote_increment if promotion else speed.rollback_increment
    increments = increment(np.full(counts.size, probes), counts.ravel()).reshape(*counts.shape, -1)
    return (without_restarts if promotion else with_restarts)(increments, speed.WEIGHTS)


def speed_alarms(
    generator: np.random.Generator, runs: int, windows: int, *, ratio: float, promotion: bool = False
) -> NDArray[np.bool_]:
    """Typical speed, of a candidate whose typical time is `ratio` times control's plus the floor."""
    tolerated = GOOD_ENOUGH if promotion else TOLERATED
    counts = slower(generator, runs, windows, ratio, tolerated, floor=_FLOOR_SECONDS, probes=PROBES)
    return ever(speed_path(counts, PROBES, promotion=promotion), _ALPHA)


def probes_until_found(generator: np.random.Generator, runs: int, ratio: float, alpha: float) -> NDArray[np.float64]:
    """Probes until a slower candidate is found, one a window, without a floor."""
    counts = slower(generator, runs, 600, ratio, TOLERATED, floor=0.0, probes=1)
    return until(speed_path(counts, 1) >= -np.log(alpha), np.ones_like(counts))


def tails_alarms(generator: np.random.Generator, runs: int, windows: int, *, ratio: float) -> NDArray[np.bool_]:
    """Tails, likewise, with the quantile that the judge keeps."""
    increments = np.empty((runs, windows, len(errors.ROLLBACK_WEIGHTS)))
    rows, never = np.full(_TAIL_PROBES, _ROWS), np.zeros(_TAIL_PROBES, np.bool_)
    for run in range(runs):
        known = Tails()
        control, candidate = times(generator, (windows, _TAIL_PROBES), ratio, _FLOOR_SECONDS)
        counts = np.empty((windows, 3), np.int64)
        for window in range(windows):
            counts[window] = known.exceedances(
                rows,
                control[window],
                candidate[window],
                TOLERATED,
                _FLOOR_SECONDS,
                quantile=0.95,
                control_over=never,
                candidate_over=never,
                in_doubt=False,
            )
            known.add(rows, control[window])
        probes, x_a, x_b = counts.T
        increments[run] = errors.exceedance_increment(errors.CountColumns(probes, x_a, probes, x_b))
    return ever(with_restarts(increments, errors.ROLLBACK_WEIGHTS), _ALPHA)
