"""The wire contract with fastavro: requests in, outputs and audit records out, in Avro's single-object encoding."""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import fastavro
from fastavro.schema import fingerprint, to_parsing_canonical_form

Record = dict[str, Any]
Encoded = tuple[bytes, bytes]
"""An output value and an audit value."""

_SCHEMAS = Path(__file__).parents[2] / "schemas"
_MAGIC = b"\xc3\x01"
_NO_RULE = -1
_HEADER_BYTES = 10


class Source(NamedTuple):
    """Where a request came from.

    Attributes:
        partition: Of the topic of requests.
        offset: In it.
        timestamp: Its record's, in milliseconds since the epoch.
    """

    partition: int
    offset: int
    timestamp: int


class Served(NamedTuple):
    """How a request was routed and served.

    Attributes:
        id: The request's.
        bucket: 0..9999.
        arm: The arm that answered.
        model: What it is called.
        tensors: The model's outputs, as `schemas/output.avsc` has them.
        micros: Wall time of the request's run.
        finished: When that was, in milliseconds since the epoch.
    """

    id: str
    bucket: int
    arm: str
    model: str
    tensors: Sequence[Record]
    micros: int
    finished: int


class Schema:
    """One of the repository's schemas, with its single-object header."""

    def __init__(self, name: str) -> None:
        self._parsed = fastavro.parse_schema(json.loads((_SCHEMAS / f"{name}.avsc").read_text("utf-8")))
        digest = fingerprint(to_parsing_canonical_form(self._parsed), "CRC-64-AVRO")
        self._header = _MAGIC + bytes.fromhex(digest)

    def decode(self, value: bytes) -> Record:
        """Read a value.

        Raises:
            ValueError: It was not written with this schema.
        """
        if value[:_HEADER_BYTES] != self._header:
            raise ValueError(f"expected a value that begins with {self._header.hex()}, found {value[:10].hex()}")
        stream = io.BytesIO(value)
        stream.seek(_HEADER_BYTES)
        record: Record = fastavro.schemaless_reader(stream, self._parsed, None)  # type: ignore[assignment] # a record
        return record

    def encode(self, record: Record) -> bytes:
        """Write a value."""
        stream = io.BytesIO()
        stream.write(self._header)
        fastavro.schemaless_writer(stream, self._parsed, record)
        return stream.getvalue()


class Filler:
    """Text that makes values as long as they shall be in the mean: what the value before was short of.

    Args:
        mean: Wanted mean length, in bytes.
    """

    def __init__(self, mean: float) -> None:
        self._mean = round(mean)
        self.text = ""

    def note(self, value: bytes) -> None:
        """A value was written with the present text."""
        self.text = "." * max(0, self._mean - len(value) + len(self.text))


class Answers:
    """Writes outputs and audit records.

    Args:
        rollout: What they say the rollout is.
        output_bytes: Mean length of an output value; a shorter one has a longer name of the rollout.
        audit_bytes: Mean length of an audit value, likewise.
    """

    def __init__(self, rollout: str, output_bytes: float, audit_bytes: float) -> None:
        self._rollout = rollout
        self._output, self._audit = Schema("output"), Schema("audit")
        self._output_filler, self._audit_filler = Filler(output_bytes), Filler(audit_bytes)

    def encode(self, served: Served, source: Source) -> Encoded:
        """The output and the audit record of a request."""
        output = self._output.encode(self._output_record(served, source))
        audit = self._audit.encode(self._audit_record(served, source))
        self._output_filler.note(output)
        self._audit_filler.note(audit)
        return output, audit

    def _output_record(self, served: Served, source: Source) -> Record:
        return {
            "id": served.id,
            "rollout": self._rollout + self._output_filler.text,
            "revision": 0,
            "arm": served.arm,
            "model": served.model,
            "outcome": "ok",
            "outputs": served.tensors,
            "source_partition": source.partition,
            "source_offset": source.offset,
        }

    def _audit_record(self, served: Served, source: Source) -> Record:
        return {
            "id": served.id,
            "unit": served.id.encode(),
            "rollout": self._rollout + self._audit_filler.text,
            "revision": 0,
            "rule": _NO_RULE,
            "bucket": served.bucket,
            "arm": served.arm,
            "served_by": served.arm,
            "model": served.model,
            "outcome": "ok",
            "source_partition": source.partition,
            "source_offset": source.offset,
            "request_time": source.timestamp,
            "processed_time": served.finished,
            "inference_micros": served.micros,
            "score": None,
            "mirrored": [],
        }
