"""Names of topics, and what is said of topics that do not fit."""

from dataclasses import replace

import pytest

from streamsplit.core.errors import UsageError
from streamsplit.kafka.topic_check import problems
from streamsplit.kafka.topic_facts import TopicFacts
from streamsplit.kafka.topics import PLANS, Topics

TOPICS = Topics("shop")
KEPT = {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}
WEEK = str(7 * 86_400_000)


def _fitting() -> dict[str, TopicFacts]:
    """A deployment in production with nothing wrong."""
    common = {"min.insync.replicas": "2", "retention.ms": WEEK, "retention.bytes": "-1", "cleanup.policy": "delete"}
    facts = {}
    for plan in PLANS:
        limit = {"max.message.bytes": "1114124" if plan.passes_requests else "1048588"}
        partitions = 8 if plan.as_requests else 1
        facts[TOPICS.name(plan.word)] = TopicFacts(partitions, 3, {**common, **limit, **plan.config})
    return facts


def _with(word: str, *, partitions: int | None = None, replication: int | None = None, **config: str) -> list[str]:
    """What is wrong when one topic differs."""
    facts = _fitting()
    name = TOPICS.name(word)
    known = facts[name]
    facts[name] = replace(
        known,
        partitions=partitions or known.partitions,
        replication=replication or known.replication,
        config={**known.config, **{key.replace("_", "."): value for key, value in config.items()}},
    )
    found = problems(facts, TOPICS, development=False)
    assert {problem.topic for problem in found} <= {name}
    return [str(problem) for problem in found]


def test_names_are_the_deployment_and_the_word() -> None:
    assert TOPICS.requests == "shop.requests"
    assert TOPICS.dead_letters == "shop.dead-letters"
    assert TOPICS.judge_state == "shop.judge-state"


@pytest.mark.parametrize("word", ["dead-letters", "dead_letters"])
def test_a_topic_can_be_renamed_alone(word: str) -> None:
    topics = Topics("shop", {word: "rejected"})
    assert topics.dead_letters == "rejected"
    assert topics.outputs == "shop.outputs"


def test_renaming_an_unknown_topic_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean requests"):
        Topics("shop", {"request": "orders"})


def test_two_topics_of_one_name_are_refused() -> None:
    with pytest.raises(UsageError, match="requests and audit have the same name 'orders'"):
        Topics("shop", {"requests": "orders", "audit": "orders"})


def test_nothing_is_wrong_with_topics_that_fit() -> None:
    assert problems(_fitting(), TOPICS, development=False) == ()


def test_a_missing_topic_is_a_problem_unless_nothing_uses_it_yet() -> None:
    facts = _fitting()
    del facts["shop.audit"], facts["shop.outcomes"]
    assert [problem.topic for problem in problems(facts, TOPICS, development=False)] == ["shop.audit"]


@pytest.mark.parametrize("word", ["outputs", "audit", "dead-letters"])
def test_fewer_partitions_than_requests_are_a_problem_and_more_are_none(word: str) -> None:
    (problem,) = _with(word, partitions=7)
    assert f"--alter --topic shop.{word} --partitions 8" in problem
    assert _with(word, partitions=9) == []


@pytest.mark.parametrize("word", ["control", "summaries", "workers"])
def test_topics_whose_order_counts_have_one_partition(word: str) -> None:
    (problem,) = _with(word, partitions=2)
    assert "needs exactly 1" in problem


@pytest.mark.parametrize(
    ("setting", "value", "cure"),
    [
        ("cleanup_policy", "compact", "cleanup.policy=delete"),
        ("cleanup_policy", "compact,delete", "cleanup.policy=delete"),
        ("retention_ms", WEEK, "retention.ms=-1"),
        ("retention_bytes", "1000000", "retention.bytes=-1"),
    ],
)
def test_whatever_removes_commands_is_a_problem(setting: str, value: str, cure: str) -> None:
    (problem,) = _with("control", **{setting: value})
    assert f"--entity-name shop.control --add-config {cure}" in problem


def test_workers_that_are_not_compacted_grow_for_ever() -> None:
    (problem,) = _with("workers", cleanup_policy="delete")
    assert "cleanup.policy=compact" in problem


@pytest.mark.parametrize(("kept", "wrong"), [("3600000", True), (WEEK, False), ("-1", False)])
def test_summaries_are_kept_as_long_as_audit(kept: str, wrong: bool) -> None:  # noqa: FBT001 - a column of the table
    found = _with("summaries", retention_ms=kept)
    assert bool(found) is wrong
    assert all("retention.ms=604800000" in problem for problem in found)


def test_summaries_are_kept_for_ever_where_audit_is() -> None:
    facts = _fitting()
    audit = facts["shop.audit"]
    facts["shop.audit"] = replace(audit, config={**audit.config, "retention.ms": "-1"})
    (problem,) = problems(facts, TOPICS, development=False)
    assert problem.topic == "shop.summaries"
    assert "retention.ms=-1" in problem.cure


@pytest.mark.parametrize("word", ["outputs", "audit", "dead-letters"])
def test_answers_must_have_room_for_the_largest_request(word: str) -> None:
    (problem,) = _with(word, max_message_bytes="1048588")
    assert "max.message.bytes=1114124" in problem


def test_too_few_replicas_are_a_problem_outside_development() -> None:
    (problem,) = _with("outputs", replication=1)
    assert "1 replica and needs 3" in problem
    (problem,) = _with("outputs", min_insync_replicas="1")
    assert "min.insync.replicas=2" in problem


def test_development_accepts_a_single_replica() -> None:
    facts = {name: replace(known, replication=1) for name, known in _fitting().items()}
    assert problems(facts, TOPICS, development=True) == ()
