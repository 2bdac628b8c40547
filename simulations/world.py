"""A deployment without Kafka: a worker that serves, a judge that reads its summaries, a fold that takes its commands.

Only counts are drawn, not requests; everything from the summary on is the real thing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from streamsplit.core.commands import Command, Kind, Refusal
from streamsplit.core.decision import Decision
from streamsplit.core.fold import apply
from streamsplit.core.judge import Judge
from streamsplit.core.judge_commands import command_of
from streamsplit.core.rollout import WHOLE, State
from streamsplit.core.summary import PartitionProgress, Probe, RunCounts, Summary, WindowCounts

MODELS = {f"delay@{version}": f"{version:064x}" for version in range(1, 10)}
_EPOCH_MS = 1_700_000_000_000


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How an arm behaves.

    Attributes:
        error_rate: Share of its requests that fail by themselves.
        run_failure_rate: Share of its batches in which its process falls.
        micros: Typical time of a probe's run, in microseconds; 25 % noise comes on top.
        score: Mean of its scores, in [0, 1].
    """

    error_rate: float = 0.01
    run_failure_rate: float = 0.0
    micros: float = 5000.0
    score: float = 0.3


@dataclass(slots=True)
class World:
    """One deployment.

    Attributes:
        spec: The rollout file.
        behaviours: Arm → how it behaves; may be changed on the way.
        rate: Requests a second.
        seed: Of everything that is drawn.
        probes: Probes a second, of each candidate.
        batch_ms: Milliseconds from one summary to the next.
        before: Seconds for which control alone serves before the rollout is applied.
        edit: Changes a summary before the judge reads it; returns any number of them.
    """

    spec: dict[str, Any]
    behaviours: dict[str, Behaviour]
    rate: float = 1000.0
    seed: int = 0
    probes: float = 5.0
    batch_ms: int = 500
    before: float = 0.0
    edit: Callable[[Summary], tuple[Summary, ...]] = lambda summary: (summary,)
    judge: Judge = field(default_factory=Judge.fresh)
    state: State = field(default_factory=State)
    decisions: list[Decision] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    log: list[tuple[Summary, State]] = field(default_factory=list)
    requests: dict[str, int] = field(default_factory=dict)
    now: int = _EPOCH_MS
    _sequence: int = 0
    _offset: int = 0
    _revision: int = -1
    _random: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        self._random = np.random.default_rng(self.seed)
        plain = {"rollout": "before", "arms": {"control": self.spec["arms"]["control"]}}
        self.command(Kind.APPLY, {"spec": plain, "models": MODELS}, rollout="before")
        self.command(Kind.BEGIN)
        for _ in range(int(1000 * self.before) // self.batch_ms):
            self.batch()
        self.command(Kind.APPLY, {"spec": self.spec, "models": MODELS}, rollout=self.spec["rollout"])
        self.command(Kind.BEGIN)

    def command(self, kind: Kind, payload: Mapping[str, object] | None = None, **fields: Any) -> None:
        """Write a command to the control log, as an operator.

        Raises:
            ValueError: It is refused.
        """
        fields = {"rollout": self.state.name, "command_id": f"c{self._revision + 1}", **fields}
        refusal = self._fold(Command(kind=kind, payload=payload or {}, **fields))
        if refusal is not None:
            raise ValueError(refusal.reason)

    def _fold(self, command: Command) -> Refusal | None:
        self._revision += 1
        result = apply(self.state, self._revision, command)
        if isinstance(result, Refusal):
            return result
        self.state = result
        return None

    def run(self, seconds: float) -> None:
        """Serve for so long, or until the rollout is over."""
        end = self.now + int(1000 * seconds)
        while self.now < end and self.state.phase.active:
            self.batch()

    def batch(self) -> None:
        """Serve one batch, and let the judge read what it adds."""
        self.now += self.batch_ms
        summary = self._summary()
        for each in self.edit(summary):
            self.log.append((each, self.state))
            self.read(each)

    def read(self, summary: Summary) -> None:
        """Let the judge read a summary, and carry out what it commands."""
        decided = self.judge.take(summary, self._offset, self.state, self.state.revision + 1)
        self._offset += 1
        self.decisions += decided
        for decision in decided:
            command = command_of(decision)
            refusal = self._fold(command) if command is not None else None
            if refusal is not None:
                self.refusals.append(refusal)

    def _summary(self) -> Summary:
        state = self.state
        assert state.rollout is not None
        window = round(1000 * state.rollout.judge.window_seconds)
        count = int(self._random.poisson(self.rate * self.batch_ms / 1000))
        shares = [weight / WHOLE for weight in state.weights]
        assigned = self._random.multinomial(count, [1 - sum(shares), *shares]).tolist()
        start = self.now // window * window
        arms = [arm.name for arm in state.arms]
        windows = [self._counts(arm, requests, start) for arm, requests in zip(arms, assigned, strict=True)]
        candidates = [(arm, n) for arm, n in zip(arms[1:], assigned[1:], strict=True) if n and assigned[0]]
        self._sequence += 1
        return Summary(
            slot="w-0",
            sequence=self._sequence - 1,
            rollout=state.name,
            revision=state.revision,
            written_time=self.now,
            partitions=(PartitionProgress(0, self._sequence, self._sequence + 1, 5, self.now),),
            windows=tuple(each for each in windows if each.requests),
            runs=tuple(self._runs(arm, start) for arm, _ in candidates),
            probes=tuple(
                self._probe(arm, start)
                for arm, _ in candidates
                for _ in range(self._random.poisson(self.probes * self.batch_ms / 1000))
            ),
        )

    def _counts(self, arm: str, requests: int, start: int) -> WindowCounts:
        behaviour = self.behaviours[arm]
        errors = int(self._random.binomial(requests, behaviour.error_rate))
        word = "dead_letter" if arm == "control" else "fallback_error"
        outcomes = {name: number for name, number in (("ok", requests - errors), (word, errors)) if number}
        self.requests[arm] = self.requests.get(arm, 0) + requests
        scores = self._random.beta(20 * behaviour.score, 20 * (1 - behaviour.score), requests - errors)
        places, numbers = np.unique((scores * 1000).astype(int), return_counts=True)
        return WindowCounts(
            start=start,
            rule=-1,
            arm=arm,
            requests=requests,
            outcomes=outcomes,
            served_by_arm=requests - errors,
            scores=dict(zip(places.tolist(), numbers.tolist(), strict=True)),
        )

    def _runs(self, arm: str, start: int) -> RunCounts:
        fell = [int(self._random.random() < self.behaviours[name].run_failure_rate) for name in ("control", arm)]
        return RunCounts(start, arm, 1, *fell)

    def _probe(self, arm: str, start: int) -> Probe:
        control, candidate = (
            max(1, int(self.behaviours[name].micros * self._random.lognormal(0, 0.25))) for name in ("control", arm)
        )
        return Probe(start, arm, 64, control, candidate)


def replayed(world: World) -> list[Decision]:
    """What a judge decides that reads the same summaries under the same states."""
    judge = Judge.fresh()
    decisions: list[Decision] = []
    for offset, (summary, state) in enumerate(world.log):
        decisions += judge.take(summary, offset, state, state.revision + 1)
    return decisions


def taken_over(world: World, every: int) -> list[Decision]:
    """The same, by judges that hand over to each other after so many summaries."""
    judge = Judge.fresh()
    decisions: list[Decision] = []
    for offset, (summary, state) in enumerate(world.log):
        if offset % every == 0:
            judge = Judge.restored(judge.record())
        decisions += judge.take(summary, offset, state, state.revision + 1)
    return decisions


def canary(**more: Any) -> dict[str, Any]:
    """A rollout file: 10, 25, 75, 100 %, windows of a second."""
    return {
        "rollout": "delay-v2",
        "arms": {"control": "delay@1", "canary": "delay@2"},
        "steps": [{"weight": weight, "for": "5s"} for weight in (10, 25, 75, 100)],
        "judge": {"window": "1s", "grace": "1s"},
        **more,
    }


def behaving(**canary_differs: float) -> dict[str, Behaviour]:
    """Two arms that behave alike, but for what is said of the candidate."""
    return {"control": Behaviour(), "canary": replace(Behaviour(), **canary_differs)}
