"""Whether requests are split as they should be (sample-ratio mismatch).

The share of requests that a candidate gets is known, so a share that is not met says that something is broken:
records are lost, counted twice, or split by something that is not random. The e-value compares a beta-binomial
around the expected share with the binomial of it (Lindon and Malek 2022, arXiv 2011.03567). It is never evidence for
or against the candidate.

Why it stays valid, whatever the doses: given all that was seen before, the candidate's requests of a dose are
binomial. Each bettor here holds a beta distribution that was fixed before the dose; a beta-binomial sums to 1 over
all outcomes, so the expected factor on the bettor's money is exactly 1. That holds for every choice of the beta from
the past, which is what the following two use.

- Shares change between doses. What a bettor has learnt is kept as odds relative to the expected ones, with its
  weight: losing every tenth record of the candidate multiplies its odds by .9 at any share. With an unchanged share
  this is the cumulative formula.
- Mismatches begin late. New bettors start with fresh betas, each with money set aside for it at the beginning
  (`slow_weight`; together 1), which lies unused until then. At most `MOST` are kept: for a further one, the two
  neighbours whose ages are nearest in ratio become one. It has the money of both and the beta of the richer. Money
  only changes hands, so its expectation stays 1; ages stay spread geometrically, so that a change of any age is met
  by a bettor of about that age.
"""

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from streamsplit.core.evidence.restarts import EVERY, slow_weight

CONCENTRATION = 1000.0
"""Weight of a fresh beta, in requests."""

MOST = 24
"""Most bettors that are kept."""

_STIRLING_FROM = 32.0
"""From here on the first term that the series below leaves out is below 3e-17."""

_MONEY, _CANDIDATE, _CONTROL = range(3)


def log_e(candidate: int, requests: int, share: float, concentration: float = CONCENTRATION) -> float:
    """The logarithm of the e-value of one count, without restarts.

    Args:
        candidate: The candidate's requests; 0 to `requests`.
        requests: Those of both arms.
        share: Expected share of the candidate, between 0 and 1. At 0 and at 1 nothing is left to chance and the
            result is 0.
        concentration: How near the expected share a mismatch is looked for, in requests; positive.

    Raises:
        ValueError: The counts or the share are none.
    """
    _check(candidate, requests, share)
    if not 0 < share < 1:
        return 0.0
    beta = np.array([[concentration * share], [concentration * (1 - share)]])
    return float(_log_factors(beta, candidate, requests - candidate, share)[0])


class Split:
    """The e-process over doses, with a restart every `EVERY` of them.

    Requests of a dose are to be independent of each other: with a unit other than the request these are the first
    requests of units, and the share is that of movers (docs/judging.md).
    """

    __slots__ = ("_bettors", "_cash", "_doses", "_share", "_since")

    def __init__(self) -> None:
        self._doses = 0
        self._cash = 1.0
        self._share = 0.5  # expected share that the betas belong to
        self._since: list[int] = []  # dose that each bettor starts with
        # float64 (3, bettors): logarithm of the money; the beta's sides, the candidate's and control's, in requests
        self._bettors = np.empty((3, 0))

    @property
    def log_e(self) -> float:
        """Logarithm of the e-value up to now; 0 before the first dose."""
        return _log_sum([math.log(self._cash), *self._bettors[_MONEY].tolist()])

    def add(self, candidate: int, requests: int, share: float) -> None:
        """Take one dose in, each once.

        Args:
            candidate: The candidate's requests; 0 to `requests`.
            requests: Those of both arms. A dose without any, or with a share of 0 or 1, which leaves nothing to
                chance, adds nothing.
            share: Expected share of the candidate among them.

        Raises:
            ValueError: The counts or the share are none.
        """
        _check(candidate, requests, share)
        if not requests or not 0 < share < 1:
            return
        self._move_to(share)
        if self._doses % EVERY == 0:
            self._start()
        self._bettors[_MONEY] += _log_factors(self._bettors[_CANDIDATE:], candidate, requests - candidate, share)
        self._bettors[_CANDIDATE] += candidate
        self._bettors[_CONTROL] += requests - candidate
        self._doses += 1

    def to_plain(self) -> dict[str, Any]:
        """All of it, as JSON can hold it; floats survive JSON exactly."""
        bettors = [[since, *rest] for since, rest in zip(self._since, self._bettors.T.tolist(), strict=True)]
        return {"doses": self._doses, "cash": self._cash, "share": self._share, "bettors": bettors}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        """What `to_plain` gave."""
        split = cls()
        split._doses, split._cash, split._share = int(plain["doses"]), float(plain["cash"]), float(plain["share"])
        split._since = [int(since) for since, *_ in plain["bettors"]]
        split._bettors = np.array([rest for _, *rest in plain["bettors"]], np.float64).reshape(-1, 3).T.copy()
        return split

    def _move_to(self, share: float) -> None:
        """The same odds relative to the expected ones, at another share."""
        if share != self._share:
            candidate, control = self._bettors[_CANDIDATE:]
            odds = candidate / control * (1 - self._share) / self._share * share / (1 - share)
            weight = candidate + control
            self._bettors[_CANDIDATE:] = weight * odds / (1 + odds), weight / (1 + odds)
            self._share = share

    def _start(self) -> None:
        if len(self._since) == MOST:
            self._join()
        money = slow_weight(self._doses // EVERY)
        self._cash -= money
        self._since.append(self._doses)
        fresh = [[math.log(money)], [CONCENTRATION * self._share], [CONCENTRATION * (1 - self._share)]]
        self._bettors = np.concatenate((self._bettors, fresh), axis=1)

    def _join(self) -> None:
        """Make the two neighbours one whose ages are nearest in ratio, the oldest of several such.

        It has the money of both, the beta of the richer.
        """
        ages = [self._doses - since for since in self._since]
        ratios = [older / younger for older, younger in pairwise(ages)]
        older = ratios.index(min(ratios))
        money: list[float] = self._bettors[_MONEY, older : older + 2].tolist()
        poorer = older + 1 if money[0] >= money[1] else older
        self._bettors[_MONEY, older : older + 2] = _log_sum(money)
        self._bettors = np.delete(self._bettors, poorer, axis=1)
        del self._since[poorer]


def _check(candidate: int, requests: int, share: float) -> None:
    if not 0 <= candidate <= requests:
        raise ValueError(f"expected 0 <= candidate <= requests, got {candidate} of {requests}")
    if not 0 <= share <= 1:
        raise ValueError(f"expected a share from 0 to 1, got {share}")


def _log_factors(betas: NDArray[np.float64], candidate: int, control: int, share: float) -> NDArray[np.float64]:
    """Beta-binomial over binomial, of a dose: the binomial coefficients cancel.

    Args:
        betas: float64 (2, bettors), sides of each beta, the candidate's and control's.
        candidate: The candidate's requests.
        control: Control's.
        share: Expected share of the candidate.

    Returns:
        float64 (bettors,), logarithms.
    """
    bases = np.concatenate((betas, betas[:1] + betas[1:]))
    risen = _log_rising(bases, np.array([[candidate], [control], [candidate + control]], np.float64))
    learnt: NDArray[np.float64] = risen[0] + risen[1] - risen[2]
    return learnt - (candidate * math.log(share) + control * math.log1p(-share))


def _log_rising(bases: NDArray[np.float64], counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """`lgamma(bases + counts) - lgamma(bases)`, also where both are so large that their difference would be rounding.

    Args:
        bases: float64 (3, bettors), positive.
        counts: float64 (3, 1).
    """
    grown = bases + counts
    risen = counts * np.log(bases) + (grown - 0.5) * np.log1p(counts / bases) - counts + (_tail(grown) - _tail(bases))
    for place in zip(*np.nonzero(bases < _STIRLING_FROM), strict=True):
        risen[place] = math.lgamma(grown[place]) - math.lgamma(bases[place])
    return risen


def _tail(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """What Stirling's series adds to `(x - 1/2) log x - x + log(2 pi) / 2`."""
    inverse = 1.0 / values
    square = inverse * inverse
    return inverse * (1 / 12 - square * (1 / 360 - square * (1 / 1260 - square / 1680)))


def _log_sum(logs: list[float]) -> float:
    top = max(logs)
    return top + math.log(math.fsum([math.exp(value - top) for value in logs]))
