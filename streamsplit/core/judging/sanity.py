"""What holds a rollout without a word on the candidate: a wrong split, predictions that have moved."""

import math
from collections.abc import Mapping
from typing import Any

from streamsplit.core.decision import Reading, Verdict
from streamsplit.core.evidence.shift import Shift, ShiftReading
from streamsplit.core.evidence.split import Split
from streamsplit.core.guards import ShiftGuard
from streamsplit.core.judging.guard import CandidateWindow

SPLIT_ALPHA = 0.001
_SPLIT_NEEDED = -math.log(SPLIT_ALPHA)


class SplitCheck:
    """Whether a candidate gets the share of requests that it should (sample-ratio mismatch).

    Args:
        arm: Its name.
        counted: What a request stands for in names of counts: `requests`, or `units`.
    """

    def __init__(self, arm: str, counted: str = "requests") -> None:
        self._arm = arm
        self._counted = counted
        self._split = Split()
        self._candidate = self._requests = 0
        self._expected = 0.0

    def take(self, window: CandidateWindow) -> None:
        """Add a closed window."""
        for each in window.splits:
            self._split.add(each.candidate, each.requests, each.share)
            self._candidate += each.candidate
            self._requests += each.requests
            self._expected += each.share * each.requests

    def reading(self) -> Reading:
        """The share it got and the one it should have."""
        log_e, requests = self._split.log_e, self._requests
        return Reading(
            guard="split",
            arm=self._arm,
            verdict=Verdict.HELD if log_e >= _SPLIT_NEEDED else Verdict.OPEN,
            control=self._expected / requests if requests else None,
            candidate=self._candidate / requests if requests else None,
            unit="%",
            log_e=log_e,
            log_needed=_SPLIT_NEEDED,
            counts={f"candidate_{self._counted}": self._candidate, self._counted: requests},
        )

    def to_plain(self) -> Mapping[str, Any]:
        """As JSON can hold it, exactly."""
        return {
            "split": self._split.to_plain(),
            "candidate": self._candidate,
            "requests": self._requests,
            "expected": self._expected,
        }

    def restore(self, plain: Mapping[str, Any]) -> None:
        """Take over a state that `to_plain` gave."""
        self._split = Split.from_plain(plain["split"])
        self._candidate, self._requests = int(plain["candidate"]), int(plain["requests"])
        self._expected = float(plain["expected"])


class ShiftCheck:
    """How far the distribution of a candidate's score is from control's.

    Args:
        arm: Its name.
        settings: The guard.
    """

    def __init__(self, arm: str, settings: ShiftGuard) -> None:
        self._arm = arm
        self._settings = settings
        self._shift = Shift()

    def begin_step(self) -> None:
        """A step is judged on its own values."""
        self._shift.next_step()

    def take(self, window: CandidateWindow) -> None:
        """Add a closed window."""
        for each in window.doses:
            self._shift.add(each.control_scores, each.candidate_scores)

    def reading(self) -> Reading:
        """The population stability index."""
        read = self._shift.read()
        return Reading(
            guard="shift",
            arm=self._arm,
            verdict=self._verdict(read),
            control=self._settings.limit,
            candidate=read.psi,
            log_e=read.log_e,
            counts={
                "candidate_scores": read.n_candidate,
                "next_look": read.look_at,
                "shown": self._settings.shown,
            },
            dry_run=self._settings.dry_run,
        )

    def _verdict(self, read: ShiftReading) -> Verdict:
        if read.fires(self._settings.limit):
            return Verdict.HELD
        return Verdict.SHOWN if read.fires(self._settings.shown) else Verdict.OPEN

    def to_plain(self) -> Mapping[str, Any]:
        """As JSON can hold it, exactly."""
        return self._shift.to_plain()

    def restore(self, plain: Mapping[str, Any]) -> None:
        """Take over a state that `to_plain` gave."""
        self._shift = Shift.from_plain(plain)
