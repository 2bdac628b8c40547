"""Where a unit has many requests: how many units have been counted, and how full the workers' memory of them is."""

from collections.abc import Iterable, Mapping
from typing import Any, Self

from streamsplit.core.decision import Reading, Verdict
from streamsplit.core.judging.guard import CandidateWindow, Memory
from streamsplit.core.judging.words import UNITS
from streamsplit.core.seen_units import PLACES
from streamsplit.core.summary import UnitMarks

MOST_PARTITIONS = 4096
"""Partitions that are told of are those below; no summary fills the judge's memory."""


class Marks:
    """The latest that was said of each partition in the present stay."""

    def __init__(self) -> None:
        self._stay = -1
        self._latest: dict[int, tuple[int, bool]] = {}

    def take(self, marks: Iterable[UnitMarks], stay: int) -> None:
        """Take what a summary says, in the stay that began with a revision; of other stays nothing is kept."""
        if stay != self._stay:
            self._stay = stay
            self._latest.clear()
        for each in marks:
            if each.stay == stay and 0 <= each.partition < MOST_PARTITIONS:
                self._latest[each.partition] = (each.met, each.counted)

    def memory(self) -> Memory:
        """Over all partitions."""
        latest = self._latest.values()
        fullest = max((met for met, _ in latest), default=0) / PLACES
        return Memory(len(latest), sum(counted for _, counted in latest), fullest)

    def to_plain(self) -> Mapping[str, Any]:
        """As JSON can hold it, exactly."""
        return {"stay": self._stay, "latest": [[number, *said] for number, said in sorted(self._latest.items())]}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        """What `to_plain` gave."""
        marks = cls()
        marks._stay = int(plain["stay"])
        marks._latest = {int(number): (int(met), bool(counted)) for number, met, counted in plain["latest"]}
        return marks


class UnitsCheck:
    """How many units of the present stay were compared. It decides nothing.

    Args:
        arm: The candidate.
    """

    def __init__(self, arm: str) -> None:
        self._arm = arm
        self._memory = Memory(0, 0, 0.0)
        self.begin_step()

    def begin_step(self) -> None:
        """Each stay has units of its own."""
        self._control = self._candidate = 0

    def take(self, window: CandidateWindow) -> None:
        """Add a closed window."""
        self._memory = window.memory if window.memory is not None else self._memory
        for each in window.doses:
            if each.in_step:
                self._control += each.control.assigned
                self._candidate += each.candidate.assigned

    def reading(self) -> Reading:
        """Units of each arm, and what workers remember."""
        memory = self._memory
        return Reading(
            guard=UNITS,
            arm=self._arm,
            verdict=Verdict.OPEN,
            control=float(self._control),
            candidate=float(self._candidate),
            counts={"partitions": memory.partitions, "counting": memory.counting, "fullest": memory.fullest},
        )

    def to_plain(self) -> Mapping[str, Any]:
        """As JSON can hold it, exactly."""
        memory = self._memory
        return {
            "control": self._control,
            "candidate": self._candidate,
            "memory": [memory.partitions, memory.counting, memory.fullest],
        }

    def restore(self, plain: Mapping[str, Any]) -> None:
        """Take over a state that `to_plain` gave."""
        self._control, self._candidate = int(plain["control"]), int(plain["candidate"])
        partitions, counting, fullest = plain["memory"]
        self._memory = Memory(int(partitions), int(counting), float(fullest))
