"""Mirrored rows through real model processes: nobody waits for them longer than the budget, and they cost no answer."""

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from streamsplit.core.guards import Score
from streamsplit.core.records import AGREES, DIFFERS, UNKNOWN, Outcome, Reflection, Timing
from streamsplit.core.rollout import Check, Limits
from streamsplit.inference.dispatch import Dispatcher
from streamsplit.inference.job import Collected, Job
from streamsplit.inference.waiting import Abandoned
from tests.inference.conftest import INT64, ModelFolder, onnx_model

HUGE = 1 << 40
"""Turns of a loop that never ends."""

PATIENT = 20.0
"""A budget, and a time-out of runs that end, that no machine is too slow for."""

ENDLESS = 60.0
"""A time-out that nobody waits for: where it is given, something else ends the wait, long before."""

BUSY_SECONDS = 0.005
"""What each run of a candidate that is at work for long takes at least."""


def put_product(models: ModelFolder, label: str, factor: int) -> Path:
    """Answer the label y = x * factor."""
    x, y = ("x", INT64, ["N"]), ("y", INT64, ["N"])
    model = onnx_model([helper.make_node("Mul", ["x", "factor"], ["y"])], [x], [y], {"factor": np.array([factor])})
    return models.put(label, model, ([x], [y]), ({"x": [2]}, {"y": [2 * factor]}))


def shadow(
    arms: Sequence[Any], inputs: dict[str, Any], mirrored: Sequence[int], budget: float = PATIENT, **settings: Any
) -> Collected:
    """A batch of control's rows, some of them mirrored to the only candidate, through a dispatcher of its own."""
    return Dispatcher().submit(job(arms, inputs, mirrored, budget, **settings)).collect(lambda: True)


def job(
    arms: Sequence[Any], inputs: dict[str, Any], mirrored: Sequence[int], budget: float = PATIENT, **settings: Any
) -> Job:
    rows = len(next(iter(inputs.values())))
    assigned = np.array(settings.pop("assigned", [0] * rows), np.int8)
    mirrors = {1: np.array(mirrored, np.int64)}
    settings = {"limits": Limits(PATIENT), **settings}
    return Job(inputs, assigned, arms, mirrors=mirrors, budget_seconds=budget, **settings)


def reflection(collected: Collected) -> Reflection:
    assert collected.predictions.mirrored is not None
    assert collected.predictions.mirrored.keys() == {1}
    return collected.predictions.mirrored[1]


def outcomes(collected: Collected) -> list[str]:
    return [Outcome(code).label for code in reflection(collected).outcomes]


def all_by_control(collected: Collected) -> bool:
    predictions = collected.predictions
    return not predictions.served_by.any() and not predictions.outcomes.any() and not predictions.reasons


def test_control_answers_and_labels_are_compared(models: Any) -> None:
    put_product(models, "product@1", 2)
    put_product(models, "product@2", 3)
    x = np.array([0, 1, 0, 5, 7, 0], np.int64)
    with models.running("product@1") as control, models.running("product@2", name="canary") as canary:
        collected = shadow([control, canary], {"x": x}, [0, 2, 3, 4])
    assert all_by_control(collected)
    assert collected.predictions.outputs["y"].tolist() == (2 * x).tolist()
    seen = reflection(collected)
    assert seen.rows.tolist() == [0, 2, 3, 4]
    assert outcomes(collected) == ["ok"] * 4
    assert seen.agrees.tolist() == [AGREES, AGREES, DIFFERS, DIFFERS]
    assert (seen.micros > 0).all()
    assert seen.timing is None  # six rows and four are not comparable
    assert collected.update.fell == {"canary": False}


@pytest.mark.parametrize(("rows", "mirrored", "timed"), [(5, 5, 5), (700, 300, 256), (700, 200, None)])
def test_first_runs_of_as_many_rows_are_timed_beside_each_other(
    models: Any, rows: int, mirrored: int, timed: int | None
) -> None:
    models.put_scale("scale@1", 2.0)
    models.put_scale("scale@2", 3.0)
    with models.running("scale@1") as control, models.running("scale@2", name="canary") as canary:
        collected = shadow([control, canary], {"x": np.ones((rows, 3), np.float32)}, range(mirrored))
    seen, micros = reflection(collected), collected.predictions.micros
    expected = None if timed is None else Timing(timed, int(micros[0]), int(seen.micros[0]))
    assert seen.timing == expected


def test_mirrored_answers_that_pass_their_checks_have_the_wanted_number(models: Any) -> None:
    models.put_scale("scale@1", 1.0)
    models.put_root("root@2")
    x = np.array([[1, 4, 9], [1, -1, 9], [1, 49, 9]], np.float32)
    with models.running("scale@1") as control, models.running("root@2", name="canary") as canary:
        checks = {"y": Check(maximum=50.0, minimum=-2.0)}
        scored = shadow([control, canary], {"x": x}, [0, 1, 2], checks=checks, score=Score("y", 1, 0.0, 5.0))
        unscored = shadow([control, canary], {"x": x}, [0, 1, 2], checks=checks)
    np.testing.assert_array_equal(reflection(scored).scores, [2.0, np.nan, 7.0])
    assert reflection(unscored).scores is None


def test_texts_are_compared_and_fractions_beside_them_are_not(models: Any) -> None:
    models.put_carrier("carrier@1")
    inputs = {"carrier": np.array([b"UA", b"B6"] * 500, dtype=object), "number": np.arange(1000, dtype=np.float32)}
    with models.running("carrier@1") as control, models.running("carrier@1", name="canary") as canary:
        collected = shadow([control, canary], inputs, range(0, 1000, 2))
    assert set(reflection(collected).agrees.tolist()) == {AGREES}


def test_answers_of_fractions_alone_are_not_called_alike_or_different(models: Any) -> None:
    models.put_scale("scale@1", 2.0)
    models.put_scale("scale@2", 3.0)
    with models.running("scale@1") as control, models.running("scale@2", name="canary") as canary:
        collected = shadow([control, canary], {"x": np.ones((4, 3), np.float32)}, [1, 3])
    assert all_by_control(collected)
    assert (collected.predictions.outputs["y"] == 2).all()
    assert reflection(collected).agrees.tolist() == [UNKNOWN, UNKNOWN]


def test_rows_that_raise_are_the_candidates_error_and_no_others(models: Any) -> None:
    models.put_gather("table@1", table=[0.0] * 100)
    models.put_gather("table@2", table=[1.0, 2.0, 3.0])
    x = np.array([0, 1, 50, 0, 60, 1], np.int64)
    with models.running("table@1") as control, models.running("table@2", name="canary") as canary:
        collected = shadow([control, canary], {"x": x}, [0, 2, 3, 4, 5], limits=Limits(PATIENT, run_rows=4))
    assert all_by_control(collected)
    assert outcomes(collected) == ["ok", "fallback_error", "ok", "fallback_error", "ok"]
    assert collected.update.fell == {"canary": False}


def test_answers_that_fail_a_check_are_invalid(models: Any) -> None:
    models.put_scale("scale@1", 1.0)
    models.put_root("root@2")
    x = np.full((4, 3), 4, np.float32)
    x[1, 2], x[2, 0] = -1, 49
    with models.running("scale@1") as control, models.running("root@2", name="canary") as canary:
        collected = shadow([control, canary], {"x": x}, range(4), checks={"y": Check(maximum=50.0, minimum=-2.0)})
        bounded = shadow([control, canary], {"x": x}, range(4), checks={"y": Check(maximum=6.0)})
    assert all_by_control(collected)
    assert outcomes(collected) == ["ok", "fallback_invalid", "ok", "ok"]
    assert outcomes(bounded) == ["ok", "fallback_invalid", "fallback_invalid", "ok"]
    assert bounded.predictions.served_by.tolist() == [0, 0, -1, 0]


def test_nothing_is_said_about_agreement_where_control_fails(models: Any) -> None:
    put_product(models, "product@1", 1)
    put_product(models, "product@2", 1)
    x = np.array([1, 100], np.int64)
    with models.running("product@1") as control, models.running("product@2", name="canary") as canary:
        collected = shadow([control, canary], {"x": x}, [0, 1], checks={"y": Check(maximum=50)})
    assert collected.predictions.outcomes.tolist() == [Outcome.OK, Outcome.DEAD_LETTER]
    assert outcomes(collected) == ["ok", "fallback_invalid"]
    assert reflection(collected).agrees.tolist() == [AGREES, UNKNOWN]


@pytest.mark.parametrize(("how", "ran"), [(signal.SIGKILL, None), (signal.SIGSEGV, True)])
def test_a_crash_in_flight_costs_no_answer_and_is_told_from_rows_that_failed_by_themselves(
    models: Any, how: signal.Signals, *, ran: bool | None
) -> None:
    models.put_constant("constant@1", answer=7.0)
    models.put_looper("loop@2")
    with models.running("constant@1") as control, models.running("loop@2", name="canary") as canary:
        flight = Dispatcher().submit(job([control, canary], {"x": np.array([HUGE, 1])}, [0, 1]))
        os.kill(canary.status.pid, how)
        collected = flight.collect(lambda: True)
    assert all_by_control(collected)
    assert outcomes(collected) == ["fallback_error"] * 2
    assert collected.update.fell == {"canary": True}
    assert (reflection(collected).fallen, reflection(collected).ran) == (True, ran)


def test_a_hang_delays_by_the_budget_and_is_killed_when_its_time_is_over(models: Any) -> None:
    models.put_constant("constant@1", answer=7.0)
    models.put_looper("loop@2")
    budget, limits = 0.05, Limits(ENDLESS)
    with models.running("constant@1") as control, models.running("loop@2", name="canary") as canary:
        before = canary.status.pid
        began = time.monotonic()
        collected = shadow([control, canary], {"x": np.array([HUGE, 1])}, [0], budget, limits=limits)
        assert budget <= time.monotonic() - began < limits.timeout_seconds
        assert all_by_control(collected)
        assert outcomes(collected) == ["fallback_timeout"]
        assert reflection(collected).micros[0] >= budget * 1e6
        assert collected.update.fell == {"canary": True}
        assert "no mirrored run finished within the budget of 0.05 s" in collected.update.reasons["canary"]
        late = reflection(collected).timing
        assert late is not None
        assert (late.rows, late.candidate_over, late.control_over) == (2, True, False)
        assert late.candidate_micros >= budget * 1e6
        assert late.control_micros == collected.predictions.micros[0]

        again = shadow([control, canary], {"x": np.array([1, 1])}, [0], budget, limits=limits)
        assert outcomes(again) == ["fallback_timeout"]
        assert reflection(again).timing is None  # it never began: the hang is counted once
        assert canary.status.pid == before
        last = shadow([control, canary], {"x": np.array([1, 1])}, [0], limits=Limits(timeout_seconds=2.0))
        assert outcomes(last) == ["fallback_timeout"]
        assert last.update.reasons["canary"] == "no run finished within 2 s"
        models.reached(canary, lambda status: status.ready and status.pid != before)
        assert outcomes(shadow([control, canary], {"x": np.array([1, 1])}, [0])) == ["ok"]


def turns_of_milliseconds(control: Any, canary: Any) -> int:
    """Turns of the loop that take `BUSY_SECONDS` or more on this machine, also where it does nothing else."""

    def micros(turns: int) -> int:
        return int(reflection(shadow([control, canary], {"x": np.array([turns])}, [0])).micros[0])

    turns = 1000
    while min(micros(turns) for _ in range(3)) < BUSY_SECONDS * 1e6:
        turns *= 2
    return turns


def test_a_late_shadow_that_is_at_work_keeps_what_it_answered_in_time(models: Any) -> None:
    models.put_constant("constant@1", answer=7.0)
    models.put_looper("loop@2")
    rows, limits = 200, Limits(ENDLESS, run_rows=1)
    with models.running("constant@1") as control, models.running("loop@2", name="canary") as canary:
        x = np.full(rows, turns_of_milliseconds(control, canary))
        for _ in range(10):  # on a machine that halts, all or none of them may be in time
            collected = shadow([control, canary], {"x": x}, range(rows), 0.3, limits=limits)
            freed = shadow([control, canary], {"x": np.array([1])}, [0], ENDLESS, limits=Limits(ENDLESS))
            assert outcomes(freed) == ["ok"]  # it takes its turn when the given-up rows are done
            ended = outcomes(collected)
            if len(set(ended)) == 2:
                break
    assert set(ended) == {"ok", "fallback_timeout"}
    assert ended == sorted(ended, reverse=True)  # in order: those in time first
    assert collected.update.fell == {}
    assert (reflection(collected).fallen, reflection(collected).ran) == (False, None)


def test_an_arms_own_rows_come_first_and_keep_their_answers(models: Any) -> None:
    models.put_carrier("carrier@1")
    rows = 3000
    carriers = np.array([b"UA", b"B6", "ü".encode()] * (rows // 3), dtype=object)
    inputs = {"carrier": carriers, "number": np.arange(rows, dtype=np.float32)}
    assigned = [row % 2 for row in range(rows)]
    with models.running("carrier@1") as control, models.running("carrier@1", name="canary") as canary:
        for _ in range(3):
            collected = shadow([control, canary], inputs, range(0, rows, 2), assigned=assigned)
            assert collected.predictions.served_by.tolist() == assigned
            assert collected.predictions.outputs["full"][:3].tolist() == [b"UNITED", b"JETBLUE", "Überland".encode()]
            np.testing.assert_array_equal(collected.predictions.outputs["twice"], 2 * inputs["number"])
            assert set(outcomes(collected)) == {"ok"}
            assert set(reflection(collected).agrees.tolist()) == {AGREES}
            assert (reflection(collected).fallen, reflection(collected).ran) == (False, False)
    assert collected.update.fell == {"canary": False}


def test_mirrored_rows_end_as_the_arms_own_when_its_process_falls_on_these(models: Any) -> None:
    models.put_constant("constant@1", answer=7.0)
    models.put_looper("loop@2")
    with models.running("constant@1") as control, models.running("loop@2", name="canary") as canary:
        collected = shadow(
            [control, canary], {"x": np.array([HUGE, 1])}, [1], assigned=[1, 0], limits=Limits(timeout_seconds=0.1)
        )
    assert collected.predictions.outcomes.tolist() == [Outcome.FALLBACK_TIMEOUT, Outcome.OK]
    assert outcomes(collected) == ["fallback_timeout"]
    assert collected.update.fell == {"canary": True}
    assert (reflection(collected).fallen, reflection(collected).ran) == (True, None), "its own rows tell of the fall"
    assert dict(collected.predictions.ran) == {1: True}


def test_own_rows_behind_a_shadow_that_is_still_at_work_wait_no_longer_than_the_timeout(models: Any) -> None:
    models.put_constant("constant@1", answer=7.0)
    models.put_looper("loop@2")
    rows, limits = 6000, Limits(timeout_seconds=5.0, run_rows=1)
    with models.running("constant@1") as control, models.running("loop@2", name="canary") as canary:
        x = np.full(rows, turns_of_milliseconds(control, canary))
        shadow([control, canary], {"x": x}, range(rows), 0.01, limits=limits)
        began = time.monotonic()
        collected = shadow([control, canary], {"x": np.array([1, 1])}, [1], assigned=[1, 0], limits=limits)
        # Less by far than the work that was given up.
        assert time.monotonic() - began < 0.8 * rows * BUSY_SECONDS
    assert collected.predictions.outputs["y"].tolist() == [7.0, 7.0]
    assert collected.predictions.outcomes.tolist() == [Outcome.FALLBACK_TIMEOUT, Outcome.OK]
    assert "busy for too long with rows that were given up" in collected.predictions.reasons[0]


def test_own_rows_behind_a_shadow_that_hangs_wait_no_longer_than_the_timeout(models: Any) -> None:
    models.put_constant("constant@1", answer=7.0)
    models.put_looper("loop@2")
    limits = Limits(timeout_seconds=5.0)
    with models.running("constant@1") as control, models.running("loop@2", name="canary") as canary:
        shadow([control, canary], {"x": np.array([HUGE])}, [0], 0.01, limits=limits)
        began = time.monotonic()
        collected = shadow([control, canary], {"x": np.array([1, 1])}, [1], assigned=[1, 0], limits=limits)
        assert time.monotonic() - began < 5 * limits.timeout_seconds  # the run itself would never end
    assert collected.predictions.outputs["y"].tolist() == [7.0, 7.0]
    assert collected.predictions.outcomes.tolist() == [Outcome.FALLBACK_TIMEOUT, Outcome.OK]


def test_candidates_that_are_not_asked_say_why(models: Any) -> None:
    models.put_scale("scale@1", 2.0)
    models.put_scale("scale@2", 3.0)
    x = {"x": np.ones((3, 3), np.float32)}
    with models.running("scale@1") as control, models.running("scale@2", name="canary") as canary:
        missing = shadow([control, None], x, [0, 1])
        stale = shadow([control, canary], x, [0, 1], stale=True)
    assert outcomes(missing) == ["fallback_loading"] * 2
    assert outcomes(stale) == ["fallback_stale"] * 2
    for collected in (missing, stale):
        assert all_by_control(collected)
        assert reflection(collected).micros.tolist() == [0, 0]
        assert collected.update.fell == {}


def test_several_candidates_have_shadows_of_their_own(models: Any) -> None:
    for version in (1, 2, 3):
        put_product(models, f"product@{version}", version)
    x = np.array([0, 1, 2, 3], np.int64)
    with (
        models.running("product@1") as control,
        models.running("product@2", name="left") as left,
        models.running("product@3", name="right") as right,
    ):
        mirrors = {1: np.array([0, 1, 2]), 2: np.array([1, 3])}
        arms, limits = [control, left, right], Limits(PATIENT)
        both = Job({"x": x}, np.zeros(4, np.int8), arms, limits=limits, mirrors=mirrors, budget_seconds=PATIENT)
        collected = Dispatcher().submit(both).collect(lambda: True)
    mirrored = collected.predictions.mirrored
    assert mirrored is not None
    assert {arm: seen.agrees.tolist() for arm, seen in mirrored.items()} == {
        1: [AGREES, DIFFERS, DIFFERS],
        2: [DIFFERS, DIFFERS],
    }
    assert collected.update.fell == {"left": False, "right": False}


def test_shadows_open_the_breaker_of_their_candidate_which_is_asked_no_more(models: Any) -> None:
    models.put_constant("constant@1", answer=7.0)
    models.put_looper("loop@2")
    dispatcher, limits = Dispatcher(), Limits(ENDLESS, breaker=2)
    with models.running("constant@1") as control, models.running("loop@2", name="canary") as canary:

        def batch(x: int) -> Collected:
            flight = dispatcher.submit(job([control, canary], {"x": np.array([x])}, [0], 0.05, limits=limits))
            return flight.collect(lambda: True)

        assert dispatcher.install(batch(HUGE).update) == ()
        assert dispatcher.install(batch(1).update) == ("canary",)
        began = time.monotonic()
        assert outcomes(batch(1)) == ["fallback_open"]
        assert time.monotonic() - began < limits.timeout_seconds
    assert "budget of 0.05 s" in dispatcher.breakers.open["canary"]


def test_a_batch_that_nobody_wants_any_more_does_not_wait_for_its_shadow(models: Any) -> None:
    models.put_constant("constant@1", answer=7.0)
    models.put_looper("loop@2")
    with models.running("constant@1") as control, models.running("loop@2", name="canary") as canary:
        flight = Dispatcher().submit(job([control, canary], {"x": np.array([HUGE])}, [0], limits=Limits(30.0)))
        with pytest.raises(Abandoned):
            flight.collect(lambda: False)
