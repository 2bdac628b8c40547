"""How a lane reads, and librdkafka's settings for it."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class LaneOptions:
    """How the lane reads.

    Attributes:
        topic: Topic of requests, or of summaries.
        group: Consumer group.
        slot: Static name of this worker, the group.instance.id of a static member.
        protocol: `classic` or `consumer` (KIP-848).
        static: Whether a classic member is static; never with KIP-848, where a restarted static member is refused.
        session_seconds: Silence after which a classic member is given up.
        batch_records: Most records in a batch.
        batch_bytes: Most bytes of values in a batch; one larger record is a batch alone.
        batch_seconds: Longest wait for more records after the first, while another batch is under way or has just been;
            a record that comes alone is delivered at once.
    """

    topic: str
    group: str
    slot: str
    protocol: str = "classic"
    static: bool = True
    session_seconds: float = 10.0
    batch_records: int = 4000
    batch_bytes: int = 8 * 2**20
    batch_seconds: float = 0.005

    def consumer_config(self) -> dict[str, Any]:
        """The settings of librdkafka for the group protocol."""
        config: dict[str, Any] = {
            "group.id": self.group,
            "group.protocol": self.protocol,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "error",
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "queued.min.messages": 100_000,
            "queued.max.messages.kbytes": 65_536,
            # A full queue is looked at again after a second by default, and is empty long before.
            "fetch.queue.backoff.ms": 10,
            # A broker answers one connection in order: questions about offsets wait behind an idle fetch.
            "fetch.wait.max.ms": 100,
            "topic.metadata.refresh.interval.ms": 10_000,
        }
        if self.protocol == "classic":
            config["partition.assignment.strategy"] = "cooperative-sticky"
            config["session.timeout.ms"] = int(self.session_seconds * 1000)
            config["heartbeat.interval.ms"] = int(self.session_seconds * 1000 / 5)
            if self.static:
                config["group.instance.id"] = self.slot
        return config
