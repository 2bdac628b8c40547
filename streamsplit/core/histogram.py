"""A histogram of times or sizes with a relative error of 1 %: additive, exact to merge, small to keep.

Bucket i of `BUCKETS` holds values above `LEAST G^(i-1)` and up to `LEAST G^i`, with `G = (1 + e) / (1 - e)`; the middle
that stands for them, `2 LEAST G^i / (G + 1)`, is at most e from any of them: the map of DDSketch (Masson, Rim, Lee
2019, arXiv 1908.10693) with a fixed range, so that two histograms always have the same buckets.

The first bucket holds 0 and what is up to `LEAST` and stands for 0; the last holds what is above the range, also +inf,
and stands for +inf. A NaN or a negative value is no time and no size: it is counted as refused, beside the buckets.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

ERROR = 0.01
"""Largest relative error of a value's bucket."""

LEAST = 1e-9
"""Values up to it count as 0."""

GREATEST = 1e9
"""Values up to it have a bucket of their own size."""

_GROWTH = (1 + ERROR) / (1 - ERROR)
_LAST = math.ceil(math.log(GREATEST / LEAST) / math.log(_GROWTH))

BUCKETS = _LAST + 2
"""How many buckets there are, with that of 0 and that of what is above the range."""

_MIDDLES = np.concatenate(([0.0], LEAST * _GROWTH ** np.arange(1.0, _LAST + 1) * (2 / (_GROWTH + 1)), [math.inf]))

_TINY = math.ulp(0.0)


def bucket_of(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """The bucket of each value.

    Args:
        values: float64 (m,), not negative and not NaN.

    Returns:
        int64 (m,), 0 to `BUCKETS` - 1.
    """
    inside = np.clip(values, LEAST, GREATEST)
    buckets = np.ceil(np.log(inside / LEAST) / math.log(_GROWTH)).astype(np.int64)
    # rounding may put the ends of the range one bucket beyond it
    buckets = np.clip(buckets, 0, _LAST)
    return np.where(values > GREATEST, _LAST + 1, buckets)


def quantile_of(weights: NDArray[np.int64] | NDArray[np.float64], q: float) -> float | None:
    """The middle of the bucket that the quantile lies in: the first at which a share `q` of all weight is reached.

    Args:
        weights: (`BUCKETS`,), of each bucket; not negative.
        q: 0 to 1.

    Returns:
        At most 1 % from the value of that rank; 0 or +inf where it is below or above the range; None without weight.

    Raises:
        ValueError: `q` is not from 0 to 1.
    """
    if not 0.0 <= q <= 1.0:
        raise ValueError(f"expected a quantile from 0 to 1, got {q}")
    running = np.cumsum(weights, dtype=np.float64)
    if not running[-1] > 0.0:
        return None
    # never 0, so that the least value is that of a bucket which holds something
    return float(_MIDDLES[np.searchsorted(running, max(q * running[-1], _TINY))])


def _no_counts() -> NDArray[np.int64]:
    return np.zeros(BUCKETS, np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Histogram:
    """How many values lie in each bucket.

    Attributes:
        counts: int64 (`BUCKETS`,), never changed in place.
        refused: NaN and negative values, which lie in none.
    """

    counts: NDArray[np.int64] = field(default_factory=_no_counts)
    refused: int = 0

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Histogram):
            return NotImplemented
        return self.refused == other.refused and np.array_equal(self.counts, other.counts)

    __hash__ = None  # type: ignore[assignment]  # what holds an array is no key

    @property
    def count(self) -> int:
        """Values in the buckets, without the refused ones."""
        return int(self.counts.sum())

    def add(self, values: ArrayLike) -> Self:
        """With these values too.

        Args:
            values: Numbers (m,), any; those that are NaN or negative are counted in `refused`.
        """
        column = np.asarray(values, np.float64).ravel()
        fit = column[column >= 0.0]
        counts = self.counts + np.bincount(bucket_of(fit), minlength=BUCKETS)
        return type(self)(counts, self.refused + len(column) - len(fit))

    def merge(self, other: "Histogram") -> Self:
        """With the values of another one too: exactly what adding them here would have given."""
        return type(self)(self.counts + other.counts, self.refused + other.refused)

    def subtract(self, other: "Histogram") -> Self:
        """Without the values of another one, which are among them.

        Raises:
            ValueError: They are not.
        """
        counts, refused = self.counts - other.counts, self.refused - other.refused
        if refused < 0 or (counts < 0).any():
            raise ValueError("expected a histogram whose values were all added to this one, got others")
        return type(self)(counts, refused)

    def quantile(self, q: float) -> float | None:
        """At most 1 % from the value of rank `ceil(q count)`; see `quantile_of`."""
        return quantile_of(self.counts, q)

    def to_plain(self) -> dict[str, Any]:
        """All of it, as JSON can hold it: the buckets that hold something, and how much."""
        buckets = np.flatnonzero(self.counts)
        return {"buckets": buckets.tolist(), "counts": self.counts[buckets].tolist(), "refused": self.refused}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        """What `to_plain` gave.

        Raises:
            ValueError: A bucket or a count is none.
        """
        buckets, numbers = plain["buckets"], plain["counts"]
        if any(not 0 <= bucket < BUCKETS for bucket in buckets) or min([*numbers, plain["refused"]]) < 0:
            raise ValueError(f"expected buckets from 0 to {BUCKETS - 1} and counts from 0, got {plain}")
        counts = _no_counts()
        counts[np.array(buckets, np.int64)] = np.array(numbers, np.int64)
        return cls(counts, int(plain["refused"]))
