"""How many requests the evidence that a candidate is no worse than control is expected to take.

An estimate for people who plan a ramp, by sampling: the very test of `errors` or `paired` is run over requests of which
both arms fail the same share, and looked at when windows close, until it suffices. The mean of `_PATHS` such runs is
within a few percent of the expected number. Nothing is decided by it.
"""

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from streamsplit.core.evidence import errors, paired, speed
from streamsplit.core.evidence.mixture import log_means, uniform

WINDOW_REQUESTS = 1000
"""Requests in a window where nobody says how many come."""

_PATHS = 1000
_SEED = 20_130_101
_LOOKS = 40
"""Looks after which windows are taken together two by two: a run is timed to 1/40, however long it is."""
_MOST_REQUESTS = 10**9
"""What takes more will not come."""

Draw = Callable[[np.random.Generator, int, int], NDArray[np.float64]]
"""Generator, runs and requests of each → float64 (runs, J), what those requests add to the bets of each run."""


@lru_cache(maxsize=256)
def split_requests(
    ratio: float,
    floor: float,
    *,
    share: float,
    error_rate: float,
    log_needed: float,
    window_requests: int = WINDOW_REQUESTS,
) -> float:
    """Expected requests of a split until `errors.promote_increment` suffices.

    Args:
        ratio: Error rate from which the candidate is not good enough, in control's; above 1.
        floor: On top of it, as a share of requests; 0 to 1.
        share: Of the candidate among the requests of both arms; above 0 and below 1.
        error_rate: Of both arms; 0 to 1.
        log_needed: What the log of the e-value must reach, such as log(1/alpha).
        window_requests: Of both arms in a window; positive.

    Returns:
        Requests of both arms, in whole windows where they are few; infinity where the evidence would not come.
    """

    def draw(generator: np.random.Generator, runs: int, requests: int) -> NDArray[np.float64]:
        candidate = generator.binomial(requests, share, runs)
        control = requests - candidate
        failed = (generator.binomial(control, error_rate), generator.binomial(candidate, error_rate))
        return errors.promote_increment(errors.CountColumns(control, failed[0], candidate, failed[1]), ratio, floor)

    return _mean_requests(draw, errors.PROMOTE_WEIGHTS, log_needed, window_requests)


@lru_cache(maxsize=256)
def mirrored_requests(
    ratio: float, floor: float, *, error_rate: float, log_needed: float, window_requests: int = WINDOW_REQUESTS
) -> float:
    """Expected requests that both arms are asked until `paired.promote_increment` suffices.

    The arms fail independently of each other; where they fail the same requests it takes fewer.

    Args:
        ratio: As in `split_requests`.
        floor: As in `split_requests`.
        error_rate: Of both arms; 0 to 1.
        log_needed: As in `split_requests`.
        window_requests: Mirrored requests in a window; positive.

    Returns:
        Mirrored requests; infinity where the evidence would not come.
    """
    cells = [error_rate * (1 - error_rate), error_rate * (1 - error_rate), error_rate**2, (1 - error_rate) ** 2]
    bets = np.array(
        [
            paired.promote_increment(pairs, ratio, floor)
            for pairs in (paired.Pairs(1), paired.Pairs(0, 1), paired.Pairs(0, 0, 1), paired.Pairs(0, 0, 0, 1))
        ]
    )

    def draw(generator: np.random.Generator, runs: int, requests: int) -> NDArray[np.float64]:
        added: NDArray[np.float64] = generator.multinomial(requests, cells, runs) @ bets
        return added

    return _mean_requests(draw, uniform(len(bets[0])), log_needed, window_requests)


@lru_cache(maxsize=256)
def probes_needed(*, slower: float, log_needed: float) -> float:
    """Expected probes until `speed.promote_increment` suffices.

    Args:
        slower: Share of probes in which the candidate is slower than is good enough; 0 to 1.
        log_needed: As in `split_requests`.

    Returns:
        Probes; infinity where the evidence would not come.
    """

    def draw(generator: np.random.Generator, runs: int, probes: int) -> NDArray[np.float64]:
        return speed.promote_increment(np.full(runs, probes), generator.binomial(probes, slower, runs))

    return _mean_requests(draw, speed.WEIGHTS, log_needed, 1)


def _mean_requests(draw: Draw, weights: NDArray[np.float64], log_needed: float, window_requests: int) -> float:
    """The mean number of requests after which a mixture reaches `log_needed`, over runs of its own generator."""
    generator = np.random.Generator(np.random.PCG64(_SEED))
    wealth = np.zeros((_PATHS, len(weights)))
    seen, look, total = 0, 0, 0.0
    while seen < _MOST_REQUESTS:
        requests = window_requests * 2 ** (look // _LOOKS)
        look += 1
        seen += requests
        wealth += draw(generator, len(wealth), requests)
        enough = log_means(wealth, weights) >= log_needed
        total += seen * int(np.count_nonzero(enough))
        wealth = wealth[~enough]
        if not len(wealth):
            return float(total / _PATHS)
    return math.inf
