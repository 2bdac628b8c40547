"""The guard of errors: a candidate's error rate beside control's, and on its own."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from streamsplit.core.decision import Reading
from streamsplit.core.evidence import errors, interval
from streamsplit.core.evidence.mixture import Wealth
from streamsplit.core.evidence.restarts import Restarting
from streamsplit.core.guards import ErrorGuard
from streamsplit.core.judging.guard import CandidateWindow, Needs, Process, Promise
from streamsplit.core.judging.latest import Latest, told

NAME = "errors"

_LEAST_ERRORS = 10
"""A rollback by comparison needs so many."""


_BAD, _GOOD = len(errors.ROLLBACK_FACTORS), len(errors.PROMOTE_FACTORS)


class Errors:
    """The errors of one candidate.

    Args:
        arm: Its name.
        settings: The guard.
        counted: What a request stands for in names of counts: `requests`, or `units`.
    """

    def __init__(self, arm: str, settings: ErrorGuard, counted: str = "requests") -> None:
        self._arm = arm
        self._counted = counted
        self._settings = settings
        self._against = Restarting(errors.ROLLBACK_WEIGHTS)
        self._promise = Wealth(errors.PROMOTE_WEIGHTS)
        self._grid = errors.Grid.of(
            (settings.rollback_ratio, settings.rollback_floor, errors.ROLLBACK_FACTORS),
            (settings.promote_ratio, settings.promote_floor, errors.PROMOTE_FACTORS),
            (1.0, 0.0, interval.RATIOS),
        )
        self._ratio = np.zeros(len(interval.RATIOS))
        self._totals = np.zeros(4, np.int64)
        self._latest = Latest(len(errors.ROLLBACK_WEIGHTS), 4)

    def begin_step(self) -> None:
        """Forget what speaks for the candidate."""
        self._promise.forget()

    def take(self, window: CandidateWindow) -> None:
        """Add a closed window."""
        against, before = np.zeros(len(errors.ROLLBACK_WEIGHTS)), self._totals.copy()
        for each in window.doses:
            counts = errors.Counts(
                each.control.requests, each.control.errors, each.candidate.requests, each.candidate.errors
            )
            said = self._grid.increment(counts)
            against += said[:_BAD]
            self._ratio += said[_BAD + _GOOD :]
            self._totals += (counts.candidate, counts.candidate_errors, counts.control, counts.control_errors)
            if each.in_step:
                self._promise.add(said[_BAD : _BAD + _GOOD])
        self._against.add(against)
        self._latest.add(against, (self._totals - before).tolist())

    def processes(self) -> Sequence[Process]:
        """The one against the candidate."""
        enough = int(self._totals[1]) >= _LEAST_ERRORS
        return (Process(NAME, self._against.log_e, self._settings.dry_run, enough),)

    def promises(self) -> Sequence[Promise]:
        """The one for it."""
        return (Promise(NAME, self._promise.log_e, self._settings.dry_run),)

    def readings(self, needs: Needs, processes: Sequence[Process], promises: Sequence[Promise]) -> Sequence[Reading]:
        """Both error rates, and their ratio."""
        candidate, candidate_errors, control, control_errors = self._totals.tolist()
        low, high = interval.of(self._ratio, needs.alpha)
        rates = [
            bad / total if total else None for bad, total in ((control_errors, control), (candidate_errors, candidate))
        ]
        effect = rates[1] / rates[0] if rates[0] and rates[1] is not None else None
        (process,), (promise,) = processes, promises
        return (
            Reading(
                guard=NAME,
                arm=self._arm,
                verdict=needs.verdict(process.log_e if process.enough else -math.inf, promise.log_e),
                control=rates[0],
                candidate=rates[1],
                unit="%",
                effect=effect,
                low=low,
                high=high,
                log_e=process.log_e,
                log_needed=needs.alone,
                log_e_good=promise.log_e,
                log_needed_good=needs.promise,
                counts={
                    f"control_{self._counted}": control,
                    "control_errors": control_errors,
                    f"candidate_{self._counted}": candidate,
                    "candidate_errors": candidate_errors,
                    **self._lately(candidate),
                },
                dry_run=self._settings.dry_run,
            ),
        )

    def _lately(self, candidate: int) -> Mapping[str, float]:
        """The latest stretch, where the rates of all of the candidate's requests do not show it."""
        latest = self._latest.beside(candidate, self._against.log_e)
        if latest is None:
            return {}
        number, bad, control, control_bad = latest
        return told(self._counted, number, bad / number, control_bad / control if control else None)

    def to_plain(self) -> Mapping[str, Any]:
        """As JSON can hold it, exactly."""
        return {
            "against": self._against.to_plain(),
            "promise": self._promise.to_plain(),
            "ratio": self._ratio.tolist(),
            "totals": self._totals.tolist(),
            "latest": self._latest.to_plain(),
        }

    def restore(self, plain: Mapping[str, Any]) -> None:
        """Take over a state that `to_plain` gave."""
        self._against = Restarting.from_plain(plain["against"])
        self._promise = Wealth.from_plain(errors.PROMOTE_WEIGHTS, plain["promise"])
        self._ratio = np.array(plain["ratio"], np.float64)
        self._totals = np.array(plain["totals"], np.int64)
        self._latest = Latest.from_plain(plain["latest"])
