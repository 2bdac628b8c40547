"""Partitions that move between workers: one that is stopped for too long, and those that join and leave."""

import signal

import psutil
import pytest

from tests.faults.conftest import Tier
from tests.faults.deployment import PARTITIONS, PATIENCE_SECONDS, SPEC, Deployment
from tests.faults.kept_worker import Fault, until

pytestmark = [pytest.mark.broker, pytest.mark.timeout(1200)]

MOST_TURNS = 12
"""Whether a batch is in flight for a partition at the moment when it moves is chance."""

MANY = [pytest.mark.faults, pytest.mark.timeout(1200)]


@pytest.mark.parametrize(
    "point",
    [
        "offsets_sent",
        pytest.param("consumed", marks=MANY),
        pytest.param("produced", marks=MANY),
        pytest.param("committing", marks=MANY),
    ],
)
def test_a_worker_stopped_beyond_its_session_does_no_harm(under_load: Deployment, point: str) -> None:
    """The other worker takes over, also behind an open transaction; the stopped one rejoins, or ends and restarts."""
    under_load.apply()
    stopped = under_load.worker("w-0", [Fault(point, 10, signal.SIGSTOP)])
    under_load.worker("w-1")
    with under_load.traffic() as traffic:
        until(lambda: stopped.process.status() == psutil.STATUS_STOPPED, PATIENCE_SECONDS, under_load.tails)
        under_load.wait_status("w-1", lambda status: len(status.reading) == PARTITIONS, "reads all partitions")
        before = under_load.served()
        until(
            lambda: all(offset > before[number] for number, offset in under_load.served().items()),
            PATIENCE_SECONDS,
            lambda: f"every partition goes on: {before}, {under_load.served()}",
        )
        stopped.send_signal(signal.SIGCONT)
        under_load.turn(75)
        under_load.wait_status("w-0", lambda status: status.ready and status.reading, "is back")
        under_load.wait_served(sum(under_load.served().values()) + 2000)
        sent = traffic.end()
    under_load.wait_all_served()
    report = under_load.prove(sent)
    assert report.routed + report.unrouted == 0
    assert stopped.exits in ([0], [1, 0])


def test_workers_that_join_and_leave_lose_and_double_nothing(under_load: Deployment, tier: Tier) -> None:
    """A batch whose partition moves while it is at the models is dropped here and served there."""
    under_load.apply({**SPEC, "arms": {"control": "delay@1", "canary": "delay@5"}})
    last = under_load.worker("w-0", static=False)
    with under_load.traffic(rate=500) as traffic:
        under_load.wait_served(500)
        under_load.turn(90)  # of all requests to a slow model, so that it has a batch for most of the time
        dropped = turn = 0
        while turn < 2 * tier.rounds or (dropped == 0 and turn < MOST_TURNS):
            turn += 1
            joined = under_load.worker(f"w-{turn}", static=False)
            under_load.wait_status(joined.slot, lambda status: status.reading, "has partitions")
            under_load.wait_status(last.slot, lambda status: len(status.reading) < PARTITIONS, "shares them")
            assert last.stop() == 0
            status = under_load.wait_status(
                joined.slot, lambda status: len(status.reading) == PARTITIONS, "has them all"
            )
            dropped += status.totals.get("dropped_batches", 0)
            under_load.turn(75 if turn % 2 else 90)
            last = joined
        under_load.wait_served(tier.requests // 2)
        sent = traffic.end()
    under_load.wait_all_served()
    report = under_load.prove(sent)
    assert report.routed + report.unrouted == 0
    assert dropped > 0, "no batch was in flight for a partition that moved"
