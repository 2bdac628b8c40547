"""The systems a user would pick instead of StreamSplit, each as its own documentation recommends for throughput.

    for peer in PEERS:
        peer.prepare(tell_stderr)
        subprocess.Popen(peer.command(plan), cwd=ROOT)

Programs of peers run where StreamSplit's dependencies are not installed, and importing them imports this file: nothing
that it imports needs more than the standard library.
"""

from benchmarks.peers.kafka_streams import KafkaStreams
from benchmarks.peers.peer import Peer, tell_stderr
from benchmarks.peers.plan import Plan
from benchmarks.peers.python_peer import PythonPeer

__all__ = ["PEERS", "Peer", "Plan", "named", "tell_stderr"]

PEERS: tuple[Peer, ...] = (
    PythonPeer(
        name="plain",
        title="bare loop with fastavro",
        module="benchmarks.peers.plain",
        exactly_once=True,
        named_partitions=True,
        own_environment=False,
    ),
    KafkaStreams(),
    PythonPeer(
        name="quix",
        title="Quix Streams",
        module="benchmarks.peers.quix",
        exactly_once=True,
        named_partitions=False,
        own_environment=True,
    ),
    PythonPeer(
        name="faust_agent",
        title="plain Faust agent",
        module="benchmarks.peers.faust_agent",
        exactly_once=False,
        named_partitions=True,
        own_environment=True,
    ),
)
"""All of them, the least apart from StreamSplit first."""


def named(name: str) -> Peer:
    """The peer of this name.

    Raises:
        KeyError: There is none; with the names there are.
    """
    for peer in PEERS:
        if peer.name == name:
            return peer
    raise KeyError(f"expected one of {', '.join(peer.name for peer in PEERS)}, found {name!r}")
