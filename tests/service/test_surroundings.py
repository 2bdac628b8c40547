"""What a worker says and does when what it stands on is missing, gone, or shared."""

from collections.abc import Callable

import psutil
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import NewPartitions  # type: ignore[attr-defined] # its documented place

from streamsplit.kafka.broker import DevelopmentCluster
from tests.service.conftest import Deploy
from tests.service.deployed import PATIENCE_SECONDS, Deployed, Sent, flights

pytestmark = [pytest.mark.broker, pytest.mark.timeout(1200)]

CONTROL_ALONE = "serve-delay-1.yaml"


def _grow(deployed: Deployed, words: tuple[str, ...], partitions: int) -> None:
    admin = deployed.connection.admin()
    asked = [NewPartitions(deployed.topics.name(word), partitions) for word in words]
    for future in admin.create_partitions(asked).values():
        future.result()


def test_a_worker_waits_for_missing_topics_and_names_the_cure(deploy: Deploy) -> None:
    deployed = deploy(partitions=None)
    worker = deployed.run()
    said = worker.until_unready("missing topics")
    assert deployed.topics.requests in said
    assert "streamsplit topics create" in said
    assert worker.ask("live")[0] == 200
    deployed.do("topics", "create", "--partitions", "1")
    assert "streamsplit apply -f" in worker.until_unready("nothing is applied yet")
    deployed.apply(CONTROL_ALONE)
    worker.until_ready()
    deployed.send(flights(50))
    deployed.until_served()
    assert deployed.verify()["outputs"] == 50
    assert worker.stop() == 0


def test_a_second_process_with_the_same_slot_refuses_and_names_it(deploy: Deploy) -> None:
    deployed = deploy()
    first = deployed.run("worker-7")
    deployed.apply(CONTROL_ALONE)
    first.until_ready()
    second = deployed.run("worker-7")
    assert second.process.wait(PATIENCE_SECONDS) == 1
    assert "another process" in second.text
    assert "'worker-7'" in second.text
    assert "STREAMSPLIT_SLOT" in second.text
    deployed.send(flights(50))
    deployed.until_served()
    assert first.ask("ready")[0] == 200
    assert "failed at" not in first.text


def test_partitions_added_to_requests_alone_are_held_back_with_the_cure(deploy: Deploy) -> None:
    deployed = deploy()
    worker = deployed.run()
    deployed.apply(CONTROL_ALONE)
    worker.until_ready()
    deployed.send(flights(100))
    deployed.until_served()
    _grow(deployed, ("requests",), 3)
    everywhere = [Sent(each.value, each.key, partition=number % 3) for number, each in enumerate(flights(300, 100))]
    deployed.forget_producer()  # it knows of two partitions
    deployed.send(everywhere)
    said = worker.until_said("has no partner")
    assert f"partition 2 of {deployed.topics.requests}" in said
    assert "--alter" in said
    assert "--partitions 3" in said
    deployed.until_served(partitions=[0, 1])
    assert 2 not in deployed.committed()
    assert worker.ask("ready")[0] == 200
    _grow(deployed, ("outputs", "audit", "dead-letters"), 3)
    deployed.until_served()
    assert sum(partition == 2 for partition, _ in deployed.outputs()) == 100
    assert deployed.verify()["outputs"] == 400


def test_a_range_lost_to_retention_is_an_alarm_until_an_operator_accepts_it(deploy: Deploy) -> None:
    deployed = deploy()
    worker = deployed.run()
    deployed.apply(CONTROL_ALONE)
    worker.until_ready()
    deployed.send([Sent(each.value, each.key, partition=number % 2) for number, each in enumerate(flights(100))])
    deployed.until_served()
    assert worker.stop() == 0
    deployed.send([Sent(each.value, each.key, partition=number % 2) for number, each in enumerate(flights(100, 100))])
    admin = deployed.connection.admin()
    for future in admin.delete_records([TopicPartition(deployed.topics.requests, 1, 80)]).values():
        future.result()
    worker = deployed.run()
    said = worker.until_said("retention")
    assert "partition 1" in said
    assert "50 to 79" in said
    assert "streamsplit accept-loss 1 --to 80" in said
    deployed.until_served(partitions=[0])
    assert deployed.committed() == {0: 100, 1: 50}
    report = deployed.told("verify", code=1)
    assert [(gap["partition"], gap["from"], gap["to"], gap["accepted"]) for gap in report["retention"]] == [
        (1, 50, 80, False)
    ]
    deployed.do("accept-loss", "1", "--to", "80", "--reason", "known")
    deployed.until_served()
    assert deployed.committed() == {0: 100, 1: 100}
    assert [(each.partition, each.start, each.end) for s in deployed.summaries() for each in s.lost] == [(1, 50, 80)]
    assert deployed.verify()["retention"] == []


def test_a_broker_that_goes_and_comes_back_costs_nothing(
    deploy: Deploy, own_cluster: Callable[..., DevelopmentCluster]
) -> None:
    """Away for longer than a session, it may fence a static member by itself; the parent starts it again then."""
    cluster = own_cluster()
    deployed = deploy(brokers=cluster.bootstrap)
    worker = deployed.run("worker", "--workers", "1")
    deployed.apply(deployed.watched("delay-v2.yaml"))
    deployed.send(flights(2_000))
    (node,) = cluster.nodes
    node.kill()
    assert ".control" in worker.until_unready("cannot be confirmed")
    assert worker.process.poll() is None
    node.start()
    worker.until_ready()
    deployed.send(flights(2_000, 2_000))
    deployed.until_served()
    assert worker.ask("live")[0] == 200
    assert deployed.verify()["outputs"] == 4_000
    family = psutil.Process(worker.process.pid).children(recursive=True)
    node.kill()
    worker.until_unready("cannot be confirmed")
    assert worker.stop() == 0, "a worker that is told to stop does not wait for brokers"
    assert not any(process.is_running() for process in family)
