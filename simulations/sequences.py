"""The split of requests and the shift of predictions, which carry a state of their own: one object a run."""

import math

import numpy as np
from numpy.typing import NDArray

from simulations.traffic import RAMP
from streamsplit.core.evidence.shift import Shift
from streamsplit.core.evidence.split import Split

_ALPHA = 0.001
_BINS = 1000


def split_alarms(generator: np.random.Generator, runs: int, windows: int, *, lost: float = 0.0) -> NDArray[np.bool_]:
    """A split that is as it should be, but for lost records of the candidate; the share is that of a ramp."""
    shares = [RAMP[window * len(RAMP) // windows] for window in range(windows)]
    alarms = np.zeros(runs, np.bool_)
    for run in range(runs):
        evidence = Split()
        requests = generator.poisson(1000, windows)
        candidate = generator.binomial(requests, shares)
        control = requests - candidate
        if lost:
            candidate = generator.binomial(candidate, 1 - lost)
        for x, n, share in zip(candidate.tolist(), (candidate + control).tolist(), shares, strict=True):
            evidence.add(x, n, share)
            if evidence.log_e >= -math.log(_ALPHA):
                alarms[run] = True
                break
    return alarms


def requests_until_mismatch(
    generator: np.random.Generator, runs: int, expected: float, actual: float
) -> NDArray[np.float64]:
    """Requests until a share that is not the expected one is found, in windows of 1000."""
    found = np.empty(runs)
    for run in range(runs):
        evidence, used = Split(), 0
        while evidence.log_e < -math.log(_ALPHA):
            evidence.add(int(generator.binomial(1000, actual)), 1000, expected)
            used += 1000
        found[run] = used
    return found


def shift_alarms(
    generator: np.random.Generator, runs: int, windows: int, *, limit: float, moved: float = 0.0
) -> NDArray[np.bool_]:
    """A shift of predictions by `moved` standard deviations: whether it fires at some look."""
    alarms = np.zeros(runs, np.bool_)
    for run in range(runs):
        evidence = Shift(_scores(generator, 2000, 0.0))
        for _ in range(windows):
            evidence.add(_scores(generator, 900, 0.0), _scores(generator, 100, moved))
            if evidence.read().fires(limit):
                alarms[run] = True
                break
    return alarms


def shift_known(generator: np.random.Generator, runs: int, windows: int) -> NDArray[np.bool_]:
    """Equal distributions, which drift: whether the e-value says at 5 % that they differ."""
    alarms = np.zeros(runs, np.bool_)
    for run in range(runs):
        evidence = Shift(_scores(generator, 2000, 0.0))
        for window in range(windows):
            moved = math.sin(window / 20)
            evidence.add(_scores(generator, 450, moved), _scores(generator, 50, moved))
            if evidence.read().log_e >= math.log(20):
                alarms[run] = True
                break
    return alarms


def _scores(generator: np.random.Generator, count: int, moved: float) -> dict[int, int]:
    bins = np.bincount(np.clip(generator.normal(0.5 + 0.1 * moved, 0.1, count) * _BINS, 0, _BINS - 1).astype(int))
    return {int(place): int(bins[place]) for place in np.flatnonzero(bins)}
