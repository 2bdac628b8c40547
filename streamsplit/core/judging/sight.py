"""A closed window as its guards look at it: those of one candidate, and that of control by itself."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from streamsplit.core.doses import ArmCounts, ClosedWindow, Dose
from streamsplit.core.evidence.bins import Binned
from streamsplit.core.judging.baseline import CONTROL
from streamsplit.core.judging.guard import CandidateWindow, Comparison, Memory, SplitCount
from streamsplit.core.judging.interference import RouteCounts
from streamsplit.core.judging.repeats import once
from streamsplit.core.judging.revisions import Revisions
from streamsplit.core.judging.shuffles import Shuffles
from streamsplit.core.judging.timed import timed
from streamsplit.core.rollout import WHOLE, Rollout

Repeated = Mapping[tuple[int, int, str], tuple[int, int]]
"""What `Repeats.of` says of a window."""

_NOTHING = ArmCounts()


@dataclass(frozen=True, slots=True)
class Sight:
    """What a window is looked at with.

    Attributes:
        rollout: The rollout.
        revisions: What workers have served under.
        past: Revisions of which an earlier window has told; what the first one tells is left out (warm-up).
        stay: The revision that began the present stay: what belongs to it counts for a candidate.
        repeated: Errors of units that had failed before.
        workers: How many workers served.
        memory: Whom the workers have met, where a unit has many requests.
    """

    rollout: Rollout
    revisions: Revisions
    past: frozenset[int]
    stay: int
    repeated: Repeated
    workers: int
    memory: Memory | None

    def of_candidates(self, window: ClosedWindow, arms: Iterable[str]) -> Iterator[CandidateWindow]:
        """What the guards of each candidate see."""
        past = self.past
        step = frozenset(revision for revision in past if revision >= self.stay)
        # A first request is its unit's only one, so that there are no repeats among them.
        compared, repeated = (window.firsts, {}) if self.rollout.unit.sticky else (window.doses, self.repeated)
        name = self.rollout.name
        doses = [
            _Beside(name, each, repeated, in_step=each.revision in step) for each in compared if each.revision in past
        ]
        probes = timed([each for each in window.probes if each.revision in past], self.rollout.judge.latency)
        requests = sum(counts.assigned for each in window.doses for counts in each.arms.values())
        for arm in arms:
            comparisons = (each.comparison(arm) for each in doses)
            yield CandidateWindow(
                doses=tuple(each for each in comparisons if each is not None),
                splits=tuple(self._splits([each.dose for each in doses], arm, repeated)),
                runs=tuple(each for each in window.runs if each.arm == arm and each.revision in past),
                pairs=tuple(each for each in window.pairs if each.arm == arm and each.revision in past),
                probes=tuple(each for each in probes if each.arm == arm),
                step_revisions=step,
                requests=requests,
                seconds=(window.end - window.start) / 1000,
                workers=self.workers,
                memory=self.memory,
            )

    def of_control(self, window: ClosedWindow) -> Iterator[RouteCounts]:
        """What the guard of interference sees: each dose, with control's share of its route."""
        for dose in window.doses:
            if dose.revision in self.past:
                share = (WHOLE - sum(self.revisions.weights(dose, self.rollout))) / WHOLE
                own = _once(dose, CONTROL, self.repeated)
                others = sum(counts.requests for arm, counts in dose.arms.items() if arm != CONTROL)
                yield RouteCounts(dose.revision, max(0.0, share), own.requests, own.errors, others)

    def _splits(self, doses: Iterable[Dose], arm: str, repeated: Repeated) -> Iterator[SplitCount]:
        """How requests were split, also where an arm got none: to leave those out would look like a wrong split.

        Who tries again asks the arm that failed, which is not the split's doing.
        """
        for dose in doses:
            share = self.revisions.share(dose, self.rollout, arm)
            if share is not None:
                own, others = (_once(dose, name, repeated).assigned for name in (arm, CONTROL))
                yield SplitCount(own, own + others, share)


class _Beside:
    """One dose; control's part is made once for all candidates."""

    def __init__(self, rollout: str, dose: Dose, repeated: Repeated, *, in_step: bool) -> None:
        self.dose = dose
        self._repeated = repeated
        self._in_step = in_step
        self._control = _once(dose, CONTROL, repeated)
        self._scores = Binned.of(self._control.scores)
        self._shuffles = Shuffles(rollout, dose, self._scores)

    def comparison(self, arm: str) -> Comparison | None:
        """A candidate beside control; None where one of the two has no requests."""
        candidate = _once(self.dose, arm, self._repeated)
        if not self._control.requests or not candidate.requests:
            return None
        scores = Binned.of(candidate.scores)
        return Comparison(self.dose, self._control, candidate, self._in_step, self._scores, self._shuffles, scores)


def _once(dose: Dose, arm: str, repeated: Repeated) -> ArmCounts:
    """An arm's counts, each failing unit once."""
    return once(dose.arms.get(arm, _NOTHING), *repeated.get((dose.rule, dose.revision, arm), (0, 0)))
