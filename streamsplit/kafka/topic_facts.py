"""What a broker says of topics: partitions, replicas and settings."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from confluent_kafka import KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined] # their documented place
    AdminClient,
    ConfigResource,
    ResourceType,
)

from streamsplit.core.errors import ServiceError

ASK_SECONDS = 10.0
_DEFAULT_MESSAGE_BYTES = 1_048_588


@dataclass(frozen=True, slots=True)
class TopicFacts:
    """One topic as it is.

    Attributes:
        partitions: How many it has.
        replication: Replicas of the partition that has fewest.
        config: Its settings, the broker's defaults included.
    """

    partitions: int
    replication: int
    config: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def number(self, setting: str, default: int) -> int:
        """A numeric setting; the default where the broker does not tell it."""
        return int(self.config.get(setting, default))


def describe(admin: AdminClient, names: Iterable[str]) -> dict[str, TopicFacts]:
    """Name → facts of the topics that are there with a leader for each partition.

    Raises:
        ServiceError: The broker does not answer, or refuses to.
    """
    try:
        known = admin.list_topics(timeout=ASK_SECONDS).topics
        usable = {
            name: known[name].partitions.values()
            for name in names
            if name in known
            and known[name].error is None
            and known[name].partitions
            and all(partition.leader >= 0 for partition in known[name].partitions.values())
        }
        if not usable:
            return {}
        asked = admin.describe_configs(
            [ConfigResource(ResourceType.TOPIC, name) for name in usable], request_timeout=ASK_SECONDS
        )
        configs = {resource.name: future.result() for resource, future in asked.items()}
    except KafkaException as error:
        raise ServiceError(f"the broker does not describe its topics: {error.args[0].str()}") from error
    return {
        name: TopicFacts(
            partitions=len(partitions),
            replication=min(len(partition.replicas) for partition in partitions),
            config={key: entry.value for key, entry in configs[name].items() if entry.value is not None},
        )
        for name, partitions in usable.items()
    }


def message_limits(admin: AdminClient, names: Sequence[str]) -> dict[str, int]:
    """Topic → `max.message.bytes`.

    Raises:
        ServiceError: The broker does not answer, or a topic is missing.
    """
    found = describe(admin, names)
    if missing := [name for name in names if name not in found]:
        raise ServiceError(f"missing topics: {', '.join(missing)}: run `streamsplit topics create`")
    return {name: facts.number("max.message.bytes", _DEFAULT_MESSAGE_BYTES) for name, facts in found.items()}
