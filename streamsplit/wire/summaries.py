"""Encodes summaries, one a transaction, and reads them back."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

import fastavro
import numpy as np

from streamsplit.core.mirroring import MirrorCounts, ScorePairs
from streamsplit.core.summary import (
    SCORE_BINS,
    FailingUnits,
    LostRange,
    PartitionProgress,
    Probe,
    RunCounts,
    Summary,
    UnitMarks,
    WindowCounts,
)
from streamsplit.wire.columns import LengthTable, integers, rows_of, varint
from streamsplit.wire.reader import RecordReader
from streamsplit.wire.schemas import SchemaStore, packaged, plain

_END = varint(0)
"""Behind the last block of an array."""
_BINS = tuple(map(varint, range(SCORE_BINS)))
_POINTS = ("drop", "rise", "drop_unscored", "rise_unscored")
"""Fields of the scores of mirrored requests; they come last."""


class SummaryEncoder:
    """Writes summaries behind a frame's header.

    A record of Avro is its fields one after another. So the bins and points of scores, of which there may be a thousand
    for each window and arm, are written by themselves, and what stands before and behind them by the library.
    """

    def __init__(self, header: bytes) -> None:
        """Start every value with `header` (`Schema.header`, or `confluent_header`)."""
        self._header = header
        whole = plain(packaged("summary").definition)
        windows, mirrored = (_type_of(whole, name)["items"] for name in ("windows", "mirrored"))
        self._head, self._lost, self._middle, self._tail = _without(whole, "windows", "mirrored", "firsts")
        self._window_head, self._window_tail = _without(windows, "scores")
        self._mirror_head, self._mirror_tail = _without(mirrored, "scores")
        self._pairs_head, *_ = _without(_type_of(mirrored, "scores"), *_POINTS)
        self._counts = LengthTable()

    def encode(self, summary: Summary) -> bytes:
        """The framed value of one summary."""
        # Not `asdict`, which copies deeply and takes longer than all the rest.
        record = _plain(summary)
        record["partitions"] = [_with_from_and_to(each) for each in summary.partitions]
        record["lost"] = [_with_from_and_to(each) for each in summary.lost]
        record["runs"] = list(map(_plain, summary.runs))
        record["failing"] = list(map(_plain, summary.failing))
        record["probes"] = list(map(_plain, summary.probes))
        record["units"] = list(map(_plain, summary.units))
        body = io.BytesIO()
        body.write(self._header)
        fastavro.schemaless_writer(body, self._head, record)
        self._write_counts(body, summary.windows)
        fastavro.schemaless_writer(body, self._lost, record)
        self._write_mirrored(body, summary.mirrored)
        fastavro.schemaless_writer(body, self._middle, record)
        self._write_counts(body, summary.firsts)
        fastavro.schemaless_writer(body, self._tail, record)
        return body.getvalue()

    def _write_counts(self, body: io.BytesIO, windows: tuple[WindowCounts, ...]) -> None:
        """The field `windows` or `firsts`."""
        if windows:
            body.write(varint(len(windows)))
        for window in windows:
            plain_window = _plain(window)
            fastavro.schemaless_writer(body, self._window_head, plain_window)
            body.write(self._bins(window.scores))
            fastavro.schemaless_writer(body, self._window_tail, plain_window)
        body.write(_END)

    def _write_mirrored(self, body: io.BytesIO, mirrored: tuple[MirrorCounts, ...]) -> None:
        """The field `mirrored`."""
        if mirrored:
            body.write(varint(len(mirrored)))
        for each in mirrored:
            plain_counts = _plain(each)
            fastavro.schemaless_writer(body, self._mirror_head, plain_counts)
            fastavro.schemaless_writer(body, self._pairs_head, _plain(each.scores))
            body.writelines(_points(getattr(each.scores, name)) for name in _POINTS)
            fastavro.schemaless_writer(body, self._mirror_tail, plain_counts)
        body.write(_END)

    def _bins(self, scores: Mapping[int, int]) -> bytes:
        """The field `scores`."""
        if not scores:
            return _END
        items = [b""] * (2 * len(scores))
        items[::2] = [_BINS[number] for number in scores]
        items[1::2] = list(map(self._counts.__getitem__, scores.values()))
        return varint(len(scores)) + b"".join(items) + _END


def _points(points: Mapping[int, int]) -> bytes:
    """A field such as `drop`: parts take too many values to keep what each is written as."""
    if not points:
        return _END
    numbers = np.fromiter(chain.from_iterable(points.items()), np.int64, 2 * len(points))
    return varint(len(points)) + bytes(rows_of([integers(numbers)], len(numbers)).joined()) + _END


def _type_of(record: dict[str, Any], name: str) -> Any:
    return next(field["type"] for field in record["fields"] if field["name"] == name)


def _without(record: dict[str, Any], *names: str) -> list[Any]:
    """The schemas of what stands before, between and behind some fields of a record."""
    parts: list[list[Any]] = [[]]
    for each in record["fields"]:
        if each["name"] in names:
            parts.append([])
        else:
            parts[-1].append(each)
    return [fastavro.parse_schema({**record, "fields": part}, _force=True) for part in parts]


class SummaryReader:
    """Reads recorded summaries, whatever version of the schema wrote them."""

    def __init__(self, store: SchemaStore) -> None:
        """Look up writers' schemas in `store`."""
        self._reader = RecordReader(store, "summary")

    def read(self, value: bytes) -> Summary:
        """Read one value.

        Raises:
            DataError: It is no summary.
            ServiceError: The schema registry cannot be asked now.
        """
        record = self._reader.read(value)
        partitions = tuple(PartitionProgress(**_range(each)) for each in record.pop("partitions"))
        windows, firsts = (tuple(map(_window, record.pop(name))) for name in ("windows", "firsts"))
        lost = tuple(LostRange(**_range(each)) for each in record.pop("lost"))
        mirrored = tuple(map(_mirrored, record.pop("mirrored")))
        runs = tuple(RunCounts(**each) for each in record.pop("runs"))
        failing = tuple(FailingUnits(**{**each, "units": tuple(each["units"])}) for each in record.pop("failing"))
        probes = tuple(Probe(**each) for each in record.pop("probes"))
        units = tuple(UnitMarks(**each) for each in record.pop("units"))
        return Summary(
            **record,
            partitions=partitions,
            windows=windows,
            lost=lost,
            mirrored=mirrored,
            runs=runs,
            failing=failing,
            probes=probes,
            firsts=firsts,
            units=units,
        )


@dataclass(frozen=True, slots=True)
class UnitsRead:
    """What a summary says of units.

    Attributes:
        revision: What it was served under.
        partitions: Where its worker stood.
        units: Whom it has met.
    """

    revision: int
    partitions: tuple[PartitionProgress, ...]
    units: tuple[UnitMarks, ...]


class UnitsReader:
    """Reads of summaries what they say of units; counts are skipped, which is most of the work."""

    def __init__(self, store: SchemaStore) -> None:
        """Look up writers' schemas in `store`."""
        self._reader = RecordReader(store, "summary", fields=UnitsRead.__slots__)

    def read(self, value: bytes) -> UnitsRead:
        """Read one value; raises as `SummaryReader.read`."""
        record = self._reader.read(value)
        partitions = tuple(PartitionProgress(**_range(each)) for each in record["partitions"])
        return UnitsRead(record["revision"], partitions, tuple(UnitMarks(**each) for each in record["units"]))


_Record = (
    Summary
    | PartitionProgress
    | LostRange
    | WindowCounts
    | MirrorCounts
    | ScorePairs
    | RunCounts
    | FailingUnits
    | Probe
    | UnitMarks
)


def _plain(record: _Record) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__slots__}


def _window(record: dict[str, Any]) -> WindowCounts:
    scores = {each["bin"]: each["requests"] for each in record.pop("scores")}
    return WindowCounts(**record, scores=scores)


def _mirrored(record: dict[str, Any]) -> MirrorCounts:
    scores = record.pop("scores")
    points = {name: {each["point"]: each["parts"] for each in scores[name]} for name in _POINTS}
    return MirrorCounts(**record, scores=ScorePairs(**{**scores, **points}))


def _with_from_and_to(each: PartitionProgress | LostRange) -> dict[str, Any]:
    record = _plain(each)
    record["from"], record["to"] = record.pop("start"), record.pop("end")
    return record


def _range(record: dict[str, Any]) -> dict[str, Any]:
    """`from` is a word of Python's."""
    return {{"from": "start", "to": "end"}.get(name, name): value for name, value in record.items()}
