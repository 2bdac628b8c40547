"""What control does while nobody answers beside it: its own level, to which the guard of interference holds it.

Requests are counted as in a rollout, by the same windows, so that what is late, ahead of its time, repeated or a
model's warm-up is taken alike before and after.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from streamsplit.core.closing import Windows
from streamsplit.core.counting import window_ms
from streamsplit.core.doses import ArmCounts, ClosedWindow
from streamsplit.core.evidence.level import spread
from streamsplit.core.guards import JudgeSettings
from streamsplit.core.judging.intake import possible
from streamsplit.core.judging.repeats import Repeats, once
from streamsplit.core.rollout import State
from streamsplit.core.summary import Summary

MOST_WINDOWS = 20
"""The latest closed ones make the level."""

CONTROL = "control"

_OURS, _OTHERS = "control", ""
"""What summaries are called in the windows: those that count, and those that only tell time."""


@dataclass(frozen=True, slots=True)
class Level:
    """How often control failed.

    Attributes:
        requests: Of the row test (`doses.ArmCounts`).
        errors: Those that control did not serve correctly; a unit that fails again counts once.
        scatter: How much more windows differ than those of independent requests (`level.spread`); at least 1.
    """

    requests: int = 0
    errors: int = 0
    scatter: float = 1.0


class Baseline:
    """Control's latest windows outside of a rollout, those of its preparation included.

    It begins anew with another model as control, and the judge makes a new one when a rollout has ended. So it is a
    function of the summaries since then. Summaries of revisions older than the state's say nothing: they may be those
    of a worker that still splits.
    """

    def __init__(self) -> None:
        self._serving: tuple[str, ...] = ()
        self._begin()

    def _begin(self) -> None:
        settings = JudgeSettings()
        self._windows = Windows(window_ms(settings), round(1000 * settings.grace_seconds), _OURS)
        self._repeats = Repeats()
        self._closed: list[tuple[int, int]] = []

    @property
    def level(self) -> Level:
        """What the latest windows say."""
        requests, errors = [each for each, _ in self._closed], [each for _, each in self._closed]
        return Level(sum(requests), sum(errors), spread(requests, errors))

    def take(self, summary: Summary, state: State) -> None:
        """Take a summary; each once, in order, under a state in which nobody answers beside control."""
        serving = tuple(model.sha256 for model in state.serving)
        if serving != self._serving:
            self._serving = serving
            self._begin()
        for window in self._windows.take(_of_control(summary, state)):
            self._keep(window)

    def _keep(self, window: ClosedWindow) -> None:
        repeated = self._repeats.of(window.failing)
        counts = _total(
            once(dose.arms[CONTROL], *repeated.get((dose.rule, dose.revision, CONTROL), (0, 0)))
            for dose in window.doses
            if dose.revision not in window.warming
        )
        if counts.requests:
            self._closed = [*self._closed, (counts.requests, counts.errors)][-MOST_WINDOWS:]

    def to_plain(self) -> Mapping[str, Any]:
        """As JSON can hold it, exactly."""
        return {
            "serving": self._serving,
            "windows": self._windows.to_plain(),
            "repeats": self._repeats.to_plain(),
            "closed": self._closed,
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        """What `to_plain` gave.

        Raises:
            ValueError, KeyError, TypeError: It is no such state.
        """
        baseline = cls()
        baseline._serving = tuple(plain["serving"])
        baseline._windows = Windows.from_plain(plain["windows"])
        baseline._repeats = Repeats.from_plain(plain["repeats"])
        baseline._closed = [(int(requests), int(errors)) for requests, errors in plain["closed"]]
        return baseline


def _of_control(summary: Summary, state: State) -> Summary:
    """What a summary says of control; of another rollout, or of an older state, its time and positions alone."""
    told = Summary(
        slot=summary.slot,
        sequence=summary.sequence,
        rollout=_OTHERS,
        revision=summary.revision,
        written_time=summary.written_time,
        partitions=summary.partitions,
    )
    if state.rollout is None or summary.rollout != state.name or summary.revision < state.revision:
        return told
    counted = possible(summary, state.rollout)
    return replace(
        told,
        rollout=_OURS,
        windows=tuple(replace(each, scores={}) for each in counted.windows if each.arm == CONTROL),
        failing=tuple(each for each in counted.failing if each.arm == CONTROL),
    )


def _total(counts: Iterable[ArmCounts]) -> ArmCounts:
    return sum(counts, ArmCounts())
