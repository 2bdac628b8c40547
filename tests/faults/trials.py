"""Rollouts one after the other, each until the judge has decided."""

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from examples.flights import Pace
from streamsplit.core.commands import Command, Kind
from streamsplit.kafka.control_follower import ControlFollower
from streamsplit.offline.history import read_history
from tests.faults.deployment import Deployment

if TYPE_CHECKING:
    from streamsplit.core.rollout import Phase

PACE = Pace(begin_ms=1_700_000_000_000, per_second=500.0)
"""What the requests say of their time: in the past, and sent faster than that, so that time goes on as fast."""

RATE = 4000.0
ALPHA = 0.05

BY_REQUEST: Mapping[str, Any] = {"unit": "id", "steps": [{"weight": 50, "for": "1s"}]}
BY_USER: Mapping[str, Any] = {
    "unit": "key",
    "steps": [{"weight": 20, "for": "1s", "advance": "time"}, {"weight": 50, "for": "1s", "advance": "time"}],
}
"""The last step beside control is left on evidence all the same, of the users that move to the candidate in it."""

_JUDGED: Mapping[str, Any] = {
    # A rollout that nobody can decide is taken back in the end.
    "judge": {"window": "1s", "grace": "1s", "alpha": ALPHA, "deadline": "90s", "on_inconclusive": "rollback"},
    "limits": {"timeout": "30s"},
    "checks": {"probability": {"finite": True}},
}

Choice = Callable[[str], str]
"""What serves now → the candidate."""


class Trials:
    """Begins a rollout whenever none is under way.

    Args:
        deployment: Where.
        control: The model that serves first.
        candidate: Chooses the candidates.
        ramp: Of each rollout; None: half of the requests at once.

    Attributes:
        phases: How those that are over ended.
        ramp: Of each rollout.
    """

    def __init__(
        self, deployment: Deployment, control: str, candidate: Choice, ramp: Mapping[str, Any] | None = None
    ) -> None:
        self.phases: list[Phase] = []
        self._deployment = deployment
        self._follower = ControlFollower(deployment.connection, deployment.topics.control)
        self._serving = control
        self._candidate = candidate
        self.ramp = BY_REQUEST if ramp is None else ramp
        self._applied: int | None = None

    def __enter__(self) -> Self:
        self._follower.start()
        self._deployment.apply({"rollout": "serve", "arms": {"control": self._serving}})
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._follower.stop()

    def tend(self) -> int:
        """Begin the next one if the last is over; how many are."""
        state = self._follower.view.state
        if self._applied is not None and (state.apply_revision != self._applied or state.phase.active):
            return len(self.phases)
        if self._applied is not None:
            self.phases.append(state.phase)
            self._serving = state.serving[0].label
        arms = {"control": self._serving, "canary": self._candidate(self._serving)}
        spec = {"rollout": f"trial-{len(self.phases)}", "arms": arms, **self.ramp, **_JUDGED}
        self._applied = self._deployment.apply(spec).apply_revision
        return len(self.phases)

    def told(self) -> str:
        """How it stands, for a failure's message."""
        state = self._follower.view.state
        return f"{len(self.phases)} are over, now {state.name} {state.phase}\n{self._deployment.tails()}"

    def require_judged(self) -> None:
        """Every rollout that is over was ended by a command of the judge's."""
        ended = [
            entry.command.actor
            for entry in read_history(self._deployment.connection, self._deployment.topics.control)
            if isinstance(entry.command, Command) and entry.command.kind in {Kind.PROMOTE, Kind.ABORT}
        ]
        assert set(ended) == {"judge"}
        assert len(ended) >= len(self.phases)
