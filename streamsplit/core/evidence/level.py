"""A rate beside the level that was measured before: whether it has risen by more than is tolerated.

Of the level there is one measurement, x errors of n requests, that all later evidence is set against; so it may not be
taken as a control of its own in each dose. Instead, with alpha for all of it:

    U = sup {u : n/phi KL(x/n, u) <= log(2/alpha)}    the level is above U with a chance of at most alpha/2
    l = r0 U + f                                      what is tolerated

is, with phi = 1, the Chernoff bound of a mean of independent requests, whatever each one's rate (Hoeffding 1963). Null
hypothesis of the test at alpha/2: in each dose the requests fail at a rate of at most l on average. A bet on the rate
q_j adds, per dose,

    L_j += (x log(1 + k s_j (1/l - 1)) + (n - x) log(1 - k s_j)) / phi        s_j = (q_j - l) / (1 - l)

k <= 1 is the share of the requests that is to count: where an arm is given the more of one route than of another, what
it meets is not what all requests are, and a random part k of the former puts that right. The factor of a request is
what a bet on its being kept is worth on average over the choice, `1 - k + k (q_j/l or (1-q_j)/(1-l))`, so nothing has
to be drawn. With k = 1 it is the likelihood ratio of `limit.py`. For independent requests with rates p_i the expected
factor of a dose is `prod (1 + k_i s_j (p_i/l - 1)) <= exp(s_j sum k_i (p_i/l - 1)) <= 1` where their weighted mean is
at most l.

phi >= 1 is how much more the errors of single windows scatter than those of independent requests would: errors that
come by tens, or a rate that goes up and down. It is measured with the level (Pearson's dispersion) and makes each such
group one observation, as in quasi-likelihood. A power of at most 1 of an e-value is none the greater in expectation, so
what is promised for independent requests holds with any phi.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from streamsplit.core.evidence.errors import ROLLBACK_FACTORS, ROLLBACK_WEIGHTS

WEIGHTS = ROLLBACK_WEIGHTS
"""float64 (6,)."""

_HIGHEST = 0.9
"""No bet lies further than so much of the way from l to 1."""

_HALVINGS = 100
"""Of an interval of length 1: more than a float can tell."""


def spread(requests: Sequence[int], errors: Sequence[int]) -> float:
    """How much more windows scatter than those of independent requests at one rate would.

    Args:
        requests: Of each window; positive.
        errors: Those of them that failed.

    Returns:
        `sum (x_i - n_i p)^2 / (n_i p (1 - p)) / (windows - 1)`, at least 1; 1 where nothing can be told.
    """
    total, failed = sum(requests), sum(errors)
    if len(requests) < 2 or not 0 < failed < total:  # noqa: PLR2004 - one scatters in no way
        return 1.0
    rate = failed / total
    parts = ((bad - each * rate) ** 2 / each for each, bad in zip(requests, errors, strict=True))
    return max(1.0, math.fsum(parts) / (rate * (1.0 - rate)) / (len(requests) - 1))


def upper_bound(requests: int, errors: int, alpha: float, scatter: float = 1.0) -> float:
    """The rate that is exceeded with a chance of at most `alpha`, given what was measured.

    Args:
        requests: How many.
        errors: Those of them that failed; 0 to `requests`.
        alpha: Above 0 and below 1.
        scatter: phi, at least 1.

    Returns:
        From errors / requests to 1; 1 without requests.

    Raises:
        ValueError: More errors than requests, or a negative number, or `alpha` is not between 0 and 1, or `scatter`
            below 1.
    """
    if not 0 <= errors <= requests:
        raise ValueError(f"expected 0 <= errors <= requests, got {errors} of {requests}")
    if not 0.0 < alpha < 1.0:
        raise ValueError(f"expected an alpha above 0 and below 1, got {alpha}")
    if not 1.0 <= scatter < math.inf:
        raise ValueError(f"expected a scatter of at least 1, got {scatter}")
    if errors == requests:
        return 1.0
    rate, most = errors / requests, -math.log(alpha) * scatter / requests
    low, high = rate, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if middle < 1.0 and _divergence(rate, middle) <= most:
            low = middle
        else:
            high = middle
    return high


def increment(requests: int, errors: int, tolerated: float, kept: float = 1.0) -> NDArray[np.float64]:
    """What a dose says against a rate of at most `tolerated`; to be divided by phi.

    Args:
        requests: How many.
        errors: Those of them that failed.
        tolerated: l, above 0 and below 1.
        kept: k, the share of them that counts; above 0, at most 1.

    Returns:
        float64 (6,), for `WEIGHTS`.

    Raises:
        ValueError: An argument is out of these bounds.
    """
    if not 0 <= errors <= requests:
        raise ValueError(f"expected 0 <= errors <= requests, got {errors} of {requests}")
    if not (0.0 < tolerated < 1.0 and 0.0 < kept <= 1.0):
        raise ValueError(f"expected 0 < tolerated < 1 and 0 < kept <= 1, got {tolerated} and {kept}")
    stakes = kept * np.minimum((ROLLBACK_FACTORS - 1.0) * tolerated / (1.0 - tolerated), _HIGHEST)
    lost = np.log1p(stakes * (1.0 / tolerated - 1.0))
    return np.asarray(errors * lost + (requests - errors) * np.log1p(-stakes))


def _divergence(rate: float, other: float) -> float:
    """KL(rate, other) of two coins, `other` above `rate` and below 1."""
    failed = rate * math.log(rate / other) if rate else 0.0
    return failed + (1.0 - rate) * math.log((1.0 - rate) / (1.0 - other))
