"""What one transaction adds to each window of the requests that were mirrored, per candidate: small, additive."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamsplit.core.ranks import ranks
from streamsplit.core.records import AGREES, DIFFERS, Outcome, Predictions, Reflection, Routing
from streamsplit.core.windows import by_label, windows_of


@dataclass(frozen=True, slots=True)
class MirrorCounts:
    """Requests of one window and rule that control answered and one candidate was handed too.

    With `outcomes` and `control_failed` the four cells of a pair are known: only the candidate failed, only control,
    both, neither.

    Attributes:
        start: Milliseconds since the epoch, a multiple of the window's length.
        rule: Index of the rule; -1 is the default route.
        arm: Name of the candidate.
        requests: How many.
        outcomes: Label of the candidate's outcome → requests; only those that occurred; they sum to `requests`.
        control_failed: The same, of those requests alone that control could not answer.
        agree: Requests where every label that the candidate gave was control's.
        differ: Requests where one was not.
    """

    start: int
    rule: int
    arm: str
    requests: int
    outcomes: Mapping[str, int]
    control_failed: Mapping[str, int]
    agree: int
    differ: int


def count_mirrored(
    window_ms: int, times: NDArray[np.int64], routing: Routing, predictions: Predictions, arm_names: tuple[str, ...]
) -> tuple[MirrorCounts, ...]:
    """Count the mirrored requests of a batch by candidate, window and rule.

    Args:
        window_ms: Length of a window in milliseconds; positive.
        times: int64 (m,), request times in milliseconds since the epoch; any int64.
        routing: The rules.
        predictions: How the requests ended, the mirrored ones too.
        arm_names: Names of the arms, control first.

    Returns:
        The counts; none where nothing is mirrored. Windows are those of `windows_of`.
    """
    if predictions.mirrored is None:
        return ()
    starts = windows_of(window_ms, times) * window_ms
    failed = predictions.outcomes == Outcome.DEAD_LETTER
    return tuple(
        counts
        for arm, reflection in predictions.mirrored.items()
        for counts in _of_arm(
            arm_names[arm], starts[reflection.rows], routing.rules[reflection.rows], failed[reflection.rows], reflection
        )
    )


def _of_arm(
    name: str,
    starts: NDArray[np.int64],
    rules: NDArray[np.int16],
    failed: NDArray[np.bool_],
    reflection: Reflection,
) -> Iterator[MirrorCounts]:
    distinct, window = ranks(starts)
    most, kinds = int(rules.max()) + 2, len(Outcome)
    groups, group = ranks(window * most + (rules + 1))
    cells, count = group * kinds + reflection.outcomes, len(groups)
    outcomes, unserved = (
        np.bincount(chosen, minlength=count * kinds).reshape(count, kinds).tolist() for chosen in (cells, cells[failed])
    )
    agree, differ = (
        np.bincount(group[reflection.agrees == code], minlength=count).tolist() for code in (AGREES, DIFFERS)
    )
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
        )
