"""The guard of errors on mirrored requests, which control and the candidate were both asked."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from streamsplit.core.decision import Reading
from streamsplit.core.evidence import paired
from streamsplit.core.evidence.mixture import Wealth
from streamsplit.core.evidence.restarts import Restarting
from streamsplit.core.guards import ErrorGuard
from streamsplit.core.judging.guard import CandidateWindow, Needs, Process, Promise, Source
from streamsplit.core.judging.latest import Latest, told

NAME = "mirrored errors"


class MirroredErrors:
    """The errors of one candidate on mirrored requests.

    Args:
        arm: Its name.
        settings: The guard of errors, whose ratios and floors hold here too.
    """

    def __init__(self, arm: str, settings: ErrorGuard) -> None:
        self._arm = arm
        self._settings = settings
        self._against = Restarting(paired.WEIGHTS)
        self._promise = Wealth(paired.WEIGHTS)
        self._total = paired.Pairs()
        self._latest = Latest(len(paired.WEIGHTS), 3)

    def begin_step(self) -> None:
        """Forget what speaks for the candidate."""
        self._promise.forget()

    def take(self, window: CandidateWindow) -> None:
        """Add a closed window."""
        guard, against = self._settings, np.zeros(len(paired.WEIGHTS))
        before = _failed(self._total)
        for each in window.pairs:
            counts = each.counts
            pairs = paired.Pairs(counts.only_candidate, counts.only_control, counts.both, counts.neither)
            against += paired.rollback_increment(pairs, guard.rollback_ratio, guard.rollback_floor)
            self._total += pairs
            if each.revision in window.step_revisions:
                self._promise.add(paired.promote_increment(pairs, guard.promote_ratio, guard.promote_floor))
        self._against.add(against)
        self._latest.add(against, [now - was for now, was in zip(_failed(self._total), before, strict=True)])

    def processes(self) -> Sequence[Process]:
        """The one against the candidate."""
        return (Process(NAME, self._against.log_e, self._settings.dry_run),)

    def promises(self) -> Sequence[Promise]:
        """The one for it."""
        return (Promise(NAME, self._promise.log_e, self._settings.dry_run, Source.MIRRORED),)

    def readings(self, needs: Needs, processes: Sequence[Process], promises: Sequence[Promise]) -> Sequence[Reading]:
        """Both shares of failed requests."""
        total = self._total
        requests, candidate, control = _failed(total)
        (process,), (promise,) = processes, promises
        return (
            Reading(
                guard=NAME,
                arm=self._arm,
                verdict=needs.verdict(process.log_e, promise.log_e),
                control=control / requests if requests else None,
                candidate=candidate / requests if requests else None,
                unit="%",
                effect=candidate / control if control else None,
                log_e=process.log_e,
                log_needed=needs.alone,
                log_e_good=promise.log_e,
                log_needed_good=needs.promise,
                counts={
                    "candidate_requests": requests,
                    "only_candidate": total.only_candidate,
                    "only_control": total.only_control,
                    "both": total.both,
                    **self._lately(requests),
                },
                dry_run=self._settings.dry_run,
            ),
        )

    def _lately(self, requests: int) -> Mapping[str, float]:
        """The latest stretch, where the shares of all pairs do not show it."""
        latest = self._latest.beside(requests, self._against.log_e)
        if latest is None:
            return {}
        number, candidate, control = latest
        return told("requests", number, candidate / number, control / number)

    def to_plain(self) -> Mapping[str, Any]:
        """As JSON can hold it, exactly."""
        total = self._total
        return {
            "against": self._against.to_plain(),
            "promise": self._promise.to_plain(),
            "latest": self._latest.to_plain(),
            "total": [total.only_candidate, total.only_control, total.both, total.neither],
        }

    def restore(self, plain: Mapping[str, Any]) -> None:
        """Take over a state that `to_plain` gave."""
        self._against = Restarting.from_plain(plain["against"])
        self._promise = Wealth.from_plain(paired.WEIGHTS, plain["promise"])
        self._latest = Latest.from_plain(plain["latest"])
        self._total = paired.Pairs(*map(int, plain["total"]))


def _failed(pairs: paired.Pairs) -> tuple[int, int, int]:
    """Pairs, those in which the candidate failed, and those in which control did."""
    candidate, control = pairs.only_candidate + pairs.both, pairs.only_control + pairs.both
    return candidate + pairs.only_control + pairs.neither, candidate, control
