"""Reads our own records one at a time, for programs that look back at them."""

import io
import struct
from collections.abc import Collection
from typing import Any, cast

import fastavro
from fastavro.read import SchemaResolutionError

from streamsplit.core.errors import DataError
from streamsplit.wire.framing import HEADER_BYTES, Frame, Framing, read_frame
from streamsplit.wire.schemas import SchemaStore, packaged, plain

BROKEN = (
    SchemaResolutionError,
    ValueError,
    LookupError,
    TypeError,
    EOFError,
    OverflowError,
    MemoryError,
    struct.error,
)
"""What fastavro raises on bytes that the schema did not write."""


class RecordReader:
    """Reads records of one packaged schema, resolved from whatever version of it wrote them."""

    def __init__(self, store: SchemaStore, schema: str, fields: Collection[str] | None = None) -> None:
        """Look up writers' schemas in `store` and resolve them to the packaged `schema`, or to some fields of it."""
        self._store = store
        self._schema = schema
        definition = plain(packaged(schema).definition)
        if fields is not None:
            definition = {**definition, "fields": [each for each in definition["fields"] if each["name"] in fields]}
        self._reader = fastavro.parse_schema(definition, _force=True)
        self._writers: dict[Frame, Any] = {}
        self._own: dict[Frame, bool] = {}

    def read(self, value: bytes) -> dict[str, Any]:
        """Read one value; times are milliseconds.

        Raises:
            DataError: It is no such record.
            ServiceError: The schema registry cannot be asked now.
        """
        frame = self._frame(value)
        if frame not in self._writers:
            self._writers[frame] = fastavro.parse_schema(plain(self._store.writer(frame).definition), _force=True)
        body = io.BytesIO(value)
        body.seek(frame.body)
        try:
            record = fastavro.schemaless_reader(body, self._writers[frame], self._reader)
        except BROKEN as error:
            raise DataError("decode", f"no {self._schema}: {type(error).__name__}: {str(error)[:160]}") from error
        if body.tell() != len(value):
            raise DataError("decode", f"no {self._schema}: {len(value) - body.tell()} bytes too many")
        return cast("dict[str, Any]", record)

    def start_of_own(self, value: bytes) -> int | None:
        """Where the record of a value begins that was written with the packaged schema itself; None: with another.

        Raises:
            DataError: As `read`.
            ServiceError: As `read`.
        """
        frame = self._frame(value)
        if frame not in self._own:
            self._own[frame] = self._store.writer(frame).canonical == packaged(self._schema).canonical
        return frame.body if self._own[frame] else None

    def _frame(self, value: bytes) -> Frame:
        frame = read_frame(value[:HEADER_BYTES])
        if frame.framing is Framing.JSON:
            raise DataError("decode", f"expected {self._schema} in Avro, got JSON")
        return frame
