"""Histograms of values in [0, 1], as counts of all bins side by side."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from streamsplit.core.summary import SCORE_BINS

if TYPE_CHECKING:
    from collections.abc import Mapping

_PLACES = np.arange(SCORE_BINS, dtype=np.uint64)


@dataclass(frozen=True, slots=True, eq=False)
class Binned:
    """A histogram, made once for all who look at it.

    Attributes:
        counts: int64 (`SCORE_BINS`,), values in each bin; never changed in place.
        values: uint64 (`number`,), the bin of each value, ascending; never changed in place.
        number: How many values there are.
        places: Sum of their bins.
        squares: Sum of the squares of their bins.
    """

    counts: NDArray[np.int64]
    values: NDArray[np.uint64]
    number: int
    places: int
    squares: int

    @classmethod
    def of(cls, bins: "Mapping[int, int] | Binned") -> "Binned":
        """From the bins that occurred.

        Args:
            bins: Bin, 0 to `SCORE_BINS` - 1 → values, in any order; a histogram is given back as it is.

        Raises:
            ValueError: A bin or a count is none.
        """
        if isinstance(bins, Binned):
            return bins
        if not bins:
            return NOTHING
        places = np.fromiter(bins, np.int64, len(bins))
        numbers = np.fromiter(bins.values(), np.int64, len(bins))
        # as numbers without a sign, negative ones are the greatest
        if places.view(np.uint64).max() >= SCORE_BINS or numbers.min() < 0:
            raise ValueError(f"expected bins from 0 to {SCORE_BINS - 1} with counts from 0, got {dict(bins)}")
        counts = np.zeros(SCORE_BINS, np.int64)
        counts[places] = numbers
        weighted = places * numbers
        values = np.repeat(_PLACES, counts)
        return cls(counts, values, len(values), int(weighted.sum()), int(places @ weighted))

    def and_at(self, place: int, more: int) -> "Binned":
        """With more values in one bin."""
        counts = self.counts.copy()
        counts[place] += more
        values = np.repeat(_PLACES, counts)
        return Binned(counts, values, len(values), self.places + more * place, self.squares + more * place * place)


NOTHING = Binned(np.zeros(SCORE_BINS, np.int64), np.zeros(0, np.uint64), 0, 0, 0)


@dataclass(slots=True)
class Moments:
    """What is known of the mean and the spread of many values: whole numbers, exact.

    Attributes:
        number: How many values.
        places: Sum of their bins.
        squares: Sum of the squares of their bins.
    """

    number: int = 0
    places: int = 0
    squares: int = 0

    @classmethod
    def of(cls, bins: "Mapping[int, int] | Binned") -> Self:
        """Those of a histogram."""
        moments = cls()
        moments.add(Binned.of(bins))
        return moments

    def add(self, binned: Binned) -> None:
        """Take in the values of a histogram."""
        self.number += binned.number
        self.places += binned.places
        self.squares += binned.squares

    @property
    def mean(self) -> float:
        """In [0, 1], bins' middles standing for their values; of at least one value."""
        return (self.places + self.number / 2) / self.number / SCORE_BINS

    @property
    def spread(self) -> float:
        """The standard deviation; of at least one value."""
        scatter = self.number * self.squares - self.places * self.places
        return float(scatter**0.5) / self.number / SCORE_BINS


def sparse(counts: NDArray[np.int64]) -> list[list[int]]:
    """`[bin, requests]` of the bins that occurred, ascending, for JSON; `Binned.of(dict(...))` has the counts again."""
    places = np.flatnonzero(counts)
    return [list(each) for each in zip(places.tolist(), counts[places].tolist(), strict=True)]
