"""Id and attributes of requests, read a second way.

A verification that decoded with the workers' own decoder would repeat its mistakes. This one lets fastavro resolve
the record to the two fields that routing needs, and skip the rest.
"""

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

import fastavro
from fastavro.read import SchemaResolutionError

from streamsplit.core.errors import DataError
from streamsplit.wire.framing import HEADER_BYTES, Frame, Framing, read_frame
from streamsplit.wire.schemas import SchemaStore, packaged

_FIELDS = ("id", "attributes")
_BROKEN = (SchemaResolutionError, ValueError, KeyError, IndexError, TypeError, EOFError, OverflowError, MemoryError)
"""What fastavro raises on bytes that the schema did not write."""


class RequestFields:
    """Reads the fields of requests that routing needs.

    Args:
        store: Writers' schemas.
        attributes: The attributes that are wanted.
    """

    def __init__(self, store: SchemaStore, attributes: Sequence[str]) -> None:
        self._store = store
        self._attributes = tuple(attributes)
        self._writers: dict[Frame, Any] = {}
        definition = packaged("request").definition
        fields = [field for field in definition["fields"] if field["name"] in _FIELDS]
        self._reader = fastavro.parse_schema({**definition, "fields": fields})

    def read(self, value: bytes | None) -> tuple[bytes, tuple[bytes | None, ...]] | None:
        """The id and the wanted attributes of one request, in UTF-8; None where it is no request."""
        if value is None:
            return None
        try:
            record = self._record(value)
            attributes = record.get("attributes") or {}
            wanted = tuple(_bytes(attributes.get(name)) for name in self._attributes)
            found = _bytes(record["id"])
        except (DataError, *_BROKEN):
            return None
        return None if found is None else (found, wanted)

    def _record(self, value: bytes) -> Mapping[str, Any]:
        frame = read_frame(value[:HEADER_BYTES])
        if frame.framing is Framing.JSON:
            return dict(json.loads(value))
        writer = self._writers.get(frame)
        if writer is None:
            writer = self._writers[frame] = fastavro.parse_schema(self._store.writer(frame).definition)
        body = io.BytesIO(value[frame.body :])
        return cast(
            "Mapping[str, Any]",
            fastavro.schemaless_reader(body, writer, self._reader, handle_unicode_errors="surrogateescape"),
        )


def _bytes(text: str | bytes | None) -> bytes | None:
    return text.encode(errors="surrogateescape") if isinstance(text, str) else text
