"""Everybody who follows the control log comes to the same state, and knows whether it is up to date."""

import json
import time
import uuid
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import NewTopic

from streamsplit.core.commands import Command, Kind
from streamsplit.core.errors import ServiceError
from streamsplit.core.rollout import Phase
from streamsplit.kafka.broker import DevelopmentCluster
from streamsplit.kafka.clients import Connection
from streamsplit.kafka.control_follower import FRESH_SECONDS, ControlFollower, ControlView
from streamsplit.kafka.control_log import ControlWriter, Verdict, submit
from streamsplit.kafka.log_end import _INTERVAL_SECONDS
from streamsplit.kafka.outgoing import Outgoing
from streamsplit.kafka.topic_creation import create_topics
from streamsplit.kafka.topics import Topics
from streamsplit.kafka.transaction import Transaction
from streamsplit.wire.commands import encode_command

pytestmark = pytest.mark.broker

PATIENCE_SECONDS = 60.0
"""For what comes by itself, on the slowest machine."""

MODELS = {f"delay@{version}": f"{version:064x}" for version in (1, 2)}
PLAIN = {"rollout": "first", "arms": {"control": "delay@1"}}
CANARY = {
    "rollout": "second",
    "arms": {"control": "delay@1", "canary": "delay@2"},
    "steps": [{"weight": 10}, {"weight": 100}],
}


def _command(kind: Kind, rollout: str, payload: dict[str, Any] | None = None, **fields: Any) -> Command:
    return Command(command_id=uuid.uuid4().hex, kind=kind, rollout=rollout, payload=payload or {}, **fields)


def _apply(spec: dict[str, Any]) -> Command:
    return _command(Kind.APPLY, spec["rollout"], {"spec": spec, "models": MODELS})


def _make(connection: Connection, name: str) -> None:
    admin = connection.admin()
    for future in admin.create_topics([NewTopic(name, 1)]).values():
        future.result()


def _remove(connection: Connection, name: str) -> None:
    admin = connection.admin()
    for future in admin.delete_topics([name]).values():
        future.result()


def _seen(follower: ControlFollower, condition: Callable[[ControlView], bool]) -> ControlView:
    view = follower.wait(condition, PATIENCE_SECONDS)
    assert view is not None, follower.view
    return view


@pytest.fixture
def topics(connection: Connection, deployment: str) -> Topics:
    made = Topics(deployment)
    create_topics(connection, made, partitions=1)
    return made


@pytest.fixture
def follower(connection: Connection, topics: Topics) -> Iterator[ControlFollower]:
    with ControlFollower(connection, topics.control) as started:
        yield started


@pytest.fixture
def split(connection: Connection, topics: Topics) -> Verdict:
    """A rollout at its first step."""
    for command in (
        _apply(PLAIN),
        _command(Kind.BEGIN, "first"),
        _apply(CANARY),
        _command(Kind.BEGIN, "second"),
    ):
        verdict = submit(connection, topics, command)
        assert verdict.accepted, verdict.refusal
    return verdict


def test_an_empty_log_is_known_to_its_end(follower: ControlFollower) -> None:
    view = _seen(follower, lambda view: view.fresh)
    assert (view.state.phase, view.position, view.caught_up, view.problem) == (Phase.EMPTY, 0, True, None)


def test_a_command_is_judged_where_it_stands_in_the_log(split: Verdict) -> None:
    assert split.offset == split.state.revision == 3
    assert split.state.phase is Phase.PROGRESSING
    assert split.state.weights == (1000,)


@pytest.mark.usefixtures("split")
def test_a_refused_command_says_why_and_changes_nothing(connection: Connection, topics: Topics) -> None:
    refused = submit(connection, topics, _command(Kind.RESUME, "second"))
    assert not refused.accepted
    assert refused.refusal is not None
    assert "Paused" in refused.refusal.reason
    assert refused.state.revision == 3


@pytest.mark.usefixtures("split")
def test_followers_of_any_age_agree_on_state_and_digest(
    connection: Connection, topics: Topics, follower: ControlFollower
) -> None:
    submit(connection, topics, _command(Kind.RESUME, "second"))
    submit(connection, topics, _command(Kind.SET_WEIGHT, "second", {"weights": {"canary": 33}}))
    old = _seen(follower, lambda view: view.position == 6 and view.fresh)
    with ControlFollower(connection, topics.control) as late:
        new = _seen(late, lambda view: view.caught_up)
    assert new.state == old.state
    assert new.digest == old.digest
    assert new.state.weights == (3300,)


@pytest.mark.usefixtures("split")
def test_a_line_of_json_turns_a_weight(connection: Connection, topics: Topics, follower: ControlFollower) -> None:
    producer = connection.producer("kcat")
    producer.produce(topics.control, json.dumps({"kind": "set_weight", "payload": {"weights": {"canary": 25}}}))
    producer.flush(PATIENCE_SECONDS)
    view = _seen(follower, lambda view: view.state.revision == 4)
    assert view.state.weights == (2500,)
    assert view.state.phase is Phase.PAUSED


def test_garbage_in_the_log_is_passed_by_everyone(
    connection: Connection, topics: Topics, follower: ControlFollower
) -> None:
    producer = connection.producer("garbage")
    for value in (b"\xff\xfe", b"{", None, b"[]"):
        producer.produce(topics.control, value)
    producer.flush(PATIENCE_SECONDS)
    assert submit(connection, topics, _apply(PLAIN)).offset == 4
    assert _seen(follower, lambda view: view.position == 5).state.revision == 4


def test_markers_of_transactions_do_not_hold_up_freshness(
    connection: Connection, topics: Topics, follower: ControlFollower
) -> None:
    producer = connection.producer("judge", transactional_id=f"{topics.deployment}.judge")
    producer.init_transactions(PATIENCE_SECONDS)
    for finish in (producer.abort_transaction, producer.commit_transaction):
        producer.begin_transaction()
        producer.produce(topics.control, json.dumps({"kind": "abort"}))
        producer.flush(PATIENCE_SECONDS)  # an abort would drop what is not sent yet
        finish(PATIENCE_SECONDS)
    _seen(follower, lambda view: view.position == 4)
    # Longer than an old confirmation holds.
    later = time.monotonic() + FRESH_SECONDS + 1
    view = _seen(follower, lambda view: view.fresh and time.monotonic() > later)
    assert (view.problem, view.state.revision) == (None, -1)


def test_a_command_is_folded_long_before_the_end_of_the_log_is_asked_for_again(
    connection: Connection, topics: Topics, follower: ControlFollower
) -> None:
    """It takes milliseconds, which is for a benchmark to say; here: none of the waits of the follower."""
    _seen(follower, lambda view: view.fresh)
    writer, took = ControlWriter(connection, topics.control), []
    for _ in range(20):
        began = time.monotonic()
        follower.verdict(writer.write(_apply(PLAIN)), PATIENCE_SECONDS)
        took.append(time.monotonic() - began)
    assert median(took) < _INTERVAL_SECONDS / 2


def test_changes_are_told_to_the_one_who_asked_for_it(connection: Connection, topics: Topics) -> None:
    told: list[ControlView] = []
    with ControlFollower(connection, topics.control, on_change=told.append) as follower:
        offset = ControlWriter(connection, topics.control).write(_apply(PLAIN))
        follower.verdict(offset, PATIENCE_SECONDS)
        _seen(follower, lambda _: bool(told))
    assert told[-1].state.phase is Phase.PREPARING


def test_a_missing_topic_is_named_with_the_cure_and_found_once_it_is_there(
    connection: Connection, deployment: str
) -> None:
    topics = Topics(deployment)
    with ControlFollower(connection, topics.control) as follower:
        missing = f"topic {topics.control} is missing: streamsplit topics create"
        assert not _seen(follower, lambda view: view.problem == missing).fresh
        with pytest.raises(ServiceError, match="is missing: streamsplit topics create"):
            ControlWriter(connection, topics.control).write(_apply(PLAIN))
        create_topics(connection, topics, partitions=1)
        assert _seen(follower, lambda view: view.fresh).problem is None


def test_a_command_in_a_transaction_is_folded_and_the_marker_behind_it_is_passed(
    connection: Connection, topics: Topics, follower: ControlFollower
) -> None:
    """Nobody of ours writes so, but anybody with the right to may; behind an open one nothing is seen."""
    transaction = Transaction(connection, f"{topics.deployment}.stranger", 8.0)
    transaction.restore()
    transaction.commit([Outgoing.of(topics.control, [encode_command(_apply(PLAIN))])], [], None)
    view = _seen(follower, lambda view: view.position == 2)
    assert view.state.revision == 0
    began = submit(connection, topics, _command(Kind.BEGIN, "first"))
    assert began.offset == began.state.revision == 2
    _seen(follower, lambda view: view.position == 3)
    phases = [follower.state_at(revision).phase for revision in (-1, 0, 1, 2)]
    assert phases == [Phase.EMPTY, Phase.PREPARING, Phase.PREPARING, Phase.SERVING]


def test_a_log_made_again_is_never_believed(connection: Connection, topics: Topics, follower: ControlFollower) -> None:
    submit(connection, topics, _apply(PLAIN))
    _seen(follower, lambda view: view.position == 1 and view.fresh)
    _remove(connection, topics.control)
    _seen(follower, lambda view: "missing" in (view.problem or ""))
    _make(connection, topics.control)
    writer = ControlWriter(connection, topics.control)
    for _ in range(3):
        writer.write(_apply(CANARY))
    view = _seen(follower, lambda view: "holds other commands" in (view.problem or ""))
    assert not view.fresh
    assert view.state.revision == 0
    assert view.state.name == "first"


def test_a_log_whose_beginning_is_gone_is_refused(connection: Connection, topics: Topics) -> None:
    submit(connection, topics, _apply(PLAIN))
    submit(connection, topics, _command(Kind.BEGIN, "first"))
    admin = connection.admin()
    for future in admin.delete_records([TopicPartition(topics.control, 0, 1)]).values():
        future.result()
    with ControlFollower(connection, topics.control) as follower:
        assert not _seen(follower, lambda view: "the beginning of" in (view.problem or "")).fresh


def test_a_follower_without_broker_is_not_fresh_and_goes_on_by_itself() -> None:
    with DevelopmentCluster() as cluster:
        connection, topics = Connection(cluster.bootstrap), Topics("lonely")
        create_topics(connection, topics, partitions=1)
        submit(connection, topics, _apply(PLAIN))
        with ControlFollower(connection, topics.control) as follower:
            _seen(follower, lambda view: view.position == 1 and view.fresh)
            cluster.nodes[0].kill()
            lost = _seen(follower, lambda view: not view.fresh)
            assert lost.state.phase is Phase.PREPARING
            assert "cannot be confirmed" in (lost.problem or "")
            cluster.nodes[0].start()
            assert submit(connection, topics, _command(Kind.BEGIN, "first"), timeout=PATIENCE_SECONDS).accepted
            back = _seen(follower, lambda view: view.fresh and view.position == 2)
            assert back.state.phase is Phase.SERVING
            assert back.problem is None
