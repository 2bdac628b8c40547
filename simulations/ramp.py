"""Whole rollouts, 10/25/75/100 %, decided by the judge itself: healthy ones are promoted, bad ones taken back."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulations.users import Users, UserWorld
from simulations.world import Behaviour, World, behaving, canary
from streamsplit.core.rollout import WHOLE, Phase
from streamsplit.core.summary import Summary

HORIZON = 3600.0
"""Seconds after which a rollout is given up; at 1000 requests a second."""

OUTCOMES = (Phase.PROMOTED, Phase.ROLLED_BACK)
"""What becomes of a rollout; anything else is open."""


@dataclass
class SegmentedWorld(World):
    """A deployment with a rule beside the default route.

    Attributes:
        part: Requests of the rule, as a share of the default route's.
        segment: Arm → how it behaves there.
    """

    part: float = 0.5
    segment: dict[str, Behaviour] | None = None

    def _summary(self) -> Summary:
        summary = World._summary(self)  # noqa: SLF001 - its own base
        rollout = self.state.rollout
        if rollout is None or not rollout.rules or self.segment is None:
            return summary
        everywhere = self.behaviours
        shares = [weight / WHOLE for weight in rollout.rules[0].weights]
        requests = int(self._random.poisson(self.part * sum(window.requests for window in summary.windows)))
        assigned = self._random.multinomial(requests, [1 - sum(shares), *shares]).tolist()
        start = summary.windows[0].start if summary.windows else 0
        self.behaviours = self.segment
        counted = [self._counts(arm.name, n, start) for arm, n in zip(self.state.arms, assigned, strict=True) if n]
        self.behaviours = everywhere
        return replace(summary, windows=summary.windows + tuple(replace(each, rule=0) for each in counted))


def plain(seed: int, **differs: float) -> World:
    """A candidate that differs everywhere."""
    return World(canary(), behaving(**differs), seed=seed)


def sticky(seed: int, ratio: float = 1.0) -> World:
    """A hundred thousand users, some with very many requests, some of whom fail again and again.

    Args:
        seed: Of everything that is drawn.
        ratio: How many times as often the candidate fails each of them.
    """
    users = Users.drawn(seed, 100_000)
    return UserWorld(canary(unit="key"), behaving(), 2000.0, seed, batch_ms=1000, users=users, ratio=ratio)


def segmented(seed: int, **differs: float) -> World:
    """A candidate that differs in a segment alone, which has a third of the requests and a weight of its own."""
    routes = [{"when": {"carrier": ["UA", "B6"]}, "weights": {"canary": 25}}]
    return SegmentedWorld(canary(routes=routes), behaving(), seed=seed, segment=behaving(**differs))


@dataclass(frozen=True, slots=True)
class Ramp:
    """A rollout and what is to become of it.

    Attributes:
        name: What the candidate is like.
        phase: Expected at the end.
        world: Seed → the deployment.
        runs: At full size.
        strays: Share of runs in which it may become something else.
    """

    name: str
    phase: Phase
    world: Callable[[int], World]
    runs: int
    strays: float = 0.0


def outcomes(world: Callable[[int], World], generator: np.random.Generator, runs: int) -> NDArray[np.float64]:
    """Run it.

    Returns:
        float64 (runs, 3): place in `OUTCOMES` or -1, requests of both arms, those of the candidate.
    """
    rows: list[list[Any]] = []
    for seed in generator.integers(2**32, size=runs).tolist():
        one = world(seed)
        one.run(HORIZON)
        place = OUTCOMES.index(one.state.phase) if one.state.phase in OUTCOMES else -1
        rows.append([place, sum(one.requests.values()), one.requests.get("canary", 0)])
    return np.array(rows, np.float64)


RAMPS = (
    Ramp("healthy", Phase.PROMOTED, plain, 300, strays=0.01),
    Ramp("healthy, with a segment", Phase.PROMOTED, segmented, 100, strays=0.01),
    Ramp("errors x2", Phase.ROLLED_BACK, partial(plain, error_rate=0.02), 100),
    Ramp("errors x3 in one segment", Phase.ROLLED_BACK, partial(segmented, error_rate=0.03), 100),
    Ramp("3 x slower", Phase.ROLLED_BACK, partial(plain, micros=15_000.0), 100),
    Ramp("healthy, sticky users", Phase.PROMOTED, sticky, 100, strays=0.01),
    Ramp("errors x3, sticky users", Phase.ROLLED_BACK, partial(sticky, ratio=3.0), 100),
)
