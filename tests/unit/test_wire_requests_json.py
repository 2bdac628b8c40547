"""JSON requests have the shape of the Avro ones; tensors are as in the Open Inference Protocol."""

import json
from typing import Any

import numpy as np
import pytest

from streamsplit.core.errors import DataError
from streamsplit.core.records import Datatype, TensorSpec
from streamsplit.wire.requests_json import read_json
from streamsplit.wire.tensors import read_tensor


def document(datatype: str, data: Any, **more: Any) -> bytes:
    tensor = {"name": "X", "datatype": datatype, "shape": [2], "data": data}
    return json.dumps({"id": "a", "inputs": [tensor], **more}).encode()


@pytest.mark.parametrize(
    ("datatype", "data"),
    [
        ("BOOL", [True, False]),
        ("UINT8", [0, 255]),
        ("INT8", [-128, 127]),
        ("UINT64", [0, 2**64 - 1]),
        ("INT64", [-(2**63), 2**63 - 1]),
        ("FP16", [65504, -0.5]),
        ("FP32", [1.5, -3]),
        ("FP64", [1e308, 5e-324]),
        ("BYTES", [b"UA".decode(), "é"]),
    ],
)
def test_numbers_and_strings_become_the_tensor_s_bytes(datatype: str, data: list[Any]) -> None:
    [tensor] = read_json(document(datatype, data)).tensors
    array = read_tensor(TensorSpec("X", Datatype(datatype), (2,)), tensor.data)
    expected = [word.encode() for word in data] if datatype == "BYTES" else data
    assert array.tolist() == expected


def test_time_and_attributes_may_be_left_out() -> None:
    request = read_json(b'{"id": "a", "inputs": [], "new": {"x": null}}')
    assert (request.id, request.time, request.attributes, request.tensors) == (b"a", None, {}, [])
    request = read_json(b'{"id": "a", "inputs": [], "time": 5, "attributes": {"k": "\\u00e9"}}')
    assert (request.time, request.attributes) == (5, {b"k": "é".encode()})


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"{", "invalid JSON: Expecting property name"),
        (b'{"id": "a"} x', "invalid JSON: Extra data"),
        (b'{"id": "\xff"}', "JSON is not valid UTF-8 at byte 8"),
        (b'{"id": "a", "id": "b"}', "invalid JSON: 'id' is there twice"),
        (b'{"id": NaN}', "invalid JSON: NaN is not a number of JSON"),
        (b'{"id": -Infinity}', "invalid JSON: -Infinity is not a number of JSON"),
        (b'{"a":' * 100_000, "invalid JSON: nested too deeply"),
        (b'{"id": ' + b"9" * 5000 + b"}", "invalid JSON: Exceeds the limit"),
        (b'{"inputs": []}', "id: expected a string, got null"),
        (b'{"id": 7, "inputs": []}', "id: expected a string, got 7"),
        (b'{"id": "\\ud800", "inputs": []}', "is not valid Unicode"),
        (b'{"id": "a"}', "inputs: expected a list, got null"),
        (b'{"id": "a", "inputs": [], "time": 1.5}', "time: expected an integer of 64 bits, got 1.5"),
        (b'{"id": "a", "inputs": [], "time": true}', "time: expected an integer of 64 bits, got true"),
        (b'{"id": "a", "inputs": [], "time": 9223372036854775808}', "time: expected an integer of 64 bits"),
        (b'{"id": "a", "inputs": [], "attributes": []}', "attributes: expected an object, got []"),
        (b'{"id": "a", "inputs": [], "attributes": {"k": 1}}', "attribute 'k': expected a string, got 1"),
        (b'{"id": "a", "inputs": [7]}', "an input: expected an object, got 7"),
        (document("FLOAT", [1, 2]), "input 'X': expected a datatype of BOOL, UINT8"),
        (document("FP32", 1.0), "input 'X': data: expected a list, got 1.0"),
        (document("FP32", [1, "2"]), "input 'X': data: expected numbers of FP32, got \"2\""),
        (document("FP32", [1, True]), "input 'X': data: expected numbers of FP32, got true"),
        (document("FP32", [[1], [2]]), "input 'X': data: expected numbers of FP32, got [1]"),
        (document("FP32", [1, None]), "input 'X': data: expected numbers of FP32, got null"),
        (document("FP32", [1e39, 0]), "input 'X': data: a number is out of the range of FP32"),
        (document("FP16", [65520, 0]), "input 'X': data: a number is out of the range of FP16"),
        (document("FP64", [0, 0]).replace(b"[0, 0]", b"[1e999, 0]"), "a number is out of the range of FP64"),
        (document("FP64", [10**400, 0]), "a number is out of the range of FP64"),
        (document("INT8", [128, 0]), "a number is out of the range of INT8"),
        (document("UINT8", [-1, 0]), "a number is out of the range of UINT8"),
        (document("INT64", [2**63, 0]), "a number is out of the range of INT64"),
        (document("INT64", [1.0, 0]), "input 'X': data: expected numbers of INT64, got 1.0"),
        (document("BOOL", [1, 0]), "input 'X': data: expected true and false, got 1"),
        (document("BYTES", ["a", 7]), "input 'X': data: expected a string, got 7"),
    ],
)
def test_what_is_no_request_is_refused_with_what_was_expected(value: bytes, reason: str) -> None:
    with pytest.raises(DataError) as caught:
        read_json(value)
    assert caught.value.stage == "decode"
    assert reason in caught.value.reason
    assert len(caught.value.reason) < 400


def test_float_data_keeps_the_precision_of_its_datatype() -> None:
    [tensor] = read_json(document("FP32", [0.1, 16777217])).tensors
    assert tensor.data == np.array([0.1, 16777217], "<f4").tobytes()
