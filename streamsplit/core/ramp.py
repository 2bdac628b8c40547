"""Where the ramp of a rollout goes on."""

from dataclasses import dataclass

from streamsplit.core.rollout import Rollout, State


@dataclass(frozen=True, slots=True)
class Stop:
    """A step at its place in the ramp.

    Attributes:
        index: Its place.
        weights: Basis points of each candidate; empty for a pause.
        pause: True for a stop that keeps the weights and waits for a person.
    """

    index: int
    weights: tuple[int, ...]
    pause: bool

    @classmethod
    def at(cls, rollout: Rollout, index: int) -> "Stop":
        """The stop of a step."""
        step = rollout.steps[index]
        return cls(index, step.weights, step.pause)


def following(state: State) -> Stop | None:
    """The next step of a rollout under way; None at the end.

    After `set_weight` it is the first step above the weights that were set, so that going on never lowers a weight.
    Weights of several candidates are compared by their sum.
    """
    rollout = state.rollout
    if rollout is None:
        return None
    if not state.by_hand:
        return Stop.at(rollout, state.step + 1) if state.step + 1 < len(rollout.steps) else None
    for index, step in enumerate(rollout.steps):
        if sum(step.weights) > sum(state.weights):
            return Stop.at(rollout, index)
    return None


def resumed(state: State) -> Stop | None:
    """Where a paused rollout goes on: behind a pause or weights set by hand the next step, else the same one."""
    rollout = state.rollout
    if rollout is None or state.by_hand or rollout.steps[state.step].pause:
        return following(state)
    return Stop.at(rollout, state.step)
