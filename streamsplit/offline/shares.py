"""What each weight set against what it reached, and where each change of the state cut in."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamsplit.core.rollout import WHOLE, Rollout, State
from streamsplit.offline.mirrors import to_arm
from streamsplit.offline.recorded import RecordedAudits
from streamsplit.offline.report import Cut, Share

TAIL = 5e-7
"""Probability left on each side of a bound."""


def shares(audits: RecordedAudits, states: Mapping[int, State]) -> tuple[Share, ...]:
    """Set and reached share of every candidate on every route of every revision.

    Args:
        audits: Those of the universe.
        states: Revision → state; revisions that are not here are left out.
    """
    return _of_splitting(audits, states, _weights)


def mirror_shares(audits: RecordedAudits, states: Mapping[int, State]) -> tuple[Share, ...]:
    """Set and reached share of everything that is mirrored: of the requests that control was assigned.

    Args:
        audits: Those of the universe.
        states: Revision → state; revisions that are not here are left out.
    """
    return _of_splitting(audits, states, _mirrors)


def cuts(audits: RecordedAudits, states: Mapping[int, State], kinds: Mapping[int, str]) -> tuple[Cut, ...]:
    """The first offset served under each revision, by partition."""
    found = []
    for revision, rows in _by_revision(audits):
        if revision not in states:
            continue
        state, partitions, offsets = states[revision], audits.partitions[rows], audits.offsets[rows]
        first = {int(part): int(offsets[partitions == part].min()) for part in np.unique(partitions)}
        candidates = [arm.name for arm in state.arms[1:]]
        weights = dict(zip(candidates, state.weights, strict=False))
        found.append(Cut(revision, kinds.get(revision, "unknown"), str(state.phase), weights, first))
    return tuple(found)


def _by_revision(audits: RecordedAudits) -> Iterator[tuple[int, NDArray[np.intp]]]:
    order = np.argsort(audits.revisions, kind="stable")
    revisions, starts = np.unique(audits.revisions[order], return_index=True)
    yield from zip(revisions.tolist(), np.split(order, starts[1:]), strict=False)


def _of_splitting(
    audits: RecordedAudits,
    states: Mapping[int, State],
    of_state: Callable[[RecordedAudits, State, Rollout], Iterator[Share]],
) -> tuple[Share, ...]:
    """What `of_state` says of each revision that splits, given its audits, its state and its rollout."""
    return tuple(
        share
        for revision, rows in _by_revision(audits)
        if (state := states.get(revision)) is not None and state.splitting and state.rollout is not None
        for share in of_state(audits.take(rows), state, state.rollout)
    )


def _weights(audits: RecordedAudits, state: State, rollout: Rollout) -> Iterator[Share]:
    weights = {-1: state.weights} | {rule: route.weights for rule, route in enumerate(rollout.rules)}
    for part in _set(state, weights):
        route = audits.take(_has_unit(audits, part.rule))
        if len(route):
            yield _reached(state.revision, part, route, route.arms.equals(part.arm))


def _mirrors(audits: RecordedAudits, state: State, rollout: Rollout) -> Iterator[Share]:
    mirrors = {-1: state.mirror} | {rule: route.mirror for rule, route in enumerate(rollout.rules)}
    for part in _set(state, {rule: mirror.shares for rule, mirror in mirrors.items() if mirror}):
        route = audits.take(_has_unit(audits, part.rule) & audits.arms.equals("control"))
        if len(route) and part.points:
            yield _reached(state.revision, part, route, to_arm(route.mirrored, part.arm))


class _Part(NamedTuple):
    rule: int
    arm: str
    points: int


def _set(state: State, by_rule: Mapping[int, Sequence[int]]) -> Iterator[_Part]:
    """Rule, candidate and basis points of all that is set."""
    for rule, points in by_rule.items():
        for arm, share in zip(state.arms[1:], points, strict=False):
            yield _Part(rule, arm.name, share)


def _has_unit(audits: RecordedAudits, rule: int) -> NDArray[np.bool_]:
    mask: NDArray[np.bool_] = (audits.rules == rule) & (audits.buckets >= 0)
    return mask


def _reached(revision: int, part: _Part, route: RecordedAudits, taken: NDArray[np.bool_]) -> Share:
    units = len(np.unique(route.units))
    lowest, highest = binomial_bound(units, part.points / WHOLE)
    return Share(
        revision,
        *part,
        requests=len(route),
        taken=int(taken.sum()),
        units=units,
        units_taken=len(np.unique(route.units[taken])),
        lowest=lowest,
        highest=highest,
    )


def binomial_bound(trials: int, chance: float, tail: float = TAIL) -> tuple[int, int]:
    """The numbers of successes that leave at most `tail` on each side, exactly.

    Args:
        trials: Number of independent draws.
        chance: Of success in each, 0 to 1.
        tail: Probability left out below the lowest and above the highest number.
    """
    if trials == 0 or chance <= 0:
        return 0, 0
    if chance >= 1:
        return trials, trials
    mean, deviation = trials * chance, math.sqrt(trials * chance * (1 - chance))
    reach = 12 * deviation + 40  # beyond this less is left than a double can add to 1
    counts = range(max(0, math.floor(mean - reach)), min(trials, math.ceil(mean + reach)) + 1)
    whole = math.lgamma(trials + 1)
    log_chance, log_miss = math.log(chance), math.log1p(-chance)
    mass = np.exp(
        [
            whole
            - math.lgamma(count + 1)
            - math.lgamma(trials - count + 1)
            + count * log_chance
            + (trials - count) * log_miss
            for count in counts
        ]
    )
    below = np.searchsorted(np.cumsum(mass), tail, side="right")
    above = np.searchsorted(np.cumsum(mass[::-1]), tail, side="right")
    return counts[int(below)], counts[len(counts) - 1 - int(above)]
