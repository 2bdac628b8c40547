"""What was decided is set against what a replay of the judge decides: each decision that is not alike is found."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType

import pytest

from simulations.world import Behaviour, World, behaving, canary
from streamsplit.core.decision import Decision, DecisionKind, Reading, Verdict
from streamsplit.core.judge import DECIDES
from streamsplit.core.judging.baseline import Level
from streamsplit.kafka.state_history import StateHistory
from streamsplit.offline.replayed import Replay, ReplayedDecisions, compare, first_level
from streamsplit.wire.schemas import SchemaStore, packaged
from streamsplit.wire.summaries import SummaryEncoder, SummaryReader


@pytest.fixture(scope="module")
def world() -> World:
    """A rollout that climbs steps."""
    one = World(canary(), behaving(), rate=500.0)
    one.run(30)
    assert len(one.decisions) > 20
    return one


@pytest.fixture(scope="module")
def again(world: World) -> list[Decision]:
    """What a replay of it decides."""
    return replay(world)


def replay(
    world: World,
    since: int = -1,
    between: Iterable[bytes | None] = (),
    *,
    kept: int = 0,
    levels: Mapping[int, Level] = MappingProxyType({}),
) -> list[Decision]:
    """What a replay decides from the encoded summaries, the first left out, with other records between them."""
    states, encoder = StateHistory(), SummaryEncoder(packaged("summary").header)
    for _, state in world.log:
        states.add(state)
    made = Replay(
        states, max(state.revision for _, state in world.log) + 1, SummaryReader(SchemaStore(())), since, levels
    )
    found: list[Decision] = []
    for offset, (summary, _) in list(enumerate(world.log))[kept:]:
        for value in between:
            assert made.take(offset, value) == ()
        found += made.take(offset, encoder.encode(summary))
    return found


def test_a_replay_decides_the_same(world: World, again: list[Decision]) -> None:
    result = compare(world.decisions, again)
    assert result == ReplayedDecisions(decided=len(world.decisions))
    assert result.sound


def other_reason(decisions: list[Decision]) -> list[Decision | None]:
    return [replace(decisions[0], reasons=("another",)), *decisions[1:]]


def other_evidence(decisions: list[Decision]) -> list[Decision | None]:
    last = decisions[-1]
    readings = (replace(last.readings[0], log_e=1e-16 + (last.readings[0].log_e or 0.0) * (1 + 1e-15)),)
    return [*decisions[:-1], replace(last, readings=(*readings, *last.readings[1:]))]


@pytest.mark.parametrize(
    ("tamper", "expected"),
    [
        (lambda decisions: decisions[1:], {"missing": 1}),
        (other_reason, {"different": 1}),
        (other_evidence, {"different": 1}),
        (lambda decisions: [*decisions, decisions[3]], {"extra": 1}),
        (lambda decisions: [*decisions, replace(decisions[3], decision_id="f" * 32)], {"extra": 1}),
        (lambda decisions: [*decisions, None], {"extra": 1}),
        (lambda decisions: [replace(decisions[0], decision_id="f" * 32), *decisions[1:]], {"extra": 1, "missing": 1}),
    ],
)
def test_each_kind_of_fault_is_counted_and_named(
    world: World,
    again: list[Decision],
    tamper: Callable[[list[Decision]], list[Decision | None]],
    expected: dict[str, int],
) -> None:
    result = compare(tamper(world.decisions), again)
    assert not result.sound
    assert {word: getattr(result, word) for word in ("missing", "different", "extra")} == {
        **dict.fromkeys(("missing", "different", "extra"), 0),
        **expected,
    }
    assert len(result.first) == sum(expected.values())


@pytest.mark.parametrize("begun", [(9,), (9, 4), (1, 9)])
def test_a_judge_that_began_again_behind_a_reset_of_its_offset_is_no_fault(
    world: World, again: list[Decision], begun: tuple[int, ...]
) -> None:
    before = [decision for count in begun for decision in world.decisions[:count]]
    result = compare([*before, *world.decisions], again)
    assert result == ReplayedDecisions(decided=len(again), again=sum(begun), resets=len(begun))


@pytest.mark.parametrize(
    ("tamper", "extra", "missing"),
    [
        (lambda told: [*told, *told[:9]], 9, 0),
        (lambda told: [*told[:9], *told[3:]], 6, 0),
        (lambda told: [*told[:9], *told[1:]], 8, 0),
        (lambda told: [*told[:9], *told[:-1]], 9, 1),
        (lambda told: [*told[:9], *told[:5], *told[6:]], 8, 0),
        (lambda told: [each for each in told for _ in range(2)], len, 0),
    ],
)
def test_what_stands_there_twice_in_another_order_is_a_fault(
    world: World,
    again: list[Decision],
    tamper: Callable[[list[Decision]], list[Decision | None]],
    extra: int | Callable[[list[Decision]], int],
    missing: int,
) -> None:
    result = compare(tamper(world.decisions), again)
    expected = extra if isinstance(extra, int) else extra(again)
    assert (result.extra, result.missing, result.different, result.again) == (expected, missing, 0, 0)


def test_what_another_version_of_the_judge_decided_is_counted_apart_and_so_is_what_followed_from_it(
    world: World, again: list[Decision]
) -> None:
    older = [replace(each, judge=1, reasons=("otherwise",)) for each in world.decisions[:10]]
    result = compare([*older, *(replace(each, log_time=7) for each in world.decisions[10:])], again)
    assert result == ReplayedDecisions(unjudged=len(again) - 10, versions={1: 10})
    assert result.sound
    last = replace(world.decisions[-1], judge=DECIDES + 1, kind=DecisionKind.HOLD)
    newer = compare([*world.decisions[:-1], last], again)
    assert newer == ReplayedDecisions(decided=len(again) - 1, versions={DECIDES + 1: 1})
    spoiled = compare([*world.decisions[1:-1], last], again)
    assert (spoiled.missing, spoiled.sound) == (1, False), "what is before it is compared all the same"


def test_what_the_judge_cannot_judge_a_replay_passes_over_too(world: World, again: list[Decision]) -> None:
    """Records that are none, and a revision that the control log does not have."""
    unknown = SummaryEncoder(packaged("summary").header).encode(replace(world.log[-1][0], revision=2**40))
    between = (None, b"", b"{}", b"\xc3\x01" + bytes(8), unknown)
    assert replay(world, between=between) == again


def test_rollouts_of_which_not_all_was_judged_are_left_out(world: World) -> None:
    applied = world.decisions[0].apply_revision
    result = compare(world.decisions, replay(world, since=applied + 1), since=applied + 1)
    assert result == ReplayedDecisions(unjudged=len(world.decisions))
    result = compare(world.decisions, replay(world, since=applied), since=applied)
    assert result == ReplayedDecisions(decided=len(world.decisions))


@pytest.mark.parametrize("kept", [0, 100, 195, 210])
def test_a_rollout_is_decided_again_though_retention_has_removed_what_control_was_like_before(kept: int) -> None:
    one = World(canary(), behaving(), before=100)
    one.behaviours = {arm: Behaviour(error_rate=0.1) for arm in ("control", "canary")}
    one.run(20)
    since = -1
    if kept:
        since = one.log[kept][0].revision + 1
    decided = replay(one, since, kept=kept, levels=first_level(one.decisions, since) if kept else {})
    compared = [each for each in one.decisions if each.apply_revision >= since]
    assert decided == compared
    assert bool(compared) == (kept < 200), "the rollout begins with summary 200"
    if 0 < kept < 200:
        assert replay(one, since, kept=kept) != compared, "what is kept does not tell the level"


def test_the_level_that_is_believed_is_that_of_the_first_rollout_that_is_compared() -> None:
    counts = {"before_requests": 1000.0, "before_errors": 5.0, "before_scatter": 1.5}
    told = Reading("interference", "control", Verdict.OPEN, counts=counts)
    bare = World(canary(), behaving())
    bare.run(5)
    decision = bare.decisions[0]
    recorded = [
        replace(
            decision, apply_revision=revision, readings=(replace(told, counts={**counts, "before_errors": errors}),)
        )
        for revision, errors in ((4, 1.0), (9, 2.0), (9, 3.0), (20, 4.0))
    ]
    assert first_level([None, *recorded], 5) == {9: Level(1000, 2, 1.5)}
    assert first_level(bare.decisions, 0) == {}
    assert first_level([], 0) == {}
