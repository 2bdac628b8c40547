"""Values name the schema that wrote them; schemas are known by fingerprint and by id."""

import json
from pathlib import Path

import avro.schema
import pytest

from streamsplit.core.errors import DataError, UsageError
from streamsplit.wire.framing import Frame, Framing, confluent_header, read_frame, single_object_header
from streamsplit.wire.schemas import PACKAGED, SchemaStore, load_folder, packaged, parse_schema, plain


@pytest.mark.parametrize(
    ("value", "frame"),
    [
        (confluent_header(2**32 - 1) + b"x", Frame(Framing.CONFLUENT, 2**32 - 1, 5)),
        (b"\0\0\0\1\2", Frame(Framing.CONFLUENT, 258, 5)),
        (single_object_header(2**64 - 1), Frame(Framing.SINGLE_OBJECT, 2**64 - 1, 10)),
        (b"\xc3\x01\1\2\0\0\0\0\0\0", Frame(Framing.SINGLE_OBJECT, 513, 10)),
        (b"{", Frame(Framing.JSON, 0, 0)),
    ],
)
def test_frames_are_told_by_their_first_bytes(value: bytes, frame: Frame) -> None:
    assert read_frame(value) == frame


@pytest.mark.parametrize(
    "value", [b"", b"\0", b"\0\0\0\1", b"\xc3", b"\xc3\x01" + bytes(7), b"\xc3\x02" + bytes(8), b"["]
)
def test_anything_else_is_refused_with_what_was_expected(value: bytes) -> None:
    with pytest.raises(DataError, match="expected Confluent framing"):
        read_frame(value)


@pytest.mark.parametrize("name", PACKAGED)
def test_fingerprints_are_those_of_the_avro_package(name: str) -> None:
    """The avro package leaves `{"type": "long"}` for a stripped logical type, so both get a schema without them."""
    schema = parse_schema(json.dumps(plain(packaged(name).definition)).replace('{"type": "long"}', '"long"'))
    assert schema.fingerprint == packaged(name).fingerprint
    oracle = avro.schema.parse(schema.text)
    assert schema.canonical == oracle.canonical_form
    assert schema.fingerprint.to_bytes(8, "little") == oracle.fingerprint()


def test_the_fingerprint_of_a_known_schema_is_the_specification_s() -> None:
    assert parse_schema('"int"').fingerprint == 0x7275D51A3F395C8F


def test_a_folder_of_schemas_is_loaded_and_a_broken_one_is_named(tmp_path: Path) -> None:
    (tmp_path / "one.avsc").write_text('{"type": "record", "name": "One", "fields": []}')
    (tmp_path / "notes.txt").write_text("no schema")
    [schema] = load_folder(tmp_path)
    assert SchemaStore([schema]).writer(read_frame(schema.header)) == schema
    (tmp_path / "two.avsc").write_text('{"type": "rekord"}')
    with pytest.raises(UsageError, match=r"two\.avsc: not an Avro schema"):
        load_folder(tmp_path)


@pytest.mark.parametrize("text", ["", "{", '{"type": 7}', "7", "null", "[" * 5000])
def test_what_is_no_schema_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not an Avro schema"):
        parse_schema(text)


def test_an_unknown_fingerprint_is_a_data_error_that_names_it() -> None:
    with pytest.raises(DataError, match="schema fingerprint 000000000000002a is not known"):
        SchemaStore().writer(Frame(Framing.SINGLE_OBJECT, 42, 10))
