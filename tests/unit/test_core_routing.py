"""Routing: buckets, ranges, rules, and the laws that users rely on."""

import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from streamsplit.core.byte_strings import ByteStrings
from streamsplit.core.records import CONTROL, RequestColumns, Routing
from streamsplit.core.rollout import Arm, ModelRef, Phase, Rollout, Rule, State, Step, Unit, UnitKind
from streamsplit.core.routing import RoutingTable, assign, bucket_of, route

DOCS = Path(__file__).parents[2] / "docs"
VECTORS = json.loads((DOCS / "routing-vectors.json").read_text(encoding="utf-8"))
CHAIN = (ModelRef("delay", "1", "0" * 64),)
BY_ID = Unit(UnitKind.ID)


def state(*weights: int, phase: Phase = Phase.PROGRESSING, unit: Unit = BY_ID, rules: Sequence[Rule] = ()) -> State:
    arms = (Arm("control", CHAIN), *(Arm(f"candidate-{i}", CHAIN) for i in range(len(weights))))
    rollout = Rollout("delay-v2", "delay-v2", arms, unit, tuple(rules), (Step(weights),))
    return State(revision=7, phase=phase, serving=CHAIN, rollout=rollout, weights=weights if phase.active else ())


def columns(ids: Sequence[bytes], **attributes: Sequence[bytes | None]) -> RequestColumns:
    n = len(ids)
    known = {name: ByteStrings.of(values) for name, values in attributes.items()}
    return RequestColumns(np.arange(n, dtype=np.int64), ByteStrings.of(ids), np.zeros(n, dtype=np.int64), known, {})


def routed(
    present: State, ids: Sequence[bytes], keys: Sequence[bytes | None] = (), **attributes: Sequence[bytes | None]
) -> Routing:
    return route(RoutingTable.compile(present), columns(ids, **attributes), ByteStrings.of(keys or [None] * len(ids)))


def unit_of_bucket(bucket: int) -> bytes:
    return next(unit for n in range(10**6) if bucket_of("delay-v2", unit := str(n).encode()) == bucket)


@pytest.mark.parametrize("vector", VECTORS["buckets"], ids=lambda vector: f"{vector['salt']}-{vector['unit_hex'][:20]}")
def test_published_bucket(vector: dict[str, Any]) -> None:
    unit = bytes.fromhex(vector["unit_hex"])
    assert vector.get("unit", "").encode() in {unit, b""}
    assert xxhash.xxh64_hexdigest(vector["salt"].encode() + b":" + unit) == vector["xxh64"]
    assert bucket_of(vector["salt"], unit) == int(vector["xxh64"], 16) % 10_000 == vector["bucket"]


@pytest.mark.parametrize("vector", VECTORS["arms"], ids=str)
def test_published_arm(vector: dict[str, Any]) -> None:
    names, weights = ["control"], []
    for entry in vector["weights"]:
        ((name, percent),) = entry.items()
        names.append(name)
        weights.append(round(percent * 100))
    table = RoutingTable.compile(state(*weights))
    arms = assign(table, np.array([-1], dtype=np.int16), np.array([vector["bucket"]], dtype=np.int16))
    assert names[arms[0]] == vector["arm"]


def test_the_hash_is_xxh64_of_its_specification() -> None:
    assert xxhash.xxh64_hexdigest(b"", seed=0) == "ef46db3751d8e999"
    assert xxhash.xxh64_hexdigest(b"a", seed=0) == "d24ec4f1a98c6e5b"


def test_the_documented_python_is_right() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (DOCS / "routing.md").read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, object] = {}
    exec(code, names)  # noqa: S102 - the example must run as it stands
    assert callable(names["bucket"])


@given(st.lists(st.binary(max_size=20), max_size=30))
def test_a_batch_is_routed_as_its_requests_one_by_one(ids: list[bytes]) -> None:
    routing = routed(state(2500), ids)
    buckets = [bucket_of("delay-v2", unit) for unit in ids]
    assert routing.buckets.tolist() == buckets
    assert routing.arms.tolist() == [int(bucket < 2500) for bucket in buckets]
    assert routing.rules.tolist() == [-1] * len(ids)
    assert [column.dtype.str for column in (routing.buckets, routing.rules, routing.arms)] == ["<i2", "<i2", "|i1"]


UNITS = [b"unit-%d" % n for n in range(200_000)]


@pytest.fixture(scope="module")
def buckets() -> np.ndarray:
    return routed(state(0), UNITS).buckets


def arms_at(buckets: np.ndarray, *weights: int) -> np.ndarray:
    return assign(RoutingTable.compile(state(*weights)), np.full(len(buckets), -1, dtype=np.int16), buckets)


@pytest.mark.parametrize("percent", [0.01, 0.5, 10, 25, 75])
def test_the_share_reached_is_within_binomial_bounds(buckets: np.ndarray, percent: float) -> None:
    n, share = len(buckets), percent / 100
    reached = int(arms_at(buckets, round(percent * 100)).sum())
    assert abs(reached - n * share) <= 4 * math.sqrt(n * share * (1 - share))


def test_a_smaller_share_lies_inside_a_larger_one(buckets: np.ndarray) -> None:
    small, middle, large = (set(np.flatnonzero(arms_at(buckets, weight))) for weight in (1000, 2500, 7500))
    assert small < middle < large


@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_going_back_returns_exactly_the_units_that_left(first: int, second: int) -> None:
    every = np.arange(10_000, dtype=np.int16)
    before, during, after = (arms_at(every, weight) for weight in (first, second, first))
    assert np.array_equal(before, after)
    assert int((before != during).sum()) == abs(first - second)


@given(st.lists(st.integers(0, 3333), min_size=1, max_size=3))
def test_every_bucket_has_one_owner_and_every_arm_its_weight(weights: list[int]) -> None:
    owned = np.bincount(arms_at(np.arange(10_000, dtype=np.int16), *weights), minlength=len(weights) + 1)
    assert owned.tolist() == [10_000 - sum(weights), *weights]


def test_growing_the_last_candidate_moves_nobody_else(buckets: np.ndarray) -> None:
    before, after = arms_at(buckets, 1000, 2000), arms_at(buckets, 1000, 3000)
    assert set(zip(before[before != after].tolist(), after[before != after].tolist(), strict=True)) == {(0, 2)}


def test_the_key_is_the_unit_byte_by_byte_and_null_is_no_unit() -> None:
    routing = routed(state(10_000, unit=Unit(UnitKind.KEY)), [b"1", b"2", b"3"], [b"\xff\x00", None, b""])
    assert routing.buckets.tolist() == [bucket_of("delay-v2", b"\xff\x00"), -1, bucket_of("delay-v2", b"")]
    assert routing.arms.tolist() == [1, CONTROL, 1]
    assert routing.units == [b"\xff\x00", None, b""]


def test_an_attribute_is_the_unit_and_a_missing_one_goes_to_control() -> None:
    present = state(10_000, unit=Unit(UnitKind.ATTRIBUTE, "tail"))
    assert RoutingTable.compile(present).attributes == ("tail",)
    routing = routed(present, [b"1", b"2"], tail=["é".encode(), None])
    assert routing.buckets.tolist() == [bucket_of("delay-v2", "é".encode()), -1]
    assert routing.arms.tolist() == [1, CONTROL]


def test_a_batch_without_any_unit_and_an_empty_batch_go_through() -> None:
    keyed = state(10_000, unit=Unit(UnitKind.KEY))
    assert routed(keyed, [b"1", b"2"], [None, None]).arms.tolist() == [CONTROL, CONTROL]
    assert routed(keyed, []).arms.shape == (0,)


RULES = (
    Rule({"carrier": ("UA", "B6"), "origin": ("EWR",)}, (10_000, 0)),
    Rule({"carrier": ("UA", "Zürich")}, (0, 10_000)),
    Rule({"origin": ("JFK",)}, (0, 0)),
)


@pytest.mark.parametrize(
    ("carrier", "origin", "rule", "arm"),
    [
        ("UA", "EWR", 0, 1),
        ("B6", "EWR", 0, 1),
        ("UA", "JFK", 1, 2),
        ("UA", None, 1, 2),
        ("Zürich", "LGA", 1, 2),
        ("B6", "JFK", 2, 0),
        (None, "JFK", 2, 0),
        ("B6", "LGA", -1, 1),
        (None, None, -1, 1),
        ("ua", "ewr", -1, 1),
        ("", "", -1, 1),
    ],
)
def test_the_first_rule_that_matches_wins(carrier: str | None, origin: str | None, rule: int, arm: int) -> None:
    present = state(10_000, 0, rules=RULES)
    assert RoutingTable.compile(present).attributes == ("carrier", "origin")
    texts = [None if text is None else text.encode() for text in (carrier, origin)]
    routing = routed(present, [b"1"], carrier=texts[:1], origin=texts[1:])
    assert (routing.rules.tolist(), routing.arms.tolist()) == ([rule], [arm])


VALUES = st.sampled_from(["UA", "B6", "EWR", "JFK", "é"])
ATTRIBUTES = st.sampled_from(["carrier", "origin", "tail"])
ANY_RULES = st.lists(
    st.builds(
        Rule,
        st.dictionaries(ATTRIBUTES, st.lists(VALUES, min_size=1, max_size=3).map(tuple), min_size=1, max_size=3),
        st.integers(0, 10_000).map(lambda weight: (weight,)),
    ),
    max_size=5,
)
ROWS = st.lists(st.dictionaries(ATTRIBUTES, VALUES), max_size=12)


@given(ANY_RULES, ROWS)
def test_rules_match_as_a_plain_loop_over_them_would(rules: list[Rule], rows: list[dict[str, str]]) -> None:
    present = state(3000, rules=rules)
    attributes = {
        name: [row[name].encode() if name in row else None for row in rows] for name in ("carrier", "origin", "tail")
    }
    routing = routed(present, [b"%d" % n for n in range(len(rows))], **attributes)
    for n, row in enumerate(rows):
        matching = (
            i for i, rule in enumerate(rules) if all(row.get(name) in values for name, values in rule.when.items())
        )
        expected = next(matching, -1)
        weight = rules[expected].weights[0] if expected >= 0 else 3000
        assert routing.rules[n] == expected
        assert routing.arms[n] == int(routing.buckets[n] < weight)


def test_a_request_without_unit_goes_to_control_whichever_rule_it_matches() -> None:
    present = state(0, unit=Unit(UnitKind.KEY), rules=[Rule({"carrier": ("UA",)}, (10_000,))])
    routing = routed(present, [b"1"], [None], carrier=[b"UA"])
    assert (routing.rules.tolist(), routing.buckets.tolist(), routing.arms.tolist()) == ([0], [-1], [CONTROL])


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase not in {Phase.PROGRESSING, Phase.PAUSED}])
def test_control_answers_everything_while_candidates_may_not(phase: Phase) -> None:
    present = state(0, phase=phase, rules=[Rule({"carrier": ("UA",)}, (10_000,))])
    routing = routed(present, [b"1", b"2"], carrier=[b"UA", None])
    assert routing.arms.tolist() == [CONTROL, CONTROL]
    assert routing.rules.tolist() == [-1, -1]
    assert routing.buckets.tolist() == [bucket_of("delay-v2", b"1"), bucket_of("delay-v2", b"2")]


def test_an_empty_state_can_be_compiled() -> None:
    assert routed(State(), [b"1"]).arms.tolist() == [CONTROL]


def test_a_paused_rollout_splits_as_before() -> None:
    assert routed(state(10_000, phase=Phase.PAUSED), [b"1"]).arms.tolist() == [1]


def test_a_batch_decoded_without_a_needed_attribute_is_refused() -> None:
    with pytest.raises(KeyError, match="carrier"):
        routed(state(0, rules=[Rule({"carrier": ("UA",)}, (10_000,))]), [b"1"])


def test_the_edges_of_a_range_belong_to_the_right_arms() -> None:
    edge, behind = unit_of_bucket(9), unit_of_bucket(10)
    assert routed(state(10), [edge, behind]).arms.tolist() == [1, CONTROL]
