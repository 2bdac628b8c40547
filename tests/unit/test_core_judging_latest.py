"""What begins late: reasons show the stretch that the evidence has come from, and not the whole rollout alone."""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulations.world import World, behaving, canary
from streamsplit.core.decision import Reading
from streamsplit.core.judge import LARGEST_RECORD, Judge
from streamsplit.core.judging.latest import Latest
from streamsplit.core.rollout import Phase

SCORE = {"score": {"output": "probability", "index": 1, "range": [0, 1], "margin": "15%"}}
ONE_STEP = [{"weight": 10, "for": "1h"}]


def broken_late(change: Mapping[str, float], *, seconds: int, guards: Mapping[str, Any] | None = None) -> World:
    """A candidate that was as good as control for so long, and is not any more."""
    judge = {"window": "1s", "grace": "1s", "guards": guards or {}}
    one = World(canary(steps=ONE_STEP, judge=judge), behaving())
    one.run(seconds)
    assert one.state.phase.active
    one.behaviours["canary"] = replace(one.behaviours["canary"], **change)
    one.run(60)
    assert phase(one) is Phase.ROLLED_BACK
    return one


def phase(one: World) -> Phase:
    """Read anew, for mypy takes a phase that was asserted to be still there."""
    return one.state.phase


def reading(one: World, guard: str) -> Reading:
    return next(each for each in one.decisions[-1].readings if each.guard == guard)


def test_a_limit_that_is_exceeded_late_names_the_latest_requests_first() -> None:
    one = broken_late({"error_rate": 1.0}, seconds=300)
    (reason,) = one.decisions[-1].reasons
    told = r"canary error limit: 100 % of its latest (\d+) requests failed \((0|1)\.\d+ % of all\), at most 20 % may, "
    assert re.match(told, reason), reason
    counts = reading(one, "error limit").counts
    assert 6 <= counts["latest_requests"] < 200
    assert counts["latest_bad"] == counts["latest_requests"]


def test_errors_that_begin_late_are_told_beside_controls_of_the_same_stretch() -> None:
    one = broken_late({"error_rate": 0.1}, seconds=600)
    reason = one.decisions[-1].reasons[0]
    told = (
        r"canary errors (\S+)x control \(\S+ % beside \S+ %\) in its latest \d+ requests, (1\.\S+)x control over the "
        r"whole rollout \(always-valid interval \S+ to \S+\), e-value"
    )
    found = re.match(told, reason)
    assert found, reason
    assert float(found[1]) > 4
    counts = reading(one, "errors").counts
    assert counts["latest_candidate"] > 4 * counts["latest_control"]


def test_a_score_that_moves_late_is_told_by_the_means_of_the_same_stretch() -> None:
    one = broken_late({"score": 0.5}, seconds=600, guards=SCORE)
    reason = one.decisions[-1].reasons[0]
    found = re.match(
        r"canary score rise \S+x control \((\S+) beside (\S+)\) in its latest \d+ values, 1(\.\S+)?x control over the "
        r"whole rollout, e-value",
        reason,
    )
    assert found, reason
    assert float(found[1]) > 1.3 * float(found[2])


def test_what_becomes_slow_late_is_told_by_its_probes() -> None:
    one = broken_late({"micros": 25_000.0}, seconds=300)
    reason = one.decisions[-1].reasons[0]
    assert re.match(
        r"canary speed: slower than is tolerated in \d+ of its latest \d+ probes, \S+x control over the whole rollout "
        r"\(always-valid interval \S+ to \S+\), e-value",
        reason,
    ), reason


def test_what_is_bad_from_the_beginning_is_told_by_all_of_its_requests() -> None:
    one = World(canary(steps=ONE_STEP), behaving(error_rate=0.05))
    one.run(60)
    told = r"canary errors \S+x control \(\S+ % beside \S+ %\), always-valid interval \S+ to \S+ over the whole rollout"
    assert re.match(told, one.decisions[-1].reasons[0]), one.decisions[-1].reasons
    assert not [name for name in reading(one, "errors").counts if name.startswith("latest")]


def test_a_judge_that_takes_over_tells_the_same_stretch() -> None:
    """The state holds it."""
    judge = {"window": "1s", "grace": "1s", "guards": SCORE}
    one, other = (World(canary(steps=ONE_STEP, judge=judge), behaving()) for _ in range(2))
    for each in (one, other):
        each.run(100)
        bad = replace(each.behaviours["canary"], error_rate=0.1, score=0.4, micros=9_000.0)
        each.behaviours["canary"] = bad
    while one.state.phase is Phase.PROGRESSING:
        one.batch()
        other.judge = Judge.restored(other.judge.record())
        other.batch()
    assert other.decisions == one.decisions
    assert any("latest" in reason for reason in one.decisions[-1].reasons)


def test_the_state_stays_small_however_long_a_rollout_lasts() -> None:
    judge = {"window": "1s", "grace": "1s", "guards": SCORE}
    one = World(canary(steps=ONE_STEP, judge=judge), behaving(), batch_ms=500)
    one.run(60)
    early = len(one.judge.record())
    one.run(600)
    assert len(one.judge.record()) < min(LARGEST_RECORD, 1.5 * early)


increments = st.lists(
    st.tuples(
        st.lists(st.floats(-5, 5) | st.just(-np.inf), min_size=3, max_size=3),
        st.tuples(st.integers(0, 2**24), st.integers(0, 2**24)),
    ),
    max_size=30,
)


@given(increments)
def test_it_counts_from_where_a_bet_has_won_most_and_json_holds_it_exactly(
    given_: list[tuple[list[float], tuple[int, int]]],
) -> None:
    """By hand: of each bet, over all beginnings, the one from which on it has won the most."""
    latest = Latest(3, 2)
    for said, both in given_:
        latest.add(np.array(said), both)
        plain = json.loads(json.dumps(latest.to_plain()))
        assert plain == latest.to_plain()
        latest = Latest.from_plain(plain)
    for bet, (won, *counts) in enumerate(latest.to_plain()):
        sums, total = [0.0], 0.0
        for said, _ in reversed(given_):
            total += said[bet]
            sums.append(total)
        assert won == pytest.approx(max(sums), abs=1e-9)
        lengths = [length for length, value in enumerate(sums) if value >= won - 1e-9]
        stretches = [[both for _, both in given_[len(given_) - length :]] for length in lengths]
        assert counts in [[sum(both[at] for both in stretch) for at in range(2)] for stretch in stretches]


@pytest.mark.parametrize(("whole", "log_e", "found"), [(21, 1.0, True), (20, 1.0, False), (21, 0.0, False)])
def test_a_stretch_is_told_where_it_is_less_than_half_and_evidence_speaks_against_the_candidate(
    whole: int, log_e: float, *, found: bool
) -> None:
    latest = Latest(2, 2)
    latest.add(np.array([0.5, 1.5]), (10, 3))
    assert latest.beside(whole, log_e) == ((10, 3) if found else None)
