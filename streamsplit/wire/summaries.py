"""Encodes summaries, one a transaction, and reads them back."""

from dataclasses import dataclass
from typing import Any

from streamsplit.core.errors import DataError
from streamsplit.core.mirroring import MirrorCounts, ScorePairs
from streamsplit.core.summary import (
    FailingUnits,
    LostRange,
    PartitionProgress,
    Probe,
    RunCounts,
    Summary,
    UnitMarks,
    WindowCounts,
)
from streamsplit.wire.reader import BROKEN, RecordReader
from streamsplit.wire.schemas import SchemaStore
from streamsplit.wire.summary_parts import POINTS, SummaryParts


class SummaryEncoder:
    """Writes summaries behind a frame's header."""

    def __init__(self, header: bytes) -> None:
        """Start every value with `header` (`Schema.header`, or `confluent_header`)."""
        self._header = header
        self._parts = SummaryParts()

    def encode(self, summary: Summary) -> bytes:
        """The framed value of one summary."""
        # Not `asdict`, which copies deeply and takes longer than all the rest.
        record = _plain(summary)
        record["partitions"] = [_with_from_and_to(each) for each in summary.partitions]
        record["lost"] = [_with_from_and_to(each) for each in summary.lost]
        record["mirrored"] = [{**_plain(each), "scores": _plain(each.scores)} for each in summary.mirrored]
        for name in ("windows", "runs", "failing", "probes", "firsts", "units"):
            record[name] = list(map(_plain, record[name]))
        return self._parts.write(self._header, record)


class SummaryReader:
    """Reads recorded summaries, whatever version of the schema wrote them; most are of this one."""

    def __init__(self, store: SchemaStore) -> None:
        """Look up writers' schemas in `store`."""
        self._reader = RecordReader(store, "summary")
        self._parts = SummaryParts()

    def read(self, value: bytes) -> Summary:
        """Read one value.

        Raises:
            DataError: It is no summary.
            ServiceError: The schema registry cannot be asked now.
        """
        record = self._as_written_here(value)
        if record is None:
            record = _with_tables(self._reader.read(value))
        partitions = tuple(PartitionProgress(**_range(each)) for each in record.pop("partitions"))
        windows, firsts = (tuple(WindowCounts(**each) for each in record.pop(name)) for name in ("windows", "firsts"))
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

    def _as_written_here(self, value: bytes) -> dict[str, Any] | None:
        """The record as `SummaryEncoder` writes it; None: it is not, or no record at all."""
        start = self._reader.start_of_own(value)
        if start is None:
            return None
        try:
            record, end = self._parts.read(value, start)
        except (*BROKEN, DataError):
            return None
        return record if end == len(value) else None


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


def _with_tables(record: dict[str, Any]) -> dict[str, Any]:
    """Histograms as mappings instead of arrays."""
    for window in (*record["windows"], *record["firsts"]):
        window["scores"] = {each["bin"]: each["requests"] for each in window["scores"]}
    for each in record["mirrored"]:
        for name in POINTS:
            each["scores"][name] = {point["point"]: point["parts"] for point in each["scores"][name]}
    return record


def _mirrored(record: dict[str, Any]) -> MirrorCounts:
    return MirrorCounts(**{**record, "scores": ScorePairs(**record["scores"])})


def _with_from_and_to(each: PartitionProgress | LostRange) -> dict[str, Any]:
    record = _plain(each)
    record["from"], record["to"] = record.pop("start"), record.pop("end")
    return record


def _range(record: dict[str, Any]) -> dict[str, Any]:
    """`from` is a word of Python's."""
    return {{"from": "start", "to": "end"}.get(name, name): value for name, value in record.items()}
