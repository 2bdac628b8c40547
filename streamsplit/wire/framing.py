"""How a record's value says which schema wrote it.

0x00 + 4-byte big-endian id                       Confluent Schema Registry
0xC3 0x01 + 8-byte little-endian fingerprint      Avro single-object encoding (CRC-64-AVRO)
{                                                 JSON, without a schema
"""

import enum
import struct
from dataclasses import dataclass

from streamsplit.core.errors import DataError

HEADER_BYTES = 10
"""Enough of a value to tell its frame."""

_CONFLUENT = struct.Struct(">bI")
_SINGLE_OBJECT = struct.Struct("<2sQ")
_SINGLE_OBJECT_MAGIC = b"\xc3\x01"


class Framing(enum.Enum):
    """The frames that are read; the first two are written as well."""

    CONFLUENT = "confluent"
    SINGLE_OBJECT = "single-object"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Frame:
    """What a value's first bytes say.

    Attributes:
        framing: Which frame it is.
        key: Confluent schema id or CRC-64-AVRO fingerprint; 0 for JSON.
        body: Offset of the first byte behind the header; 0 for JSON.
    """

    framing: Framing
    key: int
    body: int

    @property
    def label(self) -> str:
        """Name of the schema for a person."""
        if self.framing is Framing.CONFLUENT:
            return f"schema id {self.key}"
        return f"schema fingerprint {self.key:016x}" if self.framing is Framing.SINGLE_OBJECT else "JSON"


JSON_FRAME = Frame(Framing.JSON, 0, 0)


def read_frame(value: bytes) -> Frame:
    """Tell the frame of a value from its first `HEADER_BYTES` bytes.

    Raises:
        DataError: The value begins with none of the three frames.
    """
    if value[:1] == b"{":
        return JSON_FRAME
    if value[:1] == b"\0" and len(value) >= _CONFLUENT.size:
        return Frame(Framing.CONFLUENT, _CONFLUENT.unpack_from(value)[1], _CONFLUENT.size)
    if value[:2] == _SINGLE_OBJECT_MAGIC and len(value) >= _SINGLE_OBJECT.size:
        return Frame(Framing.SINGLE_OBJECT, _SINGLE_OBJECT.unpack_from(value)[1], _SINGLE_OBJECT.size)
    got = f"begins with 0x{value[:4].hex()}" if value else "is empty"
    raise DataError(
        "decode",
        f"expected Confluent framing (00 + schema id), Avro single-object (c301 + fingerprint) or JSON; it {got}",
    )


def confluent_header(schema_id: int) -> bytes:
    """The five bytes before a value whose schema the registry knows by `schema_id`."""
    return _CONFLUENT.pack(0, schema_id)


def single_object_header(fingerprint: int) -> bytes:
    """The ten bytes before a value whose schema has this CRC-64-AVRO fingerprint."""
    return _SINGLE_OBJECT.pack(_SINGLE_OBJECT_MAGIC, fingerprint)
