"""The mirror: who is mirrored, at which step, under which file, and how it is counted."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamsplit.core.byte_strings import ByteStrings
from streamsplit.core.commands import Command
from streamsplit.core.counting import count_batch
from streamsplit.core.fold import apply
from streamsplit.core.guards import JudgeSettings
from streamsplit.core.mirror_counting import count_mirrored
from streamsplit.core.mirroring import MirrorCounts
from streamsplit.core.records import (
    AGREES,
    DIFFERS,
    UNKNOWN,
    Outcome,
    Predictions,
    Reflection,
    RequestColumns,
    Routing,
)
from streamsplit.core.rollout import Mirror, Phase, Rollout, State
from streamsplit.core.rollout_file import check, notes, parse
from streamsplit.core.routing import RoutingTable, bucket_of, mirror_bucket_of, route

VECTORS = json.loads((Path(__file__).parents[2] / "docs" / "routing-vectors.json").read_text(encoding="utf-8"))
MODELS = {f"delay@{version}": f"{version:064x}" for version in range(1, 4)}
ARMS = {"control": "delay@1", "canary": "delay@2"}
THREE = {"control": "delay@1", "left": "delay@2", "right": "delay@3"}
UNITS = [b"unit-%d" % n for n in range(100_000)]


def spec(**fields: Any) -> dict[str, Any]:
    return {"rollout": "delay-v2", "arms": ARMS, **fields}


def shadow(*shares: tuple[str, float], weight: float = 0, arms: dict[str, str] | None = None) -> dict[str, Any]:
    """A file whose default route mirrors these shares, at one step whose weight is the first candidate's."""
    names = list(arms or ARMS)[1:]
    weights = dict.fromkeys(names, 0) | {names[0]: weight}
    return spec(arms=arms or ARMS, routes=[{"mirror": dict(shares)}], steps=[{"weights": weights}])


class Log:
    """A control log that has begun a file."""

    def __init__(self, file: dict[str, Any]) -> None:
        self.state, self.offset = State(), -1
        self.tell("apply", {"spec": file, "models": MODELS})
        self.tell("begin")

    def tell(self, kind: str, payload: object = None) -> State:
        self.offset += 1
        text = json.dumps(payload if payload is not None else {})
        result = apply(
            self.state, self.offset, Command(command_id=f"c{self.offset}", kind=kind, rollout="delay-v2", payload=text)
        )
        assert isinstance(result, State), result
        self.state = result
        return result


def begun(file: dict[str, Any]) -> State:
    return Log(file).state


def routed(
    state: State, ids: Sequence[bytes], keys: Sequence[bytes | None] = (), **attributes: Sequence[bytes | None]
) -> Routing:
    known = {name: ByteStrings.of(values) for name, values in attributes.items()}
    columns = RequestColumns(np.arange(len(ids)), ByteStrings.of(ids), np.zeros(len(ids), np.int64), known, {})
    return route(RoutingTable.compile(state), columns, ByteStrings.of(keys or [None] * len(ids)))


def mirrored(routing: Routing, arm: int = 1) -> set[int]:
    return set((routing.mirrors or {}).get(arm, np.empty(0, np.int64)).tolist())


# -- who ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vector", VECTORS["buckets"], ids=lambda vector: f"{vector['salt']}-{vector['unit_hex'][:20]}")
def test_published_mirror_bucket(vector: dict[str, Any]) -> None:
    expected = int(vector["xxh64"], 16) // 10_000 % 10_000
    assert mirror_bucket_of(vector["salt"], bytes.fromhex(vector["unit_hex"])) == expected == vector["mirror_bucket"]


@pytest.mark.parametrize("vector", VECTORS["mirrors"], ids=str)
def test_published_mirror(vector: dict[str, Any]) -> None:
    shares = {name: share for entry in vector["shares"] for name, share in entry.items()}
    arms = {"control": "delay@1"} | dict(zip(shares, ("delay@2", "delay@3"), strict=False))
    everything = vector["arm"] != "control"
    state = begun(shadow(*shares.items(), weight=100 if everything else 0, arms=arms))
    unit = next(
        unit for n in range(10**6) if mirror_bucket_of("delay-v2", unit := b"%d" % n) == vector["mirror_bucket"]
    )
    routing = routed(state, [unit])
    assert state.arms[int(routing.arms[0])].name == vector["arm"]
    assert [state.arms[arm].name for arm in routing.mirrors or {}] == vector["mirrored_to"]


@given(st.lists(st.binary(max_size=12), max_size=40), st.integers(0, 10_000), st.integers(0, 10_000))
def test_a_batch_is_mirrored_as_its_requests_one_by_one(ids: list[bytes], weight: int, share: int) -> None:
    routing = routed(begun(shadow(("canary", share / 100), weight=weight / 100)), ids)
    assert mirrored(routing) == {
        row
        for row, unit in enumerate(ids)
        if bucket_of("delay-v2", unit) >= weight and mirror_bucket_of("delay-v2", unit) < share
    }
    assert routing.mirrors is None or list(routing.mirrors) == [1]


@given(st.integers(1, 10_000), st.integers(1, 10_000))
def test_a_smaller_share_lies_inside_a_larger_one(first: int, second: int) -> None:
    small, large = sorted((first, second))
    units = UNITS[:500]
    inner, outer = (mirrored(routed(begun(shadow(("canary", share / 100))), units)) for share in (small, large))
    assert inner <= outer


@pytest.mark.parametrize("percent", [0.5, 20, 75])
def test_the_share_reached_is_within_binomial_bounds(percent: float) -> None:
    reached = len(mirrored(routed(begun(shadow(("canary", percent))), UNITS)))
    n, share = len(UNITS), percent / 100
    assert abs(reached - n * share) <= 5 * math.sqrt(n * share * (1 - share))


def test_who_is_mirrored_is_independent_of_which_arm_is_assigned() -> None:
    buckets, mirrors = (
        np.array([of("delay-v2", unit) for unit in UNITS]) // 1000 for of in (bucket_of, mirror_bucket_of)
    )
    seen = np.bincount(buckets * 10 + mirrors, minlength=100).reshape(10, 10)
    expected = np.outer(seen.sum(axis=1), seen.sum(axis=0)) / len(UNITS)
    assert ((seen - expected) ** 2 / expected).sum() < 144.6  # chi-squared of 81 degrees, one in 100 000 above


def test_a_weight_takes_mirrored_units_in_the_share_of_the_mirror() -> None:
    before, after = (mirrored(routed(begun(shadow(("canary", 20), weight=weight)), UNITS)) for weight in (0, 30))
    assert after < before
    assert abs(len(after) - 0.7 * len(before)) <= 5 * math.sqrt(len(before) * 0.3 * 0.7)


def test_a_request_of_a_candidate_is_never_mirrored_and_one_of_control_to_everyone_with_a_share() -> None:
    routing = routed(begun(shadow(("left", 100), ("right", 30), weight=40, arms=THREE)), UNITS[:2000])
    of_control = set(np.flatnonzero(routing.arms == 0).tolist())
    assert mirrored(routing, 1) == of_control
    assert mirrored(routing, 2) < of_control
    assert {mirror_bucket_of("delay-v2", UNITS[row]) < 3000 for row in mirrored(routing, 2)} == {True}


def test_growing_one_candidates_share_moves_nobody_of_the_others() -> None:
    few, many = (routed(begun(shadow(("left", share), ("right", 30), arms=THREE)), UNITS[:2000]) for share in (1, 90))
    assert mirrored(few, 2) == mirrored(many, 2)
    assert mirrored(few, 1) < mirrored(many, 1)


def test_a_request_without_a_unit_is_not_mirrored() -> None:
    state = begun({**shadow(("canary", 100)), "unit": "key"})
    assert mirrored(routed(state, [b"1", b"2", b"3"], [b"k", None, b""])) == {0, 2}
    assert routed(state, [b"1", b"2"], [None, None]).mirrors is None


def test_a_rule_mirrors_its_own_share_and_the_default_route_the_steps() -> None:
    file = spec(
        routes=[
            {"when": {"carrier": ["UA"]}, "weights": {"canary": 50}, "mirror": {"canary": 100}},
            {"when": {"carrier": ["B6"]}, "mirror": {"canary": 100}},
            {"when": {"carrier": ["DL"]}, "weights": {"canary": 50}},
            {"mirror": {"canary": 100}},
        ],
        steps=[{"weight": 50}],
    )
    carriers: list[bytes | None] = [b"UA", b"B6", b"DL", None] * 100
    routing = routed(begun(file), UNITS[:400], carrier=carriers)
    of_control = set(np.flatnonzero(routing.arms == 0).tolist())
    assert mirrored(routing) == {row for row in of_control if carriers[row] != b"DL"}
    assert {row for row in range(400) if carriers[row] == b"B6"} < mirrored(routing)


def test_where_nothing_is_mirrored_there_is_no_column() -> None:
    plain = begun(spec(steps=[{"weight": 10}]))
    assert RoutingTable.compile(plain).mirrors is None
    assert routed(plain, UNITS[:10]).mirrors is None
    assert routed(begun(shadow(("canary", 0.01))), UNITS[:2]).mirrors is None  # a share that none of these is in


# -- when --------------------------------------------------------------------------------------------------------------

WALK = spec(
    routes=[{"mirror": {"canary": 20, "budget": "30ms"}}],
    steps=[
        {"weight": 0},
        {"weight": 10, "mirror": {"canary": 50}},
        "pause",
        {"weight": 25, "mirror": {"canary": 0}},
        {"weight": 50},
    ],
)
TWENTY, FIFTY = Mirror((2000,), 0.03), Mirror((5000,))


@pytest.mark.parametrize(
    ("commands", "mirror"),
    [
        ([], TWENTY),
        (["advance"], FIFTY),
        (["advance", "advance"], FIFTY),  # a pause keeps it, as it keeps the weights
        (["advance", "advance", "resume"], None),
        (["advance", "advance", "advance", "advance"], TWENTY),
        (["pause"], TWENTY),
        (["advance", "set_weight"], FIFTY),
        (["advance", "set_weight", "resume"], TWENTY),  # on to 50 %, the first step above 40 %
        (["promote"], None),
        (["abort"], None),
    ],
)
def test_the_mirror_of_the_default_route_is_the_present_steps(commands: list[str], mirror: Mirror | None) -> None:
    log = Log(WALK)
    for kind in commands:
        log.tell(kind, {"weights": {"canary": 40}} if kind == "set_weight" else None)
    assert log.state.mirror == mirror
    table = RoutingTable.compile(log.state)
    assert (table.mirrors is not None) == (mirror is not None)
    assert table.budget_seconds == (mirror.budget_seconds if mirror is not None else 0.02)


def test_nothing_is_mirrored_before_the_rollout_begins() -> None:
    payload = json.dumps({"spec": WALK, "models": MODELS})
    command = Command(command_id="c", kind="apply", rollout="delay-v2", payload=payload)
    preparing = apply(State(), 0, command)
    assert isinstance(preparing, State)
    assert (preparing.phase, preparing.mirror) == (Phase.PREPARING, None)
    assert RoutingTable.compile(preparing).mirrors is None


def test_a_mirror_alone_is_a_rollout_of_one_step_of_nothing() -> None:
    state = begun(spec(routes=[{"mirror": {"canary": 20}}]))
    assert (state.weights, state.mirror) == ((0,), Mirror((2000,)))
    assert [step.weights for step in state.rollout.steps] == [(0,)]  # type: ignore[union-attr]


def test_the_shortest_budget_in_force_holds() -> None:
    routes = [
        {"when": {"carrier": ["UA"]}, "mirror": {"canary": 1, "budget": "5ms"}},
        {"mirror": {"canary": 1, "budget": "1s"}},
    ]
    assert RoutingTable.compile(begun(spec(routes=routes))).budget_seconds == 0.005


# -- the file ----------------------------------------------------------------------------------------------------------


def test_a_mirror_that_changes_makes_another_rollout() -> None:
    some, more = (parse(shadow(("canary", share)), MODELS) for share in (20, 21))
    assert isinstance(some, Rollout)
    assert isinstance(more, Rollout)
    assert some.digest != more.digest


@pytest.mark.parametrize(
    ("mirror", "field", "words"),
    [
        (20, "", "candidate → percent, and a budget"),
        ({}, "", "no arm is named"),
        ({"budget": "20ms"}, "", "a share for canary"),
        ({"control": 20}, ".control", "control answers"),
        ({"canari": 20}, ".canari", "did you mean `canary`?"),
        ({"canary": 20, "buget": "20ms"}, ".buget", "did you mean `budget`?"),
        ({"canary": 101}, ".canary", "outside 0 to 100"),
        ({"canary": 0.001}, ".canary", "finer than 0.01 %"),
        ({"canary": "1:2"}, ".canary", "no percentage"),
        ({"canary": 20, "budget": 20}, ".budget", "such as `200ms`"),
        ({"canary": 20, "budget": "0s"}, ".budget", "within 0"),
    ],
)
@pytest.mark.parametrize(
    ("file", "place"),
    [
        (lambda mirror: spec(routes=[{"mirror": mirror}], steps=[{"weight": 1}]), "routes[0].mirror"),
        (
            lambda mirror: spec(routes=[{"when": {"a": ["b"]}, "mirror": mirror}], steps=[{"weight": 1}]),
            "routes[0].mirror",
        ),
        (lambda mirror: spec(steps=[{"weight": 1, "mirror": mirror}]), "steps[0].mirror"),
    ],
    ids=["default route", "rule", "step"],
)
def test_a_bad_mirror_is_refused_with_its_place(mirror: object, field: str, words: str, file: Any, place: str) -> None:
    (finding,) = check(file(mirror))
    assert finding.field == place + field
    assert words in str(finding)


def test_a_mirror_without_effect_is_noted() -> None:
    everything = {"canary": 100}
    file = spec(
        routes=[
            {"when": {"a": ["b"]}, "weights": everything, "mirror": everything},
            {"when": {"a": ["c"]}, "mirror": everything},
            {"mirror": everything},
        ],
        steps=[{"weight": 99, "mirror": everything}, "pause", {"weight": 100, "mirror": everything}, {"weight": 100}],
    )
    assert [finding.field for finding in notes(file)] == ["routes[0].mirror", "steps[2].mirror"]


# -- the counts --------------------------------------------------------------------------------------------------------


def test_mirrored_requests_are_counted_by_window_rule_and_candidate() -> None:
    times = np.array([999, 1000, 1500, 1999, 1001, -1], np.int64)
    rules = np.array([-1, -1, -1, 2, -1, -1], np.int16)
    routing = Routing(ByteStrings.repeated(None, 6), np.zeros(6, np.int16), rules, np.zeros(6, np.int8))
    dead = np.array([0, 0, Outcome.DEAD_LETTER, 0, 0, 0], np.int8)
    reflection = Reflection(
        rows=np.array([0, 1, 2, 3, 4]),
        outcomes=np.array(
            [Outcome.OK, Outcome.OK, Outcome.OK, Outcome.FALLBACK_TIMEOUT, Outcome.FALLBACK_ERROR], np.int8
        ),
        micros=np.zeros(5, np.int64),
        agrees=np.array([AGREES, DIFFERS, UNKNOWN, UNKNOWN, UNKNOWN], np.int8),
    )
    predictions = Predictions(np.zeros(6, np.int8), dead, np.zeros(6, np.int64), {}, {}, {1: reflection})
    assert count_mirrored(1000, times, routing, predictions, ("control", "canary")) == (
        MirrorCounts(0, -1, "canary", 1, {"ok": 1}, {}, 1, 0),
        MirrorCounts(1000, -1, "canary", 3, {"ok": 2, "fallback_error": 1}, {"ok": 1}, 0, 1),
        MirrorCounts(1000, 2, "canary", 1, {"fallback_timeout": 1}, {}, 0, 0),
    )


@given(
    st.lists(st.tuples(st.integers(-(2**63), 2**63 - 1), st.integers(-1, 3)), min_size=1, max_size=20),
    st.integers(1, 10**7),
    st.randoms(use_true_random=False),
)
def test_counts_add_up_in_the_windows_of_the_requests_they_belong_to(
    rows: list[tuple[int, int]], window: int, chance: Any
) -> None:
    m = len(rows)
    times, rules = np.array([time for time, _ in rows], np.int64), np.array([rule for _, rule in rows], np.int16)
    chosen = np.array(sorted(chance.sample(range(m), chance.randint(1, m))))
    outcomes = np.array([chance.randint(0, 6) for _ in chosen], np.int8)
    reflection = Reflection(chosen, outcomes, np.zeros(len(chosen), np.int64), np.full(len(chosen), AGREES, np.int8))
    routing = Routing(ByteStrings.repeated(None, m), np.zeros(m, np.int16), rules, np.zeros(m, np.int8))
    predictions = Predictions(
        np.zeros(m, np.int8), np.zeros(m, np.int8), np.zeros(m, np.int64), {}, {}, {1: reflection}
    )
    counted = count_mirrored(window, times, routing, predictions, ("control", "canary"))
    assert sum(each.requests for each in counted) == sum(each.agree for each in counted) == len(chosen)
    assert all(sum(each.outcomes.values()) == each.requests for each in counted)
    windows = {
        (each.start, each.rule): each.requests
        for each in count_batch(
            JudgeSettings(window / 1000), times, routing, predictions, ("control", "canary")
        ).windows
    }
    assert all(each.requests <= windows[each.start, each.rule] for each in counted)
