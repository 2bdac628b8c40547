"""Which of the rights a deployment needs the broker says that we do not have."""

from typing import Any

from confluent_kafka import KafkaException, TopicCollection

from streamsplit.core.errors import ServiceError
from streamsplit.kafka.clients import Connection
from streamsplit.kafka.topics import PLANS, Topics
from streamsplit.offline.reading import group_of

_ASK_SECONDS = 10.0
_READ_ONLY = {"requests"}


def missing_rights(connection: Connection, topics: Topics) -> dict[str, tuple[str, ...]]:
    """Topic or group → the operations that are not allowed; empty where the broker knows of no rights.

    Raises:
        ServiceError: The broker does not answer.
    """
    admin = connection.admin()
    names = {
        topics.name(plan.word): ("READ",) if plan.word in _READ_ONLY else ("READ", "WRITE")
        for plan in PLANS
        if not plan.planned
    }
    needed_groups = [group_of(topics.deployment), f"{topics.deployment}.judge"]
    try:
        described = admin.describe_topics(
            TopicCollection(list(names)), include_authorized_operations=True, request_timeout=_ASK_SECONDS
        )
        groups = admin.describe_consumer_groups(
            needed_groups, include_authorized_operations=True, request_timeout=_ASK_SECONDS
        )
        found = {name: _lacking(described[name].result(), needed) for name, needed in names.items()}
        found |= {f"group {group}": _lacking(groups[group].result(), ("READ",)) for group in needed_groups}
    except KafkaException as error:
        raise ServiceError(f"the broker does not tell of rights: {error.args[0].str()}") from error
    return {subject: lacking for subject, lacking in found.items() if lacking}


def _lacking(described: Any, needed: tuple[str, ...]) -> tuple[str, ...]:
    allowed: list[Any] | None = described.authorized_operations
    if not allowed:
        return ()  # the broker has no authorizer, or does not tell
    names = {operation.name for operation in allowed}
    return tuple(operation for operation in needed if operation not in names and "ALL" not in names)
