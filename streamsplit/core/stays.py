"""Stays at one step with the same weights, and who moves to a candidate as one begins.

Where a unit has many requests, only units that a candidate has never met say anything new (docs/judging.md): those
that moved from control to it as the present stay began, beside those that are still on control. Which these are is a
function of the control log: candidates own the buckets from 0 on, so that all who ever met one are below a bound.
"""

from collections.abc import Sequence
from dataclasses import replace

from streamsplit.core.rollout import WHOLE, State


def entered(before: State, after: State) -> State:
    """The state after a command, with the stay that it is in; a command that keeps step and weights keeps the stay."""
    if not after.splitting:
        return after if after.stay < 0 else replace(after, stay=-1, exposed=None)
    if not before.splitting:
        return replace(after, stay=after.revision, exposed=None)
    if (after.step, after.weights) == (before.step, before.weights):
        return after
    return replace(after, stay=after.revision, exposed=max(before.exposed or 0, sum(before.weights)))


def exposed_below(state: State, rule: int) -> int:
    """The bucket below which units have met a candidate at an earlier stay, 0..10000.

    Args:
        state: A state that splits.
        rule: Index of a rule; -1 is the default route.
    """
    weights = state.rollout.rules[rule].weights if state.rollout is not None and rule >= 0 else None
    return exposed_on(state.exposed, weights)


def exposed_on(exposed: int | None, rule: Sequence[int] | None) -> int:
    """The same of what is known of a stay.

    Args:
        exposed: As in `State`.
        rule: Basis points of each candidate under a rule, which are the same at every stay; None: the default route.
    """
    if exposed is None:
        return 0
    return exposed if rule is None else sum(rule)


def movers(weights: Sequence[int], exposed: int) -> tuple[int, ...]:
    """Buckets of each candidate, in basis points, that none has owned before.

    Args:
        weights: Basis points of each candidate.
        exposed: Bucket below which units have met a candidate (`exposed_below`).
    """
    ends = [sum(weights[: index + 1]) for index in range(len(weights))]
    return tuple(max(0, end - max(end - own, exposed)) for own, end in zip(weights, ends, strict=True))


def remaining(weights: Sequence[int], exposed: int) -> int:
    """Buckets of control, in basis points, that no candidate has owned before; arguments as of `movers`."""
    return WHOLE - max(sum(weights), exposed)
