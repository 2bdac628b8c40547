"""A broker that does not answer in the midst of a commit: nobody knows whether it came about."""

import signal
from collections.abc import Callable

import psutil
import pytest

from streamsplit.kafka.broker import Node
from tests.faults.deployment import PATIENCE_SECONDS, Deployment
from tests.faults.kept_worker import Fault, until

pytestmark = [pytest.mark.broker, pytest.mark.timeout(1200)]

MANY = [pytest.mark.faults, pytest.mark.timeout(1200)]
STEPS = {"produced": "send_offsets", "offsets_sent": "commit", "committing": "commit"}


def broker_pid(node: Node) -> int:
    """The process of a broker, which runs below a guard."""
    (found,) = (
        process
        for process in psutil.Process().children(recursive=True)
        if process.name() == "java" and process.cmdline()[-1] == str(node.settings)
    )
    return found.pid


@pytest.mark.parametrize(
    "point",
    ["committing", pytest.param("produced", marks=MANY), pytest.param("offsets_sent", marks=MANY)],
)
def test_a_commit_that_times_out_is_neither_lost_nor_doubled(on_its_own: Callable[..., Deployment], point: str) -> None:
    """The worker gives its producer up, asks the broker where it stands, and goes on from there."""
    deployment = on_its_own()
    assert deployment.cluster is not None
    (node,) = deployment.cluster.nodes
    deployment.apply()
    worker = deployment.worker("w-0", [Fault(point, 30, signal.SIGSTOP, pid=broker_pid(node))])
    with deployment.traffic() as traffic:
        until(
            lambda: worker.said(f"w-0' failed at {STEPS[point]}"),
            PATIENCE_SECONDS,
            lambda: worker.log.read_text("utf-8"),
        )
        node.signal(signal.SIGCONT)
        deployment.wait_served(5000)
        sent = traffic.end()
    deployment.wait_all_served()
    report = deployment.prove(sent)
    assert report.routed + report.unrouted == 0
    assert worker.exits == [0]
