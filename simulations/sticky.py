"""Sticky users judged by the judge itself over many stays: false alarms, the split of movers, and faults put in."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulations.users import Broken, Users, UserWorld
from simulations.world import behaving, canary
from streamsplit.core.commands import Kind
from streamsplit.core.decision import Verdict
from streamsplit.core.rollout import Phase
from streamsplit.core.summary import Summary, WindowCounts

Alarms = NDArray[np.bool_]

_WINDOW_SECONDS = 2
"""Of which there are two in a stay, the first of them its warm-up."""


@dataclass(frozen=True, slots=True)
class Climb:
    """A rollout that an operator leads from share to share, whatever the judge would wait for.

    Attributes:
        shares: Percent, ascending.
        users: How many there are.
        base: Share of requests that control fails.
        rate: Requests a second.
        faithful: Share of the users whose requests all end alike.
        tolerated: Ratio and floor of the guard of errors, which alone decides.
    """

    shares: Sequence[float]
    users: int
    base: float
    rate: float
    faithful: float = 0.5
    tolerated: tuple[float, float] = (1.1, 0.001)

    def run(self, seed: int, **world: Any) -> UserWorld:
        """Lead it to the end, or until it is taken back; the candidate is as bad for each user as is tolerated."""
        ratio, floor = self.tolerated
        errors = {"limit": "none", "rollback_ratio": ratio, "rollback_floor": f"{100 * floor:g}%"}
        spec = canary(
            unit="key",
            steps=[{"weight": share, "for": "1h"} for share in self.shares],
            judge={
                "window": f"{_WINDOW_SECONDS}s",
                "grace": "1s",
                "guards": {"errors": errors, "latency": {"dry_run": True}},
            },
        )
        users = Users.drawn(seed, self.users, self.base, self.faithful)
        rest = {"users": users, "ratio": ratio, "floor": floor, **world}
        one = UserWorld(spec, behaving(), rate=self.rate, seed=seed, probes=0, batch_ms=1000 * _WINDOW_SECONDS, **rest)
        for step in range(len(self.shares)):
            one.run(2 * _WINDOW_SECONDS)
            if not one.state.phase.active:
                break
            if step + 1 < len(self.shares):
                one.command(Kind.ADVANCE)
        return one


RAMP = Climb((5, 10, 20, 30, 40, 50, 60, 75, 90), users=1000, base=0.05, rate=2000)
"""Whoever asks often has dozens of requests in a stay."""

SLOW = Climb(tuple(40 + step / 10 for step in range(50)), 150, 0.2, 600, faithful=1.0, tolerated=(1.01, 0.0))
"""Few units move in a stay, and those that have moved are many."""

MANY = Climb((10, 25, 50, 75), users=20_000, base=0.01, rate=8000)
"""Enough units to see by their split that some are lost."""


def taken_back(
    generator: np.random.Generator,
    runs: int,
    _windows: int,
    *,
    climb: Climb,
    broken: Broken = Broken.NOTHING,
) -> Alarms:
    """Which rollouts are taken back, of a candidate that is as bad as is tolerated."""
    ended = [climb.run(seed, broken=broken) for seed in _seeds(generator, runs)]
    return np.array([one.state.phase is Phase.ROLLED_BACK for one in ended])


def mismatched(generator: np.random.Generator, runs: int, _windows: int, *, lost: float = 0.0) -> Alarms:
    """Which rollouts are held for their split, where a share of the candidate's first requests is lost."""
    return np.array([_is_held(MANY.run(seed, edit=partial(_without, lost))) for seed in _seeds(generator, runs)])


def _is_held(one: UserWorld) -> bool:
    readings = (reading for decision in one.decisions for reading in decision.readings)
    return any(reading.guard == "split" and reading.verdict is Verdict.HELD for reading in readings)


def _without(lost: float, summary: Summary) -> tuple[Summary, ...]:
    dice = np.random.default_rng(summary.sequence)
    firsts = (each if each.arm == "control" else _thinned(each, dice, lost) for each in summary.firsts)
    return (replace(summary, firsts=tuple(each for each in firsts if each.requests)),)


def _thinned(counts: WindowCounts, dice: np.random.Generator, lost: float) -> WindowCounts:
    outcomes = {label: int(dice.binomial(number, 1 - lost)) for label, number in counts.outcomes.items()}
    kept = {label: number for label, number in outcomes.items() if number}
    return replace(counts, requests=sum(kept.values()), outcomes=kept, served_by_arm=kept.get("ok", 0))


def _seeds(generator: np.random.Generator, runs: int) -> list[int]:
    seeds: list[int] = generator.integers(2**32, size=runs).tolist()
    return seeds
