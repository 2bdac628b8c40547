"""A batch on its way through the arms, and the promise that a candidate's failure never costs an answer.

Making a flight hands every arm its share at once. `collect` waits for the shares, lets control answer what a candidate
could not, and returns when every row is answered or found to be unservable, and the mirror has had its time.
"""

import numpy as np
from numpy.typing import NDArray

from streamsplit.core.records import CONTROL, Outcome
from streamsplit.inference.answers import Answers
from streamsplit.inference.breakers import Breakers, BreakerUpdate
from streamsplit.inference.fall import OUTCOME_OF_FALL
from streamsplit.inference.isolation import Piece, Trial, isolate
from streamsplit.inference.job import Collected, Job
from streamsplit.inference.mirror import Mirror
from streamsplit.inference.process import ModelProcess
from streamsplit.inference.share import ANSWERED, RAISED, Share
from streamsplit.inference.waiting import ControlUnavailable, KeepGoing, wait_for_control, wait_for_shares


class Flight:
    """A batch that has been handed over.

    Args:
        job: The batch.
        breakers: As of the last committed batch.
        watchdog: Seconds in which a run of control must finish.

    Raises:
        ControlUnavailable: The job has no control.
    """

    def __init__(self, job: Job, breakers: Breakers, watchdog: float) -> None:
        control = job.arms[CONTROL] if job.arms else None
        if control is None:
            raise ControlUnavailable("there is no control: apply a rollout")
        self._job = job
        self._control = control
        self._watchdog = watchdog
        if len({id(arm) for arm in job.arms if arm is not None}) < sum(arm is not None for arm in job.arms):
            raise ValueError("an arm appears twice in a job: also arms of one chain need a process each")
        self._candidates: dict[int, Share] = {}
        self._unasked: dict[int, tuple[NDArray[np.int64], Outcome]] = {}
        for index in np.unique(job.assigned).tolist():
            if index != CONTROL:
                self._hand_over(index, breakers)
        rows = np.flatnonzero(~np.isin(job.assigned, list(self._candidates)))
        self._untried = Piece(rows, job.limits.run_rows)
        self._control_share: Share | None = None
        if len(rows) and control.process is not None:
            self._control_share = self._share_of_control(control.process, self._untried)
        # The mirror comes last: whoever has to answer has begun by now.
        self._mirror = Mirror(job, breakers, self._candidates) if job.mirrors is not None else None

    def collect(self, keep_going: KeepGoing) -> Collected:
        """Wait until every row is decided; to be called once.

        Args:
            keep_going: Asked about twenty times a second; False gives the batch up.

        Raises:
            Abandoned: `keep_going` turned false.
            ControlUnavailable: Control cannot be loaded, or was stopped.
        """
        first = [share for share in (self._control_share, *self._candidates.values()) if share is not None]
        wait_for_shares(first, keep_going, self._mirror.led if self._mirror is not None else ())
        # Once known, the signature stays: there is no need to wait for a process that is being restarted.
        signature = self._control.status.signature or wait_for_control(self._control, keep_going).signature
        answers = Answers(len(self._job.assigned), signature, self._job.checks, self._job.score)
        for index, (unasked, outcome) in self._unasked.items():
            answers.outcomes[unasked] = outcome
            answers.fallen.add(index)
        pieces = [self._after_first_share(answers)]
        fallen, update = self._settle_candidates(answers)
        pieces.append(Piece(fallen, self._job.limits.run_rows))
        convicted = isolate(pieces, lambda piece: self._attempt(piece, answers, keep_going))
        answers.give_up(convicted)
        if self._mirror is None:
            return Collected(answers.predictions(), update)
        mirrored, verdicts = self._mirror.collect(answers, self._first_run_of_control, keep_going)
        return Collected(answers.predictions(mirrored), update.joined(verdicts))

    @property
    def _first_run_of_control(self) -> tuple[int, int] | None:
        return self._control_share.first_run if self._control_share is not None else None

    def _hand_over(self, index: int, breakers: Breakers) -> None:
        """Hand a candidate its rows, or note why it is not asked."""
        job = self._job
        rows = np.flatnonzero(job.assigned == index)
        whom = job.whom(index, breakers)
        if isinstance(whom, Outcome):
            self._unasked[index] = rows, whom
            return
        timeout = job.limits.timeout_seconds
        self._candidates[index] = Share(
            whom,
            job.inputs,
            rows,
            run_rows=job.limits.run_rows,
            patience=timeout,
            search=job.search_seconds,
            turn=timeout,
        )

    def _share_of_control(self, process: ModelProcess, piece: Piece) -> Share:
        return Share(
            process,
            self._job.inputs,
            piece.rows,
            run_rows=piece.run_rows,
            patience=self._watchdog,
            search=self._job.search_seconds,
            thorough=True,
            prove=piece.alone,
            confirm=True,
        )

    def _settle_candidates(self, answers: Answers) -> tuple[NDArray[np.int64], BreakerUpdate]:
        """Keep what candidates answered; the rows that fall to control, and what it means for the breakers."""
        fell: dict[str, bool] = {}
        reasons: dict[str, str] = {}
        fallen: list[NDArray[np.int64]] = []
        for index, share in self._candidates.items():
            arm = self._job.arms[index]
            assert arm is not None
            if share.fall is None:
                arm.answered()
                fell[arm.name] = answers.ran[index] = share.late
            if share.fall is None and not share.late:
                fallen.append(_settle_candidate(share, index, answers))
                continue
            fallen.append(share.rows)
            answers.fallen.add(index)
            outcome, reason = Outcome.FALLBACK_TIMEOUT, self._job.lateness
            if share.fall is not None:
                outcome, reason = OUTCOME_OF_FALL[share.fall.kind], share.fall.reason
                if share.fall.blamed:
                    answers.ran[index] = True
            answers.fall_back(dict.fromkeys(share.rows.tolist(), f"{arm.name}: {reason}"), outcome)
            if outcome is not Outcome.FALLBACK_LOADING:
                fell[arm.name] = True
                reasons[arm.name] = reason
        rows = np.sort(np.concatenate(fallen)) if fallen else np.empty(0, np.int64)
        return rows, BreakerUpdate(self._job.rollout, self._job.limits.breaker, fell, reasons)

    def _after_first_share(self, answers: Answers) -> Piece:
        """Keep what control answered of its own share; what remains to be decided."""
        share = self._control_share
        if share is None:
            return self._untried
        answers.control_fell |= share.late
        trial = self._settle_control(share, answers)
        return Piece(trial.left, self._untried.run_rows, 0 if len(trial.left) == 1 else 1)

    def _attempt(self, piece: Piece, answers: Answers, keep_going: KeepGoing) -> Trial:
        """Let control try a piece, in whatever process it has by then."""
        process = wait_for_control(self._control, keep_going)
        share = self._share_of_control(process, piece)
        wait_for_shares([share], keep_going)
        return self._settle_control(share, answers)

    def _settle_control(self, share: Share, answers: Answers) -> Trial:
        if share.fall is not None and share.fall.blamed:
            answers.control_fell = True
        invalid, raised = answers.take(share, CONTROL)
        answers.give_up(invalid)
        if share.fall is None:
            answers.give_up(raised)
        if (share.states == ANSWERED).any():
            self._control.answered()
        # A row that raised in a process that then fell has shown nothing yet.
        decided = (share.states == ANSWERED) | ((share.states == RAISED) & (share.fall is None))
        left = share.rows[~decided]
        return Trial(left, share.fall, share.proven)


def _settle_candidate(share: Share, index: int, answers: Answers) -> NDArray[np.int64]:
    """Keep a candidate's answers; the rows it could not answer."""
    invalid, raised = answers.take(share, index)
    answers.fall_back(invalid, Outcome.FALLBACK_INVALID)
    answers.fall_back(raised, Outcome.FALLBACK_ERROR)
    return np.array(sorted(invalid | raised), np.int64)
