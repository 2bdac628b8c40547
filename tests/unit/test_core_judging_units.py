"""Users with many requests each, through the judge: few of them, one with half of the traffic, some who try again."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from simulations.users import Users, UserWorld
from simulations.world import behaving, canary
from streamsplit.core.commands import Kind
from streamsplit.core.decision import Decision, DecisionKind, Reading
from streamsplit.core.judge import Judge
from streamsplit.core.rollout import Phase

JUDGE = {"window": "2s", "grace": "1s", "guards": {"latency": {"dry_run": True}}}
UNLIMITED = {**JUDGE, "guards": {**JUDGE["guards"], "errors": {"limit": "none"}}}  # type: ignore[dict-item]


def deployment(
    users: Users,
    *,
    steps: list[Any] | None = None,
    rate: float = 500,
    seed: int = 0,
    judge: Mapping[str, Any] = JUDGE,
    **more: Any,
) -> UserWorld:
    """A deployment whose candidate is judged by errors alone."""
    spec = canary(unit="key", steps=steps or [{"weight": 50}], judge=dict(judge))
    return UserWorld(spec, behaving(), rate=rate, seed=seed, probes=0, batch_ms=1000, users=users, **more)


def reading(decision: Decision, guard: str) -> Reading:
    (found,) = (each for each in decision.readings if each.guard == guard)
    return found


def test_few_users_are_too_little_evidence_to_go_on_however_much_they_ask() -> None:
    one = deployment(Users.drawn(1, 200, base=0.0), rate=2000)
    one.run(60)
    assert one.state.phase is Phase.PROGRESSING
    assert {each.kind for each in one.decisions} == {DecisionKind.HOLD}
    assert "for it" in one.decisions[-1].reasons[0]
    counts = reading(one.decisions[-1], "errors").counts
    assert counts["candidate_units"] + counts["control_units"] <= 200
    assert one.requests["canary"] > 10 * 200


@pytest.mark.parametrize("seed", range(6))
def test_one_user_with_half_the_traffic_who_always_fails_takes_no_candidate_back(seed: int) -> None:
    """On whichever arm he is, in whichever step he moves."""
    users = Users.drawn(seed, 2000, base=0.01)
    asks = np.concatenate([[0.5], 0.5 + 0.5 * users.asks[1:]])
    luck, faithful = users.luck.copy(), users.faithful.copy()
    luck[0], faithful[0] = -1.0, True
    heavy = replace(users, asks=asks, luck=luck, faithful=faithful)
    one = deployment(heavy, steps=[{"weight": 25, "for": "10s", "advance": "time"}, {"weight": 75}], seed=seed)
    one.run(40)
    assert one.state.phase is Phase.PROGRESSING
    assert DecisionKind.ROLLBACK not in {each.kind for each in one.decisions}


def test_a_user_who_tries_again_until_it_works_is_one_request_of_the_evidence() -> None:
    users = Users.drawn(4, 3000, base=0.05, faithful=1.0)
    failing = users.luck < users.fails
    asks = np.cumsum(np.where(failing, 50.0, 1.0))
    # Of such users alone seven of ten requests fail, which is beyond any limit.
    one = deployment(replace(users, asks=asks / asks[-1]), rate=3000, judge=UNLIMITED)
    one.run(30)
    counts = reading(one.decisions[-1], "errors").counts
    assert counts["candidate_errors"] + counts["control_errors"] <= failing.sum() < 0.1 * one.requests["canary"]
    assert one.state.phase is not Phase.ROLLED_BACK


def test_where_nobody_meets_the_candidate_for_the_first_time_a_step_waits_for_a_person() -> None:
    one = deployment(Users.drawn(5, 5000), steps=[{"weight": 10, "for": "1h"}, {"weight": 25}, {"weight": 75}])
    one.run(6)
    for percentage in (50, 10):
        one.command(Kind.SET_WEIGHT, {"weights": {"canary": percentage}})
        one.run(6)
    one.command(Kind.RESUME)
    one.run(60)
    assert (one.state.phase, one.state.weights) == (Phase.PROGRESSING, (2500,))
    (told,) = {reason for reason in one.decisions[-1].reasons if "before" in reason}
    assert "streamsplit promote" in told
    one.command(Kind.ADVANCE)
    one.run(30)
    assert reading(one.decisions[-1], "errors").counts["candidate_units"] > 0


def test_a_candidate_that_fails_everybody_more_often_is_taken_back_while_users_last() -> None:
    one = deployment(Users.drawn(6, 30_000), rate=3000, ratio=5.0)
    one.run(60)
    assert one.state.phase is Phase.ROLLED_BACK
    assert "units" in one.decisions[-1].reasons[0]


def test_partitions_whose_new_owner_does_not_know_whom_others_have_met_are_told_and_not_counted() -> None:
    one = deployment(Users.drawn(7, 3000), known=frozenset({1}))
    one.run(20)
    counts = reading(one.decisions[-1], "units").counts
    assert (counts["partitions"], counts["counting"]) == (2, 1)
    compared = reading(one.decisions[-1], "errors").counts
    assert 0 < compared["candidate_units"] + compared["control_units"] < 0.6 * 3000


def test_another_judge_goes_on_with_units_in_the_midst_of_a_stay() -> None:
    undisturbed, handed = (deployment(Users.drawn(8, 5000)) for _ in range(2))
    undisturbed.run(30)
    while handed.now < undisturbed.now:
        handed.batch()
        handed.judge = Judge.restored(handed.judge.record())
    assert handed.decisions == undisturbed.decisions
