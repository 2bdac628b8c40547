"""`explain`, `history` and `get` on decisions in a real topic, written in transactions with the judge's own encoder."""

import json
import math
import uuid
from collections.abc import Iterator
from dataclasses import replace

import pytest

from streamsplit.core.commands import Command
from streamsplit.core.decision import Decision, DecisionKind, Reading, Verdict, WindowPoint, decision_id
from streamsplit.core.judge_commands import command_of
from streamsplit.kafka.clients import Connection
from streamsplit.kafka.control_log import submit
from streamsplit.kafka.topic_creation import create_topics
from streamsplit.kafka.topics import Topics
from streamsplit.wire.decisions import DecisionEncoder
from streamsplit.wire.schemas import packaged
from tests.acceptance.conftest import Run

pytestmark = pytest.mark.broker

ENCODER = DecisionEncoder(packaged("decision").header)
SPEC = {
    "rollout": "delay-v2",
    "arms": {"control": "delay@1", "canary": "delay@2"},
    "steps": [{"weight": 10}, {"weight": 75}],
}
NEEDED = math.log(20)
HOLDS = 150
"""So many that the latest do not hold all that is looked for."""


class Judged:
    """A rollout at its first step, and a judge whose transactions are made by hand."""

    def __init__(self, connection: Connection, topics: Topics) -> None:
        self.connection, self.topics = connection, topics
        create_topics(connection, topics, partitions=1)
        self.producer = connection.producer(
            "test-judge", transactional_id=f"{topics.deployment}.test.judge", transaction_timeout_ms=60_000
        )
        self.producer.init_transactions(60)
        apply = {"spec": SPEC, "models": {"delay@1": "a" * 64, "delay@2": "b" * 64}}
        self.command(Command(command_id=uuid.uuid4().hex, kind="apply", rollout="delay-v2", payload=apply))
        self.command(Command(command_id=uuid.uuid4().hex, kind="begin", rollout="delay-v2"))

    def command(self, command: Command) -> None:
        verdict = submit(self.connection, self.topics, command)
        assert verdict.accepted, verdict

    def write(self, *values: bytes) -> None:
        """What is written stays open until the next `commit` or `abort`."""
        self.producer.begin_transaction()
        for value in values:
            self.producer.produce(self.topics.decisions, value, partition=0)
        assert self.producer.flush(60) == 0

    def commit(self, *values: bytes) -> None:
        self.write(*values)
        self.producer.commit_transaction(60)


@pytest.fixture
def judged(connection: Connection, deployment: str) -> Iterator[Judged]:
    made = Judged(connection, Topics(deployment))
    yield made
    made.producer.purge()


def hold(window: int) -> Decision:
    start = 1_795_491_660_000 + 5000 * window
    return Decision(
        decision_id("delay-v2", 1, (start, start + 5000), DecisionKind.HOLD), "delay-v2", 0, 1, 0, start, start + 5000,
        DecisionKind.HOLD, (f"Window {window} has too few requests.",),
        (Reading("errors", "canary", Verdict.OPEN, 0.01, 0.01, "%", 1.0, 0.5, 2.0, -0.5, NEEDED, -math.inf, NEEDED),),
        (WindowPoint(start, 900, 9, 100, 1, -0.5),), summaries_to=window + 1, control_to=2, log_time=start + 7000,
    )  # fmt: skip


def rollback() -> Decision:
    last = hold(HOLDS)
    found = decision_id("delay-v2", 1, (last.window_start, last.window_end), DecisionKind.ROLLBACK)
    return replace(
        last, decision_id=found, kind=DecisionKind.ROLLBACK, reasons=("Errors of canary.",), command="abort",
        command_id=found,
    )  # fmt: skip


def test_every_verb_shows_what_the_judge_decided(judged: Judged, run: Run) -> None:
    holds = [hold(window) for window in range(HOLDS)]
    for each in holds:
        judged.commit(ENCODER.encode(each))
    got = json.loads(run("get", "-o", "json").stdout)
    assert got["decision"]["decision_id"] == holds[-1].decision_id
    assert "mean e-value 0.607 of 20 needed" in run("get").stdout
    last = rollback()
    judged.commit(ENCODER.encode(last))
    command = command_of(last)
    assert command is not None
    judged.command(command)

    page = run("explain").stdout
    assert "✖ rollback  delay-v2" in page
    assert "abort, revision 2: RolledBack" in page
    assert "1 of 2, at revision 1" in page
    (plain,) = json.loads(run("explain", "-o", "json").stdout)
    assert (plain["decision_id"], plain["effect"]["revision"]) == (last.decision_id, 2)
    assert plain["evidence"][0]["log_e_good"] == "-Infinity"
    latest = json.loads(run("explain", "--latest", "100", "-o", "json").stdout)
    assert [each["decision_id"] for each in latest] == [each.decision_id for each in (*holds[-99:], last)]
    assert "Window 0 has too few requests." in run("explain", holds[0].decision_id[:12]).stdout

    history = json.loads(run("history", "-o", "json").stdout)
    assert [(row["kind"], row["actor"]) for row in history][2] == ("abort", "judge")
    assert "Errors of canary." in run("explain", history[2]["decision"]).stdout
    rows = json.loads(run("history", "--decisions", "-o", "json").stdout)
    assert [row["kind"] for row in rows] == ["apply", "begin", *["decision"] * (HOLDS + 1), "abort"]
    assert rows[-2]["result"] == "abort, revision 2: RolledBack"


def test_only_what_was_committed_is_a_decision_and_other_records_are_left_out_aloud(judged: Judged, run: Run) -> None:
    judged.commit(ENCODER.encode(hold(0)), b"\x00garbage")
    judged.write(ENCODER.encode(hold(1)))
    judged.producer.abort_transaction(60)
    judged.write(ENCODER.encode(hold(2)))  # and its judge does not go on
    result = run("explain", "--latest", "9", "-o", "json")
    assert [each["decision_id"] for each in json.loads(result.stdout)] == [hold(0).decision_id]
    assert f"{judged.topics.decisions}: the record at offset 1 is left out" in result.stderr
    wrong = run("explain", "ffff", code=2)
    assert hold(0).decision_id in wrong.stderr
    judged.producer.abort_transaction(60)


def test_without_a_decision_or_its_topic_the_cure_is_named(run: Run, connection: Connection, deployment: str) -> None:
    assert "streamsplit topics create" in run("explain", code=1).stderr
    topics = Topics(deployment)
    create_topics(connection, topics, partitions=1)
    nothing = run("explain", "-o", "json", code=1)
    assert json.loads(nothing.stdout) == []
    assert f"No decision yet in {topics.decisions}" in nothing.stderr
    judged = Judged(connection, topics)
    admin = connection.admin()
    admin.delete_topics([topics.decisions], operation_timeout=10)[topics.decisions].result()
    assert "streamsplit topics create" in run("explain", "ab", code=1).stderr
    assert len(json.loads(run("history", "-o", "json").stdout)) == 2
    without = run("get", "-o", "json")
    assert json.loads(without.stdout)["decision"] is None
    assert "Decisions are not shown" in without.stderr
    assert judged.topics.decisions in without.stderr
