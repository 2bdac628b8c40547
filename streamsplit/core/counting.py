"""What a batch adds to each window: by rule and assigned arm, in columns, at the price of a few passes."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import xxhash
from numpy.typing import NDArray

from streamsplit.core.guards import JudgeSettings
from streamsplit.core.ranks import ranks
from streamsplit.core.records import CONTROL, Outcome, Predictions, Routing, Timing
from streamsplit.core.scores import count_scores, judged_score
from streamsplit.core.summary import MOST_UNITS, FailingUnits, Probe, RunCounts, WindowCounts
from streamsplit.core.windows import by_label, windows_of

UNIT_SEED = 1
"""Seed of the hash that names a failing unit; the bucket's is 0, so that it says nothing about the split."""

_KINDS = len(Outcome)
_NEAR = 64
"""Groups are numbered as they lie where there are no more; of more, those that have requests."""
_UNCOUNTED = [Outcome.FALLBACK_LOADING, Outcome.FALLBACK_STALE]
"""Outcomes that say nothing of a candidate."""


@dataclass(frozen=True, slots=True)
class BatchCounts:
    """What a batch adds to its summary.

    Attributes:
        windows: Requests, by window, rule and arm.
        runs: What became of whole shares; in the window of the newest request.
        failing: Who met errors, by window, rule and arm.
        probes: What was timed, by probes and the mirror; in the window of the newest request.
        firsts: First requests of units, by window, rule and arm.
    """

    windows: tuple[WindowCounts, ...] = ()
    runs: tuple[RunCounts, ...] = ()
    failing: tuple[FailingUnits, ...] = ()
    probes: tuple[Probe, ...] = ()
    firsts: tuple[WindowCounts, ...] = ()


def window_ms(judge: JudgeSettings) -> int:
    """Length of a window in milliseconds, at least one."""
    return max(1, round(1000 * judge.window_seconds))


def count_batch(
    judge: JudgeSettings,
    times: NDArray[np.int64],
    routing: Routing,
    predictions: Predictions,
    arm_names: tuple[str, ...],
    *,
    scores: NDArray[np.float64] | None = None,
    timings: Sequence[tuple[str, Timing]] = (),
    firsts: NDArray[np.int64] | None = None,
) -> BatchCounts:
    """Count a batch; nothing is counted that no guard asks for.

    Args:
        judge: The guards.
        times: int64 (m,), request times in milliseconds since the epoch; any int64.
        routing: The assigned arms.
        predictions: How the requests ended.
        arm_names: Names of the arms, control first.
        scores: float64 (m,), NaN for none (`scores_of_arms`); needed where there is a score guard.
        timings: Name of a candidate and what was timed of it beside control, off the answers' path; one that is no arm
            any more is left out.
        firsts: Where a unit has many requests, which of them are evidence: int64, ascending indices. Their scores alone
            are counted then, and failing units, which would each be named once, are not. None: every request is.

    Returns:
        The counts; none for an empty batch.
    """
    if not len(times):
        return BatchCounts()
    rows = _Rows.of(times, routing, predictions, scores, len(arm_names))
    groups = _Groups.of(window_ms(judge), rows, len(arm_names))
    return BatchCounts(
        windows=_counts(judge, groups, rows, arm_names, scored=firsts is None),
        runs=_runs(groups.newest, routing, predictions, arm_names),
        failing=_failing(groups, rows, routing, arm_names, candidates_alone=firsts is not None),
        probes=_probes(groups.newest, predictions, timings, arm_names),
        firsts=_first_counts(judge, rows.at(firsts), arm_names) if firsts is not None else (),
    )


@dataclass(frozen=True, slots=True)
class _Rows:
    """Requests that are counted.

    Attributes:
        times: int64 (m,), milliseconds since the epoch.
        rules: int16 (m,).
        arms: int8 (m,), assigned.
        outcomes: int8 (m,).
        micros: int64 (m,), wall time of the request's run.
        own: bool (m,): the assigned arm has answered itself.
        fallen: bool (m,): its arm's whole share of the batch fell; None: of nobody.
        scores: float64 (m,), NaN for none; None without a score guard.
    """

    times: NDArray[np.int64]
    rules: NDArray[np.int16]
    arms: NDArray[np.int8]
    outcomes: NDArray[np.int8]
    micros: NDArray[np.int64]
    own: NDArray[np.bool_]
    fallen: NDArray[np.bool_] | None
    scores: NDArray[np.float64] | None

    @classmethod
    def of(
        cls,
        times: NDArray[np.int64],
        routing: Routing,
        predictions: Predictions,
        scores: NDArray[np.float64] | None,
        arms: int,
    ) -> "_Rows":
        """The requests of a batch."""
        fallen: NDArray[np.bool_] | None = None
        if predictions.fallen:
            fallen = np.isin(np.arange(arms), list(predictions.fallen))[routing.arms]
        own = predictions.served_by == routing.arms
        return cls(times, routing.rules, routing.arms, predictions.outcomes, predictions.micros, own, fallen, scores)

    def at(self, rows: NDArray[np.int64]) -> "_Rows":
        """Some of them."""
        return _Rows(
            self.times[rows],
            self.rules[rows],
            self.arms[rows],
            self.outcomes[rows],
            self.micros[rows],
            self.own[rows],
            None if self.fallen is None else self.fallen[rows],
            None if self.scores is None else self.scores[rows],
        )


def _first_counts(judge: JudgeSettings, rows: _Rows, arm_names: tuple[str, ...]) -> tuple[WindowCounts, ...]:
    if not len(rows.times):
        return ()
    return _counts(judge, _Groups.of(window_ms(judge), rows, len(arm_names)), rows, arm_names, scored=True)


def _counts(
    judge: JudgeSettings, groups: "_Groups", rows: _Rows, arm_names: tuple[str, ...], *, scored: bool
) -> tuple[WindowCounts, ...]:
    """What the guards of a rollout ask for."""
    count, group, score = len(groups.keys), groups.group, judged_score(judge)
    cells = group * _KINDS + rows.outcomes
    outcomes = _table(cells, count)
    # few rows are not as they should be: those are counted, not the others
    elsewhere = np.bincount(group[~rows.own], minlength=count)
    served = (outcomes.sum(axis=1) - elsewhere).tolist()
    lost, slow, counted = [[0] * _KINDS] * count, [0] * count, None
    if rows.fallen is not None:
        table = _table(cells[rows.fallen], count)
        table[:, _UNCOUNTED] = 0
        lost = table.tolist()
    if judge.latency.limit_seconds is not None:
        late = rows.own & (rows.micros > judge.latency.limit_seconds * 1e6)
        slow = np.bincount(group[late], minlength=count).tolist()
    if scored and score is not None and rows.scores is not None:
        counted = count_scores(score, rows.scores, rows.outcomes, group, count)
    return tuple(
        WindowCounts(
            start=start,
            rule=rule,
            arm=arm_names[arm],
            requests=sum(ended),
            outcomes=by_label(ended),
            served_by_arm=served[at],
            fallen=by_label(lost[at]),
            slow=slow[at],
            scores=counted.bins[at] if counted is not None else {},
            clipped=counted.clipped[at] if counted is not None else 0,
            unscored=counted.unscored[at] if counted is not None else 0,
        )
        for at, ((start, rule, arm), ended) in enumerate(zip(groups.keys, outcomes.tolist(), strict=True))
        if any(ended)
    )


@dataclass(frozen=True, slots=True)
class _Groups:
    """Requests by window, rule and assigned arm.

    Attributes:
        keys: Start of the window, rule and arm of each group; some groups may have no requests.
        group: int64 (m,), the group of each request.
        newest: Start of the window of the newest request.
    """

    keys: list[tuple[int, int, int]]
    group: NDArray[np.int64]
    newest: int

    @classmethod
    def of(cls, length: int, rows: _Rows, arms: int) -> "_Groups":
        """Group requests, at least one, by windows of `length` milliseconds."""
        times = rows.times
        first, last = windows_of(length, np.array([times.min(), times.max()])).tolist()
        windows, window = np.array([first]), np.zeros(1, np.int64)
        if first < last < first + _NEAR:
            # not `arange(first, last + 1)`: behind the greatest time there is no int64
            windows, window = first + np.arange(last - first + 1), windows_of(length, times) - first
        elif first < last:
            windows, window = ranks(windows_of(length, times))
        rules = int(rows.rules.max()) + 2
        group = (window * rules + (rows.rules + 1)) * arms + rows.arms
        found = np.arange(len(windows) * rules * arms)
        if len(found) > _NEAR:
            found, group = ranks(group)
        keys = np.stack([windows[found // (rules * arms)], found // arms % rules - 1, found % arms]).T.tolist()
        return cls([(number * length, rule, arm) for number, rule, arm in keys], group, last * length)


def _table(cells: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Requests by group and outcome: int64 (groups, outcomes)."""
    table: NDArray[np.int64] = np.bincount(cells, minlength=count * _KINDS).reshape(count, _KINDS)
    return table


def _failing(
    groups: _Groups, rows: _Rows, routing: Routing, arm_names: tuple[str, ...], *, candidates_alone: bool
) -> tuple[FailingUnits, ...]:
    """Name the units of the first errors, whatever their arm: assignment alone decides whose errors are named.

    Where units are sticky they are named for candidates' limits alone: first requests are compared, which are no
    repeats.
    """
    lost = ~rows.own if rows.fallen is None else ~rows.own & ~rows.fallen
    failed = np.flatnonzero(lost & (routing.arms != CONTROL) if candidates_alone else lost)
    if not len(failed):
        return ()
    totals = np.bincount(groups.group[failed], minlength=len(groups.keys)).tolist()
    units: list[list[int]] = [[] for _ in totals]
    known = ((row, unit) for row in failed.tolist() if (unit := routing.units[row]) is not None)
    for row, unit in islice(known, MOST_UNITS):
        units[groups.group[row]].append(_signed(xxhash.xxh64_intdigest(unit, UNIT_SEED)))
    return tuple(
        FailingUnits(start, rule, arm_names[arm], tuple(named), total - len(named))
        for (start, rule, arm), named, total in zip(groups.keys, units, totals, strict=True)
        if total
    )


def _signed(number: int) -> int:
    return number - (1 << 64) if number >> 63 else number


def _runs(start: int, routing: Routing, predictions: Predictions, arm_names: tuple[str, ...]) -> tuple[RunCounts, ...]:
    """One observation of a batch in which both arms ran, whether the candidate's requests were its own or mirrored."""
    ran = dict(predictions.ran)
    for arm, reflection in (predictions.mirrored or {}).items():
        if reflection.ran is not None:
            ran[arm] = ran.get(arm, False) or reflection.ran
    if not ran or not (routing.arms == CONTROL).any():
        return ()
    return tuple(
        RunCounts(start, arm_names[arm], 1, int(predictions.control_fell), int(fell)) for arm, fell in ran.items()
    )


def _probes(
    start: int, predictions: Predictions, timings: Sequence[tuple[str, Timing]], arm_names: tuple[str, ...]
) -> tuple[Probe, ...]:
    mirrored = (predictions.mirrored or {}).items()
    timed = [(arm_names[arm], reflection.timing) for arm, reflection in mirrored if reflection.timing is not None]
    timed += [(name, timing) for name, timing in timings if name in arm_names]
    return tuple(
        Probe(
            start,
            name,
            each.rows,
            each.control_micros,
            each.candidate_micros,
            control_over=each.control_over,
            candidate_over=each.candidate_over,
        )
        for name, each in timed
    )
