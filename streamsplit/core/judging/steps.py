"""Where a rollout stands on its ramp, by the summaries alone: since when, and with how many requests."""

from collections.abc import Container, Iterator, Sequence
from dataclasses import astuple, dataclass
from typing import Any, Self

from streamsplit.core.doses import ClosedWindow, PairCounts
from streamsplit.core.judging.guard import Source
from streamsplit.core.rollout import WHOLE, Mirror, State, Step
from streamsplit.core.stays import exposed_below, movers, remaining


@dataclass(slots=True)
class StepProgress:
    """One stay at one step.

    A command that keeps the step and its weights (a pause that is ended) goes on with the stay; everything else begins
    a new one.

    Attributes:
        weights: Basis points of each candidate.
        first_revision: The revision that began it (`State.stay`): evidence of requests under older ones belongs to
            earlier stays.
        request_time: Start of the first window of it, milliseconds since the epoch; None before.
        log_time: Log time of its first summary, milliseconds since the epoch.
        requests: Candidates' requests counted since.
    """

    weights: tuple[int, ...]
    first_revision: int
    log_time: int
    request_time: int | None = None
    requests: int = 0

    def same(self, state: State) -> bool:
        """Whether a state is still at this stay."""
        return state.stay == self.first_revision

    def take(self, window: ClosedWindow, candidates: Container[str]) -> None:
        """Add what a closed window says of it; of candidates that only mirror, mirrored requests count."""
        doses = [each for each in window.doses if each.revision >= self.first_revision]
        if doses and self.request_time is None:
            self.request_time = window.start
        self.requests += sum(
            counts.requests for each in doses for arm, counts in each.arms.items() if arm in candidates
        )
        if not any(self.weights):
            self.requests += sum(
                _answered(each.counts) for each in window.pairs if each.revision >= self.first_revision
            )

    def left(self, step: Step, window_end: int, log_time: int) -> float:
        """Seconds of bake time that are left, by whichever clock is behind; not positive when it has passed."""
        started = self.request_time if self.request_time is not None else window_end
        return step.bake_seconds - min(window_end - started, log_time - self.log_time) / 1000

    def to_plain(self) -> Sequence[Any]:
        """As JSON can hold it, exactly."""
        return list(astuple(self))

    @classmethod
    def from_plain(cls, plain: Sequence[Any]) -> Self:
        """What `to_plain` gave.

        Raises:
            ValueError, TypeError: It is no such state.
        """
        weights, *rest = plain
        return cls(tuple(weights), *rest)


def _answered(pairs: PairCounts) -> int:
    return pairs.only_candidate + pairs.only_control + pairs.both + pairs.neither


def has_control(weights: tuple[int, ...]) -> bool:
    """Whether control answers a share of the default route."""
    return sum(weights) < WHOLE


def sources(state: State, arm: str) -> frozenset[Source]:
    """What the tests for a candidate can live on under a state that splits: what its routes give it beside control.

    Where a unit has many requests, its own are those of units that it meets for the first time.
    """
    beside = [(rule, weights, mirror) for rule, weights, mirror in _routes(state) if has_control(weights)]
    index = _index(state, arm)
    own = answers = any(weights[index] for _, weights, _ in beside)
    if _sticky(state):
        own = any(_moves(weights, exposed_below(state, rule), index) for rule, weights, _ in beside)
    mirrored = any(mirror is not None and mirror.shares[index] for *_, mirror in beside)
    found = {Source.OWN: own, Source.MIRRORED: mirrored, Source.EITHER: answers or mirrored}
    return frozenset(source for source, there in found.items() if there)


def knows_all(state: State, arm: str) -> bool:
    """Whether a candidate answers beside control, but no unit that could be compared meets it for the first time."""
    beside = [(rule, weights) for rule, weights, _ in _routes(state) if has_control(weights)]
    index = _index(state, arm)
    if not _sticky(state) or not any(weights[index] for _, weights in beside):
        return False
    return not any(_moves(weights, exposed_below(state, rule), index) for rule, weights in beside)


def _sticky(state: State) -> bool:
    return state.rollout is not None and state.rollout.unit.sticky


def _index(state: State, arm: str) -> int:
    assert state.rollout is not None
    return [each.name for each in state.rollout.arms[1:]].index(arm)


def _routes(state: State) -> Iterator[tuple[int, tuple[int, ...], Mirror | None]]:
    """Number, weights and mirror of each route, that of the default route first."""
    assert state.rollout is not None
    yield -1, state.weights, state.mirror
    for number, rule in enumerate(state.rollout.rules):
        yield number, rule.weights, rule.mirror


def _moves(weights: tuple[int, ...], exposed: int, index: int) -> bool:
    """Whether units move to a candidate, and some remain to compare them with."""
    return movers(weights, exposed)[index] > 0 and remaining(weights, exposed) > 0


def waits_for_evidence(state: State) -> bool:
    """Whether the present step is left on evidence.

    That is what its file says, but for two steps: one that leaves control nothing has nothing to compare with, and the
    last one that does is left on evidence whatever the file says, because a promotion follows from it.
    """
    rollout = state.rollout
    assert rollout is not None
    if not has_control(state.weights):
        return False
    return rollout.steps[state.step].advance == "evidence" or state.step == last_beside_control(rollout.steps)


def last_beside_control(steps: tuple[Step, ...]) -> int:
    """Index of the last step at which control answers a share; -1 where there is none."""
    return max((index for index, step in enumerate(steps) if not step.pause and has_control(step.weights)), default=-1)
