"""What a batch adds to each window of the requests that were mirrored: in columns, at the price of a few passes."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamsplit.core.guards import ScoreGuard
from streamsplit.core.mirroring import NO_SCORES, MirrorCounts
from streamsplit.core.ranks import ranks
from streamsplit.core.records import AGREES, DIFFERS, Outcome, Predictions, Reflection, Routing
from streamsplit.core.score_pairs import Scored, count_pairs
from streamsplit.core.windows import by_label, windows_of


def count_mirrored(
    window_ms: int,
    times: NDArray[np.int64],
    routing: Routing,
    predictions: Predictions,
    arm_names: tuple[str, ...],
    *,
    guard: ScoreGuard | None = None,
    scores: NDArray[np.float64] | None = None,
) -> tuple[MirrorCounts, ...]:
    """Count the mirrored requests of a batch by candidate, window and rule.

    Args:
        window_ms: Length of a window in milliseconds; positive.
        times: int64 (m,), request times in milliseconds since the epoch; any int64.
        routing: The rules.
        predictions: How the requests ended, the mirrored ones too.
        arm_names: Names of the arms, control first.
        guard: Of the mean score; None: there is none, and scores are not counted.
        scores: float64 (m,), NaN for none (`scores_of_arms`); needed where there is a guard.

    Returns:
        The counts; none where nothing is mirrored. Windows are those of `windows_of`.
    """
    if predictions.mirrored is None:
        return ()
    starts = windows_of(window_ms, times) * window_ms
    requests = _Requests(starts, routing.rules, predictions.outcomes == Outcome.DEAD_LETTER)
    return tuple(
        counts
        for arm, reflection in predictions.mirrored.items()
        for counts in _of_arm(
            arm_names[arm], requests.at(reflection.rows), reflection, _scored(guard, scores, reflection)
        )
    )


@dataclass(frozen=True, slots=True)
class _Requests:
    """Requests by themselves.

    Attributes:
        starts: int64 (m,), of their windows.
        rules: int16 (m,).
        failed: bool (m,), where control could not answer.
    """

    starts: NDArray[np.int64]
    rules: NDArray[np.int16]
    failed: NDArray[np.bool_]

    def at(self, rows: NDArray[np.int64]) -> "_Requests":
        """Some of them."""
        return _Requests(self.starts[rows], self.rules[rows], self.failed[rows])


def _scored(guard: ScoreGuard | None, scores: NDArray[np.float64] | None, reflection: Reflection) -> Scored | None:
    if guard is None or scores is None or reflection.scores is None:
        return None
    return Scored(guard, scores[reflection.rows], reflection.scores, reflection.outcomes)


def _of_arm(name: str, requests: _Requests, reflection: Reflection, scored: Scored | None) -> Iterator[MirrorCounts]:
    distinct, window = ranks(requests.starts)
    most, kinds = int(requests.rules.max()) + 2, len(Outcome)
    groups, group = ranks(window * most + (requests.rules + 1))
    cells, count = group * kinds + reflection.outcomes, len(groups)
    outcomes, unserved = (
        np.bincount(chosen, minlength=count * kinds).reshape(count, kinds).tolist()
        for chosen in (cells, cells[requests.failed])
    )
    agree, differ = (
        np.bincount(group[reflection.agrees == code], minlength=count).tolist() for code in (AGREES, DIFFERS)
    )
    scores = [NO_SCORES] * count if scored is None else count_pairs(scored, group, count)
    for at, key in enumerate(groups.tolist()):
        yield MirrorCounts(
            start=int(distinct[key // most]),
            rule=key % most - 1,
            arm=name,
            requests=sum(outcomes[at]),
            outcomes=by_label(outcomes[at]),
            control_failed=by_label(unserved[at]),
            agree=agree[at],
            differ=differ[at],
            scores=scores[at],
            fallen=reflection.fallen,
        )
