"""Model processes that are killed, hang or eat memory: every request is answered all the same."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from streamsplit.core.rollout import Phase
from streamsplit.core.status import ArmStatus
from streamsplit.kafka.clients import Connection
from tests.faults.conftest import Tier
from tests.faults.deployment import PATIENCE_SECONDS, SPEC, Deployment
from tests.faults.kept_worker import until
from tests.inference.conftest import ModelFolder

pytestmark = [pytest.mark.broker, pytest.mark.timeout(1200)]

CONTROL, CANARY = 0, 1
BREAKER = 3


def ready_arm(deployment: Deployment, index: int, before: int | None) -> ArmStatus:
    """An arm of the worker, once another process than the one before is ready."""
    status = deployment.wait_status(
        "w-0",
        lambda status: (
            len(status.arms) > index and status.arms[index].phase == "ready" and status.arms[index].pid != before
        ),
        f"arm {index} is ready with another process than {before}",
    )
    return status.arms[index]


def kill(deployment: Deployment, index: int, before: int | None = None) -> int:
    """Kill an arm's process; returns its id."""
    pid = ready_arm(deployment, index, before).pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    return pid


def test_killed_model_processes_cost_no_answer(under_load: Deployment, tier: Tier) -> None:
    """The candidate's rows fall to control once; control's wait for its next process, as often as it is killed."""
    under_load.apply()
    worker = under_load.worker("w-0")
    with under_load.traffic() as traffic:
        under_load.wait_served(500)
        ready_arm(under_load, CANARY, kill(under_load, CANARY))
        killed = None
        for _ in range(4 * tier.rounds):
            killed = kill(under_load, CONTROL, killed)
        ready_arm(under_load, CONTROL, killed)
        under_load.wait_served(tier.requests)
        sent = traffic.end()
    under_load.wait_all_served()
    assert under_load.state().phase is Phase.PROGRESSING
    report = under_load.prove(sent)
    assert report.routed + report.unrouted == 0
    assert report.mirrored[0].outcomes["ok"] > 0
    assert worker.exits == [0]


@pytest.fixture
def with_failing_models(connection: Connection, deployment: str, tmp_path: Path, failing_models: ModelFolder) -> Any:
    made = Deployment(connection, deployment, tmp_path, failing_models.root)
    yield made
    made.close()


def test_a_candidate_that_hangs_leaks_or_crashes_is_taken_back_by_itself(
    with_failing_models: Deployment, tier: Tier
) -> None:
    """Its breaker opens, the worker writes the abort, and control answers every row it had."""
    deployment = with_failing_models
    candidates = {"hang": ("hang@1", "300ms"), "leak": ("leak@1", "3s"), "crash": ("hang@1", "30s")}
    deployment.apply({"rollout": "serve", "arms": {"control": "delay@1"}})
    worker = deployment.worker("w-0")
    with deployment.traffic() as traffic:
        for name, (label, timeout) in candidates.items():
            limits = {"timeout": timeout, "memory": "512MiB", "breaker": BREAKER}
            arms = {"control": "delay@1", "canary": label}
            deployment.apply({**SPEC, "rollout": name, "arms": arms, "limits": limits})
            if name == "crash":
                crash_until_taken_back(deployment)
            until(lambda: deployment.state().phase is Phase.ROLLED_BACK, PATIENCE_SECONDS, deployment.tails)
            assert worker.said(f"breaker open, aborting {name}")
        deployment.wait_served(tier.requests)
        sent = traffic.end()
    deployment.wait_all_served()
    report = deployment.prove(sent)
    assert report.routed + report.unrouted == 0
    assert [cut.kind for cut in report.cuts].count("abort") == len(candidates)
    assert worker.exits == [0]


def crash_until_taken_back(deployment: Deployment) -> None:
    """Let the candidate's process crash in the midst of each of its batches; it never finishes one."""
    crashed = None
    for _ in range(BREAKER):
        pid = ready_arm(deployment, CANARY, crashed).pid
        assert pid is not None
        os.kill(pid, signal.SIGSEGV)
        crashed = pid
