"""How often a candidate's runs are far slower than control's usually are: exceedances of a smoothed quantile.

`tau` is a quantile of control's probe times in a class of row counts, from earlier windows only. In a window control
exceeds it with `t_a > tau`, the candidate with `t_b > ratio tau + floor`. Those counts go into the ratio test of
`errors` with ratio 1 and floor 0: a candidate whose times are `ratio` times control's exceeds as often as control does,
whatever tau is. (A ratio of rates is not one of times: unscaled, a tolerated candidate of 1.1 times is taken back.)

The two runs of a probe share their rows and their moment. As both arms have as many runs, q_a - 1 = -(q_b - 1), and a
probe's factor is `1 + (X_b - X_a)(q_b - 1) - X_a X_b (q_b - 1)^2`: at most 1 on average whatever they have in common.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from streamsplit.core.histogram import BUCKETS, bucket_of, quantile_of

HALF_LIFE = 20
"""Windows with probes of a class after which a time weighs half."""

LEAST_TIMES = 100
"""A class has a quantile once it has so many times of earlier windows."""

_PERIOD = 10 * HALF_LIFE
_SHIFT = 10
# Instead of the old weights' becoming smaller, the new ones become larger: whole numbers, exact and short. After a
# period all of them are divided by what it has grown by, and what is below 1 is gone.
_UNITS = tuple(round(2 ** (_SHIFT + age / HALF_LIFE)) for age in range(_PERIOD))

_CLASSES = 65
_MICROS = 1e6


@dataclass(slots=True)
class _Times:
    """Control's times in one class.

    Attributes:
        count: How many there were.
        age: Windows with probes since the period began.
        weights: int64 (`BUCKETS`,), smoothed.
    """

    count: int = 0
    age: int = 0
    weights: NDArray[np.int64] = field(default_factory=lambda: np.zeros(BUCKETS, np.int64))

    def add(self, buckets: NDArray[np.int64]) -> None:
        """Take in a window's times."""
        if self.age == _PERIOD:
            self.age = 0
            self.weights >>= _SHIFT
        np.add.at(self.weights, buckets, _UNITS[self.age])
        self.count += len(buckets)
        self.age += 1


class Tails:
    """Control's probe times by row count, in classes of a power of two: 1, 2-3, 4-7, ...

    A window's probes are counted with `exceedances`, each candidate's, and only then taken in with `add`, once.
    """

    __slots__ = ("_taus", "_times")

    def __init__(self) -> None:
        self._times: dict[int, _Times] = {}
        self._taus: dict[tuple[int, float], float | None] = {}

    def tau(self, row_class: int, quantile: float) -> float | None:
        """The smoothed quantile of a class.

        Args:
            row_class: See `classes`.
            quantile: 0 to 1.

        Returns:
            Microseconds, within 1 %; None with fewer than `LEAST_TIMES` times.
        """
        times = self._times.get(row_class)
        if times is None or times.count < LEAST_TIMES:
            return None
        key = row_class, quantile
        if key not in self._taus:
            self._taus[key] = quantile_of(times.weights, quantile)
        return self._taus[key]

    def exceedances(
        self,
        rows: NDArray[np.int64],
        control_micros: NDArray[np.int64] | NDArray[np.float64],
        candidate_micros: NDArray[np.int64] | NDArray[np.float64],
        ratio: float,
        floor_seconds: float,
        *,
        quantile: float,
        control_over: NDArray[np.bool_],
        candidate_over: NDArray[np.bool_],
        in_doubt: bool,
    ) -> tuple[int, int, int]:
        """Count the probes of one candidate in one window.

        An arm over its budget exceeds, also one with a time of +inf. A time that is NaN or negative counts as the null
        hypothesis expects.

        Args:
            rows: (m,), rows of each probe.
            control_micros: (m,), time of control's runs in microseconds.
            candidate_micros: (m,), the candidate's.
            ratio: As in `speed.slower`.
            floor_seconds: As in `speed.slower`.
            quantile: 0 to 1.
            control_over: bool (m,), whether control was over its budget.
            candidate_over: bool (m,), whether the candidate was.
            in_doubt: Whether a candidate's time of which nothing is known exceeds, and control's does not: False to
                roll back, True to promote.

        Returns:
            Probes of classes that have a quantile, those in which control exceeded, and in which the candidate did.
        """
        taus = self._taus_of(rows, quantile)
        told = ~np.isnan(taus)
        limits = ratio * taus + floor_seconds * _MICROS
        control = np.where(_is_time(control_micros), control_micros > taus, not in_doubt)
        control |= control_over | (control_micros == np.inf)
        candidate = np.where(_is_time(candidate_micros), candidate_micros > limits, in_doubt)
        candidate |= candidate_over | (candidate_micros == np.inf)
        return int(told.sum()), int((control & told).sum()), int((candidate & told).sum())

    def add(self, rows: NDArray[np.int64], control_micros: NDArray[np.int64] | NDArray[np.float64]) -> None:
        """Take in control's times of a closed window; windows in order.

        Args:
            rows: (m,), rows of each probe.
            control_micros: (m,), time of control's runs in microseconds; of one over its budget, what it was given.
                A NaN or negative one is left out.
        """
        good = _is_time(control_micros)
        of_probe, buckets = classes(rows)[good], bucket_of(np.asarray(control_micros, np.float64)[good])
        for row_class in sorted(set(of_probe.tolist())):
            self._times.setdefault(row_class, _Times()).add(buckets[of_probe == row_class])
        self._taus.clear()

    def to_plain(self) -> dict[str, Any]:
        """All of it, as JSON can hold it."""
        return {str(row_class): _plain(times) for row_class, times in sorted(self._times.items())}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        """What `to_plain` gave."""
        tails = cls()
        for name, each in plain.items():
            times = _Times(int(each["count"]), int(each["age"]))
            times.weights[np.array(each["buckets"], np.int64)] = each["weights"]
            tails._times[int(name)] = times
        return tails

    def _taus_of(self, rows: NDArray[np.int64], quantile: float) -> NDArray[np.float64]:
        """The quantile of each probe's class; NaN for none."""
        of_probe = classes(rows)
        taus = np.full(_CLASSES, np.nan)
        for row_class in set(of_probe.tolist()):
            tau = self.tau(row_class, quantile)
            if tau is not None:
                taus[row_class] = tau
        return taus[of_probe]


def classes(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """The class of each row count (m,): int64 (m,), how many binary digits it has; 1 for less than one row."""
    return np.frexp(np.maximum(rows, 1))[1].astype(np.int64)


def _is_time(micros: NDArray[np.int64] | NDArray[np.float64]) -> NDArray[np.bool_]:
    return micros >= 0  # False for NaN


def _plain(times: _Times) -> dict[str, Any]:
    buckets = np.flatnonzero(times.weights)
    weights = times.weights[buckets]
    return {"count": times.count, "age": times.age, "buckets": buckets.tolist(), "weights": weights.tolist()}
