"""Confluent's framing with a real registry, and with records that Confluent's own serializer wrote."""

import time

import numpy as np
import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from streamsplit.core.byte_strings import ByteStrings
from streamsplit.core.records import Datatype, Predictions, RawBatch, RequestColumns, TensorSpec
from streamsplit.wire.decoder import RequestDecoder
from streamsplit.wire.outputs import OutputEncoder
from streamsplit.wire.provenance import Provenance
from streamsplit.wire.registry import connect_registry
from streamsplit.wire.request import Wanted
from streamsplit.wire.schemas import SchemaStore, packaged

X = TensorSpec("x", Datatype.FP32, (2,))
WANTED = Wanted((X,), ("carrier",))


def batch_of(values: list[bytes | None]) -> RawBatch:
    count = len(values)
    return RawBatch(
        epoch=1,
        values=ByteStrings.of(values),
        keys=ByteStrings.repeated(None, count),
        headers=ByteStrings.repeated(None, count),
        partitions=np.zeros(count, np.int32),
        offsets=np.arange(count, dtype=np.int64),
        timestamps=np.full(count, 1_700_000_000_000, np.int64),
    )


def request(number: int) -> dict[str, object]:
    data = np.array([number, number + 0.5], "<f4").tobytes()
    return {
        "id": f"r{number}",
        "attributes": {"carrier": "UA"},
        "time": None,
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [2], "data": data}],
    }


@pytest.fixture
def decoder(registry: str) -> RequestDecoder:
    return RequestDecoder(SchemaStore((), connect_registry({"url": registry}, time.monotonic)))


def test_requests_of_confluents_own_serializer_are_decoded(registry: str, decoder: RequestDecoder) -> None:
    serializer = AvroSerializer(SchemaRegistryClient({"url": registry, "timeout": 20}), packaged("request").text)
    context = SerializationContext("flights.requests", MessageField.VALUE)
    values = [serializer(request(number), context) for number in range(40)]

    columns, letters = decoder.decode(batch_of(values), WANTED)

    assert letters == []
    assert columns.ids == [f"r{number}".encode() for number in range(40)]
    assert columns.attributes["carrier"] == [b"UA"] * 40
    np.testing.assert_array_equal(columns.inputs["x"][:, 0], np.arange(40, dtype=np.float32))


def test_an_id_that_the_registry_does_not_know_makes_dead_letters_of_its_records_alone(
    registry: str, decoder: RequestDecoder
) -> None:
    serializer = AvroSerializer(SchemaRegistryClient({"url": registry, "timeout": 20}), packaged("request").text)
    good = serializer(request(1), SerializationContext("flights.requests", MessageField.VALUE))

    columns, letters = decoder.decode(batch_of([b"\0\0\x0f\x42\x3f" + good[5:], good]), WANTED)

    assert [letter.row for letter in letters] == [0]
    assert "999999" in letters[0].reason
    assert columns.ids == ByteStrings.of([b"r1"])


def test_confluents_own_deserializer_reads_our_outputs(registry: str) -> None:
    ours = connect_registry({"url": registry}, time.monotonic)
    encoder = OutputEncoder(ours.register("flights.outputs", packaged("output")))
    columns = RequestColumns(np.arange(1), ByteStrings.of([b"r1"]), np.zeros(1, np.int64), {}, {})
    predictions = Predictions(
        served_by=np.zeros(1, np.int8),
        outcomes=np.zeros(1, np.int8),
        micros=np.zeros(1, np.int64),
        outputs={"x": np.array([[1.0, 2.0]], np.float32)},
        reasons={},
    )
    provenance = Provenance("delay-v2", 7, ("control",), ("delay@1",), (X,))

    (value,) = encoder.encode(batch_of([b""]), columns, predictions, provenance)
    read = AvroDeserializer(SchemaRegistryClient({"url": registry, "timeout": 20}))(
        value, SerializationContext("flights.outputs", MessageField.VALUE)
    )

    assert (read["id"], read["arm"], read["model"], read["revision"]) == ("r1", "control", "delay@1", 7)
    assert read["outputs"][0]["data"] == np.array([1.0, 2.0], "<f4").tobytes()
