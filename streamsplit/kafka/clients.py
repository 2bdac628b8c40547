"""How clients of Kafka are made: one place for addresses, security and librdkafka's settings."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient

LOGGER = logging.getLogger("streamsplit.kafka.client")
"""Where librdkafka's own lines go."""

MAX_MESSAGE_BYTES = 100_000_000
"""Limit of our producers; the topic's limit is what counts, and it is checked before a transaction begins."""

Settings = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Connection:
    """The way to a Kafka cluster.

    Attributes:
        brokers: `host:port`, several joined by commas.
        security: librdkafka's properties of security (`security.protocol`, `sasl.mechanism`, `ssl.ca.location`, ...);
            never part of its `repr`, as it holds secrets.
    """

    brokers: str
    security: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)

    def client_config(self, client_id: str = "streamsplit", **settings: Any) -> Settings:
        """The settings of any client, as librdkafka names them.

        Args:
            client_id: What the broker's logs, quotas and metrics call it.
            **settings: Further properties, with `_` for `.`; they win.
        """
        return {
            "bootstrap.servers": self.brokers,
            "client.id": client_id,
            "logger": LOGGER,
            # A broker that comes back is found at once, and one that is gone does not fill the log.
            "reconnect.backoff.ms": 50,
            "reconnect.backoff.max.ms": 1000,
            "log.connection.close": False,
            **self.security,
            **{key.replace("_", "."): value for key, value in settings.items()},
        }

    def admin(self, client_id: str = "streamsplit-admin", **settings: Any) -> AdminClient:
        """A client that asks for and changes topics; keep it until its futures are done."""
        return AdminClient(self.client_config(client_id, **settings))

    def producer(self, client_id: str, **settings: Any) -> Producer:
        """A producer that loses, doubles and reorders nothing by itself (idempotent, acks=all)."""
        defaults = {"enable_idempotence": True, "message_max_bytes": MAX_MESSAGE_BYTES, "linger_ms": 0}
        return Producer(self.client_config(client_id, **{**defaults, **settings}))

    def reader(self, client_id: str, **settings: Any) -> Consumer:
        """A consumer of assigned partitions that belongs to no group: read-committed, nothing stored."""
        return Consumer(self.reader_config(client_id, **settings))

    def reader_config(self, client_id: str, **settings: Any) -> Settings:
        """The settings of `reader`."""
        defaults = {
            # librdkafka demands a group's name; with `assign` and without commits none comes into being.
            "group_id": client_id,
            "enable_auto_commit": False,
            "enable_auto_offset_store": False,
            "isolation_level": "read_committed",
            "auto_offset_reset": "error",
            "enable_partition_eof": True,
        }
        return self.client_config(client_id, **{**defaults, **settings})
