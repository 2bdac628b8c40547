"""How often the judge is wrong about a healthy rollout, at most: the alphas of all that may act, and their sum.

All comparisons with control share the alpha of the rollout; limits, the split and control's own level have one each,
which comes on top (docs/judging.md). What goes by the size of a difference has none.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from streamsplit.core.decision import Reading
from streamsplit.core.judging import interference, limits, sanity
from streamsplit.core.judging.baseline import Level
from streamsplit.core.judging.candidate import Candidate
from streamsplit.core.judging.guard import Needs
from streamsplit.core.rollout import Rollout

COMPARISON = "comparison"
"""Stands for all guards that compare a candidate with control."""

_ALPHAS: Mapping[str, float] = MappingProxyType(
    {
        "error limit": limits.ALPHA,
        "run limit": limits.ALPHA,
        "latency limit": limits.ALPHA,
        "split": sanity.SPLIT_ALPHA,
        interference.NAME: interference.ALPHA,
    }
)
"""Guard → its alpha, of those that act by themselves."""

_DIGITS = 12
"""Behind the point; more of a sum of decimal fractions are wrong."""

_BY_SIZE = ("shift", "capacity")
"""Guards that hold by the size of what they see."""


@dataclass(frozen=True, slots=True)
class Risk:
    """What may go wrong with a healthy rollout.

    Attributes:
        alphas: `COMPARISON` or guard → the chance that it ever takes back or holds a healthy rollout, over all
            candidates, at most; only of what decides.
        by_size: Guards that may hold, and of which no such chance is known.
    """

    alphas: Mapping[str, float]
    by_size: tuple[str, ...] = ()

    @property
    def total(self) -> float:
        """Their sum."""
        return round(math.fsum(self.alphas.values()), _DIGITS)

    def __str__(self) -> str:
        """One sentence for a person."""
        each = ", ".join(f"{_percent(alpha)} by {guard}" for guard, alpha in self.alphas.items())
        told = f"at most {_percent(self.total)} of healthy rollouts are taken back or held for nothing"
        told += f": {each}" if each else ""
        return told + (f"; no such bound is known of {' and '.join(self.by_size)}" if self.by_size else "")


def planned(rollout: Rollout) -> Risk:
    """Of a rollout, before it begins."""
    arms, judge = [arm.name for arm in rollout.arms[1:]], rollout.judge
    made = [Candidate(arm, rollout).testimony(Needs.of(judge.alpha, 1, len(arms))).readings for arm in arms]
    control = interference.Interference(judge.errors, Level(0, 0), -1, sticky=rollout.unit.sticky).reading()
    readings = [*(reading for each in made for reading in each), control] if arms else []
    compared = any(_compares(each) for each in readings)
    return _risk(judge.alpha if compared else 0.0, readings)


def told(readings: Iterable[Reading]) -> Risk:
    """Of a rollout, by the readings of one of its decisions."""
    found = list(readings)
    needed = [each.log_needed for each in found if _compares(each) and each.log_needed is not None]
    return _risk(len(needed) * math.exp(-max(0.0, needed[0])) if needed else 0.0, found)


def acts_alone(reading: Reading) -> bool:
    """Whether a guard acts by itself, beside the mean of those that compare."""
    return reading.guard in _ALPHAS or reading.guard in _BY_SIZE


def _compares(reading: Reading) -> bool:
    return reading.log_needed is not None and not reading.dry_run and not acts_alone(reading)


def _risk(comparison: float, readings: Iterable[Reading]) -> Risk:
    alphas = {COMPARISON: comparison} if comparison else {}
    by_size: dict[str, None] = {}
    for each in readings:
        if each.dry_run:
            continue
        if each.guard in _ALPHAS:
            alphas[each.guard] = alphas.get(each.guard, 0.0) + _ALPHAS[each.guard]
        elif each.guard in _BY_SIZE:
            by_size[each.guard] = None
    return Risk(MappingProxyType(alphas), tuple(by_size))


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
