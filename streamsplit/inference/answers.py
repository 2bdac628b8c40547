"""The answers of a batch while they come together, row by row, from several arms."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamsplit.core.guards import Score
from streamsplit.core.records import (
    AGREES,
    CONTROL,
    DIFFERS,
    NOBODY,
    UNKNOWN,
    Datatype,
    Outcome,
    Predictions,
    Reflection,
    Signature,
    TensorSpec,
)
from streamsplit.core.rollout import Check
from streamsplit.core.scores import scores_of
from streamsplit.inference.checks import failed_checks
from streamsplit.inference.share import ANSWERED, RAISED, Share

_FLOATING = "f"


@dataclass(frozen=True, slots=True)
class Reflected:
    """Answers that nobody will see, judged.

    Attributes:
        valid: bool (k,), which rows have an answer that passes its checks.
        agrees: int8 (k,), how they compare with control's: AGREES, DIFFERS or UNKNOWN.
        scores: float64 (k,), the wanted number of the valid ones, NaN for none; None where none is wanted.
    """

    valid: NDArray[np.bool_]
    agrees: NDArray[np.int8]
    scores: NDArray[np.float64] | None


class Answers:
    """Columns of a batch's predictions.

    Args:
        rows: Number of requests (m).
        signature: Control's; all arms give the same outputs.
        checks: Output name → condition.
        score: The number that is wanted of mirrored answers; None: none.

    Attributes:
        outcomes: int8 (m,), `Outcome` codes; a row's is set before control answers it in the place of a candidate.
        reasons: Row → why an arm failed it.
        fallen: Candidates that were not there for any of their rows.
        ran: Candidate → whether it fell by its own fault, of those that finished or fell so.
        control_fell: Whether control did.
    """

    def __init__(
        self, rows: int, signature: Signature, checks: Mapping[str, Check], score: Score | None = None
    ) -> None:
        self.outcomes = np.zeros(rows, np.int8)
        self.reasons: dict[int, str] = {}
        self.fallen: set[int] = set()
        self.ran: dict[int, bool] = {}
        self.control_fell = False
        self._checks = checks
        self._score = score
        self._served_by = np.full(rows, NOBODY, np.int8)
        self._micros = np.zeros(rows, np.int64)
        self._outputs = {spec.name: _blank(spec, rows) for spec in signature.outputs}

    def take(self, share: Share, arm: int) -> tuple[dict[int, str], dict[int, str]]:
        """Keep the answers of a share that pass their checks.

        Returns:
            Row → why, for the rows whose answer failed a check, and for those that raised when run alone. Rows that
            were not decided are in neither.
        """
        alone = np.flatnonzero(share.states == RAISED).tolist()
        return self._keep(share, arm), {int(share.rows[index]): share.reasons[index] for index in alone}

    def _keep(self, share: Share, arm: int) -> dict[int, str]:
        positions, outputs, failed = self._answered(share)
        invalid = {int(share.rows[positions[index]]): why for index, why in failed.items()}
        if failed:
            good = np.setdiff1d(np.arange(len(positions)), list(failed))
            positions, outputs = positions[good], {name: array[good] for name, array in outputs.items()}
        rows = share.rows[positions]
        for name, array in outputs.items():
            self._outputs[name][rows] = array
        self._micros[rows] = share.micros[positions]
        self._served_by[rows] = arm
        return invalid

    def reflect(self, share: Share) -> Reflected:
        """Judge answers that nobody will see, once control's are known.

        Args:
            share: Rows that control was assigned.
        """
        positions, outputs, failed = self._answered(share)
        valid, agrees = np.zeros(len(share.rows), np.bool_), np.full(len(share.rows), UNKNOWN, np.int8)
        valid[positions] = True
        valid[positions[list(failed)]] = False
        rows = share.rows[positions]
        same: NDArray[np.bool_] | None = None
        for name, mine in outputs.items():
            if mine.dtype.kind != _FLOATING:
                each = (mine == self._outputs[name][rows]).reshape(len(rows), -1).all(axis=1)
                same = each if same is None else same & each
        if same is not None:
            both = valid[positions] & (self._served_by[rows] == CONTROL)
            agrees[positions[both]] = np.where(same[both], AGREES, DIFFERS)
        return Reflected(valid, agrees, self._scores(valid, positions, outputs))

    def _scores(
        self, valid: NDArray[np.bool_], positions: NDArray[np.int64], outputs: Mapping[str, NDArray[Any]]
    ) -> NDArray[np.float64] | None:
        if self._score is None:
            return None
        scores = np.full(len(valid), np.nan)
        scores[positions] = scores_of(self._score, outputs.get(self._score.output), len(positions))
        scores[~valid] = np.nan
        return scores

    def _answered(self, share: Share) -> tuple[NDArray[np.int64], Mapping[str, NDArray[Any]], dict[int, str]]:
        """The positions in a share that have an answer, their outputs, and which of these fail a check, and why."""
        positions = np.flatnonzero(share.states == ANSWERED)
        if not len(positions):
            return positions, {}, {}  # perhaps it was never handed over, and has no outputs at all
        signature = share.process.signature
        outputs = {spec.name: share.output(spec.name) for spec in signature.outputs}
        if len(positions) < len(share.rows):
            outputs = {name: array[positions] for name, array in outputs.items()}
        return positions, outputs, failed_checks(outputs, signature, self._checks)

    def fall_back(self, rows: Mapping[int, str], outcome: Outcome) -> None:
        """Note that control answers some rows in the place of a candidate, and why."""
        if rows:
            self.outcomes[list(rows)] = outcome
            self.reasons.update(rows)

    def give_up(self, rows: Mapping[int, str]) -> None:
        """Make dead letters of rows that control cannot serve; a candidate's reason stays in the text."""
        for row, why in rows.items():
            before = f"{self.reasons[row]}; then " if row in self.reasons else ""
            self.reasons[row] = f"{before}control: {why}"
        self.outcomes[list(rows)] = Outcome.DEAD_LETTER

    def predictions(self, mirrored: Mapping[int, Reflection] | None = None) -> Predictions:
        """What has come together, and what the mirror has shown."""
        return Predictions(
            self._served_by,
            self.outcomes,
            self._micros,
            self._outputs,
            self.reasons,
            mirrored,
            fallen=frozenset(self.fallen),
            ran=self.ran,
            control_fell=self.control_fell,
        )


def _blank(spec: TensorSpec, rows: int) -> NDArray[Any]:
    """An output that nobody has answered yet; texts are empty, so that every row can be encoded."""
    blank = b"" if spec.datatype is Datatype.BYTES else 0
    return np.full((rows, *spec.shape), blank, spec.datatype.numpy)
