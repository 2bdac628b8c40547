"""Encodes summaries, one a transaction, and reads them back."""

import io
from typing import Any

import fastavro

from streamsplit.core.mirroring import MirrorCounts
from streamsplit.core.summary import LostRange, PartitionProgress, Summary, WindowCounts
from streamsplit.wire.reader import RecordReader
from streamsplit.wire.schemas import SchemaStore, packaged, plain


class SummaryEncoder:
    """Writes summaries behind a frame's header."""

    def __init__(self, header: bytes) -> None:
        """Start every value with `header` (`Schema.header`, or `confluent_header`)."""
        self._header = header
        self._schema = fastavro.parse_schema(plain(packaged("summary").definition), _force=True)

    def encode(self, summary: Summary) -> bytes:
        """The framed value of one summary."""
        # Not `asdict`, which copies deeply and takes longer than all the rest.
        record = _plain(summary)
        record["partitions"] = [_with_from_and_to(each) for each in summary.partitions]
        record["lost"] = [_with_from_and_to(each) for each in summary.lost]
        record["windows"] = list(map(_plain, summary.windows))
        record["mirrored"] = list(map(_plain, summary.mirrored))
        body = io.BytesIO()
        body.write(self._header)
        fastavro.schemaless_writer(body, self._schema, record)
        return body.getvalue()


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
        windows = tuple(WindowCounts(**each) for each in record.pop("windows"))
        lost = tuple(LostRange(**_range(each)) for each in record.pop("lost"))
        mirrored = tuple(MirrorCounts(**each) for each in record.pop("mirrored"))
        return Summary(**record, partitions=partitions, windows=windows, lost=lost, mirrored=mirrored)


def _plain(record: Summary | PartitionProgress | LostRange | WindowCounts | MirrorCounts) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__slots__}


def _with_from_and_to(each: PartitionProgress | LostRange) -> dict[str, Any]:
    record = _plain(each)
    record["from"], record["to"] = record.pop("start"), record.pop("end")
    return record


def _range(record: dict[str, Any]) -> dict[str, Any]:
    """`from` is a word of Python's."""
    return {{"from": "start", "to": "end"}.get(name, name): value for name, value in record.items()}
