"""`run --workers 2`: a parent, its workers and their model processes, and how all of them end."""

import os
import signal
from collections.abc import Iterator

import psutil
import pytest

from tests.service.conftest import Deploy
from tests.service.deployed import PATIENCE_SECONDS, Deployed, Running, flights, until

pytestmark = pytest.mark.broker


@pytest.fixture(scope="module")
def deployed(deploy: Deploy) -> Deployed:
    return deploy(partitions=4)


@pytest.fixture
def parent(deployed: Deployed) -> Iterator[Running]:
    """A parent with two workers, that serves."""
    running = deployed.run("host", "--workers", "2")
    deployed.apply("serve-delay-1.yaml")
    running.until_ready()
    yield running
    running.kill()


def _family(running: Running) -> list[psutil.Process]:
    """Workers and model processes below a parent."""
    return psutil.Process(running.process.pid).children(recursive=True)


def _worker(running: Running, slot: str) -> psutil.Process:
    """The process of one worker, by the model processes it says it has."""
    (arm,) = running.status()[slot]["arms"]
    model = psutil.Process(arm["pid"])
    children = psutil.Process(running.process.pid).children()
    return next(child for child in children if child in model.parents())


def _claimed(running: Running) -> list[int]:
    """The partitions that the workers read."""
    return sorted(int(number) for each in running.status().values() for number in each.get("reading", ()))


def _gone(processes: list[psutil.Process]) -> bool:
    return not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes)


def test_a_killed_worker_is_started_again_and_takes_its_partitions_back(deployed: Deployed, parent: Running) -> None:
    assert parent.ask("live") == (200, "ok\n")
    assert sorted(parent.status()) == ["host-0", "host-1"]
    until(lambda: _claimed(parent) == [0, 1, 2, 3], PATIENCE_SECONDS, parent.status)
    places = deployed.send(flights(2_000))
    deployed.until_served()
    family = _family(parent)
    victim = _worker(parent, "host-1")
    doomed = [victim, *victim.children(recursive=True)]
    victim.kill()
    assert "host-1 ended with code -9" in parent.until_unready("host-1")
    until(lambda: _gone(doomed), PATIENCE_SECONDS, "model processes outlive their worker")
    places += deployed.send(flights(2_000, 2_000))
    parent.until_ready()
    deployed.until_served()
    assert parent.status()["host-1"]["process_restarts"] == 1
    assert parent.status()["host-0"]["process_restarts"] == 0
    assert set(deployed.outputs()) == set(places)
    family += _family(parent)
    before = deployed.committed()
    mapped = {each.path for process in _family(parent) for each in process.memory_maps()}
    assert not any(path.startswith("/dev/shm") for path in mapped)  # noqa: S108 # nothing there is what is asserted
    assert parent.stop(signal.SIGTERM) == 0
    assert _gone(family)
    assert deployed.committed() == before


def test_workers_leave_by_themselves_when_their_parent_is_killed(parent: Running) -> None:
    family = _family(parent)
    assert len(family) >= 4
    os.kill(parent.process.pid, signal.SIGKILL)
    parent.process.wait(PATIENCE_SECONDS)
    until(lambda: _gone(family), PATIENCE_SECONDS, lambda: [each for each in family if not _gone([each])])


def test_a_stop_under_load_finishes_what_is_open_and_nothing_is_served_twice(deployed: Deployed) -> None:
    worker = deployed.run("host-0", BATCH__RECORDS="200")
    worker.until_ready()
    sent = deployed.send(flights(20_000))
    until(lambda: worker.status()["totals"].get("requests", 0) > 0, PATIENCE_SECONDS, worker.why)
    assert worker.stop() == 0
    committed = deployed.committed()
    outputs = deployed.outputs()
    mine = [place for place in sent if place[1] < committed[place[0]]]
    # All that it wrote is behind its offsets, and nothing beyond them was written.
    assert {place for place in outputs if place in set(sent)} == set(mine)
    again = deployed.run("host-0")
    deployed.until_served()
    deployed.verify()
    assert set(sent) <= set(deployed.outputs())
    assert again.stop(signal.SIGINT) == 0
