"""Who has failed lately, so that a client that retries a failing request is one failure."""

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np

from streamsplit.core.doses import ArmCounts, Failing
from streamsplit.core.summary import FailingUnits

MOST_REMEMBERED = 4000
"""Failing units of an arm that are remembered, the latest."""

MOST_OF_LIMITS = 1000
"""The same, for limits: a client that tries again does so soon."""

_SHORT = (1 << 32) - 1


class Repeats:
    """Remembers failing units, of each arm, by 32 bits of their hashes.

    Args:
        most: How many of an arm, the latest.

    Two units of the thousands that are remembered look alike about once in a million: that one error is not counted.
    """

    def __init__(self, most: int = MOST_REMEMBERED) -> None:
        self._most = most
        self._units: dict[str, dict[int, None]] = {}

    def of(self, failing: Iterable[Failing]) -> dict[tuple[int, int, str], tuple[int, int]]:
        """Note who failed in a window.

        Returns:
            (rule, revision, arm) → errors of units that had failed before, in this window or an earlier one, and all
            errors that are spoken of.
        """
        repeated: dict[tuple[int, int, str], tuple[int, int]] = {}
        for each in failing:
            repeated[each.rule, each.revision, each.arm] = (
                each.repeats + self.again(each.arm, each.units),
                len(each.units) + each.repeats + each.unnamed,
            )
        return repeated

    def of_summary(self, arm: str, failing: Sequence[FailingUnits]) -> int:
        """Note who failed on an arm by a summary; how many of its errors are not their unit's first.

        Of many errors a summary names the first: the others are taken to be repeats as often.
        """
        named = [unit for each in failing for unit in each.units]
        again = self.again(arm, named)
        unnamed = sum(max(0, each.unnamed) for each in failing)
        return again + unnamed * again // max(1, len(named))

    def again(self, arm: str, units: Sequence[int]) -> int:
        """Note who failed on an arm, one unit for each error; how many of the errors are not their unit's first."""
        known = self._units.setdefault(arm, {})
        again = 0
        for unit in units:
            short = unit & _SHORT
            again += short in known
            known.pop(short, None)  # the latest to fail is forgotten last
            known[short] = None
        for oldest in list(known)[: max(0, len(known) - self._most)]:
            del known[oldest]
        return again

    def to_plain(self) -> dict[str, Any]:
        """As JSON can hold it, exactly."""
        return {
            arm: base64.b85encode(np.array(list(units), "<u4").tobytes()).decode() for arm, units in self._units.items()
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any], most: int = MOST_REMEMBERED) -> Self:
        """What `to_plain` gave."""
        repeats = cls(most)
        for arm, text in plain.items():
            units = np.frombuffer(base64.b85decode(text), "<u4").tolist()
            repeats._units[arm] = dict.fromkeys(units)
        return repeats


def once(counts: ArmCounts, repeats: int, spoken_of: int) -> ArmCounts:
    """Counts in which a unit that fails again and again has asked and failed once.

    Where more errors are spoken of than are counted something is wrong, and all count.

    Args:
        counts: Of an arm in one window, rule and revision.
        repeats: Its errors of units that had failed before.
        spoken_of: All its errors that units are known of.
    """
    if not repeats or spoken_of > counts.errors:
        return counts
    return replace(
        counts,
        requests=counts.requests - repeats,
        errors=counts.errors - repeats,
        assigned=counts.assigned - repeats,
    )
