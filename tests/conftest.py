"""The Kafka that tests run on, names of their own on it, and no time limits within a test."""

import os
import re
import uuid
from collections.abc import Callable, Iterator, Mapping

import pytest
from confluent_kafka import KafkaException
from hypothesis import settings

from streamsplit.kafka.broker import DevelopmentCluster
from streamsplit.kafka.broker_settings import development_properties, free_ports
from streamsplit.kafka.clients import Connection
from streamsplit.kafka.jars import KAFKA_VERSION

BROKERS_VARIABLE = "STREAMSPLIT_TEST_BROKERS"
"""`host:port` of a running Kafka, or `docker` or `jars` to choose how one is started."""

# How long an example takes is the business of a benchmark: a busy machine is no reason to fail.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

ClusterFactory = Callable[..., DevelopmentCluster]


def _source() -> str:
    """`docker`, `jars`, or the addresses of a running Kafka."""
    named = os.environ.get(BROKERS_VARIABLE)
    if named:
        return named
    return "docker" if _docker_reachable() else "jars"


def _docker_reachable() -> bool:
    import docker

    try:
        client = docker.from_env(timeout=3)
        client.ping()
    except docker.errors.DockerException:
        return False
    client.close()
    return True


def pytest_report_header() -> str:
    """Says which Kafka the tests run on."""
    source = _source()
    words = {
        "docker": f"Kafka {KAFKA_VERSION} in Docker",
        "jars": f"Kafka {KAFKA_VERSION} from its jars, started for this session",
    }
    return f"brokers: {words.get(source, source)} (choose with {BROKERS_VARIABLE})"


@pytest.fixture(scope="session")
def brokers() -> Iterator[str]:
    """`bootstrap.servers` of the session's Kafka. No Kafka is an error, never a skip."""
    source = _source()
    if source == "jars":
        with DevelopmentCluster() as cluster:
            yield cluster.bootstrap
    elif source == "docker":
        yield from _in_docker()
    else:
        yield source


def _in_docker() -> Iterator[str]:
    from testcontainers.core.container import DockerContainer
    from testcontainers.core.wait_strategies import LogMessageWaitStrategy

    (port,) = free_ports(1)
    properties = {
        **development_properties(1),
        "node.id": "1",
        "listeners": f"PLAINTEXT://0.0.0.0:{port},CONTROLLER://localhost:9093",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
        "controller.quorum.voters": "1@localhost:9093",
    }
    container = DockerContainer(f"apache/kafka:{KAFKA_VERSION}").with_bind_ports(port, port)
    for key, value in properties.items():
        container = container.with_env(f"KAFKA_{key.upper().replace('.', '_')}", value)
    with container.waiting_for(LogMessageWaitStrategy(re.compile("Kafka Server started"))):
        yield f"127.0.0.1:{port}"


@pytest.fixture(scope="session")
def connection(brokers: str) -> Connection:
    """The way to the session's Kafka."""
    return Connection(brokers)


@pytest.fixture
def deployment(request: pytest.FixtureRequest, connection: Connection) -> Iterator[str]:
    """A deployment's name that no other test has; its topics are removed afterwards."""
    word = re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_").lower())[:40].strip("-")
    name = f"{word}-{uuid.uuid4().hex[:8]}"
    yield name
    admin = connection.admin()
    mine = [topic for topic in admin.list_topics(timeout=10).topics if topic.startswith(f"{name}.") or topic == name]
    for future in admin.delete_topics(mine, operation_timeout=10).values() if mine else ():
        try:
            future.result()
        except KafkaException as error:
            if error.args[0].name() != "UNKNOWN_TOPIC_OR_PART":
                raise


@pytest.fixture
def own_cluster() -> Iterator[ClusterFactory]:
    """Starts clusters of a test's own, for faults: `own_cluster(nodes=3, properties={...})`."""
    started: list[DevelopmentCluster] = []

    def start(nodes: int = 1, properties: Mapping[str, str] | None = None) -> DevelopmentCluster:
        cluster = DevelopmentCluster(nodes, properties=properties)
        cluster.start()
        started.append(cluster)
        return cluster

    yield start
    for cluster in started:
        cluster.stop()
