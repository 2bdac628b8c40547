"""The alphas of all that may act on a healthy rollout, and their sum."""

import math
from dataclasses import replace
from typing import Any

import pytest

from simulations.world import World, behaving, canary
from streamsplit.core.decision import Reading, Verdict
from streamsplit.core.judging.risk import planned, told
from streamsplit.core.rollout import Rollout
from streamsplit.core.rollout_file import parse

SCORE = {"output": "probability", "index": 1, "range": [0, 1]}


def rollout(**fields: Any) -> Rollout:
    read = parse(canary(**fields), None)
    assert isinstance(read, Rollout), read
    return read


def guards(**given: Any) -> dict[str, Any]:
    return {"judge": {"window": "1s", "grace": "1s", "guards": given}}


@pytest.mark.parametrize(
    ("fields", "total", "without"),
    [
        ({}, 0.054, ("capacity",)),
        ({"judge": {"alpha": 0.2}}, 0.204, ("capacity",)),
        (guards(latency={"limit": "50ms"}), 0.055, ("capacity",)),
        (guards(errors={"limit": "none"}), 0.052, ("capacity",)),
        (guards(errors={"dry_run": True}), 0.051, ("capacity",)),
        (guards(errors={"dry_run": True}, latency={"dry_run": True}), 0.001, ("capacity",)),
        (guards(shift=SCORE), 0.054, ("shift", "capacity")),
        (guards(shift={**SCORE, "dry_run": True}), 0.054, ("capacity",)),
        (
            {
                "arms": {"control": "delay@1", "one": "delay@2", "other": "delay@3"},
                "steps": [{"weights": {"one": 10, "other": 10}}],
            },
            0.057,
            ("capacity",),
        ),
    ],
)
def test_everything_that_decides_is_in_the_sum_once_and_what_is_only_shown_is_not(
    fields: dict[str, Any], total: float, without: tuple[str, ...]
) -> None:
    risk = planned(rollout(**fields))
    assert risk.total == total
    assert risk.by_size == without
    assert f"{100 * total:.3g} % of healthy rollouts" in str(risk)


@pytest.mark.parametrize("judge", [guards(), guards(score={**SCORE, "margin": "15%"}, latency={"limit": "50ms"})])
def test_a_decision_tells_the_same_as_its_file(judge: dict[str, Any]) -> None:
    one = World(canary(**judge), behaving())
    one.run(20)
    plan, now = planned(rollout(**judge)), told(one.decisions[-1].readings)
    assert now.alphas == pytest.approx({name: plan.alphas[name] for name in now.alphas})
    assert plan.alphas.keys() - now.alphas.keys() <= {"interference"}, "nothing is known of control before"


def test_readings_of_another_program_are_summed_as_far_as_they_can_be() -> None:
    odd = Reading("errors", "canary", Verdict.OPEN, log_e=0.0, log_needed=-1e9)
    assert told([odd]).total == 1.0
    assert told([replace(odd, log_needed=math.inf)]).total == 0.0
    assert told([]).alphas == {}
