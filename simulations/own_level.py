"""Control beside its own level before the rollout: false alarms, and how soon interference is found."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from simulations.traffic import RAMP
from simulations.wealth import until, with_restarts
from streamsplit.core.evidence import level
from streamsplit.core.judging.baseline import MOST_WINDOWS
from streamsplit.core.judging.interference import ALPHA

RATIO, FLOOR = 1.1, 0.001
"""What is tolerated by default."""

_BASE = 0.01
"""Control's rate before."""

_RATE = 1000
"""Requests of a window."""

_SEGMENT = 0.3
"""Share of the requests that a rule routes."""

_SEGMENT_TO_CANDIDATE = 0.05


def alarms(
    generator: np.random.Generator,
    runs: int,
    windows: int,
    *,
    ratio: float = RATIO,
    floor: float = FLOOR,
    known: int = _RATE,
    wrong: bool = False,
) -> NDArray[np.bool_]:
    """Control's rate is so many times that before plus so much, and a ramp takes its share of the requests.

    Before there were `known` requests a window. Wrong: the level that was measured is taken for the true one.
    """
    shares = np.array([1.0 - RAMP[window * len(RAMP) // windows] for window in range(windows)])
    requests = generator.binomial(_RATE, shares, (runs, windows))
    errors = generator.binomial(requests, ratio * _BASE + floor)
    levels = _levels(generator.binomial(known, _BASE, (runs, MOST_WINDOWS)), known, bounded=not wrong)
    return _held(requests, errors, levels)


def alarms_in_groups(
    generator: np.random.Generator, runs: int, windows: int, *, group: int = 10, wrong: bool = False
) -> NDArray[np.bool_]:
    """Control is as it was: its errors come by so many at once, before and after.

    Wrong: each counts as one of its own.
    """
    lam = _BASE * _RATE / group
    before, errors = (np.minimum(_RATE, group * generator.poisson(lam, (runs, n))) for n in (MOST_WINDOWS, windows))
    levels = _levels(before, _RATE)
    if wrong:
        levels = [(_tolerated(MOST_WINDOWS * _RATE, int(each.sum()), 1.0), 1.0) for each in before]
    return _held(np.full((runs, windows), _RATE), errors, levels)


def alarms_of_a_segment(
    generator: np.random.Generator, runs: int, windows: int, *, wrong: bool = False
) -> NDArray[np.bool_]:
    """Control is as it was, and a rule leaves it most of a segment that fails often while the ramp takes the rest.

    Wrong: all of control's requests count, though they are no longer a sample of all requests.
    """
    rates = (0.001, 0.05)
    base = (1.0 - _SEGMENT) * rates[0] + _SEGMENT * rates[1]
    shares = np.array([1.0 - RAMP[window * len(RAMP) // windows] for window in range(windows)])
    kept = np.ones(windows), shares / (1.0 - _SEGMENT_TO_CANDIDATE)
    levels = _levels(generator.binomial(_RATE, base, (runs, MOST_WINDOWS)), _RATE)
    found = np.zeros(runs, np.bool_)
    for run in range(runs):
        tolerated, scatter = levels[run]
        of_segment = generator.binomial(_RATE, _SEGMENT, windows)
        requests = (
            generator.binomial(_RATE - of_segment, shares),
            generator.binomial(of_segment, 1.0 - _SEGMENT_TO_CANDIDATE),
        )
        said = np.zeros((1, windows, len(level.WEIGHTS)))
        for route in range(2):
            errors = generator.binomial(requests[route], rates[route])
            for window in range(windows):
                part = 1.0 if wrong else min(1.0, float(kept[route][window]))
                counts = int(requests[route][window]), int(errors[window])
                said[0, window] += level.increment(*counts, tolerated, part) / scatter
        found[run] = with_restarts(said, level.WEIGHTS).max() >= _needed()
    return found


def requests_until_held(
    generator: np.random.Generator, runs: int, *, base: float, ratio: float, begin: int = 0
) -> NDArray[np.float64]:
    """Control's requests, of 900 a window, from window `begin` on, in which it fails so many times as often."""
    windows = begin + 600
    requests = generator.poisson(0.9 * _RATE, (runs, windows))
    rates = np.where(np.arange(windows) < begin, base, ratio * base)
    errors = generator.binomial(requests, rates)
    levels = _levels(generator.binomial(_RATE, base, (runs, MOST_WINDOWS)), _RATE)
    reached = _paths(requests, errors, levels) >= _needed()
    return until(reached[:, begin:], requests[:, begin:])


def _held(
    requests: NDArray[np.int64], errors: NDArray[np.int64], levels: Sequence[tuple[float, float]]
) -> NDArray[np.bool_]:
    return np.asarray((_paths(requests, errors, levels) >= _needed()).any(axis=1))


def _paths(
    requests: NDArray[np.int64], errors: NDArray[np.int64], levels: Sequence[tuple[float, float]]
) -> NDArray[np.float64]:
    """The e-value in each window, of runs with levels of their own: float64 (runs, windows)."""
    said = np.empty((*requests.shape, len(level.WEIGHTS)))
    for run, (tolerated, scatter) in enumerate(levels):
        good, bad = (level.increment(1, failed, tolerated) / scatter for failed in (0, 1))
        said[run] = np.multiply.outer(errors[run], bad) + np.multiply.outer(requests[run] - errors[run], good)
    return with_restarts(said, level.WEIGHTS)


def _levels(errors: NDArray[np.int64], requests: int, *, bounded: bool = True) -> list[tuple[float, float]]:
    """What is tolerated, and the scatter, given the errors of windows of so many requests: int64 (runs, windows)."""
    levels = []
    for each in errors.tolist():
        total, scatter = requests * len(each), level.spread([requests] * len(each), each)
        tolerated = _tolerated(total, sum(each), scatter) if bounded else RATIO * sum(each) / total + FLOOR
        levels.append((tolerated, scatter))
    return levels


def _tolerated(requests: int, errors: int, scatter: float) -> float:
    return RATIO * level.upper_bound(requests, errors, ALPHA / 2, scatter) + FLOOR


def _needed() -> float:
    return math.log(2.0 / ALPHA)
