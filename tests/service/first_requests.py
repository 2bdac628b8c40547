"""What first requests the summaries must hold, worked out again from the audit alone."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from streamsplit.core.counting import window_ms
from streamsplit.core.rollout import State
from streamsplit.core.seen_units import places_of, unpacked
from streamsplit.core.stays import exposed_below
from streamsplit.core.summary import Summary
from streamsplit.core.windows import window_start
from streamsplit.wire.audit import AuditRecord

Place = tuple[int, int]
Stay = int


@dataclass
class FirstRequests:
    """Units that were met, in the order of the summaries.

    Attributes:
        counted: Stay and unit → how often it was counted.
        arms: Stay and arm → units that were counted.
        uncounted: Stay → units that were met first while their partition's new owner did not know of others.
        collided: Stay → units that were taken for others.
        slots: Stay and partition → the slots that served it, in order.
    """

    counted: Counter[tuple[Stay, bytes]] = field(default_factory=Counter)
    arms: Counter[tuple[Stay, str]] = field(default_factory=Counter)
    uncounted: Counter[Stay] = field(default_factory=Counter)
    collided: Counter[Stay] = field(default_factory=Counter)
    slots: dict[tuple[Stay, int], list[str]] = field(default_factory=lambda: defaultdict(list))


@dataclass
class _Known:
    """What the log has said of one partition and stay."""

    units: dict[int, bytes] = field(default_factory=dict)
    told: dict[str, bool] = field(default_factory=dict)


def first_requests(
    summaries: Iterable[Summary], audits: Mapping[Place, AuditRecord], state_at: Callable[[int], State]
) -> FirstRequests:
    """Go through the summaries; each must hold what the audit says of its requests.

    Args:
        summaries: All of them, in the order of the log.
        audits: The audit record of each request.
        state_at: The state at a revision.
    """
    found = FirstRequests()
    known: dict[tuple[Stay, int], _Known] = defaultdict(_Known)
    warm: dict[tuple[str, int], int] = {}
    for summary in summaries:
        state = state_at(summary.revision)
        if summary.sequence == 0:
            warm = {key: start for key, start in warm.items() if key[0] != summary.slot}
        if state.stay < 0 or state.rollout is None or not state.rollout.unit.sticky:
            assert not summary.firsts
            assert not summary.units
            continue
        if summary.windows:
            warm.setdefault((summary.slot, summary.revision), max(each.start for each in summary.windows))
        behind = warm.get((summary.slot, summary.revision))
        expected: Counter[tuple[int, int, str]] = Counter()
        for each in summary.partitions:
            if each.start < each.end and behind is not None:
                served = [
                    audits[each.partition, at] for at in range(each.start, each.end) if (each.partition, at) in audits
                ]
                assert {audit.revision for audit in served} <= {summary.revision}
                open_to = [audit for audit in served if _open_to_meet(audit, state, behind)]
                memory = known[state.stay, each.partition]
                expected += _met(found, memory, summary, state, partition=each.partition, served=open_to)
        told = Counter({(each.start, each.rule, each.arm): each.requests for each in summary.firsts})
        assert told == expected, f"summary {summary.sequence} of {summary.slot}"
    assert max(found.counted.values(), default=0) <= 1
    return found


def _open_to_meet(audit: AuditRecord, state: State, behind: int) -> bool:
    return (
        audit.bucket >= exposed_below(state, audit.rule) and audit.unit is not None and _window(audit, state) > behind
    )


def _window(audit: AuditRecord, state: State) -> int:
    assert state.rollout is not None
    return window_start(window_ms(state.rollout.judge), audit.request_time)


def _met(
    found: FirstRequests,
    memory: _Known,
    summary: Summary,
    state: State,
    *,
    partition: int,
    served: Sequence[AuditRecord],
) -> Counter[tuple[int, int, str]]:
    """What these requests of one partition add to the first requests of their summary."""
    stay, slot = state.stay, summary.slot
    marks = [each for each in summary.units if each.partition == partition]
    assert all(each.stay == stay for each in marks)
    if marks:
        memory.told[slot] = marks[-1].counted
    counted = memory.told[slot]
    slots = found.slots[stay, partition]
    slots += [slot] if slots[-1:] != [slot] else []
    new: dict[int, AuditRecord] = {}
    for audit, place in zip(served, places_of(stay, [each.unit for each in served]).tolist(), strict=True):
        assert audit.unit is not None
        unit = memory.units.setdefault(place, audit.unit)
        found.collided[stay] += unit != audit.unit
        if unit == audit.unit and (stay, unit) not in found.counted:
            new.setdefault(place, audit)
            found.counted[stay, unit] = 0
    places = {place for each in marks for place in unpacked(each.places).tolist()}
    if not counted:
        # It does not know of others: whom they have met may be met here once more.
        assert places >= set(new)
        found.uncounted[stay] += len(new)
        return Counter()
    assert places == set(new)
    assert not marks or marks[-1].met == len(memory.units)
    for audit in new.values():
        assert audit.unit is not None
        found.counted[stay, audit.unit] += 1
        found.arms[stay, audit.arm] += 1
    return Counter((_window(audit, state), audit.rule, audit.arm) for audit in new.values())
