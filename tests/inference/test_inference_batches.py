"""Batches through real model processes: what a candidate cannot answer, control answers in the same pass."""

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamsplit.core.records import NOBODY, Outcome
from streamsplit.core.rollout import Check, Limits
from streamsplit.inference.dispatch import Dispatcher
from streamsplit.inference.job import Collected, Job

HUGE = 1 << 40
"""Turns of a loop that never ends, or floats that no machine has."""

PATIENT = Limits(timeout_seconds=20.0)
"""For runs that end: no machine is too slow for it."""


def serve(arms: list[Any], inputs: dict[str, Any], assigned: list[int], **settings: Any) -> Collected:
    """A batch through a dispatcher of its own; where nothing hangs, no machine is too slow."""
    job = Job(inputs, np.array(assigned, np.int8), arms, **{"limits": PATIENT, **settings})
    return Dispatcher().submit(job).collect(lambda: True)


def outcomes(collected: Collected) -> list[str]:
    return [Outcome(code).label for code in collected.predictions.outcomes]


def test_each_row_is_answered_by_the_arm_it_is_assigned_to(models: Any) -> None:
    models.put_scale("scale@1", 2.0)
    models.put_scale("scale@2", 3.0)
    x = np.arange(3000, dtype=np.float32).reshape(1000, 3)
    assigned = [row % 2 for row in range(1000)]
    with models.running("scale@1") as control, models.running("scale@2", name="canary") as canary:
        collected = serve([control, canary], {"x": x}, assigned)
    predictions = collected.predictions
    assert predictions.served_by.tolist() == assigned
    assert set(predictions.outcomes.tolist()) == {Outcome.OK}
    np.testing.assert_allclose(predictions.outputs["y"], x * (2 + np.array(assigned, np.float32))[:, None])
    assert (predictions.micros > 0).all()
    assert collected.update.fell == {"canary": False}


def test_texts_and_several_inputs_pass_both_ways(models: Any) -> None:
    models.put_carrier("carrier@1")
    carriers = np.array([b"UA", "ü".encode(), b"B6", b"never seen"] * 5000, dtype=object)
    numbers = np.arange(20_000, dtype=np.float32)
    with models.running("carrier@1") as control:
        outputs = serve([control], {"carrier": carriers, "number": numbers}, [0] * 20_000).predictions.outputs
    assert outputs["full"].tolist() == [b"UNITED", "Überland".encode(), b"JETBLUE", b""] * 5000
    np.testing.assert_array_equal(outputs["twice"], 2 * numbers)


@pytest.mark.parametrize("batch", [1, 8])
def test_a_model_of_a_fixed_batch_dimension_answers_any_number_of_rows(models: Any, batch: int) -> None:
    models.put_scale("scale@1", 2.0, batch=batch)
    x = np.arange(63, dtype=np.float32).reshape(21, 3)
    with models.running("scale@1") as control:
        np.testing.assert_array_equal(serve([control], {"x": x}, [0] * 21).predictions.outputs["y"], 2 * x)


def test_a_chain_feeds_outputs_into_inputs_by_name_and_keeps_the_requests_own(models: Any) -> None:
    models.put_sum("first@1", ("a", "b"), "c")
    models.put_sum("second@1", ("c", "a"), "d")
    a, b = np.array([1, 2, 3], np.float32), np.array([10, 20, 30], np.float32)
    with models.running("first@1", "second@1") as control:
        assert [spec.name for spec in control.status.signature.inputs] == ["a", "b"]
        outputs = serve([control], {"a": a, "b": b}, [0, 0, 0]).predictions.outputs
    assert {name: values.tolist() for name, values in outputs.items()} == {"d": [12, 24, 36]}


def test_rows_that_raise_are_answered_by_control_and_no_others(models: Any) -> None:
    models.put_gather("table@1", table=[0.0] * 100)
    models.put_gather("table@2", table=[1.0, 2.0, 3.0])
    x = np.array([0, 1, 2, 0, 50, 1, 2, 0, 1, 2, 60, 1], np.int64)
    with models.running("table@1") as control, models.running("table@2", name="canary") as canary:
        collected = serve([control, canary], {"x": x}, [1] * 12, limits=Limits(20.0, run_rows=6))
    bad = [4, 10]
    assert collected.predictions.served_by.tolist() == [0 if row in bad else 1 for row in range(12)]
    assert outcomes(collected) == ["fallback_error" if row in bad else "ok" for row in range(12)]
    assert sorted(collected.predictions.reasons) == bad
    assert (collected.predictions.fallen, collected.predictions.ran) == (set(), {1: False})
    assert "Gather" in collected.predictions.reasons[4]
    assert collected.update.fell == {"canary": False}


def test_rows_beside_those_that_raise_keep_their_own_answers_however_many_raise(models: Any) -> None:
    models.put_gather("table@1", table=[0.0] * 100)
    models.put_gather("table@2")
    x = np.zeros(600, np.int64)
    bad = [*range(256), 300]
    x[bad] = 50
    with models.running("table@1") as control, models.running("table@2", name="canary") as canary:
        collected = serve([control, canary], {"x": x}, [1] * 600)
    assert np.flatnonzero(collected.predictions.served_by == 0).tolist() == bad
    assert (collected.predictions.outputs["y"] == np.where(x == 50, 0, 10)).all()
    assert (collected.predictions.fallen, collected.predictions.ran) == (set(), {1: False})


def test_nan_and_failed_checks_are_answered_by_control(models: Any) -> None:
    models.put_scale("scale@1", 1.0)
    models.put_root("root@2")
    x = np.full((6, 3), 4, np.float32)
    x[1, 2], x[3, 0] = -1, 100
    with models.running("scale@1") as control, models.running("root@2", name="canary") as canary:
        collected = serve([control, canary], {"x": x}, [1] * 6, checks={"y": Check(maximum=5.0)})
    assert outcomes(collected) == ["ok", "fallback_invalid", "ok", "dead_letter", "ok", "ok"]
    assert collected.predictions.served_by.tolist() == [1, 0, 1, NOBODY, 1, 1]
    reason = collected.predictions.reasons[3]
    assert "output y is 10.0, expected a finite number, at most 5; then control: output y is 100.0" in reason


def test_a_hang_costs_one_timeout_and_no_answer(models: Any) -> None:
    models.put_constant("constant@1", answer=7.0)
    models.put_looper("loop@2")
    with models.running("constant@1") as control, models.running("loop@2", name="canary") as canary:
        before = canary.status.pid
        x = np.array([HUGE, 1, 1], np.int64)
        collected = serve([control, canary], {"x": x}, [1, 0, 1], limits=Limits(timeout_seconds=0.2))
        models.reached(canary, lambda status: status.ready and status.pid != before)
        gone(before)
    assert outcomes(collected) == ["fallback_timeout", "ok", "fallback_timeout"]
    assert collected.predictions.outputs["y"].tolist() == [7.0] * 3
    assert "no run finished within 0.2 s" in collected.predictions.reasons[0]
    assert collected.update.fell == {"canary": True}
    assert (collected.predictions.fallen, collected.predictions.ran) == ({1}, {1: True})
    assert not collected.predictions.control_fell


def test_a_suspended_candidate_is_a_hang_that_is_no_fault_of_the_rows(models: Any) -> None:
    models.put_scale("scale@1", 2.0)
    models.put_scale("scale@2", 3.0)
    with models.running("scale@1") as control, models.running("scale@2", name="canary") as canary:
        os.kill(canary.status.pid, signal.SIGSTOP)
        x = np.ones((2, 3), np.float32)
        collected = serve([control, canary], {"x": x}, [1, 1], limits=Limits(timeout_seconds=0.2))
    assert outcomes(collected) == ["fallback_timeout"] * 2
    assert "suspended from outside" in collected.predictions.reasons[0]
    assert (collected.predictions.fallen, collected.predictions.ran) == ({1}, {})


def test_an_arm_that_appears_twice_in_a_job_is_a_mistake_that_is_named(models: Any) -> None:
    models.put_scale("scale@1", 2.0)
    with models.running("scale@1") as arm, pytest.raises(ValueError, match="appears twice"):
        serve([arm, arm], {"x": np.ones((2, 3), np.float32)}, [0, 1])


def test_a_crash_in_flight_costs_no_answer(models: Any) -> None:
    models.put_constant("constant@1", answer=7.0)
    models.put_looper("loop@2")
    with models.running("constant@1") as control, models.running("loop@2", name="canary") as canary:
        before = canary.status.pid
        job = Job({"x": np.array([HUGE, 1], np.int64)}, np.array([1, 1], np.int8), [control, canary], limits=PATIENT)
        flight = Dispatcher().submit(job)
        os.kill(before, signal.SIGKILL)
        collected = flight.collect(lambda: True)
        models.reached(canary, lambda status: status.ready and status.pid != before)
    assert outcomes(collected) == ["fallback_error"] * 2
    assert collected.predictions.served_by.tolist() == [0, 0]
    assert collected.update.fell == {"canary": True}
    # Somebody killed it: its rows are no errors of rows, and the batch none of its runs.
    assert (collected.predictions.fallen, collected.predictions.ran) == ({1}, {})


def test_a_candidate_beyond_its_memory_limit_costs_no_answer(models: Any) -> None:
    models.put_constant("constant@1", answer=7.0)
    models.put_greedy("greedy@2")
    limit = 256 << 20
    with (
        models.running("constant@1") as control,
        models.running("greedy@2", name="canary", memory_bytes=limit) as canary,
    ):
        modest = serve([control, canary], {"x": np.array([1 << 20], np.int64)}, [1])
        greedy = serve([control, canary], {"x": np.array([1 << 28], np.int64)}, [1])
    assert outcomes(modest) == ["ok"]
    assert outcomes(greedy) == ["fallback_error"]
    assert "memory" in greedy.predictions.reasons[0]
    assert (modest.predictions.ran, greedy.predictions.ran) == ({1: False}, {1: True})
    assert (modest.predictions.fallen, greedy.predictions.fallen) == (set(), {1})
    assert greedy.update.fell == {"canary": True}


def test_candidates_that_are_not_asked_leave_their_rows_to_control(models: Any) -> None:
    models.put_scale("scale@1", 2.0)
    models.put_scale("scale@2", 3.0)
    x = np.ones((3, 3), np.float32)
    with models.running("scale@1") as control, models.running("scale@2", name="canary") as canary:
        missing = serve([control, None], {"x": x}, [0, 1, 1])
        stale = serve([control, canary], {"x": x}, [0, 1, 1], stale=True)
    assert outcomes(missing) == ["ok", "fallback_loading", "fallback_loading"]
    assert outcomes(stale) == ["ok", "fallback_stale", "fallback_stale"]
    for collected in (missing, stale):
        assert collected.predictions.served_by.tolist() == [0, 0, 0]
        assert (collected.predictions.outputs["y"] == 2).all()
        assert collected.update.fell == {}
        assert (collected.predictions.fallen, collected.predictions.ran) == ({1}, {})


def test_a_breaker_opens_only_by_committed_batches_and_lasts_for_the_rollout(models: Any) -> None:
    models.put_constant("constant@1", answer=7.0)
    models.put_looper("loop@2")
    dispatcher = Dispatcher()
    limits = Limits(timeout_seconds=1.0, breaker=2)
    with models.running("constant@1") as control, models.running("loop@2", name="canary") as canary:

        def batch(x: int, rollout: int = 4, limits: Limits = limits) -> Collected:
            models.reached(canary, lambda status: status.ready)
            job = Job({"x": np.array([x])}, np.array([1], np.int8), [control, canary], rollout, limits)
            return dispatcher.submit(job).collect(lambda: True)

        batch(HUGE)
        assert dispatcher.breakers.failures == {}
        assert dispatcher.install(batch(HUGE).update) == ()
        assert dispatcher.install(batch(HUGE).update) == ("canary",)
        open_breaker = batch(1)
        assert outcomes(open_breaker) == ["fallback_open"]
        assert (open_breaker.predictions.fallen, open_breaker.predictions.ran) == ({1}, {})
        assert dispatcher.install(open_breaker.update) == ()
        assert "no run finished within 1 s" in dispatcher.breakers.open["canary"]
        assert outcomes(batch(1, rollout=9, limits=PATIENT)) == ["ok"]


def test_many_batches_of_growing_size_leave_no_descriptor_behind(models: Any) -> None:
    models.put_scale("scale@1", 2.0)
    with models.running("scale@1") as control:
        dispatcher = Dispatcher()

        def descriptors_after(rows: int) -> int:
            x = np.ones((rows, 3), np.float32)
            job = Job({"x": x}, np.zeros(rows, np.int8), [control])
            assert (dispatcher.submit(job).collect(lambda: True).predictions.outputs["y"] == 2).all()
            return len(list(Path("/proc/self/fd").iterdir()))

        first = descriptors_after(1)
        # What tests before this one had open may close meanwhile.
        assert max(descriptors_after(rows) for rows in range(1, 20_000, 400)) <= first


def test_a_flight_that_nobody_collects_does_not_disturb_the_next(models: Any) -> None:
    models.put_scale("scale@1", 2.0)
    x = np.random.default_rng(1).normal(size=(5000, 3)).astype(np.float32)
    with models.running("scale@1") as control:
        dispatcher = Dispatcher()
        for _ in range(20):
            dispatcher.submit(Job({"x": x + 1}, np.zeros(5000, np.int8), [control]))
        collected = dispatcher.submit(Job({"x": x}, np.zeros(5000, np.int8), [control])).collect(lambda: True)
    np.testing.assert_array_equal(collected.predictions.outputs["y"], 2 * x)


def gone(pid: int) -> None:
    """Require that no process of this id is left, not even a zombie."""
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
