"""All that is known of one rollout, from its apply on: windows, steps, candidates, and what was decided."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

from streamsplit.core.arm_sums import Limited
from streamsplit.core.closing import Windows
from streamsplit.core.counting import window_ms
from streamsplit.core.decision import Decision, Reading, decision_id
from streamsplit.core.doses import ClosedWindow
from streamsplit.core.guards import ErrorGuard
from streamsplit.core.judging.baseline import Level
from streamsplit.core.judging.candidate import Candidate
from streamsplit.core.judging.guard import Needs
from streamsplit.core.judging.intake import possible
from streamsplit.core.judging.interference import Interference
from streamsplit.core.judging.picture import Picture
from streamsplit.core.judging.policy import (
    Moment,
    Ruling,
    Testimony,
    by_limits,
    by_silence,
    by_window,
    is_late,
    mean_log_e,
)
from streamsplit.core.judging.repeats import Repeats
from streamsplit.core.judging.revisions import Revisions
from streamsplit.core.judging.sight import Sight
from streamsplit.core.judging.silence import Silence
from streamsplit.core.judging.steps import StepProgress
from streamsplit.core.judging.tried import Tries
from streamsplit.core.judging.units import Marks
from streamsplit.core.rollout import Rollout, State
from streamsplit.core.summary import Summary
from streamsplit.core.windows import window_start

_NOTHING = Limited()


class Case:
    """One rollout.

    Args:
        state: A state in which it is active.
        live: As in `Judge`.
    """

    def __init__(self, state: State, *, live: bool = True) -> None:
        assert state.rollout is not None
        judge = state.rollout.judge
        self.apply_revision = state.apply_revision
        self._windows = Windows(window_ms(judge), round(1000 * judge.grace_seconds), state.name, state.apply_revision)
        self._candidates = {arm.name: Candidate(arm.name, state.rollout, live=live) for arm in state.rollout.arms[1:]}
        processes = [each for candidate in self._candidates.values() for each in candidate.processes()]
        deciding = sum(not each.dry_run for each in processes)
        self._needs = Needs.of(judge.alpha, deciding, len(self._candidates))
        self._repeats = Repeats()
        self._tries = Tries(sticky=state.rollout.unit.sticky)
        self._interference: Interference | None = None
        self._revisions = Revisions()
        self._marks = Marks()
        self._progress: StepProgress | None = None
        self._begun: int | None = None
        self._silence = Silence()
        self._pending = ""
        self._revision = -1
        self._picture = Picture(self._candidates)

    @property
    def level(self) -> Level | None:
        """Control's before the rollout; None: nobody has said it."""
        return None if self._interference is None else self._interference.level

    def hold_control_to(self, level: Level, state: State) -> None:
        """Compare control with its level before the rollout from now on, as candidates answer beside it."""
        settings, sticky = _of_errors(state)
        self._interference = Interference(settings, level, state.revision, sticky=sticky)

    def take(self, summary: Summary, offset: int, state: State, control_to: int) -> tuple[Decision, ...]:
        """Take one summary of this rollout, under the state at the highest revision named so far."""
        assert state.rollout is not None
        summary = possible(summary, state.rollout)
        read = (offset + 1, control_to)
        closed = self._windows.take(summary)
        self._enter(state)
        if summary.rollout == state.name and (summary.windows or summary.mirrored or summary.probes):
            self._silence.broken(self._windows.log_time)
        self._take_limits(summary)
        decisions: list[Decision] = []
        if state.splitting and self._progress is not None:
            # Most summaries exceed nothing: what people are shown is made only for those that do.
            exceeded = any(each.exceeded() for each in self._candidates.values())
            testimonies = self._testimonies() if exceeded else ()
            ruling = by_limits(testimonies)
            if ruling is not None and ruling.command != self._pending:
                start = window_start(self._windows.window_ms, self._windows.log_time)
                decisions.append(self._decide(ruling, testimonies, state, read, (start, start)))
        for window in closed:
            self._take_window(window, state.rollout)
            if state.splitting and self._progress is not None:
                testimonies = self._testimonies()
                self._picture.draw(window, testimonies)
                ruling = by_window(state.rollout.judge, self._moment(state, window), testimonies, self._needs)
                decisions.append(self._decide(ruling, testimonies, state, read, (window.start, window.end)))
        if not closed:
            decisions += self._take_silence(state, read)
        return tuple(decisions)

    def _enter(self, state: State) -> None:
        """Note a state that workers serve under from now on."""
        if state.revision == self._revision:
            return
        self._revision, self._pending = state.revision, ""
        self._revisions.note(state)
        if not state.splitting:
            return
        log_time = self._windows.log_time
        if self._begun is None:
            self._begun = log_time
            self._silence.broken(log_time)
        self._silence.renewed()
        if self._progress is None or not self._progress.same(state):
            self._progress = StepProgress(state.weights, state.stay, log_time)
            for candidate in self._candidates.values():
                candidate.begin_step()

    def _take_limits(self, summary: Summary) -> None:
        if summary.rollout != self._windows.rollout or summary.revision not in self._revisions:
            return
        if self._progress is not None:
            self._marks.take(summary.units, self._progress.first_revision)
        counts = self._windows.deltas(summary)
        self._tries.enter(window_start(self._windows.window_ms, self._windows.log_time))
        for arm, candidate in self._candidates.items():
            candidate.take_limits(self._tries.of(summary, arm, counts.get(arm, _NOTHING)))

    def _take_silence(self, state: State, read: tuple[int, int]) -> Iterator[Decision]:
        """What is to be said where nothing was counted for longer than any window stays open."""
        progress, begun, since, now = self._progress, self._begun, self._silence.since, self._windows.log_time
        if not state.splitting or progress is None or begun is None or since is None or self._windows.open:
            return
        assert state.rollout is not None
        judge = state.rollout.judge
        moment = Moment(state, progress, now, now, begun, self._pending)
        if self._silence.due(now, self._windows.patience_ms, passed=is_late(judge, moment)):
            yield self._decide(by_silence(judge, moment, since), self._testimonies(), state, read, (since, now))

    def _take_window(self, window: ClosedWindow, rollout: Rollout) -> None:
        repeated = self._repeats.of(window.failing)
        if self._progress is not None:
            self._progress.take(window, self._candidates)
        sight = Sight(
            rollout=rollout,
            revisions=self._revisions,
            past=self._revisions.known() - frozenset(window.warming),
            stay=self._progress.first_revision if self._progress is not None else self._revision + 1,
            repeated=repeated,
            workers=self._windows.writers,
            memory=self._marks.memory() if rollout.unit.sticky else None,
        )
        seen = sight.of_candidates(window, self._candidates)
        for candidate, each in zip(self._candidates.values(), seen, strict=True):
            candidate.take(each)
        if self._interference is not None:
            self._interference.take(sight.of_control(window))

    def _testimonies(self) -> tuple[Testimony, ...]:
        return tuple(each.testimony(self._needs) for each in self._candidates.values())

    def _of_control(self) -> tuple[Reading, ...]:
        """Readings of control by itself, where its level before the rollout is known."""
        return () if self._interference is None else (self._interference.reading(),)

    def _moment(self, state: State, window: ClosedWindow) -> Moment:
        assert self._progress is not None
        assert self._begun is not None
        times = window.end, self._windows.log_time, self._begun
        return Moment(state, self._progress, *times, self._pending, self._of_control())

    def _decide(
        self,
        ruling: Ruling,
        testimonies: Sequence[Testimony],
        state: State,
        read: tuple[int, int],
        window: tuple[int, int],
    ) -> Decision:
        assert state.rollout is not None
        advice = state.rollout.mode == "advise"
        if ruling.command:
            self._pending = ruling.command
        start, end = window
        worst = max(testimonies, key=lambda each: mean_log_e([each]))
        return Decision(
            decision_id=decision_id(state.name, state.revision, window, ruling.kind),
            rollout=state.name,
            apply_revision=state.apply_revision,
            revision=state.revision,
            step=state.step,
            window_start=start,
            window_end=end,
            kind=ruling.kind,
            reasons=ruling.reasons,
            readings=(*(reading for each in testimonies for reading in each.readings), *self._of_control()),
            windows=self._picture.of(worst.arm),
            command=ruling.command,
            command_id=f"judge-{state.revision}-{ruling.command}" if ruling.command else "",
            advice=advice and bool(ruling.command),
            summaries_to=read[0],
            control_to=read[1],
            log_time=self._windows.log_time,
        )

    # -- its state ----------------------------------------------------------------------------------------------------

    def to_plain(self) -> Mapping[str, Any]:
        """As JSON can hold it, exactly."""
        return {
            "apply_revision": self.apply_revision,
            "windows": self._windows.to_plain(),
            "candidates": {arm: each.to_plain() for arm, each in self._candidates.items()},
            "repeats": self._repeats.to_plain(),
            "tries": self._tries.to_plain(),
            "interference": None if self._interference is None else self._interference.to_plain(),
            "revisions": self._revisions.to_plain(),
            "marks": self._marks.to_plain(),
            "progress": None if self._progress is None else self._progress.to_plain(),
            "begun": self._begun,
            "silence": self._silence.to_plain(),
            "pending": self._pending,
            "revision": self._revision,
            "points": self._picture.to_plain(),
        }

    @classmethod
    def restored(cls, state: State, plain: Mapping[str, Any]) -> Self:
        """Goes on where the other stood; with nothing known where the state is another rollout's.

        Raises:
            ValueError, KeyError, TypeError: It is no such state.
        """
        case = cls(state)
        if plain["apply_revision"] != state.apply_revision:
            return case
        case._windows = Windows.from_plain(plain["windows"])
        for arm, candidate in case._candidates.items():
            candidate.restore(plain["candidates"][arm])
        case._repeats = Repeats.from_plain(plain["repeats"])
        settings, sticky = _of_errors(state)
        case._tries = Tries.from_plain(plain["tries"], sticky=sticky)
        if plain["interference"] is not None:
            case._interference = Interference.from_plain(plain["interference"], settings, sticky=sticky)
        case._revisions = Revisions.from_plain(plain["revisions"])
        case._marks = Marks.from_plain(plain["marks"])
        if plain["progress"] is not None:
            case._progress = StepProgress.from_plain(plain["progress"])
        case._silence = Silence.from_plain(plain["silence"])
        case._begun, case._pending, case._revision = plain["begun"], plain["pending"], int(plain["revision"])
        case._picture = Picture.from_plain(plain["points"])
        return case


def _of_errors(state: State) -> tuple[ErrorGuard, bool]:
    """The guard of errors, and whether a unit has many requests."""
    assert state.rollout is not None
    return state.rollout.judge.errors, state.rollout.unit.sticky
