"""The development broker is a real Kafka that comes and goes with its owner."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import NewTopic

from streamsplit.core.errors import ServiceError
from streamsplit.kafka.broker import DevelopmentCluster
from streamsplit.kafka.clients import Connection

pytestmark = pytest.mark.broker

OWNER = """
import signal, time
from streamsplit.kafka.broker import DevelopmentCluster
# Whoever runs the tests in the background has SIGINT ignored, and children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
cluster = DevelopmentCluster({nodes})
cluster.start()
print(cluster.folder, flush=True)
time.sleep(600)
"""


def _javas(folder: str) -> list[psutil.Process]:
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if "java" in "".join((process.info["cmdline"] or [""])[:1]) and folder in " ".join(process.info["cmdline"])
    ]


def _until(condition: object) -> None:
    assert callable(condition)
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.05)


def _create(connection: Connection, topic: str) -> None:
    admin = connection.admin()
    for future in admin.create_topics([NewTopic(topic, 1)]).values():
        future.result()


def _in_sync(connection: Connection, topic: str) -> int:
    """Replicas in sync; 0 as long as the node that is asked has not heard of the topic's partition."""
    partitions = connection.admin().list_topics(topic, timeout=10).topics[topic].partitions
    return len(partitions[0].isrs) if partitions else 0


def _end(connection: Connection, topic: str) -> int:
    reader = connection.reader("end")
    try:
        return int(reader.get_watermark_offsets(TopicPartition(topic, 0), timeout=60, cached=False)[1])
    finally:
        reader.close()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_cluster_leaves_no_process_and_no_folder_when_its_owner_dies(number: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", OWNER.format(nodes=1)], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        try:
            folder = owner.stdout.readline().strip()
            running = len(_javas(folder))
        finally:
            os.kill(owner.pid, number)
        owner.wait()
    assert running == 1
    _until(lambda: not _javas(folder) and not Path(folder).exists())


def test_a_broker_dies_with_its_guard() -> None:
    with DevelopmentCluster() as cluster:
        (java,) = _javas(str(cluster.folder))
        guard = java.parent()
        assert guard is not None
        assert "broker_guard.py" in " ".join(guard.cmdline())
        guard.kill()
        _until(lambda: not java.is_running() or java.status() == psutil.STATUS_ZOMBIE)
        assert not cluster.nodes[0].running


def test_a_killed_node_comes_back_with_what_was_written() -> None:
    with DevelopmentCluster() as cluster:
        connection = Connection(cluster.bootstrap)
        _create(connection, "kept")
        producer = connection.producer("writer")
        producer.produce("kept", b"value")
        assert producer.flush(60) == 0
        cluster.nodes[0].kill()
        assert not cluster.nodes[0].running
        cluster.nodes[0].start()
        assert _end(connection, "kept") == 1


def test_three_nodes_hold_three_replicas_and_outlive_the_loss_of_one() -> None:
    with DevelopmentCluster(3) as cluster:
        connection = Connection(cluster.bootstrap)
        _create(connection, "kept")
        _until(lambda: _in_sync(connection, "kept") == 3)
        cluster.nodes[0].kill()
        producer = connection.producer("writer")
        failures: list[object] = []
        producer.produce("kept", b"value", on_delivery=lambda error, _: failures.append(error))
        assert producer.flush(60) == 0
        assert failures == [None]


def test_a_setting_that_kafka_refuses_is_shown_with_the_brokers_own_words() -> None:
    cluster = DevelopmentCluster(properties={"num.io.threads": "none"})
    with pytest.raises(ServiceError, match=r"num\.io\.threads"):
        cluster.start()
    assert cluster.folder is not None
    assert not cluster.folder.exists()
