"""Encodes predictions as records of `output`, and reads them back."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamsplit.core.byte_strings import ByteStrings
from streamsplit.core.records import Datatype, Outcome, Predictions, RawBatch, RequestColumns, TensorSpec
from streamsplit.wire.columns import Cells, coded, constant, integers, raw, rows_of, text, texts, varint
from streamsplit.wire.provenance import Provenance
from streamsplit.wire.reader import RecordReader
from streamsplit.wire.request import WrittenTensor
from streamsplit.wire.schemas import SchemaStore
from streamsplit.wire.tensors import data_column, example_bytes

_SYMBOLS = list(Datatype)
_OUTCOMES = len(Outcome)


class OutputEncoder:
    """Writes outputs behind a frame's header."""

    def __init__(self, header: bytes) -> None:
        """Start every value with `header` (`Schema.header`, or `confluent_header`)."""
        self._header = header

    def encode(
        self, batch: RawBatch, requests: RequestColumns, predictions: Predictions, provenance: Provenance
    ) -> ByteStrings:
        """Encode the answers of a batch.

        Args:
            batch: The raw records.
            requests: The m decoded requests.
            predictions: Their answers.
            provenance: What they were served under.

        Returns:
            A framed value for each request that an arm answered (`served_by` >= 0), in the order of `requests`.
        """
        served = np.flatnonzero(predictions.served_by >= 0)
        rows, count = requests.rows[served], len(served)
        cells = [
            constant(self._header, count),
            texts(requests.ids.at(served)),
            _segments(predictions.served_by[served], predictions.outcomes[served], provenance),
        ]
        everyone = count == len(requests)
        for index, spec in enumerate(provenance.outputs):
            array = predictions.outputs[spec.name] if everyone else predictions.outputs[spec.name][served]
            if index:
                cells.append(constant(_tensor_head(spec), count))
            plain = spec.datatype is not Datatype.BYTES
            cells.append(raw(array) if plain else texts(ByteStrings.of(data_column(array))))
        cells += [constant(b"\0", count), integers(batch.partitions[rows]), integers(batch.offsets[rows])]
        return rows_of(cells, count)


def _segments(served_by: NDArray[np.int8], outcomes: NDArray[np.int8], provenance: Provenance) -> Cells:
    """What lies between the id and the first tensor's data, of each row."""
    return coded(
        served_by.astype(np.int64) * _OUTCOMES + outcomes,
        lambda code: _segment(code // _OUTCOMES, code % _OUTCOMES, provenance),
    )


def _segment(arm: int, outcome: int, provenance: Provenance) -> bytes:
    words = text(provenance.arms[arm]) + text(provenance.models[arm]) + text(Outcome(outcome).label)
    start = text(provenance.rollout) + varint(provenance.revision) + words
    if not provenance.outputs:
        return start  # the array's end is part of what follows
    return start + varint(len(provenance.outputs)) + _tensor_head(provenance.outputs[0])


def _tensor_head(spec: TensorSpec) -> bytes:
    """A tensor up to its data; with the data's length where it is fixed."""
    shape = b"".join(map(varint, (len(spec.shape), *spec.shape, 0))) if spec.shape else varint(0)
    length = b"" if spec.datatype is Datatype.BYTES else varint(example_bytes(spec))
    return text(spec.name) + varint(_SYMBOLS.index(spec.datatype)) + shape + length


@dataclass(frozen=True, slots=True)
class Output:
    """One prediction as recorded; fields as in `schemas/output.avsc`."""

    id: str
    rollout: str
    revision: int
    arm: str
    model: str
    outcome: str
    outputs: tuple[WrittenTensor, ...]
    source_partition: int
    source_offset: int


class OutputReader:
    """Reads recorded outputs, one at a time, whatever version of the schema wrote them."""

    def __init__(self, store: SchemaStore) -> None:
        """Look up writers' schemas in `store`."""
        self._reader = RecordReader(store, "output")

    def read(self, value: bytes) -> Output:
        """Read one value.

        Raises:
            DataError: It is no output.
            ServiceError: The schema registry cannot be asked now.
        """
        record = self._reader.read(value)
        tensors = tuple(
            WrittenTensor(each["name"].encode(), each["datatype"], tuple(each["shape"]), each["data"])
            for each in record.pop("outputs")
        )
        return Output(**record, outputs=tensors)
