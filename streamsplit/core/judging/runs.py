"""The guard of runs: batches in which an arm's whole share fell, by a crash or a run that took too long."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from streamsplit.core.decision import Reading
from streamsplit.core.evidence import errors
from streamsplit.core.evidence.restarts import Restarting
from streamsplit.core.guards import ErrorGuard
from streamsplit.core.judging.guard import CandidateWindow, Needs, Process, Promise
from streamsplit.core.judging.latest import Latest, told

NAME = "runs"


class Runs:
    """The failed runs of one candidate, each of them one observation.

    Args:
        arm: Its name.
        settings: The guard of errors, whose ratio and floor hold here too.
    """

    def __init__(self, arm: str, settings: ErrorGuard) -> None:
        self._arm = arm
        self._settings = settings
        self._against = Restarting(errors.ROLLBACK_WEIGHTS)
        self._totals = np.zeros(3, np.int64)
        self._latest = Latest(len(errors.ROLLBACK_WEIGHTS), 3)

    def begin_step(self) -> None:
        """Nothing here speaks for a candidate."""

    def take(self, window: CandidateWindow) -> None:
        """Add a closed window."""
        increment, before = np.zeros(len(errors.ROLLBACK_WEIGHTS)), self._totals.copy()
        for each in window.runs:
            counts = errors.Counts(each.batches, each.control_failed, each.batches, each.candidate_failed)
            increment += errors.exceedance_increment(
                counts, self._settings.rollback_ratio, self._settings.rollback_floor
            )
            self._totals += (each.batches, each.control_failed, each.candidate_failed)
        self._against.add(increment)
        self._latest.add(increment, (self._totals - before).tolist())

    def processes(self) -> Sequence[Process]:
        """The one against the candidate."""
        return (Process(NAME, self._against.log_e, self._settings.dry_run),)

    def promises(self) -> Sequence[Promise]:
        """None."""
        return ()

    def readings(
        self,
        needs: Needs,
        processes: Sequence[Process],
        promises: Sequence[Promise],  # noqa: ARG002 - there are none
    ) -> Sequence[Reading]:
        """Both shares of failed runs."""
        batches, control, candidate = self._totals.tolist()
        (process,) = processes
        return (
            Reading(
                guard=NAME,
                arm=self._arm,
                verdict=needs.verdict(process.log_e, None),
                control=control / batches if batches else None,
                candidate=candidate / batches if batches else None,
                unit="%",
                effect=candidate / control if control else None,
                log_e=process.log_e,
                log_needed=needs.alone,
                counts={
                    "batches": batches,
                    "control_failed": control,
                    "candidate_failed": candidate,
                    **self._lately(batches),
                },
                dry_run=process.dry_run,
            ),
        )

    def _lately(self, batches: int) -> Mapping[str, float]:
        """The latest stretch, where the shares of all batches do not show it."""
        latest = self._latest.beside(batches, self._against.log_e)
        if latest is None:
            return {}
        number, control, candidate = latest
        return told("batches", number, candidate / number, control / number)

    def to_plain(self) -> Mapping[str, Any]:
        """As JSON can hold it, exactly."""
        return {
            "against": self._against.to_plain(),
            "totals": self._totals.tolist(),
            "latest": self._latest.to_plain(),
        }

    def restore(self, plain: Mapping[str, Any]) -> None:
        """Take over a state that `to_plain` gave."""
        self._against = Restarting.from_plain(plain["against"])
        self._totals = np.array(plain["totals"], np.int64)
        self._latest = Latest.from_plain(plain["latest"])
