"""CPU time is kept apart by stage, and told once."""

import time

from streamsplit.service.stopwatch import Stopwatch


def _work(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def test_each_stage_has_the_time_since_the_lap_before() -> None:
    watch = Stopwatch()
    _work(0.02)
    watch.begin()
    _work(0.01)
    watch.lap("decode")
    watch.lap("route")
    _work(0.003)
    watch.lap("decode")
    spent = watch.take()
    assert list(spent) == ["cpu:decode", "cpu:route"]
    assert spent["cpu:decode"] >= 13_000
    assert spent["cpu:route"] < 3_000
    assert watch.take() == {}


def test_waiting_is_no_work() -> None:
    watch = Stopwatch()
    watch.begin()
    before = time.monotonic()
    while time.monotonic() < before + 0.05:
        time.sleep(0.01)
    watch.lap("wait")
    assert watch.take()["cpu:wait"] < 25_000
