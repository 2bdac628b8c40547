"""The layout of summaries: histograms are written and read here, what stands between them by the library.

A record of Avro is its fields one after another. So the bins and points of scores, of which there may be a thousand for
each window and arm, are taken out of the schema, and what stands before and behind them is a record of its own.
"""

import io
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, cast

import fastavro
import numpy as np
from numpy.typing import NDArray

from streamsplit.core.summary import SCORE_BINS
from streamsplit.wire.columns import LengthTable, integers, rows_of, varint
from streamsplit.wire.schemas import packaged, plain
from streamsplit.wire.walker import malformed, read_varint

_END = varint(0)
"""Behind the last block of an array."""
_BINS = tuple(map(varint, range(SCORE_BINS)))
POINTS = ("drop", "rise", "drop_unscored", "rise_unscored")
"""Fields of the scores of mirrored requests that are histograms; they come last."""

_LAST = 0x80
"""The last byte of an integer is less."""
_BITS = 7
_MOST_BYTES = 9
"""Of an integer that is read here."""

Record = dict[str, Any]


class SummaryParts:
    """Writes and reads the packaged schema of summaries, whose fields are plain values; histograms are mappings."""

    def __init__(self) -> None:
        """Take the schema apart."""
        whole = plain(packaged("summary").definition)
        windows, mirrored = (_type_of(whole, name)["items"] for name in ("windows", "mirrored"))
        self._head, self._lost, self._middle, self._tail = _without(whole, "windows", "mirrored", "firsts")
        self._window_head, self._window_tail = _without(windows, "scores")
        self._mirror_head, self._mirror_tail = _without(mirrored, "scores")
        self._pairs_head, *_ = _without(_type_of(mirrored, "scores"), *POINTS)
        self._counts = LengthTable()

    def write(self, header: bytes, record: Record) -> bytes:
        """A whole value, behind its header."""
        body = io.BytesIO()
        body.write(header)
        fastavro.schemaless_writer(body, self._head, record)
        self._write_counts(body, record["windows"])
        fastavro.schemaless_writer(body, self._lost, record)
        self._write_mirrored(body, record["mirrored"])
        fastavro.schemaless_writer(body, self._middle, record)
        self._write_counts(body, record["firsts"])
        fastavro.schemaless_writer(body, self._tail, record)
        return body.getvalue()

    def read(self, value: bytes, start: int) -> tuple[Record, int]:
        """The record that `write` has written, and where it ends.

        Args:
            value: A value.
            start: Where its header ends.

        Raises:
            DataError: Arrays are laid out otherwise, as Avro allows, or it is no summary.
            Exception: What fastavro raises on bytes that the schema did not write.
        """
        body, tables = io.BytesIO(value), _Tables(value)
        body.seek(start)
        record = _read(body, self._head)
        record["windows"] = self._read_counts(body, tables)
        record |= _read(body, self._lost)
        record["mirrored"] = [self._read_mirror(body, tables) for _ in range(tables.count(body))]
        tables.end(body, record["mirrored"])
        record |= _read(body, self._middle)
        record["firsts"] = self._read_counts(body, tables)
        record |= _read(body, self._tail)
        return record, body.tell()

    def _write_counts(self, body: io.BytesIO, windows: Sequence[Record]) -> None:
        """The field `windows` or `firsts`."""
        if windows:
            body.write(varint(len(windows)))
        for window in windows:
            fastavro.schemaless_writer(body, self._window_head, window)
            body.write(self._bins(window["scores"]))
            fastavro.schemaless_writer(body, self._window_tail, window)
        body.write(_END)

    def _read_counts(self, body: io.BytesIO, tables: "_Tables") -> list[Record]:
        found = []
        for _ in range(tables.count(body)):
            window = _read(body, self._window_head)
            window["scores"] = tables.read(body)
            found.append(window | _read(body, self._window_tail))
        tables.end(body, found)
        return found

    def _write_mirrored(self, body: io.BytesIO, mirrored: Sequence[Record]) -> None:
        """The field `mirrored`."""
        if mirrored:
            body.write(varint(len(mirrored)))
        for each in mirrored:
            fastavro.schemaless_writer(body, self._mirror_head, each)
            fastavro.schemaless_writer(body, self._pairs_head, each["scores"])
            body.writelines(_points(each["scores"][name]) for name in POINTS)
            fastavro.schemaless_writer(body, self._mirror_tail, each)
        body.write(_END)

    def _read_mirror(self, body: io.BytesIO, tables: "_Tables") -> Record:
        each = _read(body, self._mirror_head)
        each["scores"] = _read(body, self._pairs_head) | {name: tables.read(body) for name in POINTS}
        return each | _read(body, self._mirror_tail)

    def _bins(self, scores: Mapping[int, int]) -> bytes:
        """The field `scores`."""
        if not scores:
            return _END
        items = [b""] * (2 * len(scores))
        items[::2] = [_BINS[number] for number in scores]
        items[1::2] = list(map(self._counts.__getitem__, scores.values()))
        return varint(len(scores)) + b"".join(items) + _END


class _Tables:
    """Reads arrays that are one block, as they are written here: of two integers an item, all at once."""

    def __init__(self, value: bytes) -> None:
        self._value = value
        self._bytes = np.frombuffer(value, np.uint8)
        self._ends = np.flatnonzero(self._bytes < _LAST)

    def count(self, body: io.BytesIO) -> int:
        """How many items an array has."""
        count, pos = read_varint(self._value, body.tell(), len(self._value), "")
        if not 0 <= count <= len(self._value):
            raise malformed("", f"{count} items")
        body.seek(pos)
        return count

    def end(self, body: io.BytesIO, items: Sequence[object]) -> None:
        """Go behind an array that has been read; one without items has no second end."""
        if items and body.read(1) != _END:
            raise malformed("", "an array of several blocks")

    def read(self, body: io.BytesIO) -> dict[int, int]:
        """A histogram: an array of items of two integers."""
        count = self.count(body)
        if not count:
            return {}
        start = body.tell()
        first = int(np.searchsorted(self._ends, start))
        ends = self._ends[first : first + 2 * count] + 1
        if len(ends) < 2 * count:
            raise malformed("", "the record ends within a histogram")
        body.seek(int(ends[-1]))
        self.end(body, range(count))
        numbers = _integers(self._bytes[start : ends[-1]], ends - start).tolist()
        return dict(zip(numbers[::2], numbers[1::2], strict=True))


def _integers(data: NDArray[np.uint8], ends: NDArray[np.int64]) -> NDArray[np.int64]:
    """The zigzag integers (n,) that end before each of `ends` (n,)."""
    parts: NDArray[np.uint64] = data.astype(np.uint64)
    if len(parts) > len(ends):
        starts = np.concatenate(([0], ends[:-1]))
        lengths = ends - starts
        if lengths.max() > _MOST_BYTES:
            raise malformed("", f"an integer of more than {_MOST_BYTES} bytes")
        shifts = (np.arange(len(parts)) - np.repeat(starts, lengths)) * _BITS
        parts = np.add.reduceat((parts & np.uint64(_LAST - 1)) << shifts.astype(np.uint64), starts)
    return (parts >> np.uint64(1)).astype(np.int64) ^ -(parts & np.uint64(1)).astype(np.int64)


def _points(points: Mapping[int, int]) -> bytes:
    """A field such as `drop`: parts take too many values to keep what each is written as."""
    if not points:
        return _END
    numbers = np.fromiter(chain.from_iterable(points.items()), np.int64, 2 * len(points))
    return varint(len(points)) + bytes(rows_of([integers(numbers)], len(numbers)).joined()) + _END


def _read(body: io.BytesIO, schema: Any) -> Record:
    return cast("Record", fastavro.schemaless_reader(body, schema, None))


def _type_of(record: Record, name: str) -> Any:
    return next(field["type"] for field in record["fields"] if field["name"] == name)


def _without(record: Record, *names: str) -> list[Any]:
    """The schemas of what stands before, between and behind some fields of a record."""
    parts: list[list[Any]] = [[]]
    for each in record["fields"]:
        if each["name"] in names:
            parts.append([])
        else:
            parts[-1].append(each)
    return [fastavro.parse_schema({**record, "fields": part}, _force=True) for part in parts]
