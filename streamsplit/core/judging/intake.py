"""What the judge takes in of a summary: counts that cannot be are left out, so that they neither decide nor stop it."""

from collections.abc import Mapping
from dataclasses import replace

from streamsplit.core.evidence.margin import directions_of
from streamsplit.core.guards import Direction
from streamsplit.core.mirroring import NO_SCORES, SCORE_PARTS, SCORE_STEPS, SCORE_UNIT, MirrorCounts
from streamsplit.core.rollout import Rollout
from streamsplit.core.seen_units import PLACES
from streamsplit.core.summary import SCORE_BINS, FailingUnits, Probe, RunCounts, Summary, WindowCounts

MOST = 1 << 24
"""More than one transaction holds, of anything; sums of such counts stay far within 64 bits."""

_BINS = frozenset(range(SCORE_BINS))

_MOST_MICROS = 3_600_000_000
"""An hour: longer than any run that a worker waits for, so that no wrong number weighs on a mean for ever."""


def possible(summary: Summary, rollout: Rollout) -> Summary:
    """A summary without the entries that contradict themselves or name arms and rules that the rollout does not have.

    Returns:
        The summary itself where there are none.
    """
    arms = {arm.name for arm in rollout.arms}
    candidates = {arm.name for arm in rollout.arms[1:]}
    rules = range(-1, len(rollout.rules))
    windows = tuple(each for each in summary.windows if each.arm in arms and each.rule in rules and _counted(each))
    mirrored = tuple(
        each
        for each in summary.mirrored
        if each.arm in candidates and each.rule in rules and _mirrored(each) and _scored(each, rollout)
    )
    runs = tuple(each for each in summary.runs if each.arm in candidates and _ran(each))
    failing = tuple(each for each in summary.failing if each.arm in arms and each.rule in rules and _failed(each))
    probes = tuple(each for each in summary.probes if each.arm in candidates and _timed(each))
    firsts = tuple(each for each in summary.firsts if each.arm in arms and each.rule in rules and _counted(each))
    units = tuple(each for each in summary.units if 0 <= each.met <= PLACES)
    kept = (windows, mirrored, runs, failing, probes, firsts, units)
    given = (summary.windows, summary.mirrored, summary.runs, summary.failing, summary.probes, summary.firsts)
    if sum(map(len, kept)) == sum(map(len, (*given, summary.units))):
        return summary
    return replace(
        summary,
        windows=windows,
        mirrored=mirrored,
        runs=runs,
        failing=failing,
        probes=probes,
        firsts=firsts,
        units=units,
    )


def _counted(each: WindowCounts) -> bool:
    numbers = (each.served_by_arm, each.slow, each.clipped, each.unscored)
    return (
        0 <= min(numbers) <= max(numbers) <= each.requests <= MOST
        and _sums_to(each.outcomes, each.requests)
        and (not each.fallen or all(0 <= count <= each.outcomes.get(label, 0) for label, count in each.fallen.items()))
        and (not each.scores or _binned(each.scores))
        and sum(each.scores.values()) + each.unscored <= each.requests
    )


def _binned(scores: Mapping[int, int]) -> bool:
    return scores.keys() <= _BINS and min(scores.values()) > 0


def _mirrored(each: MirrorCounts) -> bool:
    return (
        each.requests <= MOST
        and _sums_to(each.outcomes, each.requests)
        and all(0 <= count <= each.outcomes.get(label, 0) for label, count in each.control_failed.items())
        and 0 <= min(each.agree, each.differ) <= max(each.agree, each.differ) <= MOST
    )


def _scored(counts: MirrorCounts, rollout: Rollout) -> bool:
    each, guard = counts.scores, rollout.judge.score
    if guard is None:
        return each == NO_SCORES
    looked = directions_of(guard.direction)
    points = ((Direction.DROP, each.drop, each.drop_unscored), (Direction.RISE, each.rise, each.rise_unscored))
    return (
        0 <= each.clipped <= each.scored
        and 0 <= each.unscored <= counts.requests - each.scored
        and all(0 <= number <= each.scored * SCORE_UNIT for number in (each.control, each.candidate, each.squares))
        and all(_dealt(both, each.scored) for direction, both, _ in points if direction in looked)
        and all(_dealt(one, each.unscored) for direction, _, one in points if direction in looked)
    )


def _dealt(points: Mapping[int, int], pairs: int) -> bool:
    there = all(0 <= point <= SCORE_STEPS and parts > 0 for point, parts in points.items())
    return there and sum(points.values()) == pairs * SCORE_PARTS


def _sums_to(outcomes: Mapping[str, int], requests: int) -> bool:
    return min(outcomes.values(), default=0) >= 0 and sum(outcomes.values()) == requests


def _ran(each: RunCounts) -> bool:
    return (
        each.batches <= MOST and 0 <= each.control_failed <= each.batches and 0 <= each.candidate_failed <= each.batches
    )


def _failed(each: FailingUnits) -> bool:
    return 0 <= each.unnamed <= MOST


def _timed(each: Probe) -> bool:
    times = (each.control_micros, each.candidate_micros)
    return 0 < each.rows <= MOST and all(0 <= time <= _MOST_MICROS for time in times)
