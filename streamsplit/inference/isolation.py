"""Finding the rows that bring control down, without ever blaming a row for somebody else's doing.

An attempt at some rows ends in one of two ways: all are decided (answered, or found to raise when run alone), or the
process fell. The search goes on until every row is decided:

1. Rows on which the process fell are tried again, three times on the same rows; then they are halved.
2. A single row is tried in a process that has just reproduced its golden records. If that process falls for a reason
   that can be the row's (a crash, a hang, want of memory: not a kill from outside), twice, the row is convicted.
   Anything else proves nothing and is tried again.

So a process that somebody kills in a loop convicts nobody, however long it goes on, and an input that kills the
process is found after about 3 log2(n) restarts.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from streamsplit.inference.fall import Fall

FAILURES_BEFORE_HALVING = 3
FALLS_BEFORE_CONVICTION = 2


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows that are not decided yet.

    Attributes:
        rows: int64 (k,), ascending.
        run_rows: Most rows in one run.
        falls: How often the process fell on exactly these rows; for a single row, only the falls that count.
    """

    rows: NDArray[np.int64]
    run_rows: int
    falls: int = 0

    @property
    def alone(self) -> bool:
        """Whether it is a single row."""
        return len(self.rows) == 1


@dataclass(frozen=True, slots=True)
class Trial:
    """How an attempt ended.

    Attributes:
        left: int64 (k,), the rows that are not decided, ascending; empty unless the process fell.
        fall: How the process came down; None: it did not.
        proven: Whether it had reproduced its golden records for this attempt.
    """

    left: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    fall: Fall | None = None
    proven: bool = False


def isolate(pieces: Sequence[Piece], attempt: Callable[[Piece], Trial]) -> dict[int, str]:
    """Attempt pieces, and parts of them, until every row is decided.

    Args:
        pieces: What is to be decided.
        attempt: Tries a piece, proving the process first where the piece is a single row; it keeps what was answered.

    Returns:
        Convicted row → why.
    """
    convicted: dict[int, str] = {}
    pending = list(pieces)
    while pending:
        piece = pending.pop()
        if not len(piece.rows):
            continue
        trial = attempt(piece)
        if piece.alone and _counts(trial) and trial.fall and piece.falls + 1 == FALLS_BEFORE_CONVICTION:
            convicted[int(piece.rows[0])] = f"alone it brings the model down: {trial.fall.reason}"
        elif len(trial.left):
            pending.extend(_next(piece, trial))
    return convicted


def _next(piece: Piece, trial: Trial) -> Sequence[Piece]:
    """What remains of a piece after an attempt."""
    if len(trial.left) == 1:
        falls = piece.falls + _counts(trial) if piece.alone else 0
        return [Piece(trial.left, piece.run_rows, falls)]
    falls = piece.falls + 1 if len(trial.left) == len(piece.rows) else 1
    if falls < FAILURES_BEFORE_HALVING:
        return [Piece(trial.left, piece.run_rows, falls)]
    middle = len(trial.left) // 2
    return [Piece(trial.left[middle:], piece.run_rows), Piece(trial.left[:middle], piece.run_rows)]


def _counts(trial: Trial) -> bool:
    """Whether a fall can be the row's fault."""
    return trial.fall is not None and trial.fall.blamed and trial.proven
