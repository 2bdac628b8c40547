"""The probes of a window, as columns: looked at once for all candidates."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import NDArray

from streamsplit.core.doses import Probes
from streamsplit.core.evidence import speed
from streamsplit.core.evidence.tails import Tails
from streamsplit.core.guards import LatencyGuard


@dataclass(frozen=True, slots=True)
class Timed:
    """The probes of one window, revision and candidate; there is one at least.

    Attributes:
        arm: The candidate.
        revision: What they were timed under.
        rows: int64 (m,), of each run.
        control: int64 (m,), control's times in microseconds.
        candidate: int64 (m,), the candidate's.
        control_over: bool (m,), whether control was over its budget.
        candidate_over: bool (m,), whether the candidate was.
        slower: Probes in which the candidate was slower than tolerated.
        not_good: Those in which it was slower than is good enough, or may have been.
        places: int64 (m,), `speed.ratio_places`.
    """

    arm: str
    revision: int
    rows: NDArray[np.int64]
    control: NDArray[np.int64]
    candidate: NDArray[np.int64]
    control_over: NDArray[np.bool_]
    candidate_over: NDArray[np.bool_]
    slower: int
    not_good: int
    places: NDArray[np.int64]

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.rows)

    def exceedances(self, tails: Tails, settings: LatencyGuard) -> tuple[int, int, int]:
        """Probes that can be told, and how many of them exceed the quantile of earlier windows, by arm."""
        return tails.exceedances(
            self.rows,
            self.control,
            self.candidate,
            settings.rollback_ratio,
            settings.floor_seconds,
            quantile=settings.quantile,
            control_over=self.control_over,
            candidate_over=self.candidate_over,
            in_doubt=False,
        )


def timed(probes: Sequence[Probes], settings: LatencyGuard) -> list[Timed]:
    """Look at the probes of a window.

    Args:
        probes: Of all its revisions and candidates.
        settings: The guard.

    Returns:
        One for each of `probes` that has some.
    """
    parts = [each for each in probes if each.probes]
    if not parts:
        return []
    runs = [run for each in parts for run in each.probes]
    rows = np.array([run.rows for run in runs], np.int64)
    control = np.array([run.control_micros for run in runs], np.int64)
    candidate = np.array([run.candidate_micros for run in runs], np.int64)
    over = {
        "control_over": np.array([run.control_over for run in runs], np.bool_),
        "candidate_over": np.array([run.candidate_over for run in runs], np.bool_),
    }
    floor = settings.floor_seconds
    slower = speed.slower(control, candidate, settings.rollback_ratio, floor, **over, in_doubt=False)
    not_good = speed.slower(control, candidate, settings.promote_ratio, floor, **over, in_doubt=True)
    places = speed.ratio_places(control, candidate, **over)
    ends = pairwise(accumulate((len(each.probes) for each in parts), initial=0))
    return [
        Timed(
            arm=each.arm,
            revision=each.revision,
            rows=rows[start:end],
            control=control[start:end],
            candidate=candidate[start:end],
            control_over=over["control_over"][start:end],
            candidate_over=over["candidate_over"][start:end],
            slower=int(slower[start:end].sum()),
            not_good=int(not_good[start:end].sum()),
            places=places[start:end],
        )
        for each, (start, end) in zip(parts, ends, strict=True)
    ]
