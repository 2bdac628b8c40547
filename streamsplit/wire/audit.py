"""Encodes how each request was routed and served as records of `audit`, and reads them back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamsplit.core.byte_strings import ByteStrings
from streamsplit.core.records import (
    AGREES,
    DIFFERS,
    NOBODY,
    UNKNOWN,
    Outcome,
    Predictions,
    RawBatch,
    Reflection,
    RequestColumns,
    Routing,
)
from streamsplit.wire.columns import (
    Cells,
    coded,
    constant,
    doubles,
    integers,
    optional_texts,
    rows_of,
    spread,
    text,
    texts,
    varint,
)
from streamsplit.wire.provenance import Provenance
from streamsplit.wire.reader import RecordReader
from streamsplit.wire.schemas import SchemaStore

_NULL = b"\0"
_SECOND = b"\2"
"""Index of the second branch of a nullable type."""
_OUTCOMES = len(Outcome)
_NO_MORE, _ONE_MORE = varint(0), varint(1)
"""How many elements of an array follow."""
_AGREES = {UNKNOWN: _NULL, DIFFERS: _SECOND + b"\0", AGREES: _SECOND + b"\1"}


class AuditEncoder:
    """Writes audit records behind a frame's header."""

    def __init__(self, header: bytes) -> None:
        """Start every value with `header` (`Schema.header`, or `confluent_header`)."""
        self._header = header

    def encode(
        self,
        batch: RawBatch,
        requests: RequestColumns,
        routing: Routing,
        predictions: Predictions,
        provenance: Provenance,
        *,
        processed_time: int,
        scores: NDArray[np.float64] | None = None,
    ) -> ByteStrings:
        """Encode the audit of a batch.

        Args:
            batch: The raw records.
            requests: The m decoded requests.
            routing: Their arms.
            predictions: Their answers.
            provenance: What they were served under.
            processed_time: Milliseconds since the epoch.
            scores: float64 (m,), NaN for none; or none at all.

        Returns:
            m framed values, in the order of `requests`.
        """
        rows, count = requests.rows, len(requests)
        state = text(provenance.rollout) + varint(provenance.revision)
        cells = [
            constant(self._header, count),
            texts(requests.ids),
            optional_texts(routing.units),
            coded(routing.rules, lambda rule: state + varint(rule)),
            integers(routing.buckets),
            _answers(routing, predictions, provenance),
            integers(batch.partitions[rows]),
            integers(batch.offsets[rows]),
            integers(requests.times),
            constant(varint(processed_time), count),
            integers(predictions.micros),
            constant(_NULL, count) if scores is None else doubles(scores),
            *_mirrored(count, predictions.mirrored or {}, provenance.arms),
        ]
        return rows_of(cells, count)


def _answers(routing: Routing, predictions: Predictions, provenance: Provenance) -> Cells:
    """The fields `arm`, `served_by`, `model` and `outcome`."""
    served = len(provenance.arms) + 1

    def words(code: int) -> bytes:
        rest, outcome = divmod(code, _OUTCOMES)
        arm, by = divmod(rest, served)
        by += NOBODY
        who = _NULL + _NULL
        if by != NOBODY:
            who = _SECOND + text(provenance.arms[by]) + _SECOND + text(provenance.models[by])
        return text(provenance.arms[arm]) + who + text(Outcome(outcome).label)

    by = predictions.served_by.astype(np.int64) - NOBODY
    return coded((routing.arms.astype(np.int64) * served + by) * _OUTCOMES + predictions.outcomes, words)


def _mirrored(rows: int, mirrored: Mapping[int, Reflection], arms: Sequence[str]) -> list[Cells]:
    """The field `mirrored` of each request: an array in blocks of one element each."""
    cells = []
    for arm, reflection in sorted(mirrored.items()):
        count = len(reflection.rows)
        elements = rows_of(
            [
                constant(_ONE_MORE + text(arms[arm]), count),
                coded(reflection.outcomes, lambda outcome: text(Outcome(outcome).label)),
                integers(reflection.micros),
                constant(_NULL, count) if reflection.scores is None else doubles(reflection.scores),
                coded(reflection.agrees, lambda agrees: _AGREES[agrees]),
            ],
            count,
        )
        cells.append(spread(elements, reflection.rows, rows))
    return [*cells, constant(_NO_MORE, rows)]


@dataclass(frozen=True, slots=True)
class Mirrored:
    """How a mirrored arm answered; fields as in `schemas/audit.avsc`."""

    arm: str
    outcome: str
    inference_micros: int
    score: float | None
    agrees: bool | None


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """How one request was routed and served; fields as in `schemas/audit.avsc`, times in milliseconds."""

    id: str
    unit: bytes | None
    rollout: str
    revision: int
    rule: int
    bucket: int
    arm: str
    served_by: str | None
    model: str | None
    outcome: str
    source_partition: int
    source_offset: int
    request_time: int
    processed_time: int
    inference_micros: int
    score: float | None
    mirrored: tuple[Mirrored, ...]


class AuditReader:
    """Reads recorded audit, one record at a time, whatever version of the schema wrote it."""

    def __init__(self, store: SchemaStore) -> None:
        """Look up writers' schemas in `store`."""
        self._reader = RecordReader(store, "audit")

    def read(self, value: bytes) -> AuditRecord:
        """Read one value.

        Raises:
            DataError: It is no audit record.
            ServiceError: The schema registry cannot be asked now.
        """
        record = self._reader.read(value)
        mirrored = tuple(Mirrored(**each) for each in record.pop("mirrored"))
        return AuditRecord(**record, mirrored=mirrored)
