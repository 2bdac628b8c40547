"""The shift of a candidate's predictions: what is compared with what, and when it is looked at.

A shift fires when the index (`stability`) is three standard errors above a limit, looked at only when the candidate's
values have doubled, so that looking often does not help chance.

Doses are not pooled: rules with different shares and different users would show a shift between identical models
(Simpson). Control's values of a dose count with the weight n_b / n_a of that dose, so that control stands for the
same requests as the candidate; n_a is then the effective number, n_b^2 / sum_d (n_bd^2 / n_ad), which is the plain one
where the share is constant.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from streamsplit.core.evidence import stability
from streamsplit.core.evidence.bins import Binned, sparse
from streamsplit.core.evidence.stability import Stability
from streamsplit.core.summary import SCORE_BINS

LEAST_EARLIER = 1000
"""Control values from which the groups are taken; they are never compared."""

FIRST_LOOK = 1000
"""Candidate values at the first look; the next is at twice as many, and so on."""

ERRORS = 3.0
"""Standard errors by which the index must be above a limit."""


@dataclass(frozen=True, slots=True)
class ShiftReading:
    """What is known of a shift.

    Attributes:
        psi: Population stability index up to now, without its bias; None where nothing could be compared yet.
        se: Its standard error; None likewise.
        n_control: Effective number of control's values compared.
        n_candidate: The candidate's values compared.
        log_e: Logarithm of the e-value against equal distributions.
        look: The index at the latest look, which alone decides; None before the first.
        look_at: The candidate's values at the next look.
    """

    psi: float | None
    se: float | None
    n_control: float
    n_candidate: int
    log_e: float
    look: Stability | None
    look_at: int

    def fires(self, limit: float) -> bool:
        """Whether the index was surely above a limit at the latest look."""
        return self.look is not None and self.look.psi - ERRORS * self.look.se > limit


@dataclass(frozen=True, slots=True)
class _Compared:
    """The sum of doses.

    Attributes:
        control: int64 (B,), control's values in each group.
        candidate: int64 (B,), the candidate's.
        weighted: float64 (B,), control's, with the weights of their doses; it sums to the candidate's number.
        spread: Sum of n_b^2 / n_a over doses.
        log_e: Logarithm of the e-value against equal distributions.
    """

    control: NDArray[np.int64]
    candidate: NDArray[np.int64]
    weighted: NDArray[np.float64]
    spread: float
    log_e: float

    @classmethod
    def nothing(cls, cuts: NDArray[np.int64] | None) -> Self:
        """Before the first dose."""
        groups = 0 if cuts is None else len(cuts) + 1
        return cls(np.zeros(groups, np.int64), np.zeros(groups, np.int64), np.zeros(groups), 0.0, 0.0)

    @property
    def n_candidate(self) -> int:
        return int(self.candidate.sum())

    @property
    def n_control(self) -> float:
        """Effective number."""
        return self.n_candidate**2 / self.spread if self.spread else 0.0

    def plus(self, control: NDArray[np.int64], candidate: NDArray[np.int64]) -> "_Compared":
        """With a dose that has both arms."""
        n_a, n_b = int(control.sum()), int(candidate.sum())
        return _Compared(
            self.control + control,
            self.candidate + candidate,
            self.weighted + control * (n_b / n_a),
            self.spread + n_b * n_b / n_a,
            self.log_e + stability.log_increment(self.control, self.candidate, control, candidate),
        )

    def index(self) -> Stability:
        """The index; of at least one dose."""
        return stability.index(self.weighted * (self.n_control / self.n_candidate), self.candidate)


class Shift:
    """The shift of one candidate in one step.

    Control's first values (at least `LEAST_EARLIER`) only say where the groups are.
    """

    __slots__ = ("_compared", "_cuts", "_earlier", "_look", "_look_at")

    def __init__(self, earlier: Mapping[int, int] | Binned | None = None) -> None:
        """Begin.

        Args:
            earlier: Control's values from before, bin to count; bins are 0 to `SCORE_BINS` - 1.

        Raises:
            ValueError: A bin or a count is none.
        """
        self._earlier = np.zeros(SCORE_BINS, np.int64)
        self._cuts: NDArray[np.int64] | None = None
        self._compared = _Compared.nothing(None)
        self._look: Stability | None = None
        self._look_at = FIRST_LOOK
        self._collect(Binned.of(earlier or {}))

    def add(self, control_bins: Mapping[int, int] | Binned, candidate_bins: Mapping[int, int] | Binned) -> None:
        """Take one dose in, each once; one that lacks an arm adds nothing.

        Args:
            control_bins: Bin to control's values, of the bins that occurred.
            candidate_bins: The candidate's.

        Raises:
            ValueError: A bin or a count is none.
        """
        control, candidate = Binned.of(control_bins), Binned.of(candidate_bins)
        if self._cuts is None:
            self._collect(control)
        elif control.number and candidate.number:
            self._compared = self._compared.plus(_grouped(control, self._cuts), _grouped(candidate, self._cuts))
            self._glance()

    def read(self) -> ShiftReading:
        """What is known now."""
        compared = self._compared
        now = compared.index() if compared.n_candidate else None
        return ShiftReading(
            psi=None if now is None else now.psi,
            se=None if now is None else now.se,
            n_control=compared.n_control,
            n_candidate=compared.n_candidate,
            log_e=compared.log_e,
            look=self._look,
            look_at=self._look_at,
        )

    def next_step(self) -> None:
        """Forget what was compared, and keep the groups: a step is judged on its own values."""
        self._compared = _Compared.nothing(self._cuts)
        self._look, self._look_at = None, FIRST_LOOK

    def to_plain(self) -> dict[str, Any]:
        """All of it, as JSON can hold it; floats survive JSON exactly."""
        compared = self._compared
        return {
            "earlier": sparse(self._earlier),
            "cuts": None if self._cuts is None else self._cuts.tolist(),
            "control": compared.control.tolist(),
            "candidate": compared.candidate.tolist(),
            "weighted": compared.weighted.tolist(),
            "spread": compared.spread,
            "log_e": compared.log_e,
            "look": None if self._look is None else [self._look.psi, self._look.se],
            "look_at": self._look_at,
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        """What `to_plain` gave."""
        shift = cls()
        shift._earlier = Binned.of(dict(plain["earlier"])).counts
        shift._cuts = None if plain["cuts"] is None else np.array(plain["cuts"], np.int64)
        shift._compared = _Compared(
            np.array(plain["control"], np.int64),
            np.array(plain["candidate"], np.int64),
            np.array(plain["weighted"], np.float64),
            float(plain["spread"]),
            float(plain["log_e"]),
        )
        shift._look = None if plain["look"] is None else Stability(*map(float, plain["look"]))
        shift._look_at = int(plain["look_at"])
        return shift

    def _collect(self, control: Binned) -> None:
        self._earlier = self._earlier + control.counts
        if self._earlier.sum() >= LEAST_EARLIER:
            self._cuts = stability.cuts(self._earlier)
            self._earlier = np.zeros(SCORE_BINS, np.int64)
            self._compared = _Compared.nothing(self._cuts)

    def _glance(self) -> None:
        count = self._compared.n_candidate
        if count < self._look_at:
            return
        self._look = self._compared.index()
        while self._look_at <= count:
            self._look_at *= 2


def _grouped(binned: Binned, cuts: NDArray[np.int64]) -> NDArray[np.int64]:
    grouped: NDArray[np.int64] = np.add.reduceat(binned.counts, [0, *cuts.tolist()])
    return grouped
