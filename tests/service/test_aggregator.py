"""Any worker can be the judge: each summary is judged once, whoever dies, and nobody is held up by one that is stopped.

Where it does not matter what is decided, the judge is one whose decisions show what it has read (`Chaining`).
"""

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, KafkaError, TopicPartition
from confluent_kafka.admin import AdminClient

from streamsplit.core.commands import Command, Kind
from streamsplit.core.decision import Decision
from streamsplit.core.judge import Judge
from streamsplit.core.rollout import Phase, State
from streamsplit.core.summary import Summary
from streamsplit.kafka.clients import Connection
from streamsplit.kafka.control_follower import ControlFollower
from streamsplit.kafka.control_log import ControlWriter
from streamsplit.kafka.latest_record import latest_record
from streamsplit.kafka.topic_creation import create_topics
from streamsplit.service.settings import Settings
from streamsplit.wire.judge_state import JudgeStateReader
from tests.service import judge_alone
from tests.service.conftest import Deploy
from tests.service.deployed import PATIENCE_SECONDS, ROOT, Deployed, Running, flights, until
from tests.service.judge_alone import BAD, EVERY, Chaining, JudgeAlone, settings_of
from tests.service.judged import CANARY, PLAIN, Court, Recorded, decisions_of

pytestmark = [pytest.mark.broker, pytest.mark.timeout(1200)]

POINTS = ("consumed", "produced", "offsets_sent", "committing", "committed")
SESSION_SECONDS = 6.0
USUAL_SECONDS = 45.0
"""After which Kafka gives up a member that does not say how long to wait for it."""


class Child:
    """A judge in a process of its own."""

    def __init__(self, settings: Mapping[str, Any], folder: Path, fault: Mapping[str, Any] | None = None) -> None:
        self.said = folder / f"{settings['slot']}-{uuid.uuid4().hex[:6]}.out"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("STREAMSPLIT_")}
        with self.said.open("wb") as said, self.said.with_suffix(".err").open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", judge_alone.__name__, str(os.getpid())],
                stdin=subprocess.PIPE,
                stdout=said,
                stderr=errors,
                env={**environment, "PYTHONPATH": str(ROOT)},
                cwd=folder,
            )
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"settings": settings, "fault": fault}).encode())
        self.process.stdin.close()

    @property
    def judging(self) -> bool:
        lines = self.said.read_text("utf-8").splitlines()
        return bool(lines) and bool(json.loads(lines[-1])["judging"])

    def why(self) -> str:
        return self.said.with_suffix(".err").read_text("utf-8")[-3000:]

    def stop(self) -> None:
        self.process.kill()
        self.process.wait(10)


def fault(point: str, number: int = signal.SIGKILL, passing: int = 1) -> dict[str, Any]:
    return {"point": point, "passing": passing, "number": number, "pid": None, "delay": 0.0}


Start = Callable[..., Child]


@pytest.fixture
def court(connection: Connection, deployment: str) -> Court:
    """A rollout at its first step."""
    made = Court(connection, deployment)
    made.begin(PLAIN)
    made.begin(CANARY)
    return made


@pytest.fixture
def start(court: Court, tmp_path: Path) -> Iterator[Start]:
    """Starts judges: `start(slot, fault)`."""
    children: list[Child] = []

    def started(slot: str = "a", struck: Mapping[str, Any] | None = None, **group: Any) -> Child:
        settings = settings_of(court.connection.brokers, court.topics.deployment, slot, **group)
        children.append(Child(settings, tmp_path, struck))
        return children[-1]

    yield started
    for child in children:
        child.stop()


def alone(court: Court, judge: type[Any] = Chaining, slot: str = "a", **options: Any) -> JudgeAlone:
    """A judge in this process."""
    settings = settings_of(court.connection.brokers, court.topics.deployment, slot, static=False)
    return JudgeAlone(Settings(**settings), judge, **options)


def until_judged(court: Court, why: Callable[[], object] = lambda: "") -> None:
    """Return when every summary that is there is judged."""
    end = court.last()
    until(lambda: court.committed() >= end, PATIENCE_SECONDS, lambda: f"{court.committed()} of {end}: {why()}")


REVISION = 3
"""Of the first step of `second`."""


def test_a_judge_that_is_killed_at_any_point_decides_what_an_undisturbed_one_does(court: Court, start: Start) -> None:
    for point in POINTS:
        court.summarise(REVISION, 7)
        child = start("a", fault(point))
        until(lambda child=child: child.process.poll() == -signal.SIGKILL, PATIENCE_SECONDS, child.why)
        court.summarise(REVISION, 6)
    last = start("a")
    until_judged(court, last.why)
    decided = court.decided()
    assert decided == court.replayed(Chaining)
    assert len(decided) == len(POINTS) * 13 // EVERY


def test_another_worker_goes_on_within_the_session_time_out(court: Court, start: Start) -> None:
    first = start("a")
    until(lambda: first.judging, PATIENCE_SECONDS, first.why)
    second = start("b")
    court.summarise(REVISION, 23)
    until_judged(court, first.why)
    assert not second.judging
    first.stop()
    died = time.monotonic()
    court.summarise(REVISION, 24)
    until_judged(court, second.why)
    # The broker notices a missing heartbeat, gives the partition away, and the new judge asks for its place: whatever
    # that takes on a slow machine, it is less than the brokers alone would wait without this deployment's time-out.
    assert time.monotonic() - died < USUAL_SECONDS - SESSION_SECONDS
    until(lambda: second.judging, PATIENCE_SECONDS, second.why)
    assert court.decided() == court.replayed(Chaining)


def test_a_stopped_judge_holds_up_no_operator(court: Court, start: Start) -> None:
    """It stops in the middle of a transaction, which the brokers end only after seconds: the verdict comes before."""
    court.summarise(REVISION, EVERY)
    stopped = start("a", fault("offsets_sent", signal.SIGSTOP))
    admin, asked = court.connection.admin(), Command(command_id="operator", kind=Kind.ABORT, rollout="second")
    # The operator stands ready, so that even a machine that halts leaves time for a verdict within the transaction.
    with ControlFollower(court.connection, court.topics.control) as follower:
        assert follower.wait(lambda view: view.fresh, PATIENCE_SECONDS) is not None
        writer = ControlWriter(court.connection, court.topics.control)
        until(lambda: _is_stopped(stopped), PATIENCE_SECONDS, stopped.why)
        verdict = follower.verdict(writer.write(asked), PATIENCE_SECONDS)
        assert _in_transaction(court, admin), "the verdict came after the end of the transaction"
    assert verdict.accepted
    assert verdict.state.phase is Phase.ROLLED_BACK
    second = start("b")
    until_judged(court, second.why)
    os.kill(stopped.process.pid, signal.SIGCONT)  # it finds that another one has gone on
    court.summarise(verdict.state.revision, EVERY)
    until_judged(court, second.why)
    assert court.decided() == court.replayed(Chaining)


def _in_transaction(court: Court, admin: AdminClient) -> bool:
    """Whether a transaction that is neither committed nor aborted holds the judge's offset."""
    asked = ConsumerGroupTopicPartitions(court.group, [TopicPartition(court.topics.summaries, 0)])
    (future,) = admin.list_consumer_group_offsets([asked], require_stable=True).values()
    (place,) = future.result().topic_partitions
    return place.error is not None and place.error.code() == KafkaError.UNSTABLE_OFFSET_COMMIT


def _is_stopped(child: Child) -> bool:
    return Path(f"/proc/{child.process.pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0] == "T"


def test_a_command_that_is_decided_is_written_by_the_next_judge_where_the_first_could_not(
    court: Court, start: Start
) -> None:
    court.summarise(REVISION, 1, BAD)
    killed = start("a", fault("committed"))
    until(lambda: killed.process.poll() is not None, PATIENCE_SECONDS, killed.why)
    assert len(court.decided()) == 1
    assert "judge-abort-2" not in {each.command_id for each in court.commands()}, "it died before it could write it"
    heir = start("a")
    until(lambda: court.states().at(2**62).phase is Phase.ROLLED_BACK, PATIENCE_SECONDS, heir.why)
    (abort,) = (each for each in court.commands() if each.command_id == "judge-abort-2")
    (decision,) = decisions_of(court.decided())
    assert (abort.actor, abort.apply_revision, abort.issued_at_ms) == ("judge", 2, decision.log_time)
    court.summarise(REVISION + 1, 2 * EVERY)
    until_judged(court, heir.why)
    assert court.decided() == court.replayed(Chaining)


def test_what_cannot_be_judged_is_counted_and_passed_over(court: Court) -> None:
    with alone(court) as judge:
        court.summarise(REVISION, 4)
        court.write([b"", None, b"\x00\x00\x00\x00\x07abc", b"{}", b"\xc3\x01" + bytes(8) + b"x"])
        court.summarise(2**40, 3)  # no control log has this revision
        court.summarise(-5, 2)
        court.summarise(REVISION, 9)
        until_judged(court, lambda: judge.judging.problems)
        totals = judge.tally.totals()
        assert judge.judging.problems == ()
    assert totals["unreadable_summaries"] == 5 + 3
    assert totals["summaries"] == 4 + 5 + 3 + 2 + 9
    # Those of revisions before the present rollout are passed over by one that begins without a state.
    assert court.decided() == court.replayed(Chaining, since=2)


def test_a_summary_waits_until_its_revision_is_folded(court: Court) -> None:
    court.summarise(REVISION, EVERY)
    with alone(court, follows=False) as judge:
        until(lambda: judge.judging.active, PATIENCE_SECONDS, lambda: judge.judging.problems)
        assert court.decided() == []
        judge.follow()
        until_judged(court)
    (decision,) = decisions_of(court.decided())
    assert (decision.revision, decision.control_to) == (REVISION, REVISION + 1)


def test_a_judge_that_falls_behind_sees_each_state_that_there_was(court: Court) -> None:
    court.summarise(REVISION, 3)
    paused = court.command(Kind.PAUSE, "second")
    court.summarise(paused, 3)
    resumed = court.command(Kind.RESUME, "second")
    court.summarise(REVISION, 3)  # of a worker that had not folded them yet
    court.summarise(resumed, 6)
    with alone(court):
        until_judged(court)
    decided = decisions_of(court.decided())
    assert [each.revision for each in decided] == [paused, resumed, resumed]
    assert court.decided() == court.replayed(Chaining)


class Failing(Chaining):
    """A judge that fails at one summary, as often as it is told to."""

    left = 2

    def take(self, summary: Summary, offset: int, state: State, control_to: int) -> tuple[Decision, ...]:
        if summary.sequence == 7 and Failing.left:
            Failing.left -= 1
            raise ZeroDivisionError("a fault of the judge")
        return super().take(summary, offset, state, control_to)


def test_a_judge_that_fails_says_so_and_is_built_again(court: Court) -> None:
    Failing.left = 2
    court.summarise(REVISION, 13)
    with alone(court, Failing) as judge:
        told = until(lambda: judge.judging.problems, PATIENCE_SECONDS, "it says that it failed")
        assert "a fault of the judge" in told[0]
        until_judged(court, lambda: judge.judging.problems)
        until(lambda: not judge.judging.problems, PATIENCE_SECONDS, lambda: judge.judging.problems)
    assert Failing.left == 0
    assert court.decided() == court.replayed(Chaining)


@contextmanager
def judged(court: Court) -> Iterator[list[bytes]]:
    """Some summaries are judged, and no judge is left."""
    court.summarise(REVISION, 2 * EVERY + 1)
    with alone(court):
        until_judged(court)
    yield court.decided()


def test_an_offset_that_was_reset_begins_the_present_rollout_again_and_says_so(court: Court) -> None:
    court.summarise(1, 4)  # of the rollout before
    with judged(court) as before:
        court.reset(2)
        court.summarise(REVISION, 2)
        with alone(court) as judge:
            told = until(lambda: judge.judging.problems, PATIENCE_SECONDS, "it says that it began afresh")
            until_judged(court, lambda: judge.judging.problems)
            assert "offset 2 of" in told[-1]
            assert "revision 2 again from its first summary" in told[-1]
    assert court.decided() == [*before, *court.replayed(Chaining, since=2)]
    assert before == court.replayed(Chaining, since=2)[: len(before)]


def test_a_lost_topic_of_states_begins_the_present_rollout_again_and_says_so(court: Court) -> None:
    with judged(court) as before:
        admin, topic = court.connection.admin(), court.topics.judge_state
        admin.delete_topics([topic], operation_timeout=10)[topic].result()
        create_topics(court.connection, court.topics)
        with alone(court) as judge:
            told = until(lambda: judge.judging.problems, PATIENCE_SECONDS, "it says that it began afresh")
            court.summarise(REVISION, EVERY)
            until_judged(court, lambda: judge.judging.problems)
    assert "the judge's state is gone" in told[-1]
    assert court.decided() == [*before, *court.replayed(Chaining)]


def test_a_group_whose_offsets_have_expired_goes_on_where_the_state_says(court: Court) -> None:
    with judged(court):
        admin = court.connection.admin()
        admin.delete_consumer_groups([court.group])[court.group].result()
        court.summarise(REVISION, EVERY)
        with alone(court) as judge:
            until_judged(court, lambda: judge.judging.problems)
            assert judge.judging.problems == ()
    assert court.decided() == court.replayed(Chaining)


def test_the_last_record_of_a_key_is_found_behind_many_others(connection: Connection, court: Court) -> None:
    topic, admin = court.topics.judge_state, connection.admin()
    assert latest_record(connection, admin, topic, b"mine").value is None
    producer = connection.producer("test")
    for number in range(300):
        producer.produce(topic, b"%d" % number, b"mine" if number < 3 else b"other", partition=0)
    assert producer.flush(30) == 0
    found = latest_record(connection, admin, topic, b"mine")
    assert (found.value, found.undecided) == (b"2", False)
    assert latest_record(connection, admin, topic, b"other").value == b"299"
    assert latest_record(connection, admin, topic, b"nobody").value is None


# -- whole workers ----------------------------------------------------------------------------------------------------


def test_workers_judge_real_traffic_and_one_takes_over_from_one_that_is_killed(deploy: Deploy) -> None:
    deployed = deploy(2, GROUP__SESSION_TIMEOUT="6", GROUP__TRANSACTION_TIMEOUT="5")
    workers = {slot: deployed.run(slot) for slot in ("one", "two")}
    deployed.apply("serve-delay-1.yaml")
    for worker in workers.values():
        worker.until_ready()
    deployed.apply(deployed.patient("delay-v2.yaml"))
    judge = until(lambda: _judge(workers), PATIENCE_SECONDS, lambda: [each.why() for each in workers.values()])
    assert judge is not None
    deployed.send(flights(4_000))
    deployed.until_served()
    until(lambda: list(deployed.records("decisions")), PATIENCE_SECONDS, workers[judge].why)
    workers.pop(judge).kill()
    (heir,) = workers
    until(lambda: _judge(workers) == heir, PATIENCE_SECONDS, workers[heir].why)
    deployed.send(flights(2_000, 4_000))
    deployed.until_served()
    assert not [reason for reason in workers[heir].status()["reasons"] if "judge" in reason]
    assert workers[heir].stop() == 0
    court = Sitting(deployed.connection, deployed.topics)
    assert court.state().summaries_to == court.committed()
    ids = [each.decision_id for each in decisions_of(court.decided())]
    assert len(ids) == len(set(ids)) > 0
    upto = [each for each in decisions_of(court.replayed(Judge, since=0)) if each.summaries_to <= court.committed()]
    assert decisions_of(court.decided()) == upto


FAILING = """
rollout: {name}
mode: {mode}
arms: {{control: delay@1, canary: delay@4}}
unit: id
steps: [{{weight: 50}}, {{weight: 100}}]
judge: {{window: 1s, grace: 1s}}
limits: {{timeout: 30s}}
"""
"""Its candidate raises on carriers that its encoder never saw: a third of the flights."""


def test_a_failing_candidate_is_taken_back_by_the_judge_and_only_advised_against_where_that_is_asked_for(
    deploy: Deploy,
) -> None:
    deployed = deploy(1)
    worker = deployed.run()
    deployed.apply("serve-delay-1.yaml")
    worker.until_ready()
    for mode in ("advise", "auto"):
        file = deployed.folder / f"{mode}.yaml"
        file.write_text(FAILING.format(name=f"failing-{mode}", mode=mode), "utf-8")
        deployed.apply(file)
        deployed.send(flights(2_000))
        deployed.until_served()
        until(lambda mode=mode: _against(deployed, f"failing-{mode}"), PATIENCE_SECONDS, worker.why)
        if mode == "advise":
            assert worker.status()["phase"] == "Progressing"
            deployed.do("abort")
        until(lambda: worker.status()["phase"] == "RolledBack", PATIENCE_SECONDS, worker.why)
    court = Sitting(deployed.connection, deployed.topics)
    decided = [each for each in decisions_of(court.decided()) if each.command]
    assert {(each.rollout, each.advice) for each in decided} == {("failing-advise", True), ("failing-auto", False)}
    aborts = [each for each in court.commands() if each.kind == Kind.ABORT]
    assert [each.rollout for each in aborts] == ["failing-advise", "failing-auto"]
    assert [each.actor == "judge" for each in aborts] == [False, True]
    assert {aborts[1].command_id} == {each.command_id for each in decided if not each.advice}


def _against(deployed: Deployed, rollout: str) -> list[Decision]:
    """The decisions to take a rollout back."""
    decided = decisions_of([each.value() or b"" for each in deployed.records("decisions")])
    return [each for each in decided if each.rollout == rollout and each.command == "abort"]


def _judge(workers: Mapping[str, Running]) -> str | None:
    """The one worker that says it is the judge."""
    judges = [slot for slot, worker in workers.items() if worker.status().get("judging")]
    return judges[0] if len(judges) == 1 else None


class Sitting(Recorded):
    """The topics of a deployment that workers write."""

    def state(self) -> Any:
        """The last state."""
        admin, name = self.connection.admin(), self.topics.deployment.encode()
        found = latest_record(self.connection, admin, self.topics.judge_state, name)
        assert found.value is not None
        return JudgeStateReader().read(found.value)
