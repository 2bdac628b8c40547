"""The latest windows of each candidate, to be drawn beside a decision."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

from streamsplit.core.decision import WindowPoint
from streamsplit.core.doses import ClosedWindow, Dose
from streamsplit.core.judging.baseline import CONTROL
from streamsplit.core.judging.policy import Testimony, mean_log_e

_POINTS_KEPT = 60


class Picture:
    """Points by candidate.

    Args:
        arms: The candidates.
    """

    def __init__(self, arms: Iterable[str]) -> None:
        self._points: dict[str, list[WindowPoint]] = {arm: [] for arm in arms}

    def of(self, arm: str) -> tuple[WindowPoint, ...]:
        """The points of a candidate, oldest first."""
        return tuple(self._points[arm])

    def draw(self, window: ClosedWindow, testimonies: Iterable[Testimony]) -> None:
        """Add a window, with what it has led to."""
        control = _total(window.doses, CONTROL)
        for testimony in testimonies:
            candidate = _total(window.doses, testimony.arm)
            points = self._points[testimony.arm]
            points.append(WindowPoint(window.start, *control, *candidate, log_e=mean_log_e([testimony])))
            del points[:-_POINTS_KEPT]

    def to_plain(self) -> Mapping[str, Any]:
        """As JSON can hold it, exactly."""
        names = WindowPoint.__slots__
        return {
            arm: [[getattr(each, name) for name in names] for each in points] for arm, points in self._points.items()
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Sequence[Sequence[Any]]]) -> Self:
        """What `to_plain` gave."""
        picture = cls(())
        picture._points = {arm: [WindowPoint(*each) for each in points] for arm, points in plain.items()}
        return picture


def _total(doses: Iterable[Dose], arm: str) -> tuple[int, int]:
    """Requests and errors."""
    counts = [each.arms[arm] for each in doses if arm in each.arms]
    return sum([each.requests for each in counts]), sum([each.errors for each in counts])
