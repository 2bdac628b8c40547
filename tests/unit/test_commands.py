"""Commands as records of the control topic."""

import io
import json

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamsplit.core.commands import FORMAT, Command, Malformed
from streamsplit.wire.commands import decode_command, encode_command
from streamsplit.wire.schemas import packaged

LONG = st.integers(-(2**63), 2**63 - 1)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
COMMANDS = st.builds(
    Command,
    command_id=st.text(min_size=1),
    kind=st.text(min_size=1),
    rollout=st.text(min_size=1),
    payload=st.dictionaries(st.text(max_size=5), JSON, max_size=3),
    apply_revision=st.none() | LONG,
    expected_revision=st.none() | LONG,
    actor=st.text(min_size=1),
    reason=st.text(),
    issued_at_ms=LONG,
    signature=st.none() | st.binary(min_size=1),
)


def decoded(value: bytes | None) -> Command | Malformed:
    return decode_command(value, offset=41, timestamp_ms=1234, active_rollout="delay-v2")


def as_json(**fields: object) -> bytes:
    return json.dumps(fields).encode()


@given(COMMANDS)
def test_a_command_comes_back_as_it_was_written(command: Command) -> None:
    assert decoded(encode_command(command)) == command


def test_a_command_is_written_as_single_object_of_the_published_schema() -> None:
    value = encode_command(Command(command_id="c", kind="pause", rollout="r", payload={"a": 1}, issued_at_ms=5))
    schema = packaged("command")
    assert value[:10] == schema.header
    record = fastavro.schemaless_reader(io.BytesIO(value[10:]), schema.definition, None)
    assert isinstance(record, dict)
    assert (record["command_id"], record["payload"], record["format"]) == ("c", '{"a": 1}', FORMAT)


def test_one_line_of_json_takes_what_is_missing_from_its_record() -> None:
    assert decoded(b' {"kind": "set_weight", "payload": {"weights": {"canary": 25}}}\n') == Command(
        command_id="offset-41",
        kind="set_weight",
        rollout="delay-v2",
        payload={"weights": {"canary": 25}},
        actor="unknown",
        issued_at_ms=1234,
    )


@pytest.mark.parametrize("payload", [None, "", {}, "{}"])
def test_a_payload_may_be_left_out_or_be_text(payload: object) -> None:
    command = decoded(as_json(kind="pause", payload=payload))
    assert isinstance(command, Command)
    assert command.payload == {}


def test_a_payload_in_text_is_parsed() -> None:
    command = decoded(as_json(kind="promote", payload='{"arm": "left"}'))
    assert isinstance(command, Command)
    assert command.payload == {"arm": "left"}


def test_an_apply_in_json_means_the_rollout_of_its_file() -> None:
    command = decoded(as_json(kind="apply", payload={"spec": {"rollout": "next"}}))
    assert isinstance(command, Command)
    assert command.rollout == "next"


def test_all_fields_can_be_given_in_json() -> None:
    fields = {"command_id": "c", "rollout": "r", "apply_revision": 3, "expected_revision": 9, "actor": "me"}
    assert decoded(as_json(kind="abort", reason="it hurts", issued_at=77, format=FORMAT, **fields)) == Command(
        command_id="c",
        kind="abort",
        rollout="r",
        payload={},
        apply_revision=3,
        expected_revision=9,
        actor="me",
        reason="it hurts",
        issued_at_ms=77,
    )


AVRO = encode_command(Command(command_id="c", kind="pause"))


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "no value"),
        (b"", "is empty"),
        (b"set weight canary=25", "begins with"),
        (b"[1]", "begins with"),
        (b"{", "no JSON"),
        (b'{"kind": "\xff"}', "no JSON"),
        (b'{"a":' * 100_000, "no JSON"),
        (b"{}", "kind: nothing is given"),
        (b'{"knd": "pause"}', "did you mean `kind`"),
        (b'{"kind": 7}', "kind: 7 is not valid here; expected text"),
        (b'{"kind": "\\ud800"}', "expected text"),
        (b'{"kind": "pause", "payload": []}', "payload: a list"),
        (b'{"kind": "pause", "payload": "{"}', "payload: this is no JSON"),
        (b'{"kind": "pause", "issued_at": true}', "issued_at: true"),
        (b'{"kind": "pause", "expected_revision": 1.0}', "expected_revision: 1.0"),
        (b'{"kind": "pause", "apply_revision": 9223372036854775808}', "a very large number"),
        (b'{"kind": "pause", "signature": "x"}', "only read from Avro"),
        (AVRO[:-1], "Avro is broken"),
        (AVRO + b"\0", "1 bytes follow"),
        (packaged("output").header + AVRO[10:], "command.avsc"),
        (b"\0\0\0\0\7" + AVRO[10:], "schema id 7"),
    ],
)
def test_anything_else_is_malformed_with_the_reason(value: bytes | None, words: str) -> None:
    result = decoded(value)
    assert isinstance(result, Malformed)
    assert words in result.reason


@pytest.mark.parametrize(
    "value",
    [
        as_json(format=FORMAT + 1, command_id="n", kind="teleport", payload=[1], target="moon"),
        encode_command(Command(command_id="n", kind="teleport", payload="?", format=FORMAT + 1)),
    ],
)
def test_a_newer_format_is_read_as_far_as_needed_to_say_so(value: bytes) -> None:
    command = decoded(value)
    assert isinstance(command, Command)
    assert (command.command_id, command.kind, command.format) == ("n", "teleport", FORMAT + 1)


@given(st.binary(max_size=60) | st.binary(max_size=40).map(lambda tail: AVRO[:10] + tail))
def test_any_bytes_are_a_command_or_malformed(value: bytes) -> None:
    assert isinstance(decoded(value), Command | Malformed)


@given(st.dictionaries(st.sampled_from(["kind", "payload", "format", "issued_at", "rollout", "actor", "x"]), JSON))
def test_any_json_object_is_a_command_or_malformed(fields: dict[str, object]) -> None:
    assert isinstance(decoded(json.dumps(fields).encode()), Command | Malformed)


def test_a_text_that_is_no_utf8_cannot_be_written() -> None:
    with pytest.raises(ValueError, match="surrogates"):
        encode_command(Command(command_id="\ud800", kind="pause"))
