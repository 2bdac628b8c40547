"""What the judge decides through the whole pipeline, in numbers, and with its worker killed under it."""

import random
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from streamsplit.core.judge import Judge
from streamsplit.core.rollout import Phase
from streamsplit.core.status import Status
from streamsplit.kafka.clients import Connection
from tests.faults.deployment import Deployment
from tests.faults.failing_models import put_flawed
from tests.faults.kept_worker import Fault, KeptWorker, until
from tests.faults.trials import ALPHA, BY_REQUEST, BY_USER, PACE, RATE, Choice, Trials
from tests.faults.users import user_requests
from tests.inference.conftest import ModelFolder
from tests.service.judged import Recorded, decisions_of

pytestmark = [pytest.mark.broker, pytest.mark.timeout(1200)]

HEALTHY, SICK = 100, 20
KILLS = 10
"""Kills at points of the judge's transactions, and as many at random moments."""

USERS_RATE = 6_000.0
"""Of users' requests: of each user's only the first in a step is evidence."""

FEW = 2
POINTS = ("consumed", "produced", "offsets_sent", "committing", "committed")
SECONDS = 120.0
"""For one rollout, a worker that is killed and started again in the midst of it."""


def many(number: int) -> Any:
    """The numbers of `make faults`."""
    return pytest.param(number, id="many", marks=[pytest.mark.faults, pytest.mark.timeout(3600)])


@pytest.fixture
def deployed(connection: Connection, deployment: str, tmp_path: Path) -> Iterator[Deployment]:
    """With models of which 1 % of the flights fail, two versions of the same bytes, and one of which 3 % do."""
    root = tmp_path / "models"
    folder = ModelFolder(root)
    for label, share in {"flawed@1": 0.01, "flawed@2": 0.01, "flawed@3": 0.03}.items():
        put_flawed(folder, label, share)
    made = Deployment(connection, deployment, tmp_path, root)
    yield made
    made.close()


def other(serving: str) -> str:
    """The other version of the same bytes."""
    return "flawed@2" if serving == "flawed@1" else "flawed@1"


@pytest.fixture(params=["requests", "users"])
def trials_of(request: pytest.FixtureRequest, deployed: Deployment) -> Callable[[Choice], Trials]:
    """Trials over requests that are split one by one, or by users of whom some have very many."""
    ramp = BY_REQUEST if request.param == "requests" else BY_USER
    return lambda candidate: Trials(deployed, "flawed@1", candidate, ramp)


def decide(deployed: Deployment, number: int, trials: Trials) -> list[Phase]:
    """How so many rollouts end, judged by one worker over traffic."""
    worker = deployed.worker("w-0")
    by_user = trials.ramp is BY_USER
    with deployed.traffic(USERS_RATE if by_user else RATE, PACE, user_requests(PACE) if by_user else None) as traffic:
        with trials:
            for over in range(1, number + 1):
                until(lambda over=over: trials.tend() >= over, SECONDS, trials.told)
        sent = traffic.end()
    deployed.wait_all_served()
    report = deployed.prove(sent)
    assert report.decisions is not None
    assert report.decisions.decided > number
    assert worker.exits == [0]
    trials.require_judged()
    return trials.phases[:number]


@pytest.mark.parametrize("number", [pytest.param(FEW, id="once"), many(HEALTHY)])
def test_a_model_beside_its_own_bytes_is_promoted(
    deployed: Deployment, trials_of: Callable[[Choice], Trials], number: int
) -> None:
    """At most twice as many as alpha allows are taken back: it bounds the chance of each."""
    phases = decide(deployed, number, trials_of(other))
    taken_back = phases.count(Phase.ROLLED_BACK)
    assert taken_back <= max(1, 2 * ALPHA * number)
    assert phases.count(Phase.PROMOTED) == number - taken_back


@pytest.mark.parametrize("number", [pytest.param(FEW, id="once"), many(SICK)])
def test_a_model_that_fails_three_times_as_often_is_taken_back(
    deployed: Deployment, trials_of: Callable[[Choice], Trials], number: int
) -> None:
    phases = decide(deployed, number, trials_of(lambda _: "flawed@3"))
    assert phases == [Phase.ROLLED_BACK] * number


@pytest.mark.parametrize("kills", [pytest.param(FEW // 2, id="once"), many(KILLS)])
def test_a_judge_that_is_killed_decides_what_a_replay_of_the_topics_does(deployed: Deployment, kills: int) -> None:
    """At the points of its transactions, and then at random moments with another worker to take over."""
    dice = random.Random(7)
    points = [POINTS[(2 + number) % len(POINTS)] for number in range(kills)]
    faults = [
        Fault(f"judge:{point}", dice.randint(2, 12), delay=dice.uniform(0.0, 0.01) * (point == "committing"))
        for point in points
    ]
    workers = [deployed.worker("w-0", faults)]
    trials = Trials(deployed, "flawed@1", other)
    with deployed.traffic(RATE / 2, PACE) as traffic:
        with trials:
            for killed in range(1, kills + 1):
                until(
                    lambda killed=killed: trials.tend() >= 0 and len(workers[0].exits) >= killed, SECONDS, trials.told
                )
            workers.append(deployed.worker("w-1"))
            kill_judges(deployed, workers, trials, dice, kills)
            last = trials.tend()
            until(lambda: trials.tend() > last, SECONDS, trials.told)
        sent = traffic.end()
    deployed.wait_all_served()
    report = deployed.prove(sent)
    trials.require_judged()
    exits = [code for worker in workers for code in worker.exits]
    assert sorted(exits) == [-signal.SIGKILL] * 2 * kills + [0] * 2
    assert report.decisions is not None
    recorded = Recorded(deployed.connection, deployed.topics)
    decided, judged_to = recorded.decided(), recorded.committed()
    ids = [each.decision_id for each in decisions_of(decided)]
    assert len(set(ids)) == len(ids) == report.decisions.decided > 0
    again = recorded.replayed(Judge)
    assert decided == [
        value for value, each in zip(again, decisions_of(again), strict=True) if each.summaries_to <= judged_to
    ]


def kill_judges(
    deployed: Deployment, workers: list[KeptWorker], trials: Trials, dice: random.Random, kills: int
) -> None:
    """Kill whoever judges, so many times, each after it has judged for a random while."""
    struck: set[str] = set()

    def judging() -> Status | None:
        trials.tend()
        found = [each for each in deployed.statuses().values() if each.judging and each.incarnation not in struck]
        return found[0] if found else None

    for _ in range(kills):
        judge = until(judging, SECONDS, trials.told)
        decided = judge.totals.get("decisions", 0) + dice.randint(1, 6)

        def gone_on(judge: Status = judge, decided: int = decided) -> bool:
            now = judging()
            return now is None or now.incarnation != judge.incarnation or now.totals.get("decisions", 0) >= decided

        until(gone_on, SECONDS, trials.told)
        judge = until(judging, SECONDS, trials.told)
        struck.add(judge.incarnation)
        (worker,) = (each for each in workers if each.slot == judge.slot)
        before = len(worker.exits)
        worker.send_signal(signal.SIGKILL)
        until(lambda worker=worker, before=before: len(worker.exits) > before, SECONDS, trials.told)
