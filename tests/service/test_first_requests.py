"""Sticky units: each unit's first request in a stay is counted, once, whoever serves it."""

import json
from collections.abc import Sequence

import pytest

from examples.flight_requests import Pace, flight_requests
from streamsplit.core.routing import bucket_of
from streamsplit.kafka.control_follower import ControlFollower
from tests.service.conftest import Deploy
from tests.service.deployed import PATIENCE_SECONDS, Deployed, Place, Running, Sent, until
from tests.service.first_requests import FirstRequests, first_requests

pytestmark = [pytest.mark.broker, pytest.mark.timeout(1200)]

BEGIN = 1_700_000_000_000
WINDOW = 1_000
"""Flights in a window of one second, and milliseconds."""

ROLLOUT = {
    "rollout": "by-aircraft",
    "arms": {"control": "delay@1", "canary": "delay@2"},
    "unit": "key",
    "steps": [{"weight": 30}, {"weight": 60}],
    "mode": "advise",
    "limits": {"timeout": "30s"},
    "judge": {
        "window": "1s",
        "grace": "1s",
        "guards": {"score": {"output": "probability", "index": 1, "range": [0, 1], "margin": "15%"}},
    },
}
"""The unit is the tail number: an aircraft flies several times a day. Every 50th flight is sent without one."""


class Sender:
    """Flights in their order, a thousand for each window of their own time."""

    def __init__(self, deployed: Deployed) -> None:
        self._deployed = deployed
        self._windows = 0

    def send(self, windows: int, *, wait: bool = True) -> Sequence[Place]:
        """Send the flights of some windows, and wait until they are served."""
        count, start = windows * WINDOW, self._windows * WINDOW
        self._windows += windows
        timing = Pace(BEGIN, 1000.0)
        requests = enumerate(flight_requests(count, start, timing))
        places = self._deployed.send(Sent(each.value, each.key if number % 50 else None) for number, each in requests)
        if wait:
            self._deployed.until_served()
        return places


def begun(deployed: Deployed, workers: Sequence[Running]) -> Sender:
    """Flights of plain control first, so that every partition was served before the rollout; then its warm-up."""
    deployed.apply("serve-delay-1.yaml")
    for worker in workers:
        worker.until_ready()
    until(
        lambda: all(worker.status().get("reading") for worker in workers),
        PATIENCE_SECONDS,
        "every worker has partitions",
    )
    sender = Sender(deployed)
    sender.send(1)
    file = deployed.folder / "rollout.json"
    file.write_text(json.dumps(ROLLOUT))
    deployed.apply(file)
    sender.send(1)
    return sender


def told(deployed: Deployed) -> FirstRequests:
    """What the summaries say, each of them checked against the audit."""
    with ControlFollower(deployed.connection, deployed.topics.control) as follower:
        assert follower.wait(lambda view: view.fresh, PATIENCE_SECONDS) is not None
        found = first_requests(deployed.summaries(), deployed.audits(), follower.state_at)
    deployed.verify()
    return found


def test_every_unit_counts_once_in_each_stay_and_movers_alone_for_the_candidate(deploy: Deploy) -> None:
    deployed = deploy(2, BATCH__RECORDS="300")
    worker = deployed.run()
    sender = begun(deployed, [worker])
    places = {0: sender.send(3)}
    deployed.do("set", "weight", "canary=60", "--wait")
    until(lambda: worker.status()["phase"] == "Paused", PATIENCE_SECONDS, worker.why)
    sender.send(1)
    places[1] = sender.send(3)
    units = worker.status()["units"]
    assert (units["partitions"], units["counting"]) == (2, 2)
    assert 0 < units["fullest"] < 0.01
    found, audits = told(deployed), deployed.audits()
    assert len({stay for stay, _ in found.arms}) == 2
    assert not found.uncounted
    for (stay, sent), exposed, weight in zip(places.items(), (0, 3000), (3000, 6000), strict=True):
        stay_of = sorted({each for each, _ in found.arms})[stay]
        names = {audits[place].unit for place in sent} - {None}
        buckets = {name: bucket_of("by-aircraft", name) for name in names if name is not None}
        assert any(audits[place].unit is None for place in sent), "some have no unit"
        movers = sum(exposed <= bucket < weight for bucket in buckets.values())
        others = sum(bucket >= weight for bucket in buckets.values())
        counted = found.arms[stay_of, "canary"], found.arms[stay_of, "control"]
        assert sum(counted) == movers + others - found.collided[stay_of]
        assert 0 <= movers - counted[0] <= found.collided[stay_of]
    bins = [sum(each.scores.values()) + each.unscored for s in deployed.summaries() for each in s.firsts]
    requests = [each.requests for summary in deployed.summaries() for each in summary.firsts]
    assert bins == requests, "first requests carry their scores"
    stays = {stay for stay, _ in found.arms}
    assert not any(each.scores for s in deployed.summaries() if s.revision >= min(stays) for each in s.windows)


@pytest.mark.parametrize("ending", ["stopped", "killed"])
def test_a_partition_that_changes_its_owner_counts_each_unit_at_most_once_and_new_ones_again(
    deploy: Deploy, ending: str
) -> None:
    deployed = deploy(2, BATCH__RECORDS="300", GROUP__STATIC="false")
    first, second = deployed.run("one"), deployed.run("two")
    sender = begun(deployed, [first, second])
    sender.send(3)
    sender.send(3, wait=False)  # batches are under way as it ends
    if ending == "stopped":
        assert first.stop() == 0
    else:
        first.kill()
    deployed.until_served()
    until(lambda: _counting(second) == 2, PATIENCE_SECONDS, second.why)
    sender.send(3)
    found = told(deployed)
    ((stay, _), *_) = found.arms
    moved = {at for at in range(2) if found.slots[stay, at][0] == "one"}
    assert moved, found.slots
    assert {at for at in range(2) if found.slots[stay, at] == ["one", "two"]} == moved
    assert second.status()["units"]["counting"] == 2
    assert second.stop() == 0
    # A worker that begins anew has to learn of all of them.
    heir = deployed.run("three")
    until(lambda: _counting(heir) == 2, PATIENCE_SECONDS, heir.why)
    before = sum(found.arms.values())
    sender.send(1)
    sender.send(3)
    found = told(deployed)
    assert sum(found.arms.values()) > before
    assert all(slots[-1] == "three" for (each, _), slots in found.slots.items() if each == stay)


def _counting(worker: Running) -> int:
    """In how many partitions it knows whom others have met."""
    units = worker.status().get("units")
    return units["counting"] if units is not None else 0
