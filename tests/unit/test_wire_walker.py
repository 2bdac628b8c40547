"""The walker accepts what Avro writes and nothing else, in lockstep as one by one."""

import io
import json
from typing import Any

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamsplit.core.byte_strings import ByteStrings
from streamsplit.core.errors import DataError
from streamsplit.wire.compiler import compile_walker
from streamsplit.wire.lanes import Lanes
from streamsplit.wire.walker import Spans, read_varint

ZIGZAG = {"type": "record", "name": "R", "fields": [{"name": "n", "type": "long"}, {"name": "s", "type": "bytes"}]}


def lanes_over(records: list[bytes]) -> Lanes:
    return Lanes.over(ByteStrings.of(records), 0)


def accepted_alone(node: Any, record: bytes) -> bool:
    try:
        return bool(node.check(record, 0, len(record)) == len(record))
    except DataError:
        return False


def write(schema: Any, value: Any) -> bytes:
    body = io.BytesIO()
    fastavro.schemaless_writer(body, fastavro.parse_schema(schema, _force=True), value)
    return body.getvalue()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(-(2**63), 2**63 - 1), st.binary(max_size=300)), min_size=1, max_size=30))
def test_integers_of_all_lengths_and_bytes_are_read_as_written(rows: list[tuple[int, bytes]]) -> None:
    records = [write(ZIGZAG, {"n": number, "s": content}) for number, content in rows]
    lanes = lanes_over(records)
    columns: Any = compile_walker(ZIGZAG, {"n": None, "s": None}).walk(lanes)
    assert lanes.finished.all()
    assert columns["n"].tolist() == [number for number, _ in rows]
    spans = columns["s"]
    assert isinstance(spans, Spans)
    raw = b"".join(records)
    assert [raw[a : a + n] for a, n in zip(spans.start, spans.length, strict=True)] == [content for _, content in rows]


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b"\x80\x00", 0),
        (b"\xfe" + b"\xff" * 8 + b"\x01", 2**63 - 1),
        (b"\xff" * 9 + b"\x01", -(2**63)),
        (b"\xff" * 9 + b"\x02", None),
        (b"\x80" * 9 + b"\x7f", None),
        (b"\x80" * 10 + b"\x00", None),
        (b"\x80", None),
        (b"", None),
        (b"\x80" * 9, None),
    ],
)
def test_integers_of_up_to_ten_bytes_are_read_and_longer_or_cut_ones_are_not(raw: bytes, value: int | None) -> None:
    neighbours = [raw, b"\x02", raw, b"\x04"]
    lanes = lanes_over(neighbours)
    read = lanes.varint()
    assert lanes.finished.tolist() == [value is not None, True, value is not None, True]
    assert read[[1, 3]].tolist() == [1, 2]
    if value is None:
        with pytest.raises(DataError, match="malformed Avro at n"):
            read_varint(raw, 0, len(raw), "n")
    else:
        assert read[[0, 2]].tolist() == [value, value]
        assert read_varint(raw, 0, len(raw), "n") == (value, len(raw))


def schemas() -> st.SearchStrategy[Any]:
    """Schemas of every type but recursive ones, as functions of a counter of names."""
    leaf = st.sampled_from(["boolean", "int", "long", "float", "double", "string", "bytes", "ENUM", "FIXED"])

    def grow(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        return st.one_of(
            st.builds(lambda items: {"type": "array", "items": items}, inner),
            st.builds(lambda values: {"type": "map", "values": values}, inner),
            st.builds(lambda some: ["null", some], inner.filter(lambda each: not isinstance(each, list))),
            st.builds(lambda fields: {"type": "record", "fields": fields}, st.lists(inner, min_size=1, max_size=3)),
        )

    return st.recursive(leaf, grow, max_leaves=6)


def named(shape: Any, count: list[int]) -> Any:
    """Give each named type a name of its own."""
    count[0] += 1
    name = f"T{count[0]}"
    if shape == "ENUM":
        return {"type": "enum", "name": name, "symbols": ["A", "B", "C"]}
    if shape == "FIXED":
        return {"type": "fixed", "name": name, "size": 5}
    if isinstance(shape, list):
        return [named(each, count) for each in shape]
    if isinstance(shape, dict) and shape["type"] == "record":
        fields = [{"name": f"f{index}", "type": named(each, count)} for index, each in enumerate(shape["fields"])]
        return {"type": "record", "name": name, "fields": fields}
    if isinstance(shape, dict):
        return {key: named(each, count) if key in {"items", "values"} else each for key, each in shape.items()}
    return shape


def data_of(schema: Any) -> st.SearchStrategy[Any]:
    """Values of a schema."""
    if isinstance(schema, list):
        return st.one_of([data_of(each) for each in schema])
    kind = schema["type"] if isinstance(schema, dict) else schema
    simple: dict[str, st.SearchStrategy[Any]] = {
        "null": st.none(),
        "boolean": st.booleans(),
        "int": st.integers(-(2**31), 2**31 - 1),
        "long": st.integers(-(2**63), 2**63 - 1),
        "float": st.floats(width=32),
        "double": st.floats(),
        "string": st.text(max_size=5),
        "bytes": st.binary(max_size=5),
        "enum": st.sampled_from(["A", "B", "C"]),
        "fixed": st.binary(min_size=5, max_size=5),
    }
    if kind in simple:
        return simple[kind]
    if kind == "array":
        return st.lists(data_of(schema["items"]), max_size=4)
    if kind == "map":
        return st.dictionaries(st.text(max_size=3), data_of(schema["values"]), max_size=4)
    return st.fixed_dictionaries({field["name"]: data_of(field["type"]) for field in schema["fields"]})


@st.composite
def written(draw: st.DrawFn) -> tuple[Any, list[bytes]]:
    """A schema, and records of it, some damaged."""
    shapes = draw(st.lists(schemas(), min_size=1, max_size=3))
    schema = named({"type": "record", "fields": shapes}, [0])
    records = [write(schema, value) for value in draw(st.lists(data_of(schema), min_size=1, max_size=15))]
    for index in draw(st.lists(st.integers(0, len(records) - 1), max_size=4)):
        at = draw(st.integers(0, len(records[index])))
        patch = draw(st.one_of(st.binary(max_size=2), st.just(b"\xff" * 10), st.just(b"\x01\x04")))
        records[index] = records[index][:at] + patch + records[index][at + draw(st.integers(0, 2)) :]
    return schema, records


@settings(max_examples=40, deadline=None)
@given(written(), st.booleans())
def test_lockstep_takes_no_record_that_check_refuses_and_all_whole_ones_of_a_batch_of_alike(
    case: tuple[Any, list[bytes]],
    wanted: bool,  # noqa: FBT001 - drawn
) -> None:
    schema, records = case
    parsed = json.loads(json.dumps(schema))
    node = compile_walker(parsed, {field["name"]: None for field in parsed["fields"]} if wanted else {})
    lanes = lanes_over(records)
    node.walk(lanes)
    alone = [accepted_alone(node, record) for record in records]
    together = lanes.finished.tolist()
    assert [one for one, good in zip(together, alone, strict=True) if one and not good] == []
    same = lanes_over([records[0]] * 12)
    node.walk(same)
    assert same.finished.tolist() == [alone[0]] * 12


@settings(max_examples=40, deadline=None)
@given(written())
def test_what_check_accepts_fastavro_reads_to_the_last_byte(case: tuple[Any, list[bytes]]) -> None:
    schema, records = case
    node = compile_walker(schema, {})
    parsed = fastavro.parse_schema(schema, _force=True)
    for record in records:
        if accepted_alone(node, record):
            body = io.BytesIO(record)
            try:
                fastavro.schemaless_reader(body, parsed, handle_unicode_errors="replace")
            except UnicodeDecodeError:
                continue  # it decodes the keys of maps, asked or not
            assert body.tell() == len(record)


@settings(max_examples=40, deadline=None)
@given(written())
def test_whole_records_are_accepted(case: tuple[Any, list[bytes]]) -> None:
    schema, records = case
    node = compile_walker(schema, {})
    parsed = fastavro.parse_schema(schema, _force=True)
    for record in records:
        body = io.BytesIO(record)
        try:
            value = fastavro.schemaless_reader(body, parsed)
        except (EOFError, ValueError, IndexError, TypeError, KeyError, OverflowError):
            continue
        again = io.BytesIO()
        try:
            fastavro.schemaless_writer(again, parsed, value)
        except (ValueError, OverflowError, TypeError):
            continue
        assert accepted_alone(node, again.getvalue())


def test_a_name_of_a_type_stands_for_its_definition_in_any_namespace() -> None:
    schema = {
        "type": "record",
        "name": "a.R",
        "fields": [
            {"name": "p", "type": {"type": "fixed", "name": "F", "size": 2}},
            {"name": "q", "type": "F"},
            {"name": "r", "type": {"type": "array", "items": "a.F"}},
        ],
    }
    node = compile_walker(schema, {"q": None})
    lanes = lanes_over([b"ppqq\x04rrrr\x00"] * 2)
    columns: Any = node.walk(lanes)
    assert lanes.finished.all()
    assert columns["q"].start.tolist() == [2, 12]
