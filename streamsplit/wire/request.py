"""One request as its writer wrote it, and whether it fits what the models take.

This is the slow way, one record at a time; it alone finds the words for what is wrong with a record.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamsplit.core.errors import DataError
from streamsplit.core.records import TensorSpec
from streamsplit.wire.tensors import is_utf8, read_tensor

_SHOWN = 60
"""Most characters of a record's contents in a reason."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is decoded of a request.

    Attributes:
        signature_inputs: The inputs that a request must have, no more and no fewer.
        attributes: Attributes that become columns.
    """

    signature_inputs: tuple[TensorSpec, ...]
    attributes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class WrittenTensor:
    """A tensor as written: name in UTF-8, datatype's word, shape, data."""

    name: bytes
    datatype: str
    shape: tuple[int, ...]
    data: bytes


@dataclass(frozen=True, slots=True)
class Request:
    """A request as written; strings are the writer's bytes, which may not be UTF-8.

    Attributes:
        id: The user's name for it.
        time: Milliseconds since the epoch; None where it names none.
        attributes: By name.
        tensors: In the writer's order.
    """

    id: bytes
    time: int | None
    attributes: Mapping[bytes, bytes]
    tensors: Sequence[WrittenTensor]


@dataclass(frozen=True, slots=True)
class Fitted:
    """A request that can be served.

    Attributes:
        row: Index in the `RawBatch`.
        id: UTF-8.
        time: Milliseconds since the epoch.
        attributes: Values of `Wanted.attributes`, in order.
        inputs: Arrays of `Wanted.signature_inputs`, in order, each of its spec's shape.
    """

    row: int
    id: bytes
    time: int
    attributes: tuple[bytes | None, ...]
    inputs: tuple[NDArray[np.generic], ...]


def shown(content: bytes | str) -> str:
    """Contents of a record, quoted and cut, for a reason."""
    text = content.decode(errors="backslashreplace") if isinstance(content, bytes) else content
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")


def fit(request: Request, wanted: Wanted, row: int, timestamp: int) -> Fitted:
    """Check one request against what is wanted.

    Args:
        request: As written.
        wanted: What the models take.
        row: Index in the `RawBatch`.
        timestamp: The record's, for a request without a time.

    Raises:
        DataError: With what was expected and what was there.
    """
    if not is_utf8(request.id):
        raise DataError("decode", f"id {shown(request.id)} is not valid UTF-8")
    attributes = tuple(_attribute(request, name) for name in wanted.attributes)
    inputs = _match(request.tensors, wanted.signature_inputs)
    time = timestamp if request.time is None else request.time
    arrays = tuple(_fit_tensor(tensor, spec) for tensor, spec in zip(inputs, wanted.signature_inputs, strict=True))
    return Fitted(row, request.id, time, attributes, arrays)


def _attribute(request: Request, name: str) -> bytes | None:
    value = request.attributes.get(name.encode())
    if value is not None and not is_utf8(value):
        raise DataError("decode", f"attribute {name!r}: {shown(value)} is not valid UTF-8")
    return value


def _match(tensors: Sequence[WrittenTensor], specs: tuple[TensorSpec, ...]) -> list[WrittenTensor]:
    """The tensors in the order of the specs."""
    expected = ", ".join(repr(spec.name) for spec in specs)
    by_name: dict[bytes, WrittenTensor] = {}
    names = {spec.name.encode() for spec in specs}
    for tensor in tensors:
        if tensor.name not in names:
            raise DataError("decode", f"unknown input {shown(tensor.name)}; expected {expected}")
        if tensor.name in by_name:
            raise DataError("decode", f"input {shown(tensor.name)} is there twice; expected it once")
        by_name[tensor.name] = tensor
    for spec in specs:
        if spec.name.encode() not in by_name:
            got = ", ".join(shown(name) for name in by_name) or "none"
            raise DataError("decode", f"input {spec.name!r} is missing; expected {expected}, got {got}")
    return [by_name[spec.name.encode()] for spec in specs]


def _fit_tensor(tensor: WrittenTensor, spec: TensorSpec) -> NDArray[np.generic]:
    if tensor.datatype != spec.datatype:
        raise DataError("decode", f"input {spec.name!r}: expected datatype {spec.datatype}, got {tensor.datatype}")
    if tensor.shape not in (spec.shape, (1, *spec.shape)):
        got = shown(str(list(tensor.shape)))[1:-1]
        raise DataError("decode", f"input {spec.name!r}: expected shape {list(spec.shape)}, got {got}")
    return read_tensor(spec, tensor.data)
