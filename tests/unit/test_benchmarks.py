"""What the benchmark's figures mean, on made-up records."""

import numpy as np
import pytest

from benchmarks.convergence import Convergence, Cut, Trail, cut
from benchmarks.pass_through import producer_config
from benchmarks.recorded import Written, count
from benchmarks.report import convergence_rows, throughput_rows
from benchmarks.ruler import Reading, Stretch
from benchmarks.throughput import PASS_THROUGH, STREAMSPLIT, Run
from streamsplit.core.commands import Kind
from streamsplit.core.errors import ServiceError
from streamsplit.core.summary import Summary, WindowCounts
from streamsplit.kafka.clients import Connection
from streamsplit.kafka.transaction import Transaction


def trail(*rows: tuple[int, int]) -> Trail:
    revisions, times = np.array(rows, np.int64).T
    return Trail(revisions, times)


def stretch(requests: int, seconds: float, cpu: float) -> Stretch:
    return Stretch.between(Reading(0.0, 0, 0, 0.0), Reading(seconds, int(seconds * 1000), requests, cpu))


def served(of: Stretch) -> Run:
    return Run(STREAMSPLIT, 1000, of, Written(100, 120, 300, 990, 0.1, {"ok": of.requests}))


def test_a_cut_is_told_by_the_slowest_partition() -> None:
    trails = [trail((3, 1000), (3, 1010), (7, 1012)), trail((3, 1005), (7, 1040))]
    assert cut(1002, 7, trails) == Cut(old_ms=8, new_ms=38)


def test_a_command_is_in_force_also_where_a_newer_one_overtook_it() -> None:
    assert cut(1000, 5, [trail((3, 990), (7, 1020))]) == Cut(old_ms=0, new_ms=20)


def test_a_partition_that_goes_back_to_an_older_revision_has_no_cut() -> None:
    with pytest.raises(ServiceError, match="went back"):
        cut(1000, 5, [trail((3, 990), (7, 1020), (3, 1030))])


def test_a_partition_without_a_request_behind_the_command_has_no_cut() -> None:
    with pytest.raises(ServiceError, match="denser"):
        cut(1000, 5, [trail((3, 990))])


def test_the_goal_is_held_against_the_later_end_of_the_cut() -> None:
    cuts = (*[Cut(old_ms=10, new_ms=20)] * 98, Cut(400, 501), Cut(400, 600))
    old, new = convergence_rows([Convergence(Kind.ABORT, cuts)])
    assert (new.p50, new.p99, new.maximum) == (20, 501, 600)
    assert (old.verdict, new.verdict) == ("", "p99 <= 500 ms: missed")


def test_a_ratio_is_to_the_pass_through_of_the_same_repetition() -> None:
    runs = [
        Run(PASS_THROUGH, 1000, stretch(10_000, 1.0, 0.01)),
        served(stretch(5_000, 1.0, 0.02)),
        Run(PASS_THROUGH, 1000, stretch(2_000, 1.0, 0.01)),
        served(stretch(1_000, 1.0, 0.02)),
    ]
    limit, mine = throughput_rows(runs)
    assert (limit.rate.low, limit.rate.high, mine.rate_ratio) == (2_000, 10_000, 0.5)
    assert (limit.cpu_micros.low, mine.cpu_ratio, mine.mean_batch) == (pytest.approx(1.0), pytest.approx(4.0), 990)


def test_two_looks_without_a_request_between_them_are_refused() -> None:
    with pytest.raises(ValueError, match="backlog"):
        stretch(0, 1.0, 1.0)


def test_requests_are_counted_by_outcome_and_by_assigned_arm() -> None:
    windows = (
        WindowCounts(0, -1, "control", 9, {"ok": 9}, 9),
        WindowCounts(0, -1, "canary", 3, {"ok": 2, "fallback_loading": 1}, 2),
    )
    outcomes, arms = count([Summary("w0", 0, "delay-v2", 1, 0, windows=windows)] * 2)
    assert (dict(outcomes), dict(arms)) == ({"ok": 22, "fallback_loading": 2}, {"control": 18, "canary": 6})


def test_the_pass_through_writes_with_the_settings_of_a_worker() -> None:
    connection = Connection("127.0.0.1:9092")
    assert producer_config(connection, "x") == Transaction(connection, "x", 8.0)._config
