"""Avro schemas: those of the package, their fingerprints, and the store of writers' schemas."""

import functools
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import fastavro
from fastavro.schema import SchemaParseException, fingerprint, to_parsing_canonical_form

import streamsplit
from streamsplit.core.errors import DataError, UsageError
from streamsplit.wire.framing import Frame, Framing, single_object_header

PACKAGED = ("request", "output", "audit", "summary", "decision", "command", "judge_state")
"""The schemas that ship with the package."""


@dataclass(frozen=True, slots=True)
class Schema:
    """One Avro schema.

    Attributes:
        definition: The parsed JSON, as its author wrote it.
        canonical: Parsing canonical form (Avro specification).
        fingerprint: CRC-64-AVRO of the canonical form.
    """

    definition: Any
    canonical: str
    fingerprint: int

    @property
    def text(self) -> str:
        """The schema as JSON, with documentation and defaults."""
        return json.dumps(self.definition)

    @property
    def header(self) -> bytes:
        """The single-object header of values written with it."""
        return single_object_header(self.fingerprint)


class Registry(Protocol):
    """Who knows a schema by its Confluent id."""

    def schema(self, schema_id: int) -> Schema:
        """The schema of this id.

        Raises:
            DataError: The registry knows no such Avro schema.
            ServiceError: The registry cannot be asked now.
        """


def parse_schema(text: str) -> Schema:
    """Parse a schema from JSON.

    Raises:
        UsageError: It is not JSON or not an Avro schema.
    """
    try:
        definition = json.loads(text)
        canonical = to_parsing_canonical_form(fastavro.parse_schema(definition, _force=True))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, SchemaParseException) as error:
        raise UsageError(f"not an Avro schema: {type(error).__name__}: {str(error)[:200]}") from error
    return Schema(definition, canonical, int.from_bytes(bytes.fromhex(fingerprint(canonical, "CRC-64-AVRO")), "little"))


@functools.cache
def packaged(name: str) -> Schema:
    """The schema `name` of `PACKAGED`, from the installed package or from the repository it runs in."""
    package = Path(streamsplit.__file__).parent
    installed = package / "schemas"
    folder = installed if installed.is_dir() else package.parent / "schemas"
    return parse_schema((folder / f"{name}.avsc").read_text(encoding="utf-8"))


def load_folder(folder: Path) -> tuple[Schema, ...]:
    """The schemas of a folder's `*.avsc` files, for writers that frame by fingerprint.

    Raises:
        UsageError: A file is not an Avro schema; it is named.
    """
    schemas = []
    for path in sorted(folder.glob("*.avsc")):
        try:
            schemas.append(parse_schema(path.read_text(encoding="utf-8")))
        except (UsageError, UnicodeDecodeError) as error:
            raise UsageError(f"{path}: {error}") from error
    return tuple(schemas)


class SchemaStore:
    """Knows writers' schemas: by fingerprint those it was given, by Confluent id those of the registry."""

    def __init__(self, extra: Iterable[Schema] = (), registry: Registry | None = None) -> None:
        """Start with the packaged schemas and `extra` ones."""
        schemas = (*(packaged(name) for name in PACKAGED), *extra)
        self._by_fingerprint = {schema.fingerprint: schema for schema in schemas}
        self._registry = registry

    def writer(self, frame: Frame) -> Schema:
        """The schema a frame names.

        Raises:
            DataError: Nobody knows it.
            ServiceError: The registry cannot be asked now.
        """
        if frame.framing is Framing.CONFLUENT:
            if self._registry is None:
                raise DataError("decode", f"{frame.label} cannot be looked up: no schema registry is configured")
            return self._registry.schema(frame.key)
        try:
            return self._by_fingerprint[frame.key]
        except KeyError:
            raise DataError(
                "decode", f"{frame.label} is not known; put its .avsc into the folder of writers' schemas"
            ) from None


def plain(definition: Any) -> Any:
    """A schema without logical types, so that times stay the integers they are."""
    if isinstance(definition, list):
        return [plain(each) for each in definition]
    if isinstance(definition, dict):
        return {key: plain(each) for key, each in definition.items() if key != "logicalType"}
    return definition
