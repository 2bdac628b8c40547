"""When a worker calls itself unready, and when stuck."""

from dataclasses import replace

import pytest

from streamsplit.core.rollout import Arm, Phase, Rollout, State, Unit, UnitKind
from streamsplit.core.status import ArmStatus
from streamsplit.kafka.control_follower import ControlView
from streamsplit.kafka.lane import Progress
from streamsplit.kafka.positions import Wait
from streamsplit.service.report import STUCK_SECONDS, Incarnation, Parts, Stall, compose, unready
from streamsplit.service.tally import Tally

VIEW = ControlView(State(phase=Phase.SERVING), 3, caught_up=True, fresh=True, problem=None, digest="d")
PROGRESS = Progress(1, {0: 10}, {0: 0}, {}, {}, None)
CONTROL = ArmStatus("control", "delay@1", "ready")
SERVING = Parts(VIEW, (CONTROL,), (), PROGRESS, (), ())


def test_a_serving_worker_has_no_reason() -> None:
    assert unready(SERVING) == ()


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        (replace(SERVING, progress=None, startup=("missing topics: a",)), "missing topics: a"),
        (replace(SERVING, view=replace(VIEW, fresh=False)), "control answers all requests"),
        (replace(SERVING, view=replace(VIEW, fresh=False, problem="recreated")), "recreated"),
        (replace(SERVING, view=replace(VIEW, state=State(newer_format=2))), "upgrade this worker"),
        (replace(SERVING, progress=replace(PROGRESS, problem="no broker")), "no broker"),
        (replace(SERVING, arms=(replace(CONTROL, phase="restarting", reason="out of memory"),)), "out of memory"),
    ],
)
def test_each_obstacle_is_a_reason(parts: Parts, words: str) -> None:
    (reason,) = unready(parts)
    assert words in reason


def test_a_candidate_that_does_not_load_makes_nobody_unready() -> None:
    failed = ArmStatus("canary", "delay@2", "failed", "sha256 differs")
    parts = replace(SERVING, arms=(CONTROL, failed), unprepared=("canary: sha256 differs",))
    status = compose(Incarnation("worker-0", "a", 1), parts, Tally(), 0.0, stopping=False)
    assert (status.ready, status.prepared) == (True, False)
    assert "canary: sha256 differs" in status.reasons


def test_partitions_held_back_are_told_and_those_that_only_wait_a_moment_are_no_alarm() -> None:
    waiting = {1: Wait("no partner", alarm=True), 2: Wait("asking")}
    parts = replace(SERVING, progress=replace(PROGRESS, waiting=waiting))
    status = compose(Incarnation("worker-0", "a", 1), parts, Tally(), 0.0, stopping=False)
    assert status.reasons == ("no partner",)
    assert status.waiting == {1: "no partner", 2: "asking"}
    assert status.ready


def test_a_worker_that_stops_or_has_not_joined_is_not_ready() -> None:
    me = Incarnation("worker-0", "a", 1)
    assert not compose(me, SERVING, Tally(), 0.0, stopping=True).ready
    assert not compose(me, replace(SERVING, progress=None), Tally(), 0.0, stopping=False).ready


def test_mirrored_rates_name_the_candidates_that_had_some() -> None:
    rollout = Rollout("x", "x", (Arm("control", ()), Arm("canary", ()), Arm("idle", ())), Unit(UnitKind.ID))
    state = State(phase=Phase.PROGRESSING, rollout=rollout)
    tally = Tally()
    tally.add(100.0, {"requests": 50, "mirrored:canary": 20, "mirror_failed:canary": 5})
    parts = replace(SERVING, view=replace(VIEW, state=state))
    status = compose(Incarnation.now("w"), parts, tally, 101.0, stopping=False)
    assert (status.mirrored, status.mirror_failed) == ({"canary": 4.0}, {"canary": 1.0})
    assert status.totals["mirrored:canary"] == 20


def test_records_that_wait_while_nothing_moves_are_a_stall() -> None:
    now = [0.0]
    stall = Stall(lambda: now[0])
    behind = replace(PROGRESS, lag={0: 5, 1: 0})
    assert stall.reason(behind) is None
    now[0] = STUCK_SECONDS - 1
    assert stall.reason(behind) is None
    now[0] = STUCK_SECONDS
    assert "partitions 0 have records waiting" in (stall.reason(behind) or "")
    assert stall.reason(replace(behind, reading={0: 11})) is None, "it moved"
    now[0] = 2 * STUCK_SECONDS - 1
    assert stall.reason(replace(behind, reading={0: 11})) is None


def test_an_idle_or_a_starting_worker_is_not_stuck() -> None:
    now = [0.0]
    stall = Stall(lambda: now[0])
    for each in (PROGRESS, None, replace(PROGRESS, lag={0: -1})):
        now[0] += 10 * STUCK_SECONDS
        assert stall.reason(each) is None
