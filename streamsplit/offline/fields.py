"""Fields of recorded records, read a second way.

A verification that decoded with the workers' own decoder would repeat its mistakes. This one lets fastavro resolve
each record to the few fields it needs and skip the rest.
"""

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

import fastavro
from fastavro.read import SchemaResolutionError

from streamsplit.core.errors import DataError
from streamsplit.wire.framing import HEADER_BYTES, Frame, Framing, read_frame
from streamsplit.wire.schemas import SchemaStore, packaged, plain

_BROKEN = (SchemaResolutionError, ValueError, KeyError, IndexError, TypeError, EOFError, OverflowError, MemoryError)
"""What fastavro raises on bytes that the schema did not write."""


class Fields:
    """Reads some fields of records of one packaged schema, whatever version of it wrote them.

    Args:
        store: Writers' schemas.
        schema: Name of the packaged schema.
        names: The fields that are read.
    """

    def __init__(self, store: SchemaStore, schema: str, names: Sequence[str]) -> None:
        self._store = store
        self._writers: dict[tuple[Framing, int], Any] = {}
        definition = plain(packaged(schema).definition)
        fields = [field for field in definition["fields"] if field["name"] in names]
        self._reader = fastavro.parse_schema({**definition, "fields": fields}, _force=True)

    def read(self, value: bytes | None) -> Mapping[str, Any] | None:
        """The fields of one record; None where it is no such record."""
        if value is None:
            return None
        try:
            frame = read_frame(value[:HEADER_BYTES])
            if frame.framing is Framing.JSON:
                return dict(json.loads(value))
            body = io.BytesIO(value)
            body.seek(frame.body)
            record = fastavro.schemaless_reader(
                body, self._writer(frame), self._reader, handle_unicode_errors="surrogateescape"
            )
        except (DataError, *_BROKEN):
            return None
        return cast("Mapping[str, Any]", record)

    def _writer(self, frame: Frame) -> Any:
        known = self._writers.get((frame.framing, frame.key))
        if known is None:
            known = fastavro.parse_schema(plain(self._store.writer(frame).definition), _force=True)
            self._writers[frame.framing, frame.key] = known
        return known


class RequestFields:
    """Reads what routing needs of a request.

    Args:
        store: Writers' schemas.
        attributes: The attributes that are wanted.
    """

    def __init__(self, store: SchemaStore, attributes: Sequence[str]) -> None:
        self._fields = Fields(store, "request", ("id", "attributes"))
        self._attributes = tuple(attributes)

    def read(self, value: bytes | None) -> tuple[bytes, tuple[bytes | None, ...]] | None:
        """The id and the wanted attributes of one request, in UTF-8; None where it is no request."""
        record = self._fields.read(value)
        if record is None:
            return None
        attributes = record.get("attributes", {})
        try:
            wanted = [attributes.get(name) for name in self._attributes]
            return text_bytes(record["id"]), tuple(None if text is None else text_bytes(text) for text in wanted)
        except (KeyError, AttributeError, UnicodeEncodeError):
            return None  # JSON of another shape


def text_bytes(text: str) -> bytes:
    """The bytes that were written, UTF-8 or not."""
    return text.encode(errors="surrogateescape")
