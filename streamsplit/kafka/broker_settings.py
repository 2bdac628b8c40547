"""The server properties of the development broker's nodes."""

import random
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_LOOPBACK = "127.0.0.1"
_FIRST_PORT, _LAST_PORT = 20_000, 31_999
_IN_SYNC_OF_THREE = 2


@dataclass(frozen=True, slots=True)
class Address:
    """Where a node listens.

    Attributes:
        node: Its number, from 1.
        directory: Its directory id, as Kafka wants it (22 characters of base64).
        clients: Port for clients and brokers.
        quorum: Port of the controllers' quorum.
    """

    node: int
    directory: str
    clients: int
    quorum: int

    @property
    def bootstrap(self) -> str:
        """`host:port` for clients."""
        return f"{_LOOPBACK}:{self.clients}"

    @property
    def controller(self) -> str:
        """`host:port` of its controller."""
        return f"{_LOOPBACK}:{self.quorum}"

    @property
    def voter(self) -> str:
        """Its entry in the first quorum."""
        return f"{self.node}@{self.controller}:{self.directory}"


def free_ports(count: int) -> list[int]:
    """Ports of the loopback interface that nobody listens on.

    They lie below the range the kernel gives to outgoing connections, so that a node that is stopped finds its port
    free when it starts again.
    """
    ports: list[int] = []
    for port in random.sample(range(_FIRST_PORT, _LAST_PORT + 1), _LAST_PORT - _FIRST_PORT):
        if len(ports) == count:
            break
        with socket.socket() as probe:
            try:
                probe.bind((_LOOPBACK, port))
            except OSError:
                continue
        ports.append(port)
    return ports


def development_properties(nodes: int) -> dict[str, str]:
    """What a development cluster of this size sets beside addresses and folders."""
    replicas = min(nodes, 3)
    in_sync = _IN_SYNC_OF_THREE if replicas > _IN_SYNC_OF_THREE else 1
    return {
        "process.roles": "broker,controller",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "auto.create.topics.enable": "false",
        "default.replication.factor": f"{replicas}",
        "min.insync.replicas": f"{in_sync}",
        "offsets.topic.replication.factor": f"{replicas}",
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.replication.factor": f"{replicas}",
        "transaction.state.log.min.isr": f"{in_sync}",
        "transaction.state.log.num.partitions": "4",
        "share.coordinator.state.topic.replication.factor": f"{replicas}",
        "share.coordinator.state.topic.min.isr": f"{in_sync}",
        "share.coordinator.state.topic.num.partitions": "1",
        # A group of one developer need not wait for others to join, and may notice a dead member early.
        "group.initial.rebalance.delay.ms": "0",
        "group.min.session.timeout.ms": "1000",
        "group.consumer.min.session.timeout.ms": "1000",
        "group.consumer.session.timeout.ms": "10000",
        "group.consumer.min.heartbeat.interval.ms": "500",
        "group.consumer.heartbeat.interval.ms": "1000",
        # A killed node may come back as soon as its registration has expired; 9 s by default.
        "broker.session.timeout.ms": "4000",
        "broker.heartbeat.interval.ms": "500",
        # Small on one machine: threads, the cleaner's buffer (128 MiB by default), files of deleted topics.
        "num.network.threads": "2",
        "num.io.threads": "4",
        "num.recovery.threads.per.data.dir": "2",
        "log.cleaner.dedupe.buffer.size": "16777216",
        "log.segment.delete.delay.ms": "1000",
    }


def server_properties(
    address: Address, quorum: Sequence[Address], folder: Path, extra: Mapping[str, str]
) -> dict[str, str]:
    """All properties of one node; `extra` wins."""
    return {
        **development_properties(len(quorum)),
        "node.id": f"{address.node}",
        "listeners": f"PLAINTEXT://{address.bootstrap},CONTROLLER://{address.controller}",
        "controller.quorum.bootstrap.servers": ",".join(each.controller for each in quorum),
        "log.dirs": f"{folder / 'data'}",
        **extra,
    }
