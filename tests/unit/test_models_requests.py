"""Flights as requests: what is sent is what the schema, the models and the rollout files expect."""

import io
import itertools
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import pytest
from ruamel.yaml import YAML

from examples.flight_requests import flight_requests, flights
from examples.flights import BURST_SECONDS, TokenBucket
from examples.hostile_requests import Hostile, avro_value, hostile_requests
from streamsplit.core.errors import DataError
from streamsplit.core.rollout import Rollout
from streamsplit.core.rollout_file import parse
from streamsplit.inference.repository import Repository
from streamsplit.wire.framing import JSON_FRAME, read_frame
from streamsplit.wire.request import Wanted, fit
from streamsplit.wire.requests_avro import AvroRequests
from streamsplit.wire.requests_json import read_json
from streamsplit.wire.schemas import SchemaStore, packaged

ROOT = Path(__file__).parents[2]
ROLLOUTS = sorted((ROOT / "examples").glob("*.yaml"))


def decoded(value: bytes | None) -> dict[str, Any]:
    assert value is not None
    header = packaged("request").header
    assert value.startswith(header)
    stream = io.BytesIO(value[len(header) :])
    record = fastavro.schemaless_reader(stream, fastavro.parse_schema(packaged("request").definition), None)
    assert stream.read() == b""
    assert isinstance(record, dict)
    return record


def serve(value: bytes | None) -> None:
    """Decode a value as a worker does that serves `delay`; raises DataError where it becomes a dead letter."""
    if value is None:
        raise DataError("decode", "a tombstone")
    wanted = Wanted(Repository(ROOT / "models").manifest("delay@1").signature.inputs, ("carrier", "origin"))
    frame = read_frame(value)
    if frame == JSON_FRAME:
        request = read_json(value)
    else:
        request = AvroRequests(SchemaStore().writer(frame)).read(value, frame.body)
    fit(request, wanted, 0, 0)


def test_a_request_holds_the_flight_it_was_made_of() -> None:
    table = flights()
    for index in (0, 1, 4095, 4096, 100_000, len(table) - 1):
        (request,) = flight_requests(1, start=index)
        record = decoded(request.value)
        numeric, carrier = record["inputs"]
        assert record["id"] == request.id
        assert request.id.startswith(f"{table.days[index]}-{table.carriers[index]}-{table.numbers[index]}-")
        assert request.key == table.tails[index].encode()
        assert record["attributes"] == {"carrier": table.carriers[index], "origin": table.origins[index]}
        assert (numeric["name"], numeric["datatype"], numeric["shape"]) == ("numeric", "FP32", [6])
        np.testing.assert_array_equal(np.frombuffer(numeric["data"], "<f4"), table.numeric[index])
        assert carrier["data"] == b"\2\0\0\0" + table.carriers[index].encode()


@pytest.mark.parametrize("timing", ["now", "schedule"])
def test_the_fast_encoder_writes_what_fastavro_writes(timing: Any) -> None:
    for request in flight_requests(2000, start=5000, timing=timing):
        assert request.value == avro_value(decoded(request.value))


def test_a_request_names_the_scheduled_departure_or_leaves_its_time_to_the_record() -> None:
    (scheduled,) = flight_requests(1, timing="schedule")
    assert decoded(scheduled.value)["time"].isoformat() == "2013-01-01T10:15:00+00:00"
    (now,) = flight_requests(1)
    assert decoded(now.value)["time"] is None


def test_flights_come_in_the_order_of_the_year() -> None:
    days = flights().days.tolist()
    assert days == sorted(days)
    assert (days[0], days[-1]) == ("2013-01-01", "2013-12-31")


def test_ids_never_repeat_also_when_the_year_begins_again() -> None:
    total = len(flights())
    requests = list(flight_requests(20_000, start=total - 10_000))
    assert len(requests) == 20_000
    assert len({request.id for request in requests}) == 20_000
    (first,), (again,) = flight_requests(1), flight_requests(1, start=total)
    assert again.id == f"{first.id}-1"
    assert again.key == first.key


def test_start_and_limit_cut_one_sequence() -> None:
    whole = list(flight_requests(5000))
    assert list(flight_requests(700, start=4000)) == whole[4000:4700]
    assert list(itertools.islice(flight_requests(None), 5000)) == whole
    assert list(flight_requests(0)) == []


def test_flights_can_be_served() -> None:
    for request in itertools.islice(flight_requests(None), 0, 100_000, 1000):
        serve(request.value)


@pytest.mark.parametrize("hostile", hostile_requests(), ids=lambda hostile: hostile.fault)
def test_a_hostile_record_is_refused_at_its_stage(hostile: Hostile) -> None:
    with pytest.raises(DataError) as refusal:
        serve(hostile.request.value)
    assert refusal.value.stage == hostile.stage


@pytest.mark.parametrize("path", ROLLOUTS, ids=lambda path: path.stem)
def test_an_example_rollout_names_models_that_are_there_and_nothing_that_is_not_built(path: Path) -> None:
    repository = Repository(ROOT / "models")
    pins = {listing.label: repository.pin(listing.label).sha256 for listing in repository.list()}
    rollout = parse(YAML(typ="safe").load(path), pins)
    assert isinstance(rollout, Rollout), rollout


def test_delay_v2_walks_from_ten_percent_to_all() -> None:
    steps = YAML(typ="safe").load(ROOT / "examples" / "delay-v2.yaml")["steps"]
    assert [step["weight"] for step in steps] == [10, 25, 75, 100]


def sent(bucket: TokenBucket, now: float) -> int:
    """How many records the bucket lets through at one moment."""
    return sum(1 for _ in itertools.takewhile(lambda _: bucket.take(now), itertools.count()))


def test_a_sender_keeps_its_rate() -> None:
    bucket = TokenBucket(2000, now=0)
    total = sum(sent(bucket, tick * 0.005) for tick in range(2001))
    assert total == pytest.approx(20_000, abs=20)


def test_a_sender_that_was_held_up_does_not_flood() -> None:
    bucket = TokenBucket(2000, now=0)
    sent(bucket, 1.0)
    assert sent(bucket, 61.0) <= 2000 * BURST_SECONDS
