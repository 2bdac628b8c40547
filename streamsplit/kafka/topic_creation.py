"""Makes the topics that are missing, and waits until all of them can be used."""

import time
from collections.abc import Mapping, Sequence

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined] # their documented place

from streamsplit.core.errors import ServiceError, UsageError
from streamsplit.kafka.clients import Connection
from streamsplit.kafka.topic_facts import ASK_SECONDS, TopicFacts, describe
from streamsplit.kafka.topics import FOR_EVER, HEADROOM_BYTES, LONGEST_ROLLOUT_MS, PLANS, TopicPlan, Topics

DEFAULT_PARTITIONS = 4
_DEFAULT_MESSAGE_BYTES = 1_048_588
_IN_SYNC_OF_THREE = 2
_SAFE_REPLICATION = 3
_WAIT_SECONDS = 30.0
_LOOK_SECONDS = 0.05


def create_topics(
    connection: Connection, topics: Topics, *, partitions: int | None = None, replication: int | None = None
) -> tuple[str, ...]:
    """Makes every topic of the deployment that is missing; what is there stays as it is.

    Args:
        connection: The way to the broker.
        topics: The names.
        partitions: Of `requests` and the topics that follow it; as `requests` has where it is there, else 4.
        replication: Replicas of each; the broker's default unless given. From 3 on, two must be in sync.

    Returns:
        The names of the topics that were made.

    Raises:
        UsageError: `requests` is there with another number of partitions.
        ServiceError: The broker refuses, does not answer, or does not show the topics in time.
    """
    admin = connection.admin()
    built = [plan for plan in PLANS if not plan.planned]
    wanted = [topics.name(plan.word) for plan in built]
    facts = describe(admin, wanted)
    made: list[str] = []
    count = partitions or DEFAULT_PARTITIONS
    # `requests` and `audit` come first: others take size, limits and retention from how they turn out.
    for group in (_named(built, "requests"), _named(built, "audit"), built):
        missing = [plan for plan in group if topics.name(plan.word) not in facts]
        made += _make(admin, [_new_topic(plan, topics, facts, count, replication) for plan in missing])
        facts = _wait(admin, wanted, {*facts, *(topics.name(plan.word) for plan in missing)})
        count = facts[topics.requests].partitions
        if partitions not in (None, count):
            raise UsageError(
                f"{topics.requests} is there with {count} partitions, not {partitions}: leave the number away, and "
                "the other topics are made to match"
            )
    return tuple(made)


def _named(plans: Sequence[TopicPlan], word: str) -> list[TopicPlan]:
    """The plan with this word, as a group of its own."""
    return [plan for plan in plans if plan.word == word]


def _new_topic(
    plan: TopicPlan, topics: Topics, facts: Mapping[str, TopicFacts], count: int, replication: int | None
) -> NewTopic:
    config = dict(plan.config)
    requests, audit = facts.get(topics.requests), facts.get(topics.audit)
    if plan.passes_requests and requests:
        limit = requests.number("max.message.bytes", _DEFAULT_MESSAGE_BYTES) + HEADROOM_BYTES
        config["max.message.bytes"] = f"{limit}"
    if plan.word == "summaries" and audit:
        kept = audit.number("retention.ms", LONGEST_ROLLOUT_MS)
        config["retention.ms"] = f"{FOR_EVER if kept == FOR_EVER else max(kept, LONGEST_ROLLOUT_MS)}"
    if replication is not None and replication >= _SAFE_REPLICATION:
        config["min.insync.replicas"] = f"{_IN_SYNC_OF_THREE}"
    return NewTopic(
        topics.name(plan.word),
        num_partitions=count if plan.as_requests else 1,
        replication_factor=-1 if replication is None else replication,
        config=config,
    )


def _make(admin: AdminClient, new: list[NewTopic]) -> list[str]:
    """Asks for these topics; returns the names of those that were not there yet."""
    made = []
    for name, future in admin.create_topics(new, operation_timeout=ASK_SECONDS).items() if new else ():
        try:
            future.result()
            made.append(name)
        except KafkaException as error:
            # Somebody else made it, at this moment or so lately that it had no leader when we looked.
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise ServiceError(f"the broker does not make the topic {name}: {error.args[0].str()}") from error
    return made


def _wait(admin: AdminClient, wanted: list[str], expected: set[str]) -> dict[str, TopicFacts]:
    deadline = time.monotonic() + _WAIT_SECONDS
    while not expected <= (facts := _described(admin, wanted)).keys():
        if time.monotonic() > deadline:
            missing = ", ".join(sorted(expected - facts.keys()))
            raise ServiceError(f"the broker has made topics but does not show them or their leaders: {missing}")
        time.sleep(_LOOK_SECONDS)
    return facts


def _described(admin: AdminClient, names: list[str]) -> dict[str, TopicFacts]:
    """As `describe`; a topic just made may be known to one broker and not yet to the next, which is no failure."""
    try:
        return describe(admin, names)
    except ServiceError:
        return {}
