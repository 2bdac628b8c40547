"""Probes through real model processes: as large for both arms, one after the other, and never in anybody's way."""

import os
import signal
import time
from statistics import median
from typing import Any

import numpy as np
import pytest

from streamsplit.core.guards import LatencyGuard
from streamsplit.core.records import Outcome
from streamsplit.core.rollout import Limits
from streamsplit.inference.breakers import Breakers
from streamsplit.inference.dispatch import Dispatcher
from streamsplit.inference.job import Collected, Job
from streamsplit.inference.probing import MOST_ROWS, PAUSE_SECONDS, Probed, Prober

PATIENT = 20.0
"""A budget, and a time-out of runs that end, that no machine is too slow for."""

GIVEN_UP = 5.0
"""A budget that is waited for to its end."""

HUGE = 1 << 40
"""Turns of a loop that never ends."""


def job_of(inputs: dict[str, Any], assigned: Any, arms: list[Any], **settings: Any) -> Job:
    """A batch; where nothing hangs, no machine is too slow for it."""
    return Job(inputs, np.array(assigned, np.int8), arms, **{"limits": Limits(PATIENT), **settings})


def served(job: Job) -> Collected:
    return Dispatcher().submit(job).collect(lambda: True)


def consider(prober: Prober, job: Job, breakers: Breakers | None = None) -> Collected:
    """Serve a batch, and have it considered often enough for a hash to choose it."""
    collected = served(job)
    for _ in range(32):
        prober.consider(job, collected.predictions, breakers or Breakers(), LatencyGuard())
    return collected


def ended(prober: Prober, rollout: int = -1) -> tuple[Probed, ...]:
    """What the probe under way shows in the end."""
    for _ in range(8):
        prober.give_way()
        prober.poll()
    return prober.take(rollout)


def scales(models: Any) -> None:
    models.put_scale("scale@1", 2.0)
    models.put_scale("scale@2", 3.0)


@pytest.mark.parametrize("rows", [2, 300])
def test_a_probe_runs_as_many_rows_through_both_arms(models: Any, rows: int) -> None:
    scales(models)
    job_inputs, assigned = {"x": np.ones((rows, 3), np.float32)}, [row % 2 for row in range(rows)]
    with models.running("scale@1") as control, models.running("scale@2", name="canary") as canary:
        prober = Prober("w-0", PATIENT)
        consider(prober, job_of(job_inputs, assigned, [control, canary], rollout=4))
        (probed,) = ended(prober, rollout=4)
    assert (probed.arm, probed.timing.rows) == ("canary", min(rows // 2, MOST_ROWS))
    assert min(probed.timing.control_micros, probed.timing.candidate_micros) > 0
    assert not probed.timing.control_over
    assert not probed.timing.candidate_over


def test_mirrored_rows_are_probed_where_a_candidate_has_none_of_its_own(models: Any) -> None:
    scales(models)
    inputs = {"x": np.ones((9, 3), np.float32)}
    with models.running("scale@1") as control, models.running("scale@2", name="canary") as canary:
        prober, mirrors = Prober("w-0", PATIENT), {1: np.array([2, 5, 7])}
        job = job_of(inputs, [0] * 9, [control, canary], mirrors=mirrors, budget_seconds=PATIENT)
        consider(prober, job)
        (probed,) = ended(prober)
    assert probed.timing.rows == 3


def test_a_slow_candidate_takes_longer_in_its_probes(models: Any) -> None:
    models.put_constant("constant@1", answer=7.0)
    models.put_looper("loop@2")
    ratios = []
    with models.running("constant@1") as control, models.running("loop@2", name="canary") as canary:
        job = job_of({"x": np.array([1, 50_000])}, [0, 1], [control, canary])
        for _ in range(5):  # a machine that halts may halt in one of them
            prober = Prober("w-0", PATIENT)
            consider(prober, job)
            (probed,) = ended(prober)
            ratios.append(probed.timing.candidate_micros / probed.timing.control_micros)
    assert median(ratios) > 2


def test_a_candidate_that_hangs_in_a_probe_is_over_its_budget_and_the_next_batch_has_all_its_answers(
    models: Any,
) -> None:
    models.put_constant("constant@1", answer=7.0)
    models.put_looper("loop@2")
    limits, x = Limits(timeout_seconds=1.0), np.array([1, 1])  # of the batch that follows it
    with models.running("constant@1") as control, models.running("loop@2", name="canary") as canary:
        prober = Prober("w-0")
        job = job_of({"x": x}, [0, 1], [control, canary])
        collected = served(job)
        x[1] = HUGE  # what it answered in the batch hangs in the probe
        for _ in range(32):
            prober.consider(job, collected.predictions, Breakers(), LatencyGuard())
        (probed,) = ended(prober)
        assert probed.timing.candidate_over
        assert probed.timing.candidate_micros >= 20_000
        began = time.monotonic()
        after = served(job_of({"x": np.array([1, 1])}, [0, 1], [control, canary], limits=limits))
        assert time.monotonic() - began < 10 * limits.timeout_seconds
    assert after.predictions.outputs["y"].tolist() == [7.0, 7.0]
    assert after.predictions.outcomes.tolist() == [Outcome.OK, Outcome.FALLBACK_TIMEOUT]


def test_an_arm_that_is_killed_in_a_probe_says_nothing_of_its_time(models: Any) -> None:
    scales(models)
    inputs = {"x": np.ones((2, 3), np.float32)}
    with models.running("scale@1") as control, models.running("scale@2", name="canary") as canary:
        prober = Prober("w-0", PATIENT)
        job = job_of(inputs, [0, 1], [control, canary])
        collected = served(job)
        pid = canary.status.pid
        os.kill(pid, signal.SIGSTOP)
        for _ in range(32):
            prober.consider(job, collected.predictions, Breakers(), LatencyGuard())
        os.kill(pid, signal.SIGKILL)
        models.reached(canary, lambda status: status.ready and status.pid != pid)
        assert ended(prober) == ()


def test_at_most_one_probe_begins_in_the_pause_between_two_and_only_of_chosen_batches(models: Any) -> None:
    scales(models)
    inputs = {"x": np.ones((2, 3), np.float32)}
    with models.running("scale@1") as control, models.running("scale@2", name="canary") as canary:
        prober, job = Prober("w-0", PATIENT), job_of(inputs, [0, 1], [control, canary])
        began = time.monotonic()
        consider(prober, job)
        assert len(ended(prober)) == 1
        consider(prober, job)
        again = ended(prober)
        assert again == () or time.monotonic() - began >= PAUSE_SECONDS


def test_candidates_that_may_not_be_asked_and_batches_without_control_are_not_probed(models: Any) -> None:
    scales(models)
    inputs = {"x": np.ones((2, 3), np.float32)}
    with models.running("scale@1") as control, models.running("scale@2", name="canary") as canary:
        for assigned, breakers in (
            ([0, 1], Breakers(-1, {}, {"canary": "open"})),
            ([1, 1], Breakers()),
            ([0, 0], Breakers()),
        ):
            prober = Prober("w-0", PATIENT)
            consider(prober, job_of(inputs, assigned, [control, canary]), breakers)
            assert ended(prober) == ()


def test_what_was_probed_under_another_rollout_is_forgotten(models: Any) -> None:
    scales(models)
    inputs = {"x": np.ones((2, 3), np.float32)}
    with models.running("scale@1") as control, models.running("scale@2", name="canary") as canary:
        prober = Prober("w-0", PATIENT)
        consider(prober, job_of(inputs, [0, 1], [control, canary], rollout=4))
        assert ended(prober, rollout=5) == ()
        assert prober.take(4) == ()


def test_where_control_hangs_the_candidate_is_timed_all_the_same(models: Any) -> None:
    models.put_looper("loop@1")
    models.put_constant("constant@2", answer=7.0)
    x = np.array([1, 1])
    with models.running("loop@1") as control, models.running("constant@2", name="canary") as canary:
        prober, job = Prober("w-0", GIVEN_UP), job_of({"x": x}, [0, 1], [control, canary])
        collected = served(job)
        x[1] = HUGE
        for _ in range(32):
            prober.consider(job, collected.predictions, Breakers(), LatencyGuard())
        (probed,) = ended(prober)
    assert (probed.timing.control_over, probed.timing.candidate_over) == (True, False)
    assert 0 < probed.timing.candidate_micros < GIVEN_UP * 1e6 <= probed.timing.control_micros
