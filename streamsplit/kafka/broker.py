"""A real Apache Kafka for development and tests: from its jars, without Docker, gone with its parent.

    with DevelopmentCluster() as cluster:
        connection = Connection(cluster.bootstrap)

Nodes listen on the loopback interface only. Each runs below a guard (`broker_guard.py`) that ends it and removes the
cluster's folder when this process dies, also by `kill -9`.
"""

import base64
import logging
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from confluent_kafka import KafkaException

from streamsplit.core.errors import ServiceError
from streamsplit.kafka import broker_guard
from streamsplit.kafka.broker_settings import Address, free_ports, server_properties
from streamsplit.kafka.clients import Connection
from streamsplit.kafka.jars import classpath
from streamsplit.kafka.java import find_java

_START_SECONDS = 60.0
_STOP_SECONDS = 20.0
_LOOK_SECONDS = 0.05
_TAIL_LINES = 30
_ATTEMPTS = 3
_PORT_TAKEN = "Address already in use"
_QUIET = logging.getLogger("streamsplit.kafka.broker")
_QUIET.setLevel(logging.CRITICAL)


class Node:
    """One broker, which is its own controller, too.

    Attributes:
        address: Where it listens.
        log: File of its output.
    """

    def __init__(self, address: Address, folder: Path, java: list[str]) -> None:
        self.address = address
        self.log = folder / f"node-{address.node}.log"
        self.settings = folder / f"node-{address.node}.properties"
        self._folder = folder
        self._java = java
        self._guard: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        """Whether its process lives."""
        return self._guard is not None and self._guard.poll() is None

    def launch(self) -> None:
        """Starts its process without waiting until it is usable."""
        if self.running:
            return
        command = [*self._java, "kafka.Kafka", str(self.settings)]
        self._guard = subprocess.Popen(
            [sys.executable, "-I", "-S", broker_guard.__file__, str(self._folder), str(self.log), *command],
            stdin=subprocess.PIPE,
            # Ctrl-C is for this process, which then stops its nodes in order.
            start_new_session=True,
        )

    def start(self, timeout: float = _START_SECONDS) -> None:
        """Starts it and waits until it answers clients.

        Raises:
            ServiceError: It ended or did not answer in time; with the tail of its log.
        """
        self.launch()
        self.wait(timeout)

    def wait(self, timeout: float = _START_SECONDS) -> None:
        """Waits until it answers clients as a member of the cluster.

        Raises:
            ServiceError: It ended or did not answer in time; with the tail of its log.
        """
        deadline = time.monotonic() + timeout
        # A refused connection is what a broker that starts looks like, not news for the log.
        admin = Connection(self.address.bootstrap).admin(logger=_QUIET)
        while time.monotonic() < deadline:
            if not self.running:
                raise ServiceError(f"the development broker ended while starting:\n{self.tail()}")
            try:
                known = admin.list_topics(timeout=1).brokers
            except KafkaException:
                time.sleep(_LOOK_SECONDS)
                continue
            if self.address.node in known:
                return
            time.sleep(_LOOK_SECONDS)
        raise ServiceError(f"the development broker did not answer within {timeout:.0f} s:\n{self.tail()}")

    def stop(self, timeout: float = _STOP_SECONDS) -> None:
        """Stops it in order; kills it if that takes longer than `timeout` seconds."""
        self.signal(signal.SIGTERM)
        try:
            self._wait_end(timeout)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """Ends it at once, as `kill -9` does."""
        self.signal(signal.SIGKILL)
        self._wait_end(_STOP_SECONDS)

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to the broker's process, such as SIGSTOP and SIGCONT."""
        if self._guard is not None and self.running:
            assert self._guard.stdin is not None
            try:
                self._guard.stdin.write(b"%d\n" % number)
                self._guard.stdin.flush()
            except BrokenPipeError:
                return

    def tail(self) -> str:
        """The last lines of its log."""
        if not self.log.exists():
            return "(no log)"
        return "\n".join(self.log.read_text("utf-8", "replace").splitlines()[-_TAIL_LINES:])

    def _wait_end(self, timeout: float) -> None:
        if self._guard is not None:
            self._guard.wait(timeout)
            assert self._guard.stdin is not None
            self._guard.stdin.close()


class DevelopmentCluster:
    """A cluster of one or more nodes in a temporary folder.

    Args:
        nodes: How many; from 3 on topics have three replicas and need two in sync.
        properties: Server properties beside or instead of the usual ones.
        heap: Heap of each node as Java writes it; a gigabyte for one node, less for several.

    Attributes:
        nodes: The nodes, in the order of their numbers.
    """

    def __init__(self, nodes: int = 1, *, properties: Mapping[str, str] | None = None, heap: str | None = None) -> None:
        self.nodes: tuple[Node, ...] = ()
        self._count = nodes
        self._properties = dict(properties or {})
        self._heap = heap or ("1g" if nodes == 1 else "384m")
        self._folder: Path | None = None

    @property
    def bootstrap(self) -> str:
        """`bootstrap.servers` for clients: all nodes."""
        return ",".join(node.address.bootstrap for node in self.nodes)

    @property
    def folder(self) -> Path | None:
        """Where its data and logs are while it runs."""
        return self._folder

    def start(self) -> None:
        """Formats and starts all nodes at once and returns when each answers clients.

        Raises:
            ServiceError: Jars cannot be fetched or a node does not start; with the tail of its log.
            UsageError: There is no Java.
        """
        libraries, java = classpath(), str(find_java())
        for attempt in range(1, _ATTEMPTS + 1):
            self._folder = Path(tempfile.mkdtemp(prefix="streamsplit-kafka-"))
            command = [
                java,
                f"-Xmx{self._heap}",
                "-XX:+UseSerialGC",
                "-XX:-UsePerfData",
                f"-Djava.io.tmpdir={self._folder}",
            ]
            try:
                self._format([*command, "-cp", libraries])
                for node in self.nodes:
                    node.launch()
                for node in self.nodes:
                    node.wait()
            except BaseException as error:
                self.stop()
                # Somebody took the port between the look and the start.
                if isinstance(error, ServiceError) and _PORT_TAKEN in str(error) and attempt < _ATTEMPTS:
                    continue
                raise
            return

    def stop(self) -> None:
        """Ends all nodes and removes the folder; nothing is kept."""
        for node in self.nodes:
            node.signal(signal.SIGKILL)
        for node in self.nodes:
            node.kill()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _format(self, java: list[str]) -> None:
        """Writes the settings and formats the storage of all nodes, in parallel."""
        assert self._folder is not None
        ports = free_ports(2 * self._count)
        quorum = [Address(i + 1, _kafka_id(), ports[2 * i], ports[2 * i + 1]) for i in range(self._count)]
        self.nodes = tuple(Node(address, self._folder, java) for address in quorum)
        cluster_id = _kafka_id()
        voters = ",".join(address.voter for address in quorum)
        formatting = []
        for node in self.nodes:
            values = server_properties(
                node.address, quorum, self._folder / f"node-{node.address.node}", self._properties
            )
            node.settings.write_text("".join(f"{key}={value}\n" for key, value in values.items()), "utf-8")
            command = [*java, "kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", str(node.settings)]
            command += ["--initial-controllers", voters]
            formatting.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
        for process in formatting:
            output, _ = process.communicate(timeout=_START_SECONDS)
            if process.returncode:
                raise ServiceError(f"the development broker's storage cannot be formatted:\n{output}")


def _kafka_id() -> str:
    """A random id as Kafka writes it: 22 characters of base64; Kafka reserves a leading dash."""
    while (text := base64.urlsafe_b64encode(uuid.uuid4().bytes)[:22].decode()).startswith("-"):
        pass
    return text
