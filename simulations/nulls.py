"""False alarms: each test where nothing is wrong, looked at in each window, at the edge of what is tolerated or inside.

Every function takes random numbers, how many runs, and how many windows each, and says which runs alarm.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from simulations import baselines, mirrors, own_level, sticky, timing
from simulations.sequences import shift_alarms, shift_known, split_alarms
from simulations.traffic import DEFAULT, Rule, doses
from simulations.wealth import ever, with_restarts, without_restarts
from streamsplit.core.evidence import bounded, errors, limit, paired
from streamsplit.core.evidence.paired import Pairs
from streamsplit.core.guards import Direction

ALPHA = 0.05
RARE = 0.001

Alarms = NDArray[np.bool_]
_RAMP_ONLY = (Rule(1000, 0.01),)


@dataclass(frozen=True, slots=True)
class Case:
    """One test under one null hypothesis.

    Attributes:
        test: Its name.
        null: What is true.
        alpha: Chance of an alarm that it promises not to exceed.
        alarms: (random numbers, runs, windows) → bool (runs,).
        windows: Of a run at full size.
        baseline: Whether it is a rule that promises nothing of the kind, for comparison.
        runs: At full size; fewer where a run takes long, the allowed number then is another.
    """

    test: str
    null: str
    alpha: float
    alarms: Callable[[np.random.Generator, int, int], Alarms]
    windows: int = 500
    baseline: bool = False
    runs: int = 2000


def rollback(
    generator: np.random.Generator,
    runs: int,
    windows: int,
    *,
    ratio: float,
    floor: float,
    tolerated: tuple[float, float] = (1.1, 0.001),
) -> Alarms:
    """Errors against a candidate whose rate is `ratio` times control's plus `floor`."""
    counts = doses(generator, runs, windows, DEFAULT, ratio=ratio, floor=floor)
    increments = counts.by_window(errors.rollback_increment(counts.columns(), *tolerated))
    return ever(with_restarts(increments, errors.ROLLBACK_WEIGHTS), ALPHA)


def promote(generator: np.random.Generator, runs: int, windows: int, *, ratio: float, floor: float) -> Alarms:
    """Errors for a candidate that is not good enough: an alarm is a promotion."""
    counts = doses(generator, runs, windows, DEFAULT, ratio=ratio, floor=floor)
    increments = counts.by_window(errors.promote_increment(counts.columns(), 1.5, 0.002))
    return ever(without_restarts(increments, errors.PROMOTE_WEIGHTS), ALPHA)


def failed_runs(generator: np.random.Generator, runs: int, windows: int) -> Alarms:
    """Whole runs that fail in either arm alike, as a test of their own over batches with both arms."""
    batches = generator.poisson(20, (runs, windows))
    x_a, x_b = generator.binomial(batches, 0.001), generator.binomial(batches, 0.001)
    columns = errors.CountColumns(*(counts.ravel() for counts in (batches, x_a, batches, x_b)))
    increments = errors.rollback_increment(columns, 1.1, 0.001).reshape(runs, windows, -1)
    return ever(with_restarts(increments, errors.ROLLBACK_WEIGHTS), ALPHA)


def mean(
    generator: np.random.Generator, runs: int, windows: int, *, drop: float, promotion: bool = False, pairs: int = 20
) -> Alarms:
    """A score in [0, 1] with margin .05, whose mean is lower by `drop`; control's values come in groups of nine."""
    increments = np.empty((runs, windows, len(bounded.LAMBDAS)))
    increment = bounded.promote_increment if promotion else bounded.rollback_increment
    for window in range(windows):
        level = 2 + np.sin(2 * np.pi * window / 90)
        x = generator.beta(level, 2, (pairs, runs, 9)).mean(axis=2) * 0.9 + 0.1
        y = generator.beta(level, 2, (pairs, runs)) * 0.9 + 0.1 - drop
        said = increment(x, y, margin=0.05, relative=False, direction=Direction.DROP)
        increments[:, window] = said[Direction.DROP]
    path = without_restarts if promotion else with_restarts
    return ever(path(increments, bounded.WEIGHTS), ALPHA)


def shuffled_mean(generator: np.random.Generator, runs: int, windows: int) -> Alarms:
    """The mean of identical models at margin 0 through histograms and the shuffle that everybody can repeat."""
    increments = np.empty((runs, windows, len(bounded.LAMBDAS)))
    for run in range(runs):
        for window in range(windows):
            bins = [histogram(generator, count) for count in (40, 40)]
            shuffle = bounded.Shuffle(bins[0], bounded.generator(f"run {run}", "score", window, -1, 7))
            x, y = shuffle.pairs(bins[1])
            said = bounded.rollback_increment(x, y, margin=0.0, relative=False, direction=Direction.DROP)
            increments[run, window] = said[Direction.DROP]
    return ever(with_restarts(increments, bounded.WEIGHTS), ALPHA)


def histogram(generator: np.random.Generator, count: int) -> dict[int, int]:
    """So many values, most of them near one of the ends."""
    bins = np.bincount((generator.beta(0.4, 0.6, count) * 999).astype(int))
    return {int(place): int(bins[place]) for place in np.flatnonzero(bins)}


def mirrored(generator: np.random.Generator, runs: int, windows: int, *, extra: float) -> Alarms:
    """Failures on the same requests: both arms fail on hard ones; the candidate fails alone as often as tolerated."""
    # control: .01 = .008 (both) + .002 (alone); the candidate: .008 + `extra`
    cells = generator.multinomial(200, [extra, 0.002, 0.008, 0.99 - extra], (runs, windows))
    basis = np.stack([paired.rollback_increment(Pairs(*row), 1.1, 0.001) for row in np.eye(4, dtype=int).tolist()])
    return ever(with_restarts(cells @ basis, paired.WEIGHTS), ALPHA)


def limited(generator: np.random.Generator, runs: int, windows: int, *, rate: float) -> Alarms:
    """A limit of 20 % on a candidate that fails with a chance of `rate`, looked at after each summary."""
    requests = generator.poisson(10, (runs, windows))
    bad = generator.binomial(requests, rate)
    increments = limit.increment(requests.ravel(), bad.ravel(), 0.2).reshape(runs, windows, -1)
    return ever(with_restarts(increments, limit.WEIGHTS, every=1), RARE)


def naive(generator: np.random.Generator, runs: int, windows: int) -> Alarms:
    """A one-sided z-test at 5 % in each window on identical models, one rule, ramp 10/25/75."""
    return np.asarray(baselines.peeking(doses(generator, runs, windows, _RAMP_ONLY, steady=True)).any(axis=1))


def kayenta(generator: np.random.Generator, runs: int, windows: int, *, every: int) -> Alarms:
    """Kayenta's rule after every so many windows, likewise."""
    return np.asarray(baselines.kayenta(doses(generator, runs, windows, _RAMP_ONLY, steady=True), every).any(axis=1))


def steady_errors(generator: np.random.Generator, runs: int, windows: int) -> Alarms:
    """Our errors test where the two above are: the same traffic, nothing tolerated."""
    counts = doses(generator, runs, windows, _RAMP_ONLY, steady=True)
    increments = counts.by_window(errors.rollback_increment(counts.columns(), 1.0, 0.0))
    return ever(with_restarts(increments, errors.ROLLBACK_WEIGHTS), ALPHA)


EDGE, INSIDE = "at the edge", "inside"

CASES = (
    Case("errors, rollback", EDGE, ALPHA, partial(rollback, ratio=1.1, floor=0.001)),
    Case("errors, rollback", INSIDE, ALPHA, partial(rollback, ratio=1.0, floor=0.0)),
    Case("errors, rollback, r0 1, f 0", EDGE, ALPHA, partial(rollback, ratio=1.0, floor=0.0, tolerated=(1.0, 0.0))),
    Case("errors, promote", EDGE, ALPHA, partial(promote, ratio=1.5, floor=0.002)),
    Case("errors, promote", INSIDE, ALPHA, partial(promote, ratio=2.0, floor=0.004)),
    Case("failed runs", INSIDE, ALPHA, failed_runs),
    Case("typical speed, rollback", EDGE, ALPHA, partial(timing.speed_alarms, ratio=1.2)),
    Case("typical speed, rollback", INSIDE, ALPHA, partial(timing.speed_alarms, ratio=1.1)),
    Case("typical speed, promote", EDGE, ALPHA, partial(timing.speed_alarms, ratio=1.5, promotion=True)),
    Case("tails", EDGE, ALPHA, partial(timing.tails_alarms, ratio=1.2), windows=150),
    Case("tails", INSIDE, ALPHA, partial(timing.tails_alarms, ratio=1.0), windows=150),
    Case("score, rollback", EDGE, ALPHA, partial(mean, drop=0.05)),
    Case("score, rollback", INSIDE, ALPHA, partial(mean, drop=0.0)),
    Case("score, promote", EDGE, ALPHA, partial(mean, drop=0.05, promotion=True)),
    Case("score, shuffled histograms", EDGE, ALPHA, shuffled_mean, windows=60, runs=600),
    Case("mirrored, rollback", EDGE, ALPHA, partial(mirrored, extra=0.004)),
    Case("mirrored, rollback", INSIDE, ALPHA, partial(mirrored, extra=0.002)),
    Case("mirrored score, rollback", EDGE, ALPHA, partial(mirrors.alarms, lower=0.1), windows=250, runs=1000),
    Case("mirrored score, rollback", INSIDE, ALPHA, partial(mirrors.alarms, lower=0.05), windows=250, runs=1000),
    Case(
        "mirrored score, promote",
        EDGE,
        ALPHA,
        partial(mirrors.alarms, lower=0.1, promotion=True),
        windows=250,
        runs=1000,
    ),
    Case(
        "errors of sticky users, rollback",
        EDGE,
        ALPHA,
        partial(sticky.taken_back, climb=sticky.RAMP),
        windows=45,
        runs=1000,
    ),
    Case(
        "errors of sticky users, few moving, rollback",
        EDGE,
        ALPHA,
        partial(sticky.taken_back, climb=sticky.SLOW),
        windows=100,
        runs=1000,
    ),
    Case("split", EDGE, RARE, split_alarms),
    Case("split of movers", EDGE, RARE, sticky.mismatched, windows=20, runs=1000),
    Case("shift above .1, looked at as doubled", EDGE, RARE, partial(shift_alarms, limit=0.1), windows=300, runs=300),
    Case("shift, any", EDGE, ALPHA, shift_known, windows=200, runs=300),
    Case("limit of 20 %", EDGE, RARE, partial(limited, rate=0.2)),
    Case("limit of 20 %", INSIDE, RARE, partial(limited, rate=0.1)),
    Case("interference", EDGE, RARE, own_level.alarms),
    Case("interference", INSIDE, RARE, partial(own_level.alarms, ratio=1.0, floor=0.0)),
    Case("interference, errors by tens", INSIDE, RARE, own_level.alarms_in_groups),
    Case("interference, a segment", INSIDE, RARE, own_level.alarms_of_a_segment, windows=60, runs=600),
    Case("errors, r0 1, f 0, steady ramp", EDGE, ALPHA, steady_errors),
    Case("z-test in each window", EDGE, ALPHA, naive, baseline=True),
    Case("Kayenta, every 10 windows", EDGE, ALPHA, partial(kayenta, every=10), windows=120, baseline=True, runs=600),
    Case("Kayenta, in each window", EDGE, ALPHA, partial(kayenta, every=1), windows=120, baseline=True, runs=600),
)
