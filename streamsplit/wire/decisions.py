"""Encodes the judge's decisions, and reads them back."""

import io
from typing import Any

import fastavro

from streamsplit.core.decision import Decision, DecisionKind, Reading, Verdict, WindowPoint
from streamsplit.core.errors import DataError
from streamsplit.wire.reader import RecordReader
from streamsplit.wire.schemas import SchemaStore, packaged, plain

_EFFECT = ("command", "command_id", "advice")
_INPUTS = ("summaries_to", "control_to")


def decision_record(decision: Decision) -> dict[str, Any]:
    """A decision as plain values, named and nested as in `schemas/decision.avsc`; times are milliseconds."""
    record = _plain(decision)
    record["reasons"] = list(decision.reasons)
    record["effect"] = {name: record.pop(name) for name in _EFFECT}
    record["inputs"] = {name: record.pop(name) for name in _INPUTS}
    # A mapping's order is no part of it: the same decision is the same bytes.
    record["evidence"] = [
        {**_plain(each), "counts": dict(sorted(each.counts.items()))} for each in record.pop("readings")
    ]
    record["windows"] = list(map(_plain, decision.windows))
    return record


class DecisionEncoder:
    """Writes decisions behind a frame's header."""

    def __init__(self, header: bytes) -> None:
        """Start every value with `header` (`Schema.header`, or `confluent_header`)."""
        self._header = header
        self._schema = fastavro.parse_schema(plain(packaged("decision").definition), _force=True)

    def encode(self, decision: Decision) -> bytes:
        """The framed value of one decision; the same decision gives the same bytes."""
        body = io.BytesIO()
        body.write(self._header)
        fastavro.schemaless_writer(body, self._schema, decision_record(decision))
        return body.getvalue()


class DecisionReader:
    """Reads recorded decisions, whatever version of the schema wrote them."""

    def __init__(self, store: SchemaStore) -> None:
        """Look up writers' schemas in `store`."""
        self._reader = RecordReader(store, "decision")

    def read(self, value: bytes) -> Decision:
        """Read one value.

        Raises:
            DataError: It is no decision, or says what this version does not know.
            ServiceError: The schema registry cannot be asked now.
        """
        record = self._reader.read(value)
        record.update(record.pop("effect"))
        record.update(record.pop("inputs"))
        try:
            record["kind"] = DecisionKind(record["kind"])
            readings = tuple(
                Reading(**{**each, "verdict": Verdict(each["verdict"])}) for each in record.pop("evidence")
            )
        except ValueError as error:
            raise DataError("decode", f"no decision that this version knows: {error}; upgrade streamsplit") from error
        reasons, windows = tuple(record.pop("reasons")), tuple(WindowPoint(**each) for each in record.pop("windows"))
        return Decision(**record, reasons=reasons, readings=readings, windows=windows)


def _plain(record: Decision | Reading | WindowPoint) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__slots__}
