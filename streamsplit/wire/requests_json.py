"""Requests in JSON: the same shape as the Avro schema; tensors as in the Open Inference Protocol.

{"id": "...", "attributes": {"carrier": "UA"}, "time": 1700000000000,
 "inputs": [{"name": "X", "datatype": "FP32", "shape": [2], "data": [0.5, 7]}]}
"""

import json
import struct
from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np

from streamsplit.core.errors import DataError
from streamsplit.core.records import Datatype
from streamsplit.wire.request import Request, WrittenTensor, shown

_INT64 = range(-(2**63), 2**63)


def read_json(value: bytes) -> Request:
    """Read one request.

    Raises:
        DataError: It is not JSON, or not a request.
    """
    try:
        document = _DECODER.decode(value.decode())
    except UnicodeDecodeError as error:
        raise DataError("decode", f"JSON is not valid UTF-8 at byte {error.start}") from error
    except RecursionError as error:
        raise DataError("decode", "invalid JSON: nested too deeply") from error
    except ValueError as error:
        raise DataError("decode", f"invalid JSON: {str(error)[:160]}") from error
    return Request(
        id=_text(document.get("id"), "id"),
        time=_time(document.get("time")),
        attributes={
            _text(name, "an attribute's name"): _text(word, f"attribute {shown(name)}")
            for name, word in _mapping(document.get("attributes", {}), "attributes").items()
        },
        tensors=[_tensor(tensor) for tensor in _list(document.get("inputs"), "inputs")],
    )


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ValueError(f"{shown(twice)} is there twice")
    return found


def _constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is not a number of JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant)


def _wrong(what: str, expected: str, got: Any) -> DataError:
    return DataError("decode", f"{what}: expected {expected}, got {shown(json.dumps(got))[1:-1]}")


def _mapping(value: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise _wrong(what, "an object", value)
    return value


def _list(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise _wrong(what, "a list", value)
    return value


def _text(value: Any, what: str) -> bytes:
    if not isinstance(value, str):
        raise _wrong(what, "a string", value)
    try:
        return value.encode()
    except UnicodeEncodeError as error:
        raise DataError("decode", f"{what}: {shown(ascii(value))} is not valid Unicode") from error


def _integer(value: Any, what: str) -> int:
    if type(value) is not int or value not in _INT64:
        raise _wrong(what, "an integer of 64 bits", value)
    return value


def _time(value: Any) -> int | None:
    return None if value is None else _integer(value, "time")


def _tensor(document: Any) -> WrittenTensor:
    tensor = _mapping(document, "an input")
    name = _text(tensor.get("name"), "an input's name")
    what = f"input {shown(name)}"
    word = tensor.get("datatype")
    if not isinstance(word, str) or word not in Datatype.__members__:
        raise _wrong(what, f"a datatype of {', '.join(Datatype)}", word)
    shape = tuple(_integer(size, f"{what}: shape") for size in _list(tensor.get("shape"), f"{what}: shape"))
    return WrittenTensor(name, word, shape, _data(_list(tensor.get("data"), f"{what}: data"), Datatype(word), what))


def _data(values: list[Any], datatype: Datatype, what: str) -> bytes:
    if datatype is Datatype.BYTES:
        texts = [_text(value, f"{what}: data") for value in values]
        return b"".join([part for text in texts for part in (struct.pack("<I", len(text)), text)])
    kinds: tuple[type, ...] = (int, float) if datatype.startswith("FP") else (int,)
    if datatype is Datatype.BOOL:
        kinds = (bool,)
    for value in values:
        if type(value) not in kinds:
            expected = "true and false" if datatype is Datatype.BOOL else f"numbers of {datatype}"
            raise _wrong(f"{what}: data", expected, value)
    try:
        with np.errstate(over="ignore"):
            array = np.array(values, datatype.numpy)
    except OverflowError:
        raise _out_of_range(what, datatype) from None
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise _out_of_range(what, datatype)
    return array.tobytes()


def _out_of_range(what: str, datatype: Datatype) -> DataError:
    return DataError("decode", f"{what}: data: a number is out of the range of {datatype}")
