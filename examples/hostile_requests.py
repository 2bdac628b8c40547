"""Records that cannot be served, one for each way in which producers get it wrong."""

import io
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import fastavro

from examples.flight_requests import Request
from models.flight_table import FEATURES
from streamsplit.wire.framing import confluent_header, single_object_header
from streamsplit.wire.schemas import packaged


@dataclass(frozen=True, slots=True)
class Hostile:
    """A record that must become a dead letter.

    Attributes:
        request: The record.
        stage: Where it must leave the way of a request.
        fault: What is wrong with it.
    """

    request: Request
    stage: str
    fault: str


def hostile_requests() -> tuple[Hostile, ...]:
    """The records, each with the stage that must refuse it; a good record differs from each in one thing alone."""
    good = avro_value(_good())
    body = good[len(packaged("request").header) :]
    values: dict[str, bytes | None] = {
        "tombstone": None,
        "empty value": b"",
        "plain text": b"UA 1545 EWR IAH",
        "unknown schema fingerprint": single_object_header(0x0123_4567_89AB_CDEF) + body,
        "unknown schema id": confluent_header(2**31 - 1) + body,
        "header alone": packaged("request").header,
        "cut off in the middle": good[: len(good) // 2],
        "cut off at the last byte": good[:-1],
        "unfinished JSON": b'{"id": "2013-01-05-UA-1545-EWR", "inputs": [',
        "JSON of another shape": b'{"flight": "UA 1545", "dep_delay": 2}',
        "no inputs": avro_value({**_good(), "inputs": []}),
        "missing input": avro_value({**_good(), "inputs": [_numeric()]}),
        "wrong input name": _with_numeric(name="features"),
        "wrong datatype": _with_numeric(datatype="FP64", data=struct.pack("<6d", *_VALUES)),
        "wrong shape": _with_numeric(shape=[len(FEATURES) + 1], data=struct.pack("<7f", *_VALUES, 0)),
        "too few bytes for the shape": _with_numeric(data=struct.pack("<5f", *_VALUES[:-1])),
        "too many bytes for the shape": _with_numeric(data=struct.pack("<7f", *_VALUES, 0)),
        "NaN": _with_numeric(data=struct.pack("<6f", math.nan, *_VALUES[1:])),
        "infinity": _with_numeric(data=struct.pack("<6f", *_VALUES[:-1], math.inf)),
        "carrier that is not UTF-8": _with_carrier(struct.pack("<I", 2) + b"\xff\xfe"),
        "carrier longer than its data": _with_carrier(struct.pack("<I", 2**31) + b"UA"),
        "two carriers in a place for one": _with_carrier((struct.pack("<I", 2) + b"UA") * 2),
    }
    return tuple(
        Hostile(Request(b"N24211", value, f"hostile-{number}"), "decode", fault)
        for number, (fault, value) in enumerate(values.items())
    )


def avro_value(request: Mapping[str, Any]) -> bytes:
    """A request in single-object encoding, written by fastavro."""
    schema = packaged("request")
    stream = io.BytesIO()
    stream.write(schema.header)
    fastavro.schemaless_writer(stream, fastavro.parse_schema(schema.definition), dict(request))
    return stream.getvalue()


_VALUES = (2.0, 5.0, 1400.0, 184.0, 1.0, 1.0)


def _numeric() -> dict[str, Any]:
    return {"name": "numeric", "datatype": "FP32", "shape": [len(FEATURES)], "data": struct.pack("<6f", *_VALUES)}


def _carrier() -> dict[str, Any]:
    return {"name": "carrier", "datatype": "BYTES", "shape": [1], "data": struct.pack("<I", 2) + b"UA"}


def _good() -> dict[str, Any]:
    return {
        "id": "2013-01-01-UA-1545-EWR",
        "attributes": {"carrier": "UA", "origin": "EWR"},
        "time": None,
        "inputs": [_numeric(), _carrier()],
    }


def _with_numeric(**changes: object) -> bytes:
    return avro_value({**_good(), "inputs": [{**_numeric(), **changes}, _carrier()]})


def _with_carrier(data: bytes) -> bytes:
    return avro_value({**_good(), "inputs": [_numeric(), {**_carrier(), "data": data}]})
