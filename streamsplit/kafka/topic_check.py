"""Says what is wrong with a deployment's topics, and the cure of each."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from streamsplit.kafka.clients import Connection
from streamsplit.kafka.topic_facts import TopicFacts, describe
from streamsplit.kafka.topics import FOR_EVER, HEADROOM_BYTES, PLANS, TopicPlan, Topics

_SAFE_REPLICATION = 3
_SAFE_IN_SYNC = 2
_DEFAULT_MESSAGE_BYTES = 1_048_588
_ROOMY = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        topic: The topic's full name.
        message: What is wrong, and why it matters.
        cure: What to do.
    """

    topic: str
    message: str
    cure: str

    def __str__(self) -> str:
        return f"{self.topic}: {self.message}. {self.cure}"


def check_topics(connection: Connection, topics: Topics, *, development: bool) -> tuple[Problem, ...]:
    """Compares the broker's topics with what the deployment needs.

    Args:
        connection: The way to the broker.
        topics: The names.
        development: Accept fewer than three replicas and a single one in sync.

    Raises:
        ServiceError: The broker does not answer.
    """
    names = [topics.name(plan.word) for plan in PLANS]
    return problems(describe(connection.admin(), names), topics, development=development)


def problems(facts: Mapping[str, TopicFacts], topics: Topics, *, development: bool) -> tuple[Problem, ...]:
    """What is wrong with topics of which these facts are known; those without facts are missing."""
    return tuple(_problems(facts, topics, development=development))


def _problems(facts: Mapping[str, TopicFacts], topics: Topics, *, development: bool) -> Iterator[Problem]:
    requests, audit = facts.get(topics.requests), facts.get(topics.audit)
    for plan in PLANS:
        name = topics.name(plan.word)
        topic = facts.get(name)
        if topic is None:
            if not plan.planned:
                yield Problem(name, "the topic is missing, or has partitions without a leader", _create())
            continue
        yield from _partitions(plan, name, topic, topics.requests, requests)
        yield from _cleanup(plan, name, topic)
        if plan.passes_requests and requests:
            yield from _message_limit(name, topic, requests)
        if plan.word == "summaries" and audit:
            yield from _retention(name, topic, topics.audit, audit)
        if not development:
            yield from _durability(name, topic)


def _partitions(
    plan: TopicPlan, name: str, topic: TopicFacts, requests_name: str, requests: TopicFacts | None
) -> Iterator[Problem]:
    if not plan.as_requests:
        if topic.partitions != 1:
            yield Problem(
                name,
                f"it has {topic.partitions} partitions and needs exactly 1, as the order of its records is what counts",
                f"Delete it and make it again: {_create()}",
            )
    elif requests and topic.partitions < requests.partitions:
        yield Problem(
            name,
            f"it has {topic.partitions} partitions and {requests_name} has {requests.partitions}: requests of the "
            "partitions without a partner are held back",
            f"`kafka-topics.sh --alter --topic {name} --partitions {requests.partitions}`",
        )


def _cleanup(plan: TopicPlan, name: str, topic: TopicFacts) -> Iterator[Problem]:
    wanted = plan.config.get("cleanup.policy")
    policy = topic.config.get("cleanup.policy", "delete")
    if wanted is not None and policy != wanted:
        harm = {"delete": "compaction removes records that are needed", "compact": "it grows for ever"}[wanted]
        yield Problem(name, f"its cleanup.policy is `{policy}`: {harm}", _alter(name, "cleanup.policy", wanted))
    for setting in ("retention.ms", "retention.bytes"):
        if plan.config.get(setting) == f"{FOR_EVER}" and (kept := topic.number(setting, FOR_EVER)) != FOR_EVER:
            yield Problem(
                name,
                f"its {setting} is {kept}: records that the state is derived from would be removed",
                _alter(name, setting, FOR_EVER),
            )


def _message_limit(name: str, topic: TopicFacts, requests: TopicFacts) -> Iterator[Problem]:
    largest = requests.number("max.message.bytes", _DEFAULT_MESSAGE_BYTES)
    limit = topic.number("max.message.bytes", _DEFAULT_MESSAGE_BYTES)
    if limit < largest + HEADROOM_BYTES:
        yield Problem(
            name,
            f"its max.message.bytes is {limit}: what answers the largest request ({largest} bytes) may not fit",
            _alter(name, "max.message.bytes", largest + HEADROOM_BYTES),
        )


def _retention(name: str, topic: TopicFacts, audit_name: str, audit: TopicFacts) -> Iterator[Problem]:
    kept, needed = topic.number("retention.ms", FOR_EVER), audit.number("retention.ms", FOR_EVER)
    if (_ROOMY if kept == FOR_EVER else kept) < (_ROOMY if needed == FOR_EVER else needed):
        yield Problem(
            name,
            f"its retention.ms is {kept}, below the {needed} of {audit_name}: audited requests could not be verified",
            _alter(name, "retention.ms", needed),
        )


def _durability(name: str, topic: TopicFacts) -> Iterator[Problem]:
    if topic.replication < _SAFE_REPLICATION:
        yield Problem(
            name,
            f"it has {topic.replication} replica{'s' * (topic.replication > 1)} and needs {_SAFE_REPLICATION}, or the "
            "loss of a broker may lose records",
            "Raise it with `kafka-reassign-partitions.sh`, or delete it and run `streamsplit topics create "
            f"--replication {_SAFE_REPLICATION}`; on a development broker set `development: true`",
        )
    elif (in_sync := topic.number("min.insync.replicas", 1)) < _SAFE_IN_SYNC:
        yield Problem(
            name,
            f"its min.insync.replicas is {in_sync}: a record may be acknowledged by a single broker and lost with it",
            _alter(name, "min.insync.replicas", _SAFE_IN_SYNC),
        )


def _create() -> str:
    return "`streamsplit topics create`"


def _alter(name: str, setting: str, value: object) -> str:
    return f"`kafka-configs.sh --alter --entity-type topics --entity-name {name} --add-config {setting}={value}`"
