"""Decodes batches of requests: each record by its frame and writer's schema, most of them in lockstep."""

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from streamsplit.core.byte_strings import ByteStrings
from streamsplit.core.errors import DataError, UsageError
from streamsplit.core.records import Datatype, DeadLetter, RawBatch, RequestColumns, TensorSpec
from streamsplit.core.text_tensor import Tensor, TextTensor
from streamsplit.wire.framing import HEADER_BYTES, Frame, Framing, read_frame
from streamsplit.wire.lanes import FEW
from streamsplit.wire.lockstep import Lockstep, Part
from streamsplit.wire.request import Fitted, Request, Wanted, fit
from streamsplit.wire.requests_avro import AvroRequests
from streamsplit.wire.requests_json import read_json
from streamsplit.wire.schemas import SchemaStore

_HEADER_OF = {b"\0": 5, b"\xc3": HEADER_BYTES}
"""First byte of a frame → bytes of its header."""

_log = logging.getLogger(__name__)


class RequestDecoder:
    """Makes columns of raw records.

    Attributes:
        refusals: Schema → why its records are all dead letters, for those met so far.
    """

    def __init__(self, store: SchemaStore, few: int = FEW) -> None:
        """Decode with the writers' schemas of `store`.

        Args:
            store: Knows the schemas.
            few: Fewer records of one schema than this are read one after another, which is quicker then.
        """
        self._store = store
        self._few = few
        self._readers: dict[Frame, AvroRequests] = {}
        self._lockstep: dict[tuple[Frame, Wanted], Lockstep] = {}
        self.refusals: dict[str, str] = {}

    def decode(self, batch: RawBatch, wanted: Wanted) -> tuple[RequestColumns, list[DeadLetter]]:
        """Decode a batch.

        Args:
            batch: n raw records.
            wanted: The inputs a request must have and the attributes to keep.

        Returns:
            The columns of the m requests that can be served, and a dead letter for each of the others, by row.

        Raises:
            ServiceError: The schema registry cannot be asked now; nothing is lost, decode the batch again later.
        """
        parts: list[Part] = []
        singles: list[Fitted] = []
        letters: list[DeadLetter] = []
        for header, rows in _by_header(batch.values):
            self._decode_group(batch, header, rows, wanted, (parts, singles, letters))
        letters.sort(key=lambda letter: letter.row)
        return _merge(parts, singles, wanted), letters

    def _decode_group(
        self,
        batch: RawBatch,
        header: bytes | None,
        rows: Sequence[int],
        wanted: Wanted,
        into: tuple[list[Part], list[Fitted], list[DeadLetter]],
    ) -> None:
        """Decode the records that begin alike."""
        parts, singles, letters = into
        try:
            frame = _frame(header)
            read: Callable[[bytes], Request] = read_json
            if frame.framing is not Framing.JSON:
                reader = self._reader(frame)
                read = lambda value: reader.read(value, frame.body)  # noqa: E731 - one expression, used at once
                if len(rows) >= self._few and reader.datatypes:
                    part, left = self._walk(frame, reader, wanted, batch, rows)
                    parts.append(part)
                    rows = [rows[index] for index in left.tolist()]
        except DataError as error:
            letters.extend(DeadLetter(row, error.stage, error.reason) for row in rows)
            return
        for row in rows:
            value = batch.values[row]
            assert value is not None
            try:
                singles.append(fit(read(value), wanted, row, int(batch.timestamps[row])))
            except DataError as error:
                letters.append(DeadLetter(row, error.stage, error.reason))

    def _walk(
        self, frame: Frame, reader: AvroRequests, wanted: Wanted, batch: RawBatch, rows: Sequence[int]
    ) -> tuple[Part, NDArray[np.int64]]:
        """Decode records of one schema in lockstep."""
        lockstep = self._lockstep.get((frame, wanted))
        if lockstep is None:
            lockstep = self._lockstep[frame, wanted] = Lockstep(reader, wanted)
        if len(rows) == len(batch):
            which = np.arange(len(batch), dtype=np.int64)
            values = batch.values
        else:
            which = np.asarray(rows, np.int64)
            values = batch.values.at(which)
        # A group has one header, so none of its values is null.
        return lockstep.decode(values, which, batch.timestamps[which], frame.body)

    def _reader(self, frame: Frame) -> AvroRequests:
        """The compiled reader of a schema; a schema that cannot be a request's is refused once and remembered."""
        reader = self._readers.get(frame)
        if reader is not None:
            return reader
        if frame.label in self.refusals:
            raise DataError("decode", self.refusals[frame.label])
        schema = self._store.writer(frame)
        try:
            reader = self._readers[frame] = AvroRequests(schema)
        except UsageError as error:
            reason = self.refusals[frame.label] = f"{frame.label}: {error}"
            _log.warning("Records of %s become dead letters", reason)
            raise DataError("decode", reason) from error
        return reader


def _by_header(values: ByteStrings) -> Iterable[tuple[bytes | None, Sequence[int]]]:
    """Rows of values that name the same schema; JSON values are one group."""
    first = values[0] if len(values) else None
    width = 0 if first is None else _HEADER_OF.get(first[:1], 0)
    if first is not None and width and (values.lengths >= width).all():
        heads = np.ndarray((len(values.buffer) - width + 1, width), np.uint8, values.buffer, strides=(1, 1))
        if (heads[values.starts] == np.frombuffer(first[:width], np.uint8)).all():
            return [(first[:width], range(len(values)))]
    groups: dict[bytes | None, list[int]] = {}
    for row, value in enumerate(values):
        head = None if value is None else value[: _HEADER_OF.get(value[:1], 4)]
        groups.setdefault(b"{" if head is not None and head[:1] == b"{" else head, []).append(row)
    return groups.items()


def _frame(header: bytes | None) -> Frame:
    if header is None:
        raise DataError("decode", "the value is null (a tombstone); expected a request")
    return read_frame(header)


def _merge(parts: list[Part], singles: list[Fitted], wanted: Wanted) -> RequestColumns:
    """One set of columns, by row."""
    if singles or not parts:
        parts = [*parts, _as_part(singles, wanted)]
    part = parts[0] if len(parts) == 1 else _sorted(parts)
    return RequestColumns(
        part.rows,
        part.ids,
        part.times,
        dict(zip(wanted.attributes, part.attributes, strict=True)),
        {spec.name: array for spec, array in zip(wanted.signature_inputs, part.inputs, strict=True)},
    )


def _as_part(singles: list[Fitted], wanted: Wanted) -> Part:
    singles = sorted(singles, key=lambda fitted: fitted.row)
    return Part(
        np.array([fitted.row for fitted in singles], np.int64),
        ByteStrings.of([fitted.id for fitted in singles]),
        np.array([fitted.time for fitted in singles], np.int64),
        tuple(
            ByteStrings.of([fitted.attributes[index] for fitted in singles]) for index in range(len(wanted.attributes))
        ),
        tuple(
            _stacked(spec, [fitted.inputs[index] for fitted in singles])
            for index, spec in enumerate(wanted.signature_inputs)
        ),
    )


def _stacked(spec: TensorSpec, examples: list[NDArray[np.generic]]) -> Tensor:
    array = np.empty((len(examples), *spec.shape), spec.datatype.numpy)
    for index, example in enumerate(examples):
        array[index] = example
    return TextTensor.of(array) if spec.datatype is Datatype.BYTES else array


def _together(parts: Sequence[Tensor]) -> Tensor:
    """The examples of one input, part behind part."""
    texts = [each for each in parts if isinstance(each, TextTensor)]
    return TextTensor.together(texts) if texts else np.concatenate(cast("Sequence[NDArray[Any]]", parts))


def _sorted(parts: list[Part]) -> Part:
    rows = np.concatenate([part.rows for part in parts])
    order = np.argsort(rows, kind="stable")
    return Part(
        rows[order],
        ByteStrings.together([part.ids for part in parts]).at(order),
        np.concatenate([part.times for part in parts])[order],
        tuple(ByteStrings.together(columns).at(order) for columns in zip(*(p.attributes for p in parts), strict=True)),
        tuple(_together(group)[order] for group in zip(*(part.inputs for part in parts), strict=True)),
    )
