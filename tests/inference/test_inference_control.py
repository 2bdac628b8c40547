"""A failing control never makes dead letters of good requests, and no input stops a batch for ever."""

import os
import signal
import threading
from typing import Any

import numpy as np
import pytest

from streamsplit.core.records import NOBODY, Outcome
from streamsplit.inference.dispatch import Dispatcher
from streamsplit.inference.job import Collected, Job
from streamsplit.inference.waiting import Abandoned, ControlUnavailable

ENDLESS = 1 << 40
"""Turns of a loop that never ends."""

TOO_MUCH = 1 << 30
"""Floats, four times the memory that the limit leaves."""


def serve(arms: list[Any], x: list[int], *, watchdog: float = 30.0, **settings: Any) -> Collected:
    """A batch that is control's, through a dispatcher of its own."""
    job = Job({"x": np.array(x, np.int64)}, np.zeros(len(x), np.int8), arms, **settings)
    return Dispatcher(watchdog=watchdog).submit(job).collect(lambda: True)


def dead(collected: Collected) -> list[int]:
    rows = np.flatnonzero(collected.predictions.served_by == NOBODY)
    assert (collected.predictions.outcomes[rows] == Outcome.DEAD_LETTER).all()
    assert set(rows.tolist()) <= set(collected.predictions.reasons)
    return rows.tolist()


def test_rows_that_raise_alone_are_dead_letters_and_no_others(models: Any) -> None:
    models.put_gather("table@1")
    x = [row % 3 for row in range(600)]
    bad = [0, 7, 8, 255, 256, 300, 301, 302, 303, 599]
    for row in bad:
        x[row] = 50
    with models.running("table@1") as control:
        pid = control.status.pid
        collected = serve([control], x)
        assert control.status.pid == pid
    assert dead(collected) == bad
    assert "Gather" in collected.predictions.reasons[7]
    good = np.setdiff1d(np.arange(600), bad)
    np.testing.assert_array_equal(collected.predictions.outputs["y"][good], np.array([10, 20, 30.0])[good % 3])


def test_a_batch_of_nothing_but_bad_rows_ends(models: Any) -> None:
    models.put_gather("table@1")
    with models.running("table@1") as control:
        assert dead(serve([control], [50] * 300)) == list(range(300))


def test_a_row_that_alone_exhausts_the_memory_twice_is_a_dead_letter(models: Any) -> None:
    models.put_greedy("greedy@1")
    with models.running("greedy@1", memory_bytes=1 << 30) as control:
        collected = serve([control], [1, TOO_MUCH, 3])
        restarts = control.status.restarts
    assert dead(collected) == [1]
    assert collected.predictions.control_fell
    assert "alone it brings the model down: its process ran out of memory" in collected.predictions.reasons[1]
    assert collected.predictions.outputs["y"][[0, 2]].tolist() == [1, 3]
    assert restarts >= 5


def test_a_row_that_alone_hangs_twice_is_a_dead_letter(models: Any) -> None:
    models.put_looper("loop@1")
    with models.running("loop@1") as control:
        collected = serve([control], [ENDLESS], watchdog=1.0)
        assert dead(collected) == [0]
        # Once as it came, then twice where its process had proven itself; a proof that is late costs one more.
        assert control.status.restarts >= 3
    assert "alone it brings the model down: no run finished within 1 s" in collected.predictions.reasons[0]


def test_killing_control_in_a_loop_makes_no_dead_letter(models: Any) -> None:
    """Even where a row is tried alone, and its process dies under it more often than would convict it."""
    models.put_looper("loop@1")
    killed: set[int] = set()
    with models.running("loop@1") as control:

        def kill_when_busy() -> bool:
            process = control.process
            if process is not None and process.busy is not None and process.pid not in killed and len(killed) < 4:
                os.kill(process.pid, signal.SIGKILL)
                killed.add(process.pid)
            return True

        slow, before = 400_000, 0
        while len(killed) < 4:  # a run that ended while this process was halted is made longer
            killed.clear()
            before = control.status.restarts
            job = Job({"x": np.array([slow])}, np.zeros(1, np.int8), [control])
            collected = Dispatcher().submit(job).collect(kill_when_busy)
            assert dead(collected) == []
            assert not collected.predictions.control_fell  # by its own fault
            assert collected.predictions.outputs["y"].tolist() == [slow]
            slow *= 2
        assert control.status.restarts - before == 4


def test_a_control_that_is_not_there_yet_is_waited_for(models: Any) -> None:
    models.put_constant("constant@1", answer=7.0)
    with models.running("constant@1") as control:
        pid = control.status.pid
        os.kill(pid, signal.SIGKILL)
        models.reached(control, lambda status: not status.ready or status.pid != pid)
        collected = serve([control], [1, 2, 3])
        assert control.status.pid != pid
    assert collected.predictions.outputs["y"].tolist() == [7, 7, 7]
    assert collected.predictions.outcomes.tolist() == [Outcome.OK] * 3


def test_a_share_that_waits_behind_an_abandoned_one_survives_the_fall_of_both(models: Any) -> None:
    models.put_looper("loop@1")
    with models.running("loop@1") as control:
        dispatcher = Dispatcher()
        dispatcher.submit(Job({"x": np.array([ENDLESS])}, np.zeros(1, np.int8), [control]))
        flight = dispatcher.submit(Job({"x": np.array([1, 2])}, np.zeros(2, np.int8), [control]))
        os.kill(control.status.pid, signal.SIGKILL)
        collected = flight.collect(lambda: True)
    assert dead(collected) == []
    assert collected.predictions.outputs["y"].tolist() == [1, 2]


def test_waiting_for_control_ends_when_the_batch_is_not_wanted_any_more(models: Any) -> None:
    models.put_looper("loop@1")
    with models.running("loop@1") as control:
        flight = Dispatcher().submit(Job({"x": np.array([ENDLESS])}, np.zeros(1, np.int8), [control]))
        asked: list[bool] = []
        with pytest.raises(Abandoned):
            flight.collect(lambda: asked.append(True) or len(asked) < 3)
    assert len(asked) == 3


def test_a_control_that_is_stopped_says_so(models: Any) -> None:
    models.put_looper("loop@1")
    with models.running("loop@1") as control:
        flight = Dispatcher().submit(Job({"x": np.array([ENDLESS])}, np.zeros(1, np.int8), [control]))
        stopper = threading.Thread(target=control.stop)
        stopper.start()
        with pytest.raises(ControlUnavailable, match=r"loop@1.*stopped"):
            flight.collect(lambda: True)
        stopper.join()
