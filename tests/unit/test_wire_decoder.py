"""Requests become columns; what cannot be served becomes one dead letter with a reason."""

import copy
import io
import json
import struct
from typing import Any

import fastavro
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamsplit.core.byte_strings import ByteStrings
from streamsplit.core.errors import DataError
from streamsplit.core.records import Datatype, RawBatch, RequestColumns, TensorSpec
from streamsplit.wire.decoder import RequestDecoder
from streamsplit.wire.framing import confluent_header
from streamsplit.wire.request import Wanted
from streamsplit.wire.schemas import SchemaStore, packaged, parse_schema, plain

SPECS = (TensorSpec("X", Datatype.FP32, (2,), finite=True), TensorSpec("carrier", Datatype.BYTES, (2, 1)))
WANTED = Wanted(SPECS, ("airport", "größe"))
X = np.array([0.5, -2], "<f4").tobytes()
CARRIER = b"".join(struct.pack("<I", len(word)) + word for word in (b"UA", "é".encode()))
ALWAYS, NEVER = 1, 10**9


def tensor(name: str, datatype: str, shape: list[int], data: bytes) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape, "data": data}


def request(**changes: Any) -> dict[str, Any]:
    inputs = [tensor("X", "FP32", [2], X), tensor("carrier", "BYTES", [2, 1], CARRIER)]
    good = {"id": "r1", "attributes": {"airport": "JFK"}, "time": 1_700_000_000_000, "inputs": inputs}
    return {**good, **changes}


def written(record: Any, schema: Any = None) -> bytes:
    schema = schema or packaged("request")
    body = io.BytesIO()
    body.write(schema.header)
    fastavro.schemaless_writer(body, fastavro.parse_schema(plain(schema.definition), _force=True), record)
    return body.getvalue()


def batch(values: list[bytes | None]) -> RawBatch:
    n = len(values)
    return RawBatch(
        0,
        *map(ByteStrings.of, (values, [None] * n, [None] * n)),
        np.zeros(n, np.int32),
        np.arange(n),
        np.arange(n) + 77,
    )


def columns(decoded: RequestColumns) -> dict[str, Any]:
    return {
        "rows": decoded.rows.tolist(),
        "ids": list(decoded.ids),
        "times": decoded.times.tolist(),
        "attributes": {name: list(column) for name, column in decoded.attributes.items()},
        "inputs": {
            name: (getattr(tensor, "dtype", "texts"), tensor.shape, tensor.tolist())
            for name, tensor in decoded.inputs.items()
        },
    }


def decode(values: list[bytes | None], wanted: Wanted = WANTED, few: int = NEVER, extra: Any = ()) -> tuple[Any, Any]:
    decoded, letters = RequestDecoder(SchemaStore(extra), few).decode(batch(values), wanted)
    assert sorted([*decoded.rows.tolist(), *(letter.row for letter in letters)]) == list(range(len(values)))
    return columns(decoded), letters


def decode_both(values: list[bytes | None], wanted: Wanted = WANTED, extra: Any = ()) -> tuple[Any, Any]:
    quick, slow = decode(values, wanted, ALWAYS, extra), decode(values, wanted, NEVER, extra)
    assert quick == slow
    return quick


def reason_for(value: bytes | None, wanted: Wanted = WANTED) -> str:
    """The reason of one bad record among good ones, which are all served."""
    values: list[bytes | None] = [written(request(id=f"r{index}")) for index in range(20)]
    values.insert(7, value)
    served, letters = decode_both(values, wanted)
    assert [letter.row for letter in letters] == [7]
    assert letters[0].stage == "decode"
    assert len(served["ids"]) == 20
    return str(letters[0].reason)


def test_a_batch_becomes_columns_of_the_signature_dtypes() -> None:
    served, letters = decode_both(
        [
            written(request(id="a", attributes={"größe": "XL", "airport": "LGA", "more": "x"})),
            written(request(id="b", time=None, attributes={})),
        ]
    )
    assert letters == []
    assert served == {
        "rows": [0, 1],
        "ids": [b"a", b"b"],
        "times": [1_700_000_000_000, 78],
        "attributes": {"airport": [b"LGA", None], "größe": [b"XL", None]},
        "inputs": {
            "X": (np.dtype("<f4"), (2, 2), [[0.5, -2.0]] * 2),
            "carrier": ("texts", (2, 2, 1), [[[b"UA"], ["é".encode()]]] * 2),
        },
    }


@pytest.mark.parametrize("known", [True, False])
def test_records_framed_by_the_registry_are_decoded_alike(known: bool) -> None:  # noqa: FBT001 - a case
    class OneSchema:
        """A registry that knows one id."""

        def schema(self, schema_id: int) -> Any:
            assert schema_id == 9
            if not known:
                raise DataError("decode", "unknown")
            return packaged("request")

    values = [confluent_header(9) + written(request(id=f"r{index}"))[10:] for index in range(15)]
    decoder = RequestDecoder(SchemaStore(registry=OneSchema()))
    decoded, letters = decoder.decode(batch([*values]), WANTED)
    assert list(decoded.ids) == ([f"r{index}".encode() for index in range(15)] if known else [])
    assert {letter.reason for letter in letters} == (set() if known else {"unknown"})


def test_an_empty_batch_has_columns_of_no_rows() -> None:
    served, letters = decode_both([])
    assert letters == []
    assert served["inputs"]["X"][1] == (0, 2)
    assert served["attributes"] == {"airport": [], "größe": []}


def test_tensors_may_come_in_any_order_and_with_a_leading_one() -> None:
    inputs = [tensor("carrier", "BYTES", [1, 2, 1], CARRIER), tensor("X", "FP32", [1, 2], X)]
    served, letters = decode_both([written(request()), written(request(inputs=inputs))] * 10)
    assert letters == []
    assert served["inputs"]["X"][2] == [[0.5, -2.0]] * 20


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "the value is null (a tombstone); expected a request"),
        (b"", "it is empty"),
        (b"hello", "it begins with 0x68656c6c"),
        (b"\0\0\0\0\7rest", "schema id 7 cannot be looked up: no schema registry is configured"),
        (b"\xc3\x01" + bytes(8) + b"rest", "schema fingerprint 0000000000000000 is not known"),
        (written(request())[:-1], "malformed Avro at inputs: the record ends within an integer"),
        (written(request())[:-9], "malformed Avro at inputs[].data: a length of 12 bytes where 4 are left"),
        (written(request()) + b"\0\0", "expected the end of the record, got 2 more bytes"),
        (packaged("request").header + b"\x01", "malformed Avro at id: a length of -1 bytes where 0 are left"),
        (packaged("request").header + b"\xff" * 11, "malformed Avro at id: an integer of more than ten bytes"),
        (
            packaged("request").header + b"\x02a\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            "malformed Avro at attributes: a block of 9223372036854775807 items where 0 bytes are left",
        ),
        (packaged("request").header + b"\x02\xff\0\0\0", "id '\\\\xff' is not valid UTF-8"),
    ],
)
def test_bytes_that_are_no_request_are_one_dead_letter_with_a_reason(value: bytes | None, reason: str) -> None:
    assert reason in reason_for(value)


@pytest.mark.parametrize(
    ("inputs", "reason"),
    [
        ([], "input 'X' is missing; expected 'X', 'carrier', got none"),
        ([tensor("X", "FP32", [2], X)], "input 'carrier' is missing; expected 'X', 'carrier', got 'X'"),
        ([*request()["inputs"], tensor("Y", "FP32", [], X)], "unknown input 'Y'; expected 'X', 'carrier'"),
        ([*request()["inputs"], tensor("X", "FP32", [2], X)], "input 'X' is there twice; expected it once"),
        ([tensor("X", "FP64", [2], X)], "input 'X': expected datatype FP32, got FP64"),
        ([tensor("X", "FP32", [3], X)], "input 'X': expected shape [2], got [3]"),
        ([tensor("X", "FP32", [2, 1], X)], "input 'X': expected shape [2], got [2, 1]"),
        ([tensor("X", "FP32", [2], X[:-1])], "input 'X': expected 8 bytes of data (2 x FP32), got 7"),
        (
            [tensor("X", "FP32", [2], np.array([0, np.nan], "<f4").tobytes())],
            "input 'X': expected finite numbers, got NaN or infinity",
        ),
        (
            [tensor("carrier", "BYTES", [2, 1], CARRIER[:-1])],
            "input 'carrier': element 1 ends beyond the 11 bytes of data",
        ),
        (
            [tensor("carrier", "BYTES", [2, 1], CARRIER + b"\0")],
            "input 'carrier': expected 2 elements of BYTES, got 2 and 1 more bytes",
        ),
        ([tensor("carrier", "BYTES", [2, 1], CARRIER[:6])], "input 'carrier': expected 2 elements of BYTES, got 1"),
        (
            [tensor("carrier", "BYTES", [2, 1], CARRIER[:6] + b"\2\0\0\0\xff\xfe")],
            "input 'carrier': element 1 is not valid UTF-8",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_one_dead_letter_with_expected_and_got(inputs: Any, reason: str) -> None:
    if len(inputs) == 1 and "missing" not in reason:
        other = [each for each in request()["inputs"] if each["name"] != inputs[0]["name"]]
        inputs = [*inputs, *other]
    assert reason_for(written(request(inputs=inputs))) == reason


def test_nan_passes_where_the_model_allows_it() -> None:
    wanted = Wanted((TensorSpec("X", Datatype.FP32, (1,)),))
    nan = np.array([np.nan], "<f4").tobytes()
    served, letters = decode([written(request(inputs=[tensor("X", "FP32", [1], nan)]))] * 3, wanted, ALWAYS)
    assert letters == []
    assert np.isnan(served["inputs"]["X"][2]).all()


@pytest.mark.parametrize("byte", [0, 1, 2, 255])
def test_bool_is_zero_or_one(byte: int) -> None:
    wanted = Wanted((TensorSpec("flag", Datatype.BOOL, ()),))
    good = written(request(inputs=[tensor("flag", "BOOL", [], b"\1")]))
    probe = written(request(inputs=[tensor("flag", "BOOL", [1], bytes([byte]))]))
    _, letters = decode_both([good, probe, good], wanted)
    assert [letter.row for letter in letters] == ([] if byte < 2 else [1])


@pytest.mark.parametrize("time", [-(2**63), -1, 0, 2**63 - 1])
def test_any_64_bit_time_is_taken_as_it_is(time: int) -> None:
    served, letters = decode_both([written(request(time=time))] * 2)
    assert letters == []
    assert served["times"] == [time, time]


def test_a_wanted_attribute_that_is_not_utf8_is_a_dead_letter_and_an_unwanted_one_is_not() -> None:
    good = written(request(attributes={"airport": "JFK"}))
    assert "attribute 'airport'" in reason_for(good.replace(b"JFK", b"J\xffK"))
    other = written(request(attributes={"else": "JFK"})).replace(b"JFK", b"J\xffK").replace(b"else", b"el\xffe")
    assert decode_both([good, other])[1] == []


def test_of_an_attribute_that_is_there_twice_the_last_counts() -> None:
    good = written(request(attributes={"airport": "JFK"}))
    entry = b"\x0eairport\x06JFK"
    twice = good.replace(b"\x02" + entry + b"\0", b"\x04" + entry + entry.replace(b"JFK", b"LGA") + b"\0")
    served, letters = decode_both([good, twice])
    assert letters == []
    assert served["attributes"]["airport"] == [b"JFK", b"LGA"]


def test_blocks_that_say_their_size_are_read_and_must_keep_to_it() -> None:
    good = written(request(attributes={"airport": "JFK"}))
    entry = b"\x0eairport\x06JFK"
    sized = good.replace(b"\x02" + entry + b"\0", b"\x01" + bytes([2 * len(entry)]) + entry + b"\0")
    served, letters = decode_both([good, sized])
    assert letters == []
    assert served["attributes"]["airport"] == [b"JFK", b"JFK"]
    wrong = good.replace(b"\x02" + entry + b"\0", b"\x01" + bytes([2 * len(entry) - 2]) + entry + b"\0")
    assert "a block that ends 1 bytes off what it says" in reason_for(wrong)


def test_one_record_of_many_items_leaves_the_lockstep_and_is_served_all_the_same() -> None:
    many = written(request(attributes={f"a{index}": "x" for index in range(20_000)} | {"airport": "EWR"}))
    served, letters = decode([written(request())] * 30 + [many], few=ALWAYS)
    assert letters == []
    assert served["attributes"]["airport"] == [b"JFK"] * 30 + [b"EWR"]


# Evolved writers


def evolved(change: Any) -> Any:
    definition = copy.deepcopy(packaged("request").definition)
    change(definition)
    return parse_schema(json.dumps(definition))


def _more_fields(definition: Any) -> None:
    scores = {"type": "array", "items": {"type": "map", "values": ["null", "double", "string"]}}
    extra = [
        {"name": "before", "type": scores, "default": []},
        {"name": "rates", "type": {"type": "map", "values": "double"}, "default": {"tax": 0.2}},
        {"name": "sum", "type": {"type": "fixed", "name": "Sum", "size": 3}},
    ]
    definition["fields"] = [*extra, *definition["fields"], {"name": "after", "type": ["int", "string", "boolean"]}]
    definition["fields"][-2]["type"]["items"]["fields"].insert(1, {"name": "unit", "type": "string"})


def _reordered(definition: Any) -> None:
    definition["fields"].reverse()
    definition["fields"][0]["type"]["items"]["fields"].reverse()


def _without_defaulted(definition: Any) -> None:
    definition["fields"] = [field for field in definition["fields"] if field["name"] in {"id", "inputs"}]


def _promoted(definition: Any) -> None:
    definition["fields"][0]["type"] = "bytes"
    definition["fields"][1]["type"]["values"] = "bytes"
    definition["fields"][2] = {"name": "time", "type": "int"}
    definition["fields"][3]["type"]["items"]["fields"][2]["type"]["items"] = "int"


def _unions(definition: Any) -> None:
    definition["fields"][1]["type"] = ["null", definition["fields"][1]["type"]]
    definition["fields"][3]["type"] = ["null", definition["fields"][3]["type"]]


def _micros(definition: Any) -> None:
    definition["fields"][2]["type"][1]["logicalType"] = "timestamp-micros"


def _new_symbol(definition: Any) -> None:
    definition["fields"][3]["type"]["items"]["fields"][1]["type"]["symbols"].insert(0, "BF16")


EXTRA = {"rates": {"tax": 0.1}, "before": [{"k": None, "l": 0.5}, {"m": "x"}], "sum": b"abc", "after": "z"}


@pytest.mark.parametrize(
    ("change", "more", "time"),
    [
        (_more_fields, EXTRA, 1_700_000_000_000),
        (_reordered, {}, 1_700_000_000_000),
        (_without_defaulted, {}, None),
        (_promoted, {"time": 5, "id": b"r1", "attributes": {"airport": b"JFK"}}, 5),
        (_unions, {}, 1_700_000_000_000),
        (_micros, {"time": 1_700_000_000_000_999}, 1_700_000_000_000),
        (_new_symbol, {}, 1_700_000_000_000),
    ],
)
def test_requests_of_an_evolved_writer_are_read(change: Any, more: Any, time: int | None) -> None:
    schema = evolved(change)
    record = request(**more)
    if change is _more_fields:
        record["inputs"] = [{**each, "unit": "m"} for each in record["inputs"]]
    served, letters = decode_both([written(record, schema)] * 3, extra=[schema])
    assert letters == []
    assert served["ids"] == [b"r1"] * 3
    assert served["times"] == ([77, 78, 79] if time is None else [time] * 3)
    assert served["attributes"]["airport"] == [None if change is _without_defaulted else b"JFK"] * 3
    assert served["inputs"]["X"][2] == [[0.5, -2.0]] * 3


def test_only_records_that_use_a_symbol_we_do_not_know_are_dead_letters() -> None:
    schema = evolved(_new_symbol)
    odd = request(inputs=[tensor("X", "BF16", [2], X[:4]), request()["inputs"][1]])
    _, letters = decode_both([written(request(), schema), written(odd, schema)], extra=[schema])
    assert [letter.row for letter in letters] == [1]
    assert "BF16" in letters[0].reason


def test_only_records_that_hold_null_where_a_request_needs_a_value_are_dead_letters() -> None:
    schema = evolved(_unions)
    values: list[bytes | None] = [written(request(), schema), written(request(inputs=None), schema)]
    _, letters = decode_both(values, extra=[schema])
    assert [letter.row for letter in letters] == [1]
    assert "cannot be read as a request" in letters[0].reason


def test_batches_may_mix_schemas_and_json_and_stay_in_order() -> None:
    schema = evolved(_reordered)
    as_json = {
        **request(id="j"),
        "inputs": [tensor("X", "FP32", [2], [0.5, -2]), tensor("carrier", "BYTES", [2, 1], ["UA", "é"])],  # type: ignore[arg-type]
    }
    values = [written(request(id="a")), json.dumps(as_json).encode(), None, written(request(id="b"), schema)] * 5
    served, letters = decode_both(values, extra=[schema])
    assert served["ids"] == [b"a", b"j", b"b"] * 5
    assert served["rows"] == [row for row in range(20) if row % 4 != 2]
    assert {letter.row for letter in letters} == {2, 6, 10, 14, 18}
    assert served["inputs"]["carrier"][2] == [[[b"UA"], ["é".encode()]]] * 15


# Schemas that are refused


def _drop_inputs(definition: Any) -> None:
    definition["fields"].pop()


def _text_shape(definition: Any) -> None:
    definition["fields"][3]["type"]["items"]["fields"][2]["type"] = "string"


def _date(definition: Any) -> None:
    definition["fields"][2] = {"name": "time", "type": {"type": "int", "logicalType": "date"}}


def _endless(definition: Any) -> None:
    definition["fields"].append({"name": "tree", "type": ["null", "streamsplit.InferenceRequest"]})


def _nothings(definition: Any) -> None:
    definition["fields"].append({"name": "nothings", "type": {"type": "array", "items": "null"}})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_drop_inputs, "inputs"),
        (_text_shape, "inputs.shape"),
        (_date, "field 'time' of the writer's schema: expected timestamp-millis, got date"),
        (_endless, "field 'tree' of the writer's schema: the type 'streamsplit.InferenceRequest' contains itself"),
        (_nothings, "field 'nothings' of the writer's schema: an array of items that take no bytes"),
    ],
)
def test_a_schema_that_cannot_be_a_request_is_refused_once_and_its_records_are_dead_letters(
    change: Any, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    schema = evolved(change)
    decoder = RequestDecoder(SchemaStore([schema]))
    for _ in range(2):
        decoded, letters = decoder.decode(batch([schema.header + b"whatever", written(request())]), WANTED)
        assert decoded.rows.tolist() == [1]
        assert words in letters[0].reason
    assert len(caplog.records) == 1
    assert [words in reason for reason in decoder.refusals.values()] == [True]


# Laws

names = st.sampled_from(["X", "carrier", "Y", ""])
datas = st.one_of(st.just(X), st.just(CARRIER), st.binary(max_size=12), st.just(np.array([np.inf, 0], "<f4").tobytes()))
shapes = st.one_of(st.sampled_from([[2], [1, 2], [2, 1], [1, 2, 1]]), st.lists(st.integers(-3, 2**62), max_size=5))
tensors = st.builds(tensor, names, st.sampled_from([*Datatype]), shapes, datas)
good_inputs = st.permutations(request()["inputs"])
any_inputs = st.one_of(good_inputs, st.lists(tensors, max_size=4))
attributes = st.dictionaries(st.sampled_from(["airport", "größe", "a", ""]), st.text(max_size=9), max_size=4)
times = st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1))
requests = st.builds(
    lambda id, attributes, time, inputs: request(id=id, attributes=attributes, time=time, inputs=inputs),  # noqa: A006
    st.text(max_size=9),
    attributes,
    times,
    any_inputs,
)
SCHEMAS = [packaged("request"), evolved(_more_fields), evolved(_reordered), evolved(_unions), evolved(_micros)]


@st.composite
def values(draw: st.DrawFn) -> bytes:
    """A request of some writer, whole or damaged."""
    schema = draw(st.sampled_from(SCHEMAS))
    record = draw(requests)
    if schema is SCHEMAS[1]:
        record = {**record, **EXTRA, "inputs": [{**each, "unit": "m"} for each in record["inputs"]]}
    value = written(record, schema)
    match draw(st.integers(0, 5)):
        case 0:
            value = value[: draw(st.integers(0, len(value)))]
        case 1:
            value += draw(st.binary(min_size=1, max_size=4))
        case 2:
            at = draw(st.integers(0, len(value) - 1))
            patch = draw(st.one_of(st.binary(max_size=3), st.just(b"\xff" * 10), st.just(b"\xff" * 9 + b"\1")))
            value = value[:at] + patch + value[at + draw(st.integers(0, 3)) :]
        case 3:
            value = schema.header + draw(st.binary(max_size=40))
    return value


@settings(max_examples=150, deadline=None)
@given(st.lists(values(), max_size=24))
def test_lockstep_and_one_by_one_give_the_same_columns_and_dead_letters(raw: list[bytes]) -> None:
    extra = SCHEMAS[1:]
    assert decode(list(raw), few=ALWAYS, extra=extra) == decode(list(raw), few=NEVER, extra=extra)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.builds(lambda r, i: {**r, "inputs": i}, requests, good_inputs), min_size=1, max_size=20))
def test_whatever_avro_writes_and_the_model_takes_is_served_as_fastavro_reads_it(records: list[Any]) -> None:
    served, letters = decode([written(record) for record in records], few=ALWAYS)
    assert letters == []
    assert served["ids"] == [record["id"].encode() for record in records]
    assert served["times"] == [
        row + 77 if record["time"] is None else record["time"] for row, record in enumerate(records)
    ]
    for name in WANTED.attributes:
        expected = [record["attributes"].get(name) for record in records]
        assert served["attributes"][name] == [None if word is None else word.encode() for word in expected]
