"""The mirror of a batch: every candidate that some of control's rows are mirrored to."""

import time
from collections.abc import Mapping

from streamsplit.core.records import Outcome, Reflection
from streamsplit.inference.answers import Answers
from streamsplit.inference.breakers import Breakers
from streamsplit.inference.job import Job
from streamsplit.inference.shadow import Shadow, unseen
from streamsplit.inference.share import Share
from streamsplit.inference.waiting import KeepGoing, wait_for_shares


class Mirror:
    """Hands mirrored rows to candidates, beside the rows that they have to answer themselves.

    Args:
        job: The batch; something of it is mirrored.
        breakers: As of the last committed batch.
        leads: Candidate → the rows of the batch that it has to answer itself.
    """

    def __init__(self, job: Job, breakers: Breakers, leads: Mapping[int, Share]) -> None:
        self._job = job
        self._shadows: dict[int, Shadow] = {}
        self._unasked: dict[int, Reflection] = {}
        for index, rows in (job.mirrors or {}).items():
            lead = leads.get(index)
            whom = lead.process if lead is not None else job.whom(index, breakers)
            if isinstance(whom, Outcome):
                self._unasked[index] = unseen(rows, whom)
            else:
                self._shadows[index] = Shadow(job, rows, whom, lead)

    @property
    def led(self) -> tuple[Shadow, ...]:
        """Those that begin when other rows are done, and so must be polled while these are waited for."""
        return tuple(shadow for shadow in self._shadows.values() if shadow.leads)

    def collect(
        self, answers: Answers, control: tuple[int, int] | None, keep_going: KeepGoing
    ) -> tuple[dict[int, Reflection], dict[str, tuple[bool, str]]]:
        """Wait for what has not come, at most the budget, and judge it.

        Args:
            answers: Of the whole batch, all of them decided.
            control: Rows of control's first run, and its wall time in microseconds; None: it did not go well.
            keep_going: Asked while it takes long.

        Returns:
            Candidate → how it fared; name of a candidate → whether it fell, and why.

        Raises:
            Abandoned: `keep_going` turned false.
        """
        now = time.monotonic()
        waiting = list(self._shadows.values())
        for shadow in waiting:
            shadow.waited_since = now
        wait_for_shares(waiting, keep_going, until=now + self._job.budget_seconds)
        reflections, fell = dict(self._unasked), {}
        for index, shadow in self._shadows.items():
            verdict = shadow.verdict(answers, control)
            reflections[index] = verdict.reflection
            arm = self._job.arms[index]
            if arm is not None and verdict.fell is not None:
                fell[arm.name] = verdict.fell, verdict.reason
                if not verdict.fell:
                    arm.answered()
        return reflections, fell
