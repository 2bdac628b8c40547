"""Commands on the control topic: Avro single-object as we write them, or JSON as a person types it into `kcat`.

    {"kind": "set_weight", "payload": {"weights": {"canary": 25}}}

What such a JSON command leaves out is taken from its record and from the active rollout.
"""

import functools
import io
import json
from collections.abc import Mapping
from typing import Any

import fastavro

from streamsplit.core.commands import FORMAT, Command, Kind, Malformed
from streamsplit.core.errors import DataError
from streamsplit.core.findings import Findings, is_utf8
from streamsplit.wire.framing import Frame, Framing, read_frame
from streamsplit.wire.schemas import packaged

_TEXTS = ("command_id", "rollout", "kind", "actor", "reason")
_INTEGERS = ("apply_revision", "expected_revision", "issued_at", "format")
_FIELDS = (*_TEXTS, *_INTEGERS, "payload", "signature")
_LONG = 2**63
_SHOWN = 200


def encode_command(command: Command) -> bytes:
    """Writes a command as Avro single-object.

    Raises:
        ValueError: A text cannot be written in UTF-8, or the payload is no JSON.
    """
    payload = command.payload if isinstance(command.payload, str) else json.dumps(dict(command.payload))
    record = {
        "command_id": command.command_id,
        "rollout": command.rollout,
        "apply_revision": command.apply_revision,
        "kind": str(command.kind),
        "payload": payload,
        "expected_revision": command.expected_revision,
        "actor": command.actor,
        "reason": command.reason,
        "issued_at": command.issued_at_ms,
        "signature": command.signature,
        "format": command.format,
    }
    body = io.BytesIO()
    fastavro.schemaless_writer(body, _schema(), record)
    return packaged("command").header + body.getvalue()


def decode_command(
    value: bytes | None, *, offset: int, timestamp_ms: int, active_rollout: str = ""
) -> Command | Malformed:
    """Reads a record of the control topic.

    Args:
        value: The record's value.
        offset: Its offset; names a command without `command_id`.
        timestamp_ms: Its timestamp; `issued_at` of a command without one.
        active_rollout: Name of the rollout of the present state; meant by a command that names none.

    Returns:
        The command, with its payload parsed; or why the record is none. Never raises.
    """
    if value is None:
        return Malformed("the record has no value")
    value = value.lstrip(b" \t\r\n")
    try:
        frame = read_frame(value)
    except DataError as error:
        return Malformed(error.reason)
    fields = _from_json(value) if frame.framing is Framing.JSON else _from_avro(value, frame)
    if isinstance(fields, Malformed):
        return fields
    given = {"payload": {}, **{name: field for name, field in fields.items() if field not in (None, "")}}
    given.setdefault("command_id", f"offset-{offset}")
    given.setdefault("issued_at", timestamp_ms)
    newer = given.get("format")
    if isinstance(newer, int) and FORMAT < newer < _LONG:
        command_id, kind = (word if isinstance(word := given.get(name), str) else "" for name in ("command_id", "kind"))
        return Command(command_id=command_id or f"offset-{offset}", kind=kind, format=newer)
    return _command(given, active_rollout)


def _from_json(value: bytes) -> Mapping[str, object] | Malformed:
    try:
        fields: object = json.loads(value.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        return Malformed(f"the command is no JSON: {str(error)[:_SHOWN]}")
    return fields if isinstance(fields, dict) else Malformed("a command is a JSON object")


def _from_avro(value: bytes, frame: Frame) -> Mapping[str, object] | Malformed:
    if frame.framing is not Framing.SINGLE_OBJECT or frame.key != packaged("command").fingerprint:
        return Malformed(f"{frame.label} is not that of commands: expected Avro single-object of command.avsc, or JSON")
    body = io.BytesIO(value)
    body.seek(frame.body)
    try:
        fields: Any = fastavro.schemaless_reader(body, _schema(), None)
    except Exception as error:  # noqa: BLE001 - fastavro raises whatever its readers stumble upon
        return Malformed(f"the command's Avro is broken: {type(error).__name__}: {str(error)[:_SHOWN]}")
    rest = len(value) - body.tell()
    return Malformed(f"{rest} bytes follow the command") if rest else dict(fields)


@functools.cache
def _schema() -> Any:
    """The schema without logical types, so that a time is a number in any year."""
    definition = packaged("command").definition
    return fastavro.parse_schema(_without_logical_types(definition), _force=True)


def _without_logical_types(definition: Any) -> Any:
    if isinstance(definition, dict):
        return {key: _without_logical_types(part) for key, part in definition.items() if key != "logicalType"}
    return [_without_logical_types(part) for part in definition] if isinstance(definition, list) else definition


def _command(given: Mapping[str, object], active_rollout: str) -> Command | Malformed:
    found = Findings()
    fields = found.mapping(given, (), _FIELDS, "a command")
    if "kind" not in fields:
        found.add(("kind",), "nothing is given", f"one of {', '.join(Kind)}")
    texts = {name: _text(found, fields, name) for name in _TEXTS if name in fields}
    integers = {name: _integer(found, fields, name) for name in _INTEGERS if name in fields}
    payload = _payload(found, fields["payload"])
    signature = fields.get("signature")
    if signature is not None and not isinstance(signature, bytes):
        found.wrong(("signature",), signature, "nothing: a signature is only read from Avro")
    if found:
        return Malformed("; ".join(str(finding) for finding in found.all()))
    return Command(
        command_id=texts["command_id"],
        kind=texts["kind"],
        rollout=texts.get("rollout") or _meant(texts["kind"], payload) or active_rollout,
        payload=payload,
        apply_revision=integers.get("apply_revision"),
        expected_revision=integers.get("expected_revision"),
        actor=texts.get("actor", "unknown"),
        reason=texts.get("reason", ""),
        issued_at_ms=integers["issued_at"],
        format=integers.get("format", FORMAT),
        signature=signature if isinstance(signature, bytes) else None,
    )


def _meant(kind: str, payload: Mapping[str, object]) -> str:
    """An apply means the rollout of its file."""
    spec = payload.get("spec") if kind == Kind.APPLY else None
    name = spec.get("rollout") if isinstance(spec, dict) else None
    return name if isinstance(name, str) and is_utf8(name) else ""


def _text(found: Findings, fields: Mapping[str, object], name: str) -> str:
    text = fields[name]
    if isinstance(text, str) and is_utf8(text):
        return text
    found.wrong((name,), text, "text")
    return ""


def _integer(found: Findings, fields: Mapping[str, object], name: str) -> int:
    number = fields[name]
    if isinstance(number, int) and not isinstance(number, bool) and -_LONG <= number < _LONG:
        return number
    found.wrong((name,), number, "a whole number")
    return 0


def _payload(found: Findings, payload: object) -> Mapping[str, object]:
    if isinstance(payload, str):
        try:
            payload = json.loads(payload)
        except (ValueError, RecursionError) as error:
            found.add(("payload",), f"this is no JSON: {str(error)[:_SHOWN]}")
            return {}
    return found.mapping(payload, ("payload",), None, 'an object, such as `{"weights": {"canary": 25}}`')
