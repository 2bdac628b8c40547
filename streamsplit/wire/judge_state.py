"""The record on `judge-state`: what the next judge goes on from."""

import io
from dataclasses import dataclass

import fastavro

from streamsplit.core.commands import Command, Malformed
from streamsplit.core.errors import DataError
from streamsplit.wire.commands import decode_command, encode_command
from streamsplit.wire.reader import RecordReader
from streamsplit.wire.schemas import SchemaStore, packaged


@dataclass(frozen=True, slots=True)
class JudgeState:
    """What is known after the summaries up to an offset.

    Attributes:
        summaries_to: Next offset of `summaries`, after what was read.
        judge: The judge's own record (`core/judge.py`).
        since: Summaries of revisions below it are passed over; -1: none.
        due: Commands that are decided and perhaps not written yet, oldest first.
    """

    summaries_to: int
    judge: bytes
    since: int = -1
    due: tuple[Command, ...] = ()


def encode_judge_state(state: JudgeState) -> bytes:
    """The value of a record, as Avro single-object; the same state gives the same bytes.

    Raises:
        ValueError: A command cannot be encoded.
    """
    schema = packaged("judge_state")
    record = {
        "summaries_to": state.summaries_to,
        "since": state.since,
        "due": [encode_command(command) for command in state.due],
        "judge": state.judge,
    }
    body = io.BytesIO()
    body.write(schema.header)
    fastavro.schemaless_writer(body, fastavro.parse_schema(schema.definition, _force=True), record)
    return body.getvalue()


class JudgeStateReader:
    """Reads such records, whatever version of the schema wrote them."""

    def __init__(self) -> None:
        """Know the packaged schemas."""
        self._reader = RecordReader(SchemaStore(), "judge_state")

    def read(self, value: bytes) -> JudgeState:
        """Read one value.

        Raises:
            DataError: It is no such record, or holds a command that is none.
        """
        record = self._reader.read(value)
        due = []
        for each in record["due"]:
            command = decode_command(each, offset=-1, timestamp_ms=0)
            if isinstance(command, Malformed):
                raise DataError("decode", f"no judge_state: a command that is due is none: {command.reason}")
            due.append(command)
        return JudgeState(record["summaries_to"], record["judge"], record["since"], tuple(due))
