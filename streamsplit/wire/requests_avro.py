"""Requests of one writer's schema, one at a time: resolved to ours by fastavro.

fastavro decodes strings and accepts bytes that are not Avro (negative lengths, endless integers). So it is handed only
records that the walker has checked, and schemas in which strings are bytes and maps are arrays of entries: the
encoding is the same, and no string that nobody uses can fail.
"""

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

import avro.errors
import avro.schema
import fastavro
from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType, SchemaIncompatibilityType
from fastavro.read import SchemaResolutionError

from streamsplit.core.errors import DataError, UsageError
from streamsplit.wire.compiler import Wish, compile_walker
from streamsplit.wire.request import Request, WrittenTensor
from streamsplit.wire.schemas import Schema, packaged

REQUEST: Wish = {
    "id": None,
    "attributes": None,
    "time": None,
    "inputs": {"name": None, "datatype": None, "shape": None, "data": None},
}
"""The fields of a request."""

_TYPES = ("type", "items", "values", "fields")
"""Where a schema holds other schemas."""
_TEXTS = ("string", "bytes")
_INTEGERS = ("int", "long")
_PER_MILLISECOND = {"millis": 1, "micros": 1_000, "nanos": 1_000_000}


class AvroRequests:
    """Reads requests that one schema wrote.

    Attributes:
        walker: Moves over records of the schema, keeping the fields of a request.
        time_unit: By what the writer's `time` is divided to have milliseconds.
        datatypes: The symbols of the writer's enum of datatypes, in order; empty where the schema is not shaped so
            that it can be read in lockstep.
    """

    def __init__(self, writer: Schema) -> None:
        """Compile the schema.

        Raises:
            UsageError: It cannot be read as a request; the field is named.
        """
        refuse_unreadable(writer)
        self.time_unit = _time_unit(writer.definition)
        self.walker = compile_walker(writer.definition, REQUEST)
        self.datatypes = plain_datatypes(json.loads(writer.canonical))
        self._writer = fastavro.parse_schema(_BytesView(defaults=False).of(writer.definition))
        self._reader = fastavro.parse_schema(_BytesView(defaults=True).of(packaged("request").definition))

    def read(self, value: bytes, body: int) -> Request:
        """Read one record.

        Args:
            value: The record's value.
            body: Where Avro begins in it.

        Raises:
            DataError: The bytes are not of the schema, or hold what a request cannot have.
        """
        rest = len(value) - self.walker.check(value, body, len(value))
        if rest:
            raise DataError("decode", f"expected the end of the record, got {rest} more bytes")
        try:
            record = cast(
                "dict[str, Any]",
                fastavro.schemaless_reader(io.BytesIO(value[body:]), self._writer, self._reader),
            )
        except SchemaResolutionError as error:
            raise DataError("decode", f"cannot be read as a request: {str(error)[:160]}") from error
        time = record["time"]
        return Request(
            id=record["id"],
            time=None if time is None else time // self.time_unit,
            attributes={entry["key"]: entry["value"] for entry in record["attributes"]},
            tensors=[
                WrittenTensor(tensor["name"], tensor["datatype"], tuple(tensor["shape"]), tensor["data"])
                for tensor in record["inputs"]
            ],
        )


class _BytesView:
    """A schema of the same encoding without strings, maps, logical types and documentation.

    Args:
        defaults: Whether fields keep their defaults, which matter to a reader only; maps' are empty.
    """

    def __init__(self, *, defaults: bool) -> None:
        self._defaults = defaults
        self._entries = 0

    def of(self, schema: Any, path: str = "") -> Any:
        if isinstance(schema, list):
            return [self.of(branch, path) for branch in schema]
        if isinstance(schema, str):
            return "bytes" if schema == "string" else schema
        kind = schema["type"]
        if kind == "map":
            fields = [{"name": "key", "type": "bytes"}, {"name": "value", "type": self.of(schema["values"], "-")}]
            return {"type": "array", "items": {"type": "record", "name": self._entry(path), "fields": fields}}
        if kind == "array":
            return {"type": "array", "items": self.of(schema["items"], "-")}
        kept = {key: schema[key] for key in ("name", "namespace", "symbols", "size") if key in schema}
        if "fields" in schema:
            return {"type": "record", **kept, "fields": [self._field(field, path) for field in schema["fields"]]}
        return {"type": kind, **kept} if kept else self.of(kind, path)

    def _field(self, field: Mapping[str, Any], path: str) -> dict[str, Any]:
        inner = "-" if path else field["name"]
        view = {"name": field["name"], "type": self.of(field["type"], inner)}
        if self._defaults and "default" in field:
            view["default"] = [] if field["default"] == {} else field["default"]
        return view

    def _entry(self, path: str) -> str:
        """Names of entries must be unique, and alike in writer and reader where both have the map."""
        if path == "attributes":
            return "AttributesEntry"
        self._entries += 1
        return f"MapEntry{self._entries}"


def _time_unit(definition: Any) -> int:
    """By what a writer's `time` is divided to have milliseconds.

    Raises:
        UsageError: It is a logical type that is no timestamp.
    """
    field: Mapping[str, Any] = next((each for each in definition["fields"] if each["name"] == "time"), {"type": []})
    branches = field["type"] if isinstance(field["type"], list) else [field["type"]]
    logical = [branch["logicalType"] for branch in branches if isinstance(branch, dict) and "logicalType" in branch]
    if not logical:
        return 1
    kind, _, unit = logical[0].rpartition("timestamp-")
    if kind not in {"", "local-"} or unit not in _PER_MILLISECOND:
        raise UsageError(f"field 'time' of the writer's schema: expected timestamp-millis, got {logical[0]}")
    return _PER_MILLISECOND[unit]


def plain_datatypes(canonical: Mapping[str, Any]) -> tuple[str, ...]:
    """The symbols of a writer's datatypes, if all fields of its requests have plain types.

    Promotions that change no bytes are plain (`int` for `long`, `bytes` for `string`); unions (but of `time`) are not.

    Args:
        canonical: The schema in parsing canonical form.
    """
    fields = {field["name"]: field["type"] for field in canonical["fields"]}
    time = fields.get("time", "long")
    inputs = fields["inputs"]
    attributes = fields.get("attributes", {"type": "map", "values": "string"})
    if not (
        fields["id"] in _TEXTS
        and isinstance(attributes, dict)
        and attributes["values"] in _TEXTS
        and {*(time if isinstance(time, list) else [time])} <= {"null", *_INTEGERS}
        and isinstance(inputs, dict)
        and isinstance(inputs["items"], dict)
    ):
        return ()
    tensor = {field["name"]: field["type"] for field in inputs["items"]["fields"]}
    plain = (
        tensor["name"] in _TEXTS
        and tensor["data"] in _TEXTS
        and isinstance(tensor["shape"], dict)
        and tensor["shape"]["items"] in _INTEGERS
        and isinstance(tensor["datatype"], dict)
    )
    return tuple(tensor["datatype"]["symbols"]) if plain else ()


def refuse_unreadable(writer: Schema) -> None:
    """Check that records of a schema can be resolved to `request`.

    What only some records hold is no reason: symbols that our enum of datatypes lacks, and null where a request needs a
    value. Those records alone are dead letters.

    Raises:
        UsageError: They cannot; the field and what was expected are named.
    """
    request = packaged("request")
    if not isinstance(writer.definition, dict) or writer.definition["type"] != "record":
        raise UsageError("expected the schema of a record")
    try:
        parsed = avro.schema.parse(json.dumps(_without_null(json.loads(writer.canonical))))
        checker = ReaderWriterCompatibilityChecker()  # type: ignore[no-untyped-call]
        found = checker.get_compatibility(avro.schema.parse(request.text), parsed)
    except avro.errors.AvroException as error:
        raise UsageError(f"the writer's schema cannot be read: {str(error)[:200]}") from error
    except RecursionError as error:
        raise UsageError("the writer's schema cannot be read: it is nested too deeply") from error
    reasons = set(found.incompatibilities) - {SchemaIncompatibilityType.missing_enum_symbols}
    if found.compatibility is SchemaCompatibilityType.compatible or not reasons:
        return
    fields = sorted({_field_at(request.definition, place.split("/")) for place in found.locations} - {""})
    what = "; ".join(sorted(str(message) for message in found.messages))
    where = f" ({', '.join(fields)})" if fields else ""
    raise UsageError(f"records of this schema cannot be read as streamsplit.InferenceRequest: {what}{where}")


def _without_null(canonical: Any) -> Any:
    """A schema whose unions have no null."""
    if isinstance(canonical, list):
        branches = [_without_null(branch) for branch in canonical]
        return [branch for branch in branches if branch != "null"] or branches
    if isinstance(canonical, dict):
        return {key: _without_null(each) if key in _TYPES else each for key, each in canonical.items()}
    return canonical


def _field_at(schema: Any, place: Sequence[str]) -> str:
    """The field of the request that a JSON pointer of the checker means; empty for the record itself."""
    names = []
    for token in place:
        if not token:
            continue
        try:
            schema = schema[int(token)] if isinstance(schema, list) else schema[token]
        except (KeyError, IndexError, ValueError, TypeError):
            break
        if isinstance(schema, dict) and token.isdigit() and "type" in schema and "name" in schema:
            names.append(schema["name"])
    return ".".join(names)
