"""Stays at a step, who moves as one begins, and which units have been met in it."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamsplit.core.byte_strings import ByteStrings
from streamsplit.core.commands import Command, Kind
from streamsplit.core.fold import apply
from streamsplit.core.records import Routing
from streamsplit.core.rollout import WHOLE, State
from streamsplit.core.routing import RoutingTable, unexposed
from streamsplit.core.seen_units import NOWHERE, PLACES, SeenUnits, packed, places_of, unpacked
from streamsplit.core.stays import exposed_below, movers, remaining
from streamsplit.core.summary import UnitMarks

MODELS = {f"delay@{version}": f"{version:064x}" for version in (1, 2)}
SPEC: dict[str, Any] = {
    "rollout": "delay-v2",
    "arms": {"control": "delay@1", "canary": "delay@2"},
    "unit": "key",
    "routes": [{"when": {"carrier": ["UA"]}, "weights": {"canary": 5}}],
    "steps": [{"weight": 10}, {"weight": 25}, "pause", {"weight": 75}],
}


def folded(*commands: tuple[Kind, dict[str, Any]]) -> list[State]:
    """The states behind each command of a rollout that has begun."""
    plain = {"rollout": "before", "arms": {"control": "delay@1"}}
    begun: list[tuple[Kind, dict[str, Any]]] = [
        (Kind.APPLY, {"spec": plain, "models": MODELS}),
        (Kind.BEGIN, {}),
        (Kind.APPLY, {"spec": SPEC, "models": MODELS}),
        (Kind.BEGIN, {}),
    ]
    state, states = State(), []
    for offset, (kind, payload) in enumerate([*begun, *commands]):
        spec = payload.get("spec")
        name = spec["rollout"] if isinstance(spec, dict) else state.name
        result = apply(state, offset, Command(command_id=f"c{offset}", rollout=name, kind=kind, payload=payload))
        assert isinstance(result, State), result
        state = result
        states.append(state)
    return states[3:]


def test_a_stay_lasts_while_step_and_weights_do() -> None:
    states = folded(
        (Kind.PAUSE, {}), (Kind.RESUME, {}), (Kind.ADVANCE, {}), (Kind.SET_WEIGHT, {"weights": {"canary": 50}})
    )
    begun, paused, resumed, advanced, by_hand = states
    assert (begun.stay, begun.exposed) == (3, None)
    assert (paused.stay, paused.exposed) == (3, None)
    assert (resumed.stay, resumed.exposed) == (3, None)
    assert (advanced.stay, advanced.exposed) == (advanced.revision, 1000)
    assert (by_hand.stay, by_hand.exposed) == (by_hand.revision, advanced.weights[0])


def test_whoever_met_a_candidate_once_never_moves_again_in_the_rollout() -> None:
    states = folded(
        (Kind.SET_WEIGHT, {"weights": {"canary": 50}}),
        (Kind.SET_WEIGHT, {"weights": {"canary": 5}}),
        (Kind.SET_WEIGHT, {"weights": {"canary": 60}}),
    )
    assert [state.exposed for state in states] == [None, 1000, 5000, 5000]
    assert [movers(state.weights, exposed_below(state, -1)) for state in states] == [(1000,), (4000,), (0,), (1000,)]
    assert [remaining(state.weights, exposed_below(state, -1)) for state in states] == [9000, 5000, 5000, 4000]
    assert [exposed_below(state, 0) for state in states] == [0, 500, 500, 500]


def test_a_rollout_that_is_over_has_no_stay() -> None:
    states = folded((Kind.ADVANCE, {}), (Kind.ABORT, {}))
    assert (states[1].stay, states[2].stay, states[2].exposed) == (states[1].revision, -1, None)


@given(st.lists(st.integers(0, 3000), min_size=1, max_size=3), st.integers(0, WHOLE))
def test_movers_and_whoever_remains_are_all_that_never_met_a_candidate(weights: list[int], exposed: int) -> None:
    assert sum(movers(weights, exposed)) + remaining(weights, exposed) == WHOLE - exposed


def test_requests_are_evidence_only_of_units_that_had_met_no_candidate() -> None:
    states = folded((Kind.ADVANCE, {}))
    rules, buckets = np.array([-1, -1, -1, 0, 0, -1]), np.array([999, 1000, 9999, 499, 500, -1])
    found = []
    for state in states:
        routing = Routing(
            ByteStrings.repeated(b"u", 6), buckets.astype(np.int16), rules.astype(np.int16), np.zeros(6, np.int8)
        )
        found.append(unexposed(RoutingTable.compile(state), routing).tolist())
    assert found == [[True, True, True, True, True, False], [False, True, True, False, True, False]]


def test_a_unit_is_met_once() -> None:
    seen = SeenUnits()
    places = places_of(7, [b"a", b"b", b"a", b"c"])
    assert seen.unmet(places).tolist() == [0, 1, 3]
    assert seen.unmet(places, np.sort(places[1:2])).tolist() == [0, 3]
    assert seen.met == 0
    seen.add(places)
    assert seen.unmet(places_of(7, [b"c", b"d", b"a"])).tolist() == [1]
    assert seen.met == 3
    assert places_of(7, [None, b"a"]).tolist() == [NOWHERE, places[0]]
    assert not np.array_equal(places, places_of(8, [b"a", b"b", b"a", b"c"]))


@given(st.lists(st.lists(st.integers(0, PLACES - 1), max_size=30), max_size=5), st.sets(st.integers(0, PLACES - 1)))
def test_whoever_hears_what_was_met_knows_it_too(batches: list[list[int]], others: set[int]) -> None:
    own, heard, met = SeenUnits(), SeenUnits(), set[int]()
    besides = np.array(sorted(others), np.int32)
    for batch in batches:
        places = np.array(batch, np.int32)
        rows = own.unmet(places)
        assert [batch[row] for row in rows] == list(dict.fromkeys(place for place in batch if place not in met))
        unknown = [row for row in rows.tolist() if batch[row] not in others]
        assert own.unmet(places, besides).tolist() == unknown
        own.add(places)
        met |= set(batch)
        heard.add(unpacked(packed(places[rows])))
    assert own.met == heard.met == len(met)
    assert not len(heard.unmet(np.array(sorted(met), np.int32)))
    heard.add(besides)
    own.join(heard)
    assert own.met == heard.met == len(met | others)
    assert not len(own.unmet(besides))


def test_places_beyond_the_bitmap_are_refused() -> None:
    with pytest.raises(ValueError, match="a place of"):
        unpacked(np.array([PLACES], "<u4").tobytes())
    assert UnitMarks(0, 1, counted=True, met=0, places=b"").places == b""
