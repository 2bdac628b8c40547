"""How soon what is wrong is found, beside a test that peeks, beside Kayenta's rule, and beside the least possible."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from simulations import baselines, mirrors, own_level, sequences, timing
from simulations.traffic import Doses, Rule, doses
from simulations.wealth import until, with_restarts, without_restarts
from streamsplit.core.evidence import bounded, errors
from streamsplit.core.guards import Direction

Found = NDArray[np.float64]

PEEKING, KAYENTA = "z-test, peeking", "Kayenta"
"""Rules for comparison."""

_ALPHA = 0.05
_TESTS = 3
"""E-processes that share alpha by their mean; the two others stay at about 1."""

_LEAST_ERRORS = 10
_SHARE = 0.1
_WINDOW = 1000


@dataclass(frozen=True, slots=True)
class Search:
    """Something wrong that is to be found.

    Attributes:
        what: It.
        unit: What is counted until it is found.
        most: What may be used on average.
        found: (random numbers, runs) → float64 (runs,), used in each run.
        beside: A rule for comparison and what it uses.
    """

    what: str
    unit: str
    most: float
    found: Callable[[np.random.Generator, int], Found]
    beside: tuple[tuple[str, Callable[[np.random.Generator, int], Found]], ...] = ()


def traffic(
    generator: np.random.Generator, runs: int, windows: int, base: float, *, ratio: float = 1.0, floor: float = 0.0
) -> Doses:
    """One rule, share 10 %, a steady base rate."""
    rule = Rule(_WINDOW, base, (_SHARE,))
    return doses(generator, runs, windows, (rule,), ratio=ratio, floor=floor, steady=True)


def errors_found(
    generator: np.random.Generator,
    runs: int,
    *,
    base: float,
    ratio: float = 1.0,
    floor: float = 0.0,
    tolerated: tuple[float, float] = (1.1, 0.001),
    needed: float = _TESTS / _ALPHA,
    candidate_only: bool = False,
) -> Found:
    """Requests until a candidate with more errors is rolled back."""
    counts = traffic(generator, runs, 400, base, ratio=ratio, floor=floor)
    increments = counts.by_window(errors.rollback_increment(counts.columns(), *tolerated))
    enough = np.cumsum(counts.candidate_errors[:, :, 0], axis=1) >= _LEAST_ERRORS
    reached = (with_restarts(increments, errors.ROLLBACK_WEIGHTS) >= math.log(needed)) & enough
    return until(reached, counts.candidate[:, :, 0] if candidate_only else counts.requests)


def late_found(generator: np.random.Generator, runs: int, *, begin: int, restarts: bool = True) -> Found:
    """Requests from window `begin` on, in which errors become twice as many, until the candidate is rolled back."""
    counts = traffic(generator, runs, begin, 0.01).then(traffic(generator, runs, 500, 0.01, ratio=2.0))
    increments = counts.by_window(errors.rollback_increment(counts.columns(), 1.1, 0.001))
    path = with_restarts if restarts else without_restarts
    reached = path(increments, errors.ROLLBACK_WEIGHTS) >= math.log(_TESTS / _ALPHA)
    return until(reached[:, begin:], counts.requests[:, begin:])


def promoted(generator: np.random.Generator, runs: int, *, base: float) -> Found:
    """Requests until an identical candidate is good enough, with the defaults."""
    counts = traffic(generator, runs, 400, base)
    increments = counts.by_window(errors.promote_increment(counts.columns(), 1.5, 0.002))
    return until(without_restarts(increments, errors.PROMOTE_WEIGHTS) >= -math.log(_ALPHA), counts.requests)


def peeking_found(generator: np.random.Generator, runs: int, *, base: float, ratio: float, floor: float = 0.0) -> Found:
    """Requests until a z-test in each window fires."""
    counts = traffic(generator, runs, 400, base, ratio=ratio, floor=floor)
    return until(baselines.peeking(counts), counts.requests)


def kayenta_found(generator: np.random.Generator, runs: int, *, base: float, ratio: float, floor: float = 0.0) -> Found:
    """Requests until Kayenta's rule, every 10 windows, says "High"; at most so many are looked at."""
    counts = traffic(generator, min(runs, 100), 150, base, ratio=ratio, floor=floor)
    return until(baselines.kayenta(counts, 10), counts.requests)


def score_found(generator: np.random.Generator, runs: int, *, drop: float) -> Found:
    """Requests until a lower mean score is found at margin 0; values have a standard deviation of .1."""
    windows, share = 40, round(_SHARE * _WINDOW)
    increments = np.empty((runs, windows, len(bounded.LAMBDAS)))
    for window in range(windows):
        x = np.clip(generator.normal(0.5, 0.1, (share, runs, _WINDOW // share - 1)).mean(axis=2), 0, 1)
        y = np.clip(generator.normal(0.5 - drop, 0.1, (share, runs)), 0, 1)
        said = bounded.rollback_increment(x, y, margin=0.0, relative=False, direction=Direction.DROP)
        increments[:, window] = said[Direction.DROP]
    reached = with_restarts(increments, bounded.WEIGHTS) >= -math.log(_ALPHA)
    return until(reached, np.full((runs, windows), _WINDOW))


def nearness(generator: np.random.Generator, runs: int, ratio: float) -> tuple[float, float, float]:
    """Requests of the mixture, of the bet that knows the ratio, and Wald's limit log(1/alpha) / KL.

    Share 10 %, base 1 %, r0 1, f 0, no minimum of errors, windows of a twentieth of the limit.
    """
    limit = wald(ratio, base=0.01, share=_SHARE)
    window = limit / 20
    rule = Rule(window, 0.01, (_SHARE,))
    counts = doses(generator, runs, 300, (rule,), ratio=ratio, steady=True)
    columns, needed = counts.columns(), -math.log(_ALPHA)
    mixture = counts.by_window(errors.increment(columns, 1.0, 0.0, errors.ROLLBACK_FACTORS))
    known = counts.by_window(errors.increment(columns, 1.0, 0.0, np.array([ratio])))
    used = [
        float(until(without_restarts(increments, weights) >= needed, counts.requests).mean())
        for increments, weights in ((mixture, errors.ROLLBACK_WEIGHTS), (known, np.ones(1)))
    ]
    return used[0], used[1], limit


def wald(ratio: float, *, base: float, share: float) -> float:
    """The least requests on average until errors of `ratio` times the rate are known at 5 %: log(1/alpha) / KL.

    The information of a request is that of who met an error: the candidate with p(ratio) against p(1) (2a).
    """
    errors_rate = base * (share * ratio + 1 - share)
    p, p0 = share * ratio / (share * ratio + 1 - share), share
    divergence = p * math.log(p / p0) + (1 - p) * math.log((1 - p) / (1 - p0))
    return -math.log(_ALPHA) / (errors_rate * divergence)


NEARNESS = {1.5: 1.25, 2.0: 1.25, 5.0: 1.35}
"""Ratio → most requests of the mixture over those of the bet that knows it."""


def _errors(what: str, most: float, base: float, ratio: float = 1.0, floor: float = 0.0) -> Search:
    return Search(
        what,
        "requests",
        most,
        partial(errors_found, base=base, ratio=ratio, floor=floor),
        (
            (PEEKING, partial(peeking_found, base=base, ratio=ratio, floor=floor)),
            (KAYENTA, partial(kayenta_found, base=base, ratio=ratio, floor=floor)),
        ),
    )


SEARCHES = (
    _errors("errors x2 at 1 %", 36_000, 0.01, 2.0),
    Search(
        "errors x2 at 1 %",
        "candidate's requests",
        3_600,
        partial(errors_found, base=0.01, ratio=2.0, candidate_only=True),
    ),
    _errors("errors x5 at 1 %", 3_600, 0.01, 5.0),
    _errors("errors 0 to 1 %", 13_000, 0.0, 1.0, 0.01),
    Search(
        "errors x2 at 1 %, r0 1, f 0, alpha .05 alone",
        "requests",
        15_000,
        partial(errors_found, base=0.01, ratio=2.0, tolerated=(1.0, 0.0), needed=1 / _ALPHA),
    ),
    Search("errors x2 from window 300 on", "requests", 65_000, partial(late_found, begin=300)),
    *(
        Search(f"promotion at {base:.1%} errors", "requests", most, partial(promoted, base=base))
        for base, most in ((0.0, 22_000), (0.001, 32_000), (0.01, 26_000))
    ),
    Search("score lower by .02, margin 0", "requests", 8_000, partial(score_found, drop=0.02)),
    Search("score lower by 15 %, margin 10 %", "mirrored requests", 900, partial(mirrors.found, lower=0.15)),
    Search("promotion, margin 10 %", "mirrored requests", 320, partial(mirrors.found, lower=0.0, promotion=True)),
    Search(
        "split .12 in place of .10",
        "requests",
        6_500,
        partial(sequences.requests_until_mismatch, expected=0.1, actual=0.12),
    ),
    *(
        Search(
            f"interference: control x{ratio:g} at {base:.1%}",
            "control's requests",
            most,
            partial(own_level.requests_until_held, base=base, ratio=ratio),
        )
        for base, ratio, most in ((0.01, 2.5, 7_000), (0.01, 3.0, 3_500), (0.01, 10.0, 1_000), (0.001, 10.0, 4_500))
    ),
    Search(
        "interference: control x3 at 1.0% from window 300 on",
        "control's requests",
        5_000,
        partial(own_level.requests_until_held, base=0.01, ratio=3.0, begin=300),
    ),
    Search(
        "a 1.5x slower model, M = 3",
        "probes",
        60,
        partial(timing.probes_until_found, ratio=1.5, alpha=_ALPHA / _TESTS),
    ),
)
