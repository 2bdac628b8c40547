"""`kill -9` of workers at the points where a transaction could be torn."""

import random
import signal
from collections.abc import Callable

import pytest

from tests.faults.conftest import Tier
from tests.faults.deployment import PATIENCE_SECONDS, Deployment
from tests.faults.kept_worker import Fault, until

pytestmark = [pytest.mark.broker, pytest.mark.timeout(1200)]

POINTS = ("consumed", "produced", "offsets_sent", "committing")


def kills(points: tuple[str, ...], rounds: int, seed: int) -> list[Fault]:
    """Each point so many times; a kill during the commit strikes up to 3 ms after it began."""
    dice = random.Random(seed)
    return [
        Fault(point, dice.randint(2, 40), delay=dice.uniform(0.0002, 0.003) if point == "committing" else 0.0)
        for _ in range(rounds)
        for point in points
    ]


def test_a_worker_killed_at_any_point_loses_and_doubles_nothing(under_load: Deployment, tier: Tier) -> None:
    """Two workers with static slots take turns to die; each restarted one goes on at once."""
    under_load.apply()
    workers = [
        under_load.worker("w-0", kills(POINTS[0::2], tier.rounds, 1)),
        under_load.worker("w-1", kills(POINTS[1::2], tier.rounds, 2)),
    ]
    with under_load.traffic() as traffic:
        for turn in range(2 * tier.rounds):
            until(
                lambda turn=turn: all(len(worker.exits) > turn for worker in workers),
                PATIENCE_SECONDS,
                lambda turn=turn: f"kills {turn}; {under_load.tails()}",
            )
            under_load.turn(75 if turn % 2 == 0 else 25)
        under_load.wait_served(tier.requests)
        sent = traffic.end()
    under_load.wait_all_served()
    report = under_load.prove(sent)
    assert report.unrouted + report.routed == 0
    for worker in workers:
        assert worker.exits == [*[-signal.SIGKILL] * 2 * tier.rounds, 0]


def test_a_killed_worker_loses_and_doubles_nothing_with_kip_848(
    on_its_own: Callable[..., Deployment], tier: Tier
) -> None:
    """The broker gives the dead member's partitions to its successor after its own session time-out."""
    deployment = on_its_own(
        group_consumer_session_timeout_ms="6000",
        group_consumer_min_session_timeout_ms="6000",
        group_consumer_heartbeat_interval_ms="500",
    )
    deployment.apply()
    points = [*POINTS, "committed"][: tier.rounds] if tier.rounds > 1 else ["offsets_sent"]
    worker = deployment.worker("w-0", kills(tuple(points), 1, 3), protocol="consumer")
    with deployment.traffic() as traffic:
        for turn in range(len(points)):
            until(
                lambda turn=turn: len(worker.exits) > turn,
                PATIENCE_SECONDS,
                lambda turn=turn: f"kill {turn}\n{deployment.tails()}",
            )
            deployment.turn(75 if turn % 2 == 0 else 25)
        deployment.wait_served(tier.requests)
        sent = traffic.end()
    deployment.wait_all_served()
    report = deployment.prove(sent)
    assert report.unrouted + report.routed == 0
    assert worker.exits == [*[-signal.SIGKILL] * len(points), 0]
