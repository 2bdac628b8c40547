"""Topics as the broker makes, keeps and describes them."""

import pytest
from confluent_kafka.admin import NewTopic

from streamsplit.core.errors import ServiceError, UsageError
from streamsplit.kafka.clients import Connection
from streamsplit.kafka.topic_check import check_topics
from streamsplit.kafka.topic_creation import create_topics
from streamsplit.kafka.topic_facts import describe
from streamsplit.kafka.topics import PLANS, Topics

pytestmark = pytest.mark.broker

BUILT = [plan.word for plan in PLANS if not plan.planned]


def _make(connection: Connection, topic: NewTopic) -> None:
    admin = connection.admin()
    for future in admin.create_topics([topic]).values():
        future.result()


def test_created_topics_pass_the_check_of_a_development_deployment(connection: Connection, deployment: str) -> None:
    topics = Topics(deployment)
    made = create_topics(connection, topics, partitions=3)
    assert set(made) == {topics.name(word) for word in BUILT}
    assert check_topics(connection, topics, development=True) == ()


def test_creating_again_makes_nothing(connection: Connection, deployment: str) -> None:
    create_topics(connection, Topics(deployment), partitions=2)
    assert create_topics(connection, Topics(deployment)) == ()


def test_the_users_own_requests_topic_gives_the_others_their_size(connection: Connection, deployment: str) -> None:
    topics = Topics(deployment, {"requests": f"{deployment}.orders"})
    _make(connection, NewTopic(topics.requests, 5, config={"max.message.bytes": "2000000"}))
    assert topics.requests not in create_topics(connection, topics)
    facts = describe(connection.admin(), [topics.outputs, topics.summaries])
    assert facts[topics.outputs].partitions == 5
    assert facts[topics.outputs].config["max.message.bytes"] == "2065536"
    assert facts[topics.summaries].partitions == 1
    assert check_topics(connection, topics, development=True) == ()


def test_another_number_of_partitions_than_requests_has_is_refused(connection: Connection, deployment: str) -> None:
    topics = Topics(deployment)
    _make(connection, NewTopic(topics.requests, 5))
    with pytest.raises(UsageError, match="is there with 5 partitions, not 4"):
        create_topics(connection, topics, partitions=4)


def test_what_does_not_fit_on_the_broker_is_found(connection: Connection, deployment: str) -> None:
    topics = Topics(deployment)
    _make(connection, NewTopic(topics.control, 2, config={"cleanup.policy": "compact", "retention.ms": "60000"}))
    _make(connection, NewTopic(topics.outputs, 1))
    create_topics(connection, topics, partitions=3)
    found = {
        (problem.topic, problem.message.split(":")[0]) for problem in check_topics(connection, topics, development=True)
    }
    assert {topic for topic, _ in found} == {topics.control, topics.outputs}
    assert len(found) == 5


def test_a_single_broker_is_no_place_for_production(connection: Connection, deployment: str) -> None:
    topics = Topics(deployment)
    create_topics(connection, topics, partitions=1)
    replicas = describe(connection.admin(), [topics.audit])[topics.audit].replication
    found = check_topics(connection, topics, development=False)
    assert len(found) == (len(BUILT) if replicas < 3 else 0)


def test_an_error_of_the_broker_is_told_in_its_words(connection: Connection) -> None:
    with pytest.raises(ServiceError, match=r"not/a/name\.requests: .*invalid"):
        create_topics(connection, Topics("not/a/name"))
