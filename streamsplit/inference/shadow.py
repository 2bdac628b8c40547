"""The mirror of a batch: rows that control answers and a candidate answers too, unseen.

A shadow never costs an answer, and delays a batch by its budget at most. What is not answered by then counts against
the candidate (docs/design.md section 7).
"""

import math
import time
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from streamsplit.core.records import UNKNOWN, Outcome, Reflection, Timing
from streamsplit.inference.answers import Answers
from streamsplit.inference.fall import OUTCOME_OF_FALL, FallKind
from streamsplit.inference.job import Job
from streamsplit.inference.process import ModelProcess
from streamsplit.inference.share import ANSWERED, OPEN, RAISED, Share


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a batch has shown of a candidate it was mirrored to.

    Attributes:
        reflection: How its rows ended.
        fell: True where its process crashed, hung, did not find the rows that raise in time, or finished no run while
            the batch waited for it; False where it finished; None where nothing was shown.
        reason: Why it fell; empty where it did not.
    """

    reflection: Reflection
    fell: bool | None
    reason: str = ""


class Shadow:
    """The rows that are mirrored to one candidate.

    Args:
        job: The batch.
        rows: int64 (k,), ascending, at least one.
        process: Who answers.
        lead: The rows of the batch that the candidate itself has to answer, in the same process; they come first. None:
            there are none.

    Attributes:
        process: As given.
        waited_since: Since when the batch waits for nothing else, on the monotonic clock; infinite before.
    """

    def __init__(self, job: Job, rows: NDArray[np.int64], process: ModelProcess, lead: Share | None) -> None:
        self.process = process
        self._job = job
        self._rows = rows
        self._lead = lead
        self._share: Share | None = None
        self._began = time.monotonic()
        self.waited_since = math.inf
        self.poll()

    @property
    def leads(self) -> bool:
        """Whether other rows of the batch come first."""
        return self._lead is not None

    @property
    def finished(self) -> bool:
        """Whether nothing more will come."""
        if self._share is not None:
            return self._share.finished
        return self._lead is not None and self._lead.fall is not None

    @property
    def deadline(self) -> float:
        """When the run under way must have finished, on the monotonic clock."""
        return self._share.deadline if self._share is not None else math.inf

    def poll(self) -> None:
        """Take what has come; begin, once the rows that come first are done."""
        if self._share is not None:
            self._share.poll()
        elif self._lead is None or (self._lead.finished and self._lead.fall is None):
            limits = self._job.limits
            self._began = time.monotonic()
            self._share = Share(
                self.process,
                self._job.inputs,
                self._rows,
                run_rows=limits.run_rows,
                patience=limits.timeout_seconds,
                search=self._job.search_seconds,
                start=self._lead.end if self._lead is not None else 0,
            )

    def verdict(self, answers: Answers, control: tuple[int, int] | None = None) -> Verdict:
        """What the shadow has shown; what has not come is given up.

        Args:
            answers: Control's.
            control: Rows of control's first run, and its wall time in microseconds; None: it did not go well.
        """
        share, lead = self._share, self._lead
        outcomes = np.full(len(self._rows), Outcome.FALLBACK_TIMEOUT, np.int8)
        if share is None:
            fall = lead.fall if lead is not None else None
            if fall is not None:
                outcomes[:] = OUTCOME_OF_FALL[fall.kind]
            return Verdict(replace(unseen(self._rows, outcomes), fallen=fall is not None), None)
        had = int((time.monotonic() - self._began) * 1e6)
        if share.fall is not None or share.late:
            return self._fell(share, control, had)
        seen = answers.reflect(share)
        outcomes[share.states == RAISED] = Outcome.FALLBACK_ERROR
        outcomes[share.states == ANSWERED] = Outcome.FALLBACK_INVALID
        outcomes[seen.valid] = Outcome.OK
        micros = np.where(share.states == OPEN, had, share.micros)
        timing = _timing(share, control, had)
        reflection = Reflection(self._rows, outcomes, micros, seen.agrees, timing, seen.scores)
        if share.finished:
            return Verdict(replace(reflection, ran=False), fell=False)
        if share.progress > self.waited_since:
            return Verdict(reflection, None)  # late, and at work
        budget = f"{self._job.budget_seconds:g} s"
        return Verdict(reflection, fell=True, reason=f"no mirrored run finished within the budget of {budget}")

    def _fell(self, share: Share, control: tuple[int, int] | None, had: int) -> Verdict:
        """What is to be said of a share that has fallen as a share."""
        if share.fall is None:
            late = replace(unseen(self._rows, Outcome.FALLBACK_TIMEOUT, had), fallen=True, ran=True)
            return Verdict(late, fell=True, reason=self._job.lateness)
        outcome = OUTCOME_OF_FALL[share.fall.kind]
        if outcome is Outcome.FALLBACK_LOADING:
            return Verdict(unseen(self._rows, outcome), None)
        ran = True if share.fall.blamed else None
        timing = _timing(share, control, had)
        reflection = replace(unseen(self._rows, outcome, had), timing=timing, fallen=True, ran=ran)
        return Verdict(reflection, fell=True, reason=share.fall.reason)


def _timing(share: Share, control: tuple[int, int] | None, had: int) -> Timing | None:
    """The first runs of both arms beside each other, which are at work at the same time.

    Runs of different numbers of rows say nothing about which arm is slower, and one that raised nothing about time; but
    a candidate that was late is never left out, however many rows it had: else one that hangs would look fast. What
    never began, because the process was still at rows that were given up, was counted with those.
    """
    if control is None or not share.sent:
        return None
    rows, micros = control
    if not share.finished or (share.fall is not None and share.fall.kind is FallKind.HANG):
        return Timing(rows, micros, had, candidate_over=True)
    run = share.first_run if share.fall is None else None
    return Timing(rows, micros, run[1]) if run is not None and run[0] == rows else None


def unseen(rows: NDArray[np.int64], outcomes: NDArray[np.int8] | Outcome, micros: int = 0) -> Reflection:
    """The reflection of rows that nobody answered."""
    ended = np.full(len(rows), outcomes, np.int8) if isinstance(outcomes, Outcome) else outcomes
    return Reflection(rows, ended, np.full(len(rows), micros, np.int64), np.full(len(rows), UNKNOWN, np.int8))
