"""All that is known of one candidate."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from streamsplit.core.judging.capacity import Capacity
from streamsplit.core.judging.errors import Errors
from streamsplit.core.judging.guard import CandidateWindow, Guard, Needs, Process, Promise
from streamsplit.core.judging.limits import Limits
from streamsplit.core.judging.pairs import MirroredErrors
from streamsplit.core.judging.policy import Testimony
from streamsplit.core.judging.runs import Runs
from streamsplit.core.judging.sanity import ShiftCheck, SplitCheck
from streamsplit.core.judging.score_pairs import MirroredScores
from streamsplit.core.judging.scores import Scores
from streamsplit.core.judging.speed import Speed
from streamsplit.core.judging.tried import Tried
from streamsplit.core.judging.units import UnitsCheck
from streamsplit.core.rollout import Rollout

if TYPE_CHECKING:
    from streamsplit.core.decision import Reading


class Candidate:
    """The guards of one candidate.

    Args:
        arm: Its name.
        rollout: The rollout.
        live: Whether requests come at the rate of all traffic, so that `capacity` can be told.
    """

    def __init__(self, arm: str, rollout: Rollout, *, live: bool = True) -> None:
        settings, sticky = rollout.judge, rollout.unit.sticky
        counted = "units" if sticky else "requests"
        # Batches in which one user's requests are hang together, and no first request stands for them.
        runs = replace(settings.errors, dry_run=True) if sticky else settings.errors
        self._arm = arm
        guards: dict[str, Guard] = {"errors": Errors(arm, settings.errors, counted), "runs": Runs(arm, runs)}
        if is_mirrored(rollout):
            guards["pairs"] = MirroredErrors(arm, settings.errors)
        guards["speed"] = Speed(arm, settings.latency)
        if settings.score is not None:
            guards["score"] = Scores(arm, settings.score)
            if is_mirrored(rollout):
                guards["score pairs"] = MirroredScores(arm, settings.score)
        self._guards = guards
        self._limits = Limits(arm, rollout.judge)
        self._split = SplitCheck(arm, counted)
        self._units = UnitsCheck(arm) if sticky else None
        self._shift = ShiftCheck(arm, settings.shift) if settings.shift is not None else None
        self._capacity = Capacity(arm) if live else None

    def begin_step(self) -> None:
        """Forget what speaks for it."""
        for guard in self._guards.values():
            guard.begin_step()
        for check in (self._shift, self._units):
            if check is not None:
                check.begin_step()

    def take_limits(self, tried: Tried) -> None:
        """Add what a summary says, for the limits."""
        self._limits.take(tried)

    def take(self, window: CandidateWindow) -> None:
        """Add a closed window; each once, in order."""
        for guard in self._guards.values():
            guard.take(window)
        for check in self._checks():
            check.take(window)

    def processes(self) -> tuple[Process, ...]:
        """The e-processes against it."""
        return tuple(process for guard in self._guards.values() for process in guard.processes())

    def testimony(self, needs: Needs) -> Testimony:
        """What is known of it now."""
        processes: list[Process] = []
        promises: list[Promise] = []
        readings: list[Reading] = []
        for guard in self._guards.values():
            against, good = guard.processes(), guard.promises()
            processes += against
            promises += good
            readings += guard.readings(needs, against, good)
        readings += self._limits.readings()
        readings += [check.reading() for check in self._checks()]
        return Testimony(self._arm, tuple(processes), tuple(promises), tuple(readings), self._limits.exceeded())

    def to_plain(self) -> Mapping[str, Any]:
        """As JSON can hold it, exactly."""
        return {name: part.to_plain() for name, part in self._parts().items()}

    def restore(self, plain: Mapping[str, Any]) -> None:
        """Take over a state that `to_plain` gave.

        Raises:
            ValueError, KeyError, TypeError: It is no such state.
        """
        for name, part in self._parts().items():
            part.restore(plain[name])

    def exceeded(self) -> tuple[str, ...]:
        """Names of the limits that it surely exceeds."""
        return self._limits.exceeded()

    def _checks(self) -> tuple[SplitCheck | ShiftCheck | Capacity | UnitsCheck, ...]:
        checks = (self._split, self._units, self._shift, self._capacity)
        return tuple(check for check in checks if check is not None)

    def _parts(self) -> Mapping[str, Guard | Limits | SplitCheck | ShiftCheck | Capacity | UnitsCheck]:
        checks = {"split": self._split, "units": self._units, "shift": self._shift, "capacity": self._capacity}
        present = {name: check for name, check in checks.items() if check is not None}
        return {**self._guards, "limits": self._limits, **present}


def is_mirrored(rollout: Rollout) -> bool:
    """Whether any route or step mirrors requests."""
    mirrors = [*(rule.mirror for rule in rollout.rules), *(step.mirror for step in rollout.steps)]
    return any(mirror is not None for mirror in mirrors)
