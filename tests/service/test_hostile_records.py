"""What a running worker does with records that it cannot serve, and with those that only look so."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from confluent_kafka import Message
from confluent_kafka.admin import (  # type: ignore[attr-defined] # their documented place
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from examples.hostile_requests import hostile_requests
from streamsplit.wire.audit import AuditRecord
from streamsplit.wire.dead_letters import PREFIX, record_size
from streamsplit.wire.outputs import Output
from tests.service.conftest import Deploy
from tests.service.deployed import Deployed, Place, Sent, flights, header
from tests.service.requests_by_hand import NUMBERS, UNITED, avro_request, json_request

pytestmark = pytest.mark.broker

MESSAGE_LIMIT = 1_048_588
OUTPUT_LIMIT = 20_000
HEADERS = [("trace", b"4bf92f35"), ("trace", None), ("empty", b"")]
ROLLOUT = """\
rollout: by-key
arms: {control: delay@1, canary: delay@2}
unit: key
routes:
  - when: {carrier: [UA]}
    weights: {canary: 100}
steps:
  - {weight: 0}
limits: {timeout: 30s}
"""


def _near_the_limit(value: bytes) -> Sent:
    """Headers that make a record as large as the topic takes."""
    room = MESSAGE_LIMIT - record_size(b"key", value, [("padding", b"")])
    return Sent(value, b"key", [("padding", b"x" * room)])


STRANGE: Mapping[str, Sent] = {
    "json": Sent(json_request("json"), b"key", HEADERS),
    "twice": Sent(avro_request("twice"), b"key"),
    "twice again": Sent(avro_request("twice"), b"key"),
    "null key": Sent(avro_request("null key"), None, partition=0),
    "no attribute": Sent(avro_request("no attribute", attributes={}), b"key"),
    "long id": Sent(avro_request("i" * 4_000), b"key"),
    "many attributes": Sent(avro_request("many", attributes={**UNITED, "note": "x" * 1_000_000}), b"key"),
    "year 2001": Sent(json_request("year 2001").replace(b'"inputs"', b'"time": 1000000000000, "inputs"'), b"key"),
    "year 292277026": Sent(json_request("far").replace(b'"inputs"', b'"time": 9223372036854775807, "inputs"'), b"key"),
}
"""Unusual, and to be answered."""

DEAD: Mapping[str, tuple[str, Sent]] = {
    **{each.fault: (each.stage, Sent(each.request.value, each.request.key, HEADERS)) for each in hostile_requests()},
    "NaN, null key": ("decode", Sent(avro_request("nan", numbers=(math.nan, *NUMBERS[1:])), None, partition=1)),
    "id over 64 KiB": ("decode", Sent(avro_request("i" * 65_537), b"key", HEADERS)),
    "key over 64 KiB": ("decode", Sent(avro_request("long key"), b"k" * 65_537)),
    "output too large": ("encode", Sent(avro_request("i" * OUTPUT_LIMIT), b"key", HEADERS)),
    "headers too large": ("encode", Sent(avro_request("headers"), b"key", [("h", b"x" * OUTPUT_LIMIT)])),
    "value and headers near the limit": ("decode", _near_the_limit(b"no request" * 100_000)),
    "headers near the limit": ("encode", _near_the_limit(avro_request("near the limit"))),
}
"""Fault → the stage where the record must leave."""

BY_REFERENCE = {"value and headers near the limit", "headers near the limit"}
"""Faults of records that leave no room for the headers of an error."""


@dataclass(frozen=True)
class Served:
    """What became of all of it."""

    deployed: Deployed
    places: Mapping[str, Place]
    flights: list[Place]
    letters: Mapping[Place, Message]
    audits: Mapping[Place, AuditRecord]
    outputs: Mapping[Place, Output]
    status: Mapping[str, Any]
    log: str


def _limit(deployed: Deployed, topic: str, size: int) -> None:
    entry = ConfigEntry("max.message.bytes", f"{size}", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, deployed.topics.name(topic), incremental_configs=[entry])
    admin = deployed.connection.admin()  # it lives until its answer is here
    for future in admin.incremental_alter_configs([resource]).values():
        future.result()


@pytest.fixture(scope="module")
def served(deploy: Deploy, tmp_path_factory: pytest.TempPathFactory) -> Served:
    """Hostile records between good ones, in as many batches as they need."""
    deployed = deploy()
    _limit(deployed, "outputs", OUTPUT_LIMIT)
    _limit(deployed, "dead-letters", MESSAGE_LIMIT)
    file = tmp_path_factory.mktemp("rollout") / "by-key.yaml"
    file.write_text(ROLLOUT)
    worker = deployed.run()
    deployed.apply(file)
    named = [*STRANGE.items(), *((name, sent) for name, (_, sent) in DEAD.items())]
    good = flights(len(named) * 10)
    mixed = [each for number, (_, sent) in enumerate(named) for each in (*good[10 * number : 10 * number + 10], sent)]
    places = deployed.send(mixed)
    deployed.until_served()
    return Served(
        deployed,
        {name: places[11 * number + 10] for number, (name, _) in enumerate(named)},
        [place for number, place in enumerate(places) if number % 11 != 10],
        deployed.letters(),
        deployed.audits(),
        deployed.outputs(),
        worker.status(),
        worker.text,
    )


@pytest.mark.parametrize("fault", DEAD)
def test_a_record_that_cannot_be_served_is_one_dead_letter(served: Served, fault: str) -> None:
    stage, sent = DEAD[fault]
    place = served.places[fault]
    letter = served.letters[place]
    assert (header(letter, "stage"), letter.partition()) == (stage, place[0])
    assert header(letter, "topic") == served.deployed.topics.requests
    assert header(letter, "exception.message")
    assert place not in served.outputs
    assert (place in served.audits) == (stage != "decode")
    assert letter.key() == sent.key
    original = [each for each in letter.headers() or () if not each[0].startswith(PREFIX)]
    if fault in BY_REFERENCE:
        assert sent.value is not None
        reference = json.loads(letter.value() or b"")
        assert (reference["partition"], reference["offset"]) == place
        assert reference["sha256"] == hashlib.sha256(sent.value).hexdigest()
    else:
        assert letter.value() == sent.value
        assert original == list(sent.headers)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("output too large", ("max.message.bytes", ".outputs", f"{OUTPUT_LIMIT}")),
        ("id over 64 KiB", ("65536 bytes",)),
        ("key over 64 KiB", ("65536 bytes",)),
        ("NaN", ("numeric",)),
        ("unknown schema fingerprint", (".avsc",)),
    ],
)
def test_a_dead_letter_says_what_was_expected(served: Served, fault: str, words: tuple[str, ...]) -> None:
    message = header(served.letters[served.places[fault]], "exception.message")
    assert all(word in message for word in words), message


@pytest.mark.parametrize("name", STRANGE)
def test_an_unusual_request_is_answered(served: Served, name: str) -> None:
    place = served.places[name]
    assert place not in served.letters
    assert (served.outputs[place].outcome, served.audits[place].outcome) == ("ok", "ok")


def test_a_request_without_key_goes_to_control_where_the_key_is_the_unit(served: Served) -> None:
    audit = served.audits[served.places["null key"]]
    assert (audit.unit, audit.bucket, audit.arm) == (None, -1, "control")


def test_a_request_without_the_rules_attribute_takes_the_default_route(served: Served) -> None:
    audit = served.audits[served.places["no attribute"]]
    assert (audit.rule, audit.arm) == (-1, "control")
    united = served.audits[served.places["twice"]]
    assert (united.rule, united.arm) == (0, "canary")


def test_all_that_stood_beside_them_is_answered_and_nothing_else_is_a_dead_letter(served: Served) -> None:
    assert set(served.letters) == {served.places[fault] for fault in DEAD}
    assert set(served.flights) <= set(served.outputs)
    assert set(served.outputs) == {*served.flights, *(served.places[name] for name in STRANGE)}
    assert served.status["totals"]["dead_letters"] == len(DEAD)
    assert served.status["ready"]


def test_a_topic_with_a_low_limit_never_makes_a_transaction_fail(served: Served) -> None:
    """The limit holds for a batch of records, and many small ones are larger than it."""
    assert "failed at" not in served.log


def test_outputs_carry_key_and_headers_of_their_requests(served: Served) -> None:
    place = served.places["json"]
    (record,) = (each for each in served.deployed.records("outputs") if dict(each.headers() or ()).get("trace", 0) != 0)
    assert (record.partition(), record.key(), record.headers()) == (place[0], b"key", HEADERS)


def test_verify_finds_every_record_accounted_for(served: Served) -> None:
    report = served.deployed.verify()
    routed = sum(stage != "decode" for stage, _ in DEAD.values())
    assert report["dead_letters"] == {"routed": routed, "unrouted": len(DEAD) - routed}
    assert report["requests"] == len(served.flights) + len(STRANGE) + len(DEAD)
