"""The guard of latency: how long the candidate's runs take beside control's on the same rows."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from streamsplit.core.decision import Reading
from streamsplit.core.evidence import errors, speed
from streamsplit.core.evidence.mixture import Wealth
from streamsplit.core.evidence.restarts import Restarting
from streamsplit.core.evidence.tails import Tails
from streamsplit.core.guards import LatencyGuard
from streamsplit.core.judging.guard import CandidateWindow, Needs, Process, Promise, Source
from streamsplit.core.judging.latest import Latest, told

TYPICAL, TAILS = "speed", "tails"


class Speed:
    """The run times of one candidate.

    Args:
        arm: Its name.
        settings: The guard.
    """

    def __init__(self, arm: str, settings: LatencyGuard) -> None:
        self._arm = arm
        self._settings = settings
        self._typical = Restarting(speed.WEIGHTS)
        self._far = Restarting(errors.ROLLBACK_WEIGHTS)
        self._promise = Wealth(speed.WEIGHTS)
        self._bins = np.zeros(len(speed.RATIOS) + 2, np.int64)
        self._tails = Tails()
        self._probes = 0
        self._exceeded = np.zeros(3, np.int64)
        self._latest = Latest(len(speed.WEIGHTS), 2)
        self._latest_far = Latest(len(errors.ROLLBACK_WEIGHTS), 3)
        self._told: tuple[float | None, float, float] | None = None

    def begin_step(self) -> None:
        """Forget what speaks for the candidate."""
        self._promise.forget()

    def take(self, window: CandidateWindow) -> None:
        """Add a closed window; its times count for the quantile of later ones only."""
        typical, far = np.zeros(len(speed.WEIGHTS)), np.zeros(len(errors.ROLLBACK_WEIGHTS))
        before = self._exceeded.copy()
        for each in window.probes:
            typical += speed.rollback_increment(each.count, each.slower)
            if each.revision in window.step_revisions:
                self._promise.add(speed.promote_increment(each.count, each.not_good))
            exceeded = each.exceedances(self._tails, self._settings)
            far += errors.exceedance_increment(errors.Counts(exceeded[0], exceeded[1], exceeded[0], exceeded[2]))
            self._exceeded += exceeded
            self._bins += np.bincount(each.places, minlength=len(self._bins))
            self._probes += each.count
            self._told = None
        for each in window.probes:
            self._tails.add(each.rows, each.control)
        self._typical.add(typical)
        self._far.add(far)
        probes, slower = sum(each.count for each in window.probes), sum(each.slower for each in window.probes)
        self._latest.add(typical, (probes, slower))
        self._latest_far.add(far, (self._exceeded - before).tolist())

    def processes(self) -> Sequence[Process]:
        """The typical run, and the far too slow ones."""
        dry = self._settings.dry_run
        return (Process(TYPICAL, self._typical.log_e, dry), Process(TAILS, self._far.log_e, dry))

    def promises(self) -> Sequence[Promise]:
        """That the typical run is good enough."""
        return (Promise(TYPICAL, self._promise.log_e, self._settings.dry_run, Source.EITHER),)

    def readings(self, needs: Needs, processes: Sequence[Process], promises: Sequence[Promise]) -> Sequence[Reading]:
        """How many times control's time the candidate takes, and how often it is far slower."""
        (typical, far), (promise,) = processes, promises
        effect, low, high = self._ratio(needs.alpha)
        known, control, candidate = self._exceeded.tolist()
        return (
            Reading(
                guard=TYPICAL,
                arm=self._arm,
                verdict=needs.verdict(typical.log_e, promise.log_e),
                effect=effect,
                low=low,
                high=high,
                log_e=typical.log_e,
                log_needed=needs.alone,
                log_e_good=promise.log_e,
                log_needed_good=needs.promise,
                counts={"probes": self._probes, **self._lately()},
                dry_run=typical.dry_run,
            ),
            Reading(
                guard=TAILS,
                arm=self._arm,
                verdict=needs.verdict(far.log_e, None),
                control=control / known if known else None,
                candidate=candidate / known if known else None,
                unit="%",
                effect=candidate / control if control else None,
                log_e=far.log_e,
                log_needed=needs.alone,
                counts={"probes": known, **self._far_lately(known)},
                dry_run=far.dry_run,
            ),
        )

    def _lately(self) -> Mapping[str, float]:
        """The latest stretch, where the ratio of all times does not show it."""
        latest = self._latest.beside(self._probes, self._typical.log_e)
        return {} if latest is None else {"latest_probes": latest[0], "latest_slower": latest[1]}

    def _far_lately(self, known: int) -> Mapping[str, float]:
        """The latest stretch, where the shares of all probes do not show it."""
        latest = self._latest_far.beside(known, self._far.log_e)
        if latest is None:
            return {}
        number, control, candidate = latest
        return told("probes", number, candidate / number, control / number)

    def _ratio(self, alpha: float) -> tuple[float | None, float, float]:
        """How many times control's time the candidate takes, and the interval; worked out when probes have come."""
        if self._told is None:
            self._told = (speed.median_ratio(self._bins), *speed.interval(self._bins, alpha))
        return self._told

    def to_plain(self) -> Mapping[str, Any]:
        """As JSON can hold it, exactly."""
        filled = np.flatnonzero(self._bins)
        return {
            "typical": self._typical.to_plain(),
            "far": self._far.to_plain(),
            "promise": self._promise.to_plain(),
            "bins": [filled.tolist(), self._bins[filled].tolist()],
            "tails": self._tails.to_plain(),
            "probes": self._probes,
            "exceeded": self._exceeded.tolist(),
            "latest": self._latest.to_plain(),
            "latest_far": self._latest_far.to_plain(),
        }

    def restore(self, plain: Mapping[str, Any]) -> None:
        """Take over a state that `to_plain` gave."""
        self._typical, self._far = (Restarting.from_plain(plain[name]) for name in ("typical", "far"))
        self._promise = Wealth.from_plain(speed.WEIGHTS, plain["promise"])
        places, counts = plain["bins"]
        self._bins = np.zeros(len(speed.RATIOS) + 2, np.int64)
        self._bins[np.array(places, np.int64)] = counts
        self._told = None
        self._tails = Tails.from_plain(plain["tails"])
        self._probes = int(plain["probes"])
        self._exceeded = np.array(plain["exceeded"], np.int64)
        self._latest, self._latest_far = (Latest.from_plain(plain[name]) for name in ("latest", "latest_far"))
