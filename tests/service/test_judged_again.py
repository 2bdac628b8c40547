"""A replay of the judge over the topics of a deployment."""

from dataclasses import replace

import pytest

from simulations.world import World, behaving, canary
from streamsplit.core.judge import Judge
from streamsplit.core.judging.interference import level_told
from streamsplit.kafka.clients import Connection
from streamsplit.offline.judged import judge_again
from streamsplit.service.settings import Settings
from streamsplit.wire.decisions import DecisionEncoder
from streamsplit.wire.schemas import SchemaStore, packaged
from streamsplit.wire.summaries import SummaryEncoder
from tests.service.deployed import PATIENCE_SECONDS, until
from tests.service.judge_alone import JudgeAlone, settings_of
from tests.service.judged import PLAIN, Court, decisions_of

pytestmark = pytest.mark.broker


def begun(connection: Connection, deployment: str) -> tuple[Court, list[bytes]]:
    """A rollout that has begun, and the summaries of what was served before it, the first 40, and is under it."""
    world = World(canary(mode="advise"), behaving(error_rate=0.03), before=20)
    world.run(20)
    court = Court(connection, deployment)
    court.begin(PLAIN)
    court.begin(world.spec)
    encoder = SummaryEncoder(packaged("summary").header)
    served = (
        replace(each, rollout=str(PLAIN["rollout"])) if number < 40 else each
        for number, (each, _) in enumerate(world.log)
    )
    return court, [encoder.encode(each) for each in served]


def judge(court: Court) -> None:
    """Judge all that is written, by a judge that then ends."""
    settings = settings_of(court.connection.brokers, court.topics.deployment, "a", static=False)
    with JudgeAlone(Settings(**settings), Judge) as one:
        until(lambda: court.committed() >= court.last(), PATIENCE_SECONDS, lambda: one.judging.problems)


def test_a_judge_whose_offset_was_reset_decides_the_same_again_and_that_is_told(
    connection: Connection, deployment: str
) -> None:
    court, values = begun(connection, deployment)
    court.write(values[:70])
    judge(court)
    before = len(court.decided())
    court.reset(3)
    court.write(values[70:])
    judge(court)
    again = judge_again(connection, court.topics, SchemaStore(()))
    assert again.sound, again
    assert (again.again, again.resets) == (before, 1)
    assert again.decided + again.again == len(court.decided()) > 2 * before > 0
    level = level_told(decisions_of(court.decided())[-1].readings)
    assert level is not None, "control before the rollout is known to a judge that began again within it"
    assert level.requests > 5_000


def test_decisions_that_no_replay_comes_to_are_found(connection: Connection, deployment: str) -> None:
    court, values = begun(connection, deployment)
    court.write([*values, b"no summary"])
    judge(court)
    decided = court.decided()
    again = judge_again(connection, court.topics, SchemaStore(()))
    assert again.sound
    assert again.decided == len(decided) > 0
    forged = replace(decisions_of(decided)[0], decision_id="f" * 32)
    producer = connection.producer("test-forger")
    for value in (DecisionEncoder(packaged("decision").header).encode(forged), decided[0], b"no decision"):
        producer.produce(court.topics.decisions, value, partition=0)
    assert producer.flush(60) == 0
    spoiled = judge_again(connection, court.topics, SchemaStore(()))
    assert (spoiled.missing, spoiled.different, spoiled.extra) == (0, 0, 3)
    assert spoiled.first == ("f" * 32, decisions_of(decided)[0].decision_id, "(no decision)")
