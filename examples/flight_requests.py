"""Real flights as inference requests, encoded in bulk.

The key is the tail number, so that all flights of one aircraft keep their order; the attributes are carrier and
origin; the inputs are those of the models in `models/delay`.
"""

import functools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from models.flight_table import FEATURES, FlightTable, load_flights
from streamsplit.core.records import Datatype
from streamsplit.wire.schemas import packaged

Timing = Literal["now", "schedule"]
"""`now`: no time in the request, so that its record's timestamp stands; `schedule`: the scheduled departure of 2013."""

CHUNK = 4096
_DATATYPES = list(Datatype)
_END = b"\0"


@dataclass(frozen=True, slots=True)
class Request:
    """A record for the topic of requests.

    Attributes:
        key: Tail number in UTF-8, None where the flight has none.
        value: Avro single-object encoding of `schemas/request.avsc`; None is a tombstone.
        id: The request's id, such as 2013-01-05-UA-1545-EWR-3712.
    """

    key: bytes | None
    value: bytes | None
    id: str


@functools.cache
def flights() -> FlightTable:
    """The departed flights, read once."""
    return load_flights()


@dataclass(frozen=True, slots=True)
class Pace:
    """Times of requests that follow each other evenly, however fast they are sent.

    Attributes:
        begin_ms: Time of the first flight of the table, milliseconds since the epoch.
        per_second: Requests in a second of their own time.
    """

    begin_ms: int
    per_second: float


def flight_requests(limit: int | None, start: int = 0, timing: Timing | Pace = "now") -> Iterator[Request]:
    """Requests of flights in the order of the year.

    Behind the last flight the year begins again, with `-1`, `-2` ... behind the ids, so that ids never repeat.

    Args:
        limit: How many; None: without end.
        start: Index of the first flight among those that departed; from 328 521 on, of the repeated year.
        timing: What the requests say about their time.
    """
    table = flights()
    position, left = start, limit
    while left is None or left > 0:
        lap, first = divmod(position, len(table))
        count = min(CHUNK, len(table) - first, CHUNK if left is None else left)
        part = table.take(slice(first, first + count))
        if isinstance(timing, Pace):
            since = 1000 / timing.per_second * np.arange(position, position + count)
            part = replace(part, scheduled=timing.begin_ms + since.astype(np.int64))
        yield from requests_of(part, f"-{lap}" if lap else "", timed=timing != "now")
        position += count
        left = None if left is None else left - count


def requests_of(table: FlightTable, suffix: str = "", *, timed: bool = True) -> Iterator[Request]:
    """The requests of these flights, encoded in bulk: what is the same for all, or for a carrier, only once.

    Args:
        table: The flights; the row makes the id a name of its own.
        suffix: Behind each id.
        timed: Whether requests say when the flight was scheduled.
    """
    header = packaged("request").header
    numeric = np.ascontiguousarray(table.numeric, dtype="<f4").tobytes()
    width = 4 * len(FEATURES)
    before_numeric = _long(2) + _tensor_head("numeric", Datatype.FP32, len(FEATURES)) + _long(width)
    columns = zip(
        table.days, table.carriers, table.numbers, table.origins, table.rows, table.tails, table.scheduled, strict=True
    )
    for index, (day, carrier, number, origin, row, tail, scheduled) in enumerate(columns):
        name = f"{day}-{carrier}-{number}-{origin}-{row}{suffix}"
        value = b"".join(
            (
                header,
                _text(name),
                _attributes(carrier, origin),
                _long(1) + _long(int(scheduled)) if timed else _long(0),
                before_numeric,
                numeric[index * width : (index + 1) * width],
                _carrier_tensor(carrier),
                _END,
            )
        )
        yield Request(tail.encode() if tail else None, value, name)


@functools.cache
def _attributes(carrier: str, origin: str) -> bytes:
    pairs = (("carrier", carrier), ("origin", origin))
    return _long(len(pairs)) + b"".join(_text(name) + _text(value) for name, value in pairs) + _END


@functools.cache
def _carrier_tensor(carrier: str) -> bytes:
    element = carrier.encode()
    data = len(element).to_bytes(4, "little") + element
    return _tensor_head("carrier", Datatype.BYTES, 1) + _long(len(data)) + data


def _tensor_head(name: str, datatype: Datatype, size: int) -> bytes:
    """A tensor of one dimension up to its data."""
    return _text(name) + _long(_DATATYPES.index(datatype)) + _long(1) + _long(size) + _END


def _text(text: str) -> bytes:
    raw = text.encode()
    return _long(len(raw)) + raw


def _long(value: int) -> bytes:
    """Avro's variable-length zig-zag coding of a 64-bit integer (Avro 1.12, section "Primitive types")."""
    rest = (value << 1) ^ (value >> 63)
    out = bytearray()
    while rest > 0x7F:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)
