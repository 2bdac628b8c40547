"""An absolute limit on a rate: a one-sample e-process, for what no comparison with control may excuse.

Null hypothesis: a request is bad with a chance of at most l, given all before it. A bet on the rate
`q_j = l + (1 - l) s_j` has `L_j += x log(q_j / l) + (n - x) log((1 - q_j) / (1 - l))`: a likelihood ratio, whose
expectation rises with the rate and is 1 at l. Requests may be taken one by one or in any pieces.
"""

import functools

import numpy as np
from numpy.typing import NDArray

from streamsplit.core.evidence.mixture import uniform

_SHARES = np.array([0.05, 0.1, 0.25, 0.5, 0.9])
"""float64 (5,): where between the limit and 1 the bets lie."""

_GOOD = np.log1p(-_SHARES)
"""float64 (5,): what a good request adds; (1 - q) / (1 - l) is 1 - s whatever the limit."""

WEIGHTS = uniform(len(_SHARES))
"""float64 (5,)."""


def increment(requests: int | NDArray[np.int64], bad: int | NDArray[np.int64], limit: float) -> NDArray[np.float64]:
    """What requests say against a rate of at most `limit`.

    Args:
        requests: How many, or int64 (d,).
        bad: Those of them that count against the limit, or int64 (d,).
        limit: Above 0 and below 1.

    Returns:
        float64 (5,), for `WEIGHTS`; (d, 5) for columns.

    Raises:
        ValueError: `limit` is not between 0 and 1, or there are more bad requests than requests, or a negative number.
    """
    if not 0.0 < limit < 1.0:
        raise ValueError(f"expected a limit above 0 and below 1, got {limit}; leave it out for no limit")
    on_bad = _on_bad(limit)
    if isinstance(requests, int) and isinstance(bad, int) and 0 <= bad <= requests:
        return np.asarray(bad * on_bad + (requests - bad) * _GOOD)
    if not np.all((bad >= np.int64(0)) & (bad <= np.asarray(requests))):
        raise ValueError(f"expected 0 <= bad <= requests, got {bad} of {requests}")
    return np.asarray(np.multiply.outer(bad, on_bad) + np.multiply.outer(np.subtract(requests, bad), _GOOD))


@functools.cache
def _on_bad(limit: float) -> NDArray[np.float64]:
    """float64 (5,): what a bad request adds."""
    return np.asarray(np.log((limit + (1.0 - limit) * _SHARES) / limit))


def share_increment(requests: int, bad: int, limit: float) -> NDArray[np.float64]:
    """What requests say that are bad together or not at all, as those of one run that took too long.

    The share of bad requests X is at most l in expectation, whatever hangs together within: `1 + s_j (X / l - 1)` is
    a bet on it (Waudby-Smith and Ramdas 2024, arXiv 2010.09686). Of one request it is what `increment` gives.

    Args:
        requests: How many, all that hang together among them; positive.
        bad: Those of them that count against the limit.
        limit: Above 0 and below 1.

    Returns:
        float64 (5,), for `WEIGHTS`.

    Raises:
        ValueError: `limit` is not between 0 and 1, or `bad` not from 0 to `requests`, or there are none.
    """
    if not 0.0 < limit < 1.0:
        raise ValueError(f"expected a limit above 0 and below 1, got {limit}; leave it out for no limit")
    if not 0 <= bad <= requests or not requests:
        raise ValueError(f"expected requests, and 0 <= bad <= requests, got {bad} of {requests}")
    return np.log1p(_SHARES * (bad / requests / limit - 1.0))
