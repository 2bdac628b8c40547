"""Tensors between numpy and the wire: row-major, little-endian; BYTES have a 4-byte length before each element."""

import struct
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from streamsplit.core.byte_strings import ByteStrings
from streamsplit.core.errors import DataError
from streamsplit.core.records import Datatype, TensorSpec
from streamsplit.core.text_tensor import TextTensor
from streamsplit.native.library import are_utf8

Bytes = NDArray[np.uint8]
_LENGTH = struct.Struct("<I")


def example_bytes(spec: TensorSpec) -> int:
    """Bytes of one example's data on the wire; BYTES have no fixed length: 0."""
    return 0 if spec.datatype is Datatype.BYTES else spec.elements * spec.datatype.numpy.itemsize


def data_column(array: NDArray[np.generic]) -> list[bytes]:
    """The `data` of each example of a stacked array.

    Args:
        array: (m, *shape) of a little-endian dtype, or of `bytes` objects.

    Returns:
        m byte strings.
    """
    rows = len(array)
    if array.dtype == object:
        return [_bytes_data(row) for row in array.reshape(rows, -1).tolist()] if rows else []
    raw = array.tobytes()
    width = len(raw) // rows if rows else 0
    return [raw[start : start + width] for start in range(0, rows * width, width)] if width else [b""] * rows


def _bytes_data(elements: Sequence[bytes]) -> bytes:
    return b"".join([part for element in elements for part in (_LENGTH.pack(len(element)), element)])


def read_tensor(spec: TensorSpec, data: bytes) -> NDArray[np.generic]:
    """One example from its `data`.

    Returns:
        Array of `spec.shape`.

    Raises:
        DataError: The length or a value does not fit the datatype.
    """
    if spec.datatype is Datatype.BYTES:
        column = np.empty(spec.elements, dtype=object)
        column[:] = _read_elements(spec, data)
        return column.reshape(spec.shape)
    expected = example_bytes(spec)
    if len(data) != expected:
        raise DataError(
            "decode",
            f"input {spec.name!r}: expected {expected} bytes of data ({spec.elements} x {spec.datatype}), "
            f"got {len(data)}",
        )
    if spec.datatype is Datatype.BOOL and max(data) > 1:
        raise DataError("decode", f"input {spec.name!r}: expected bytes 0 and 1 for BOOL, got {max(data)}")
    array = np.frombuffer(data, spec.datatype.numpy).reshape(spec.shape)
    if spec.finite and not finite(array):
        raise DataError("decode", f"input {spec.name!r}: expected finite numbers, got NaN or infinity")
    return array


def finite(array: NDArray[np.generic]) -> bool:
    """Whether every number is finite; integers are."""
    return array.dtype.kind != "f" or bool(np.isfinite(array).all())


def _read_elements(spec: TensorSpec, data: bytes) -> list[bytes]:
    elements: list[bytes] = []
    at = 0
    while at < len(data) and len(elements) < spec.elements:
        start = at + _LENGTH.size
        length = _LENGTH.unpack_from(data, at)[0] if start <= len(data) else 0
        at = start + length
        if at > len(data):
            raise DataError(
                "decode", f"input {spec.name!r}: element {len(elements)} ends beyond the {len(data)} bytes of data"
            )
        elements.append(data[start:at])
    if len(elements) != spec.elements or at != len(data):
        got = f"{len(elements)} and {len(data) - at} more bytes" if at < len(data) else str(len(elements))
        raise DataError("decode", f"input {spec.name!r}: expected {spec.elements} elements of BYTES, got {got}")
    for index, element in enumerate(elements):
        if not is_utf8(element):
            raise DataError("decode", f"input {spec.name!r}: element {index} is not valid UTF-8")
    return elements


def unpack_elements(
    spec: TensorSpec, buffer: Bytes, starts: NDArray[np.int64], lengths: NDArray[np.int64], fits: NDArray[np.bool_]
) -> TextTensor:
    """Unpack a tensor of BYTES of many records.

    Args:
        spec: What the records hold.
        buffer: uint8, what the records lie in, and `PADDING` zeros.
        starts: int64 (k,), where each record's data starts.
        lengths: int64 (k,), its bytes.
        fits: bool (k,), the records to unpack; set to False for those that do not hold such a tensor.

    Returns:
        The k examples; those that do not fit are meaningless.
    """
    # Each element takes the bytes of its length at least, so what is kept here is bounded by the records' own bytes.
    rows = np.flatnonzero(fits & (lengths >= _LENGTH.size * spec.elements))
    heads = np.ndarray(len(buffer) - _LENGTH.size + 1, "<u4", buffer, strides=(1,))
    last = len(heads) - 1
    cursor, ends = starts[rows], starts[rows] + lengths[rows]
    good = np.ones(len(rows), np.bool_)
    bounds = np.empty((spec.elements, 2, len(rows)), np.int64)
    for first, behind in bounds:
        good &= cursor + _LENGTH.size <= ends
        first[:] = cursor + _LENGTH.size
        behind[:] = first + heads[np.minimum(cursor, last)]
        good &= behind <= ends
        cursor = np.where(good, behind, 0)
    good &= cursor == ends
    fits[:] = False
    firsts, behinds = bounds[:, 0, good].T, bounds[:, 1, good].T
    texts = ByteStrings(buffer, firsts.reshape(-1), (behinds - firsts).reshape(-1))
    fits[rows[good]] = are_utf8(texts).reshape(firsts.shape).all(axis=1)
    where = np.zeros((2, len(starts), spec.elements), np.int64)
    where[0, rows[good]], where[1, rows[good]] = firsts, behinds - firsts
    return TextTensor(ByteStrings(buffer, where[0].reshape(-1), where[1].reshape(-1)), spec.shape)


def is_utf8(text: bytes) -> bool:
    """Whether the bytes are valid UTF-8."""
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def stack(spec: TensorSpec, buffer: Bytes, starts: NDArray[np.int64]) -> NDArray[np.generic]:
    """Gather a fixed-size tensor of many records into one array.

    Args:
        spec: What the records hold; not BYTES.
        buffer: The records' bytes.
        starts: int64 (k,), where each record's data starts; `example_bytes(spec)` bytes from there are in the buffer.

    Returns:
        Array (k, *spec.shape), C-contiguous.
    """
    width = example_bytes(spec)
    if not len(starts):
        return np.empty((0, *spec.shape), spec.datatype.numpy)
    examples = np.ndarray(len(buffer) - width + 1, (np.void, width), buffer, strides=(1,))
    return examples[starts].view(spec.datatype.numpy).reshape(len(starts), *spec.shape)


def misfits(spec: TensorSpec, stacked: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Which examples hold a value the input forbids (BOOL beyond 1, NaN where finite): bool (k,)."""
    bad = np.zeros(len(stacked), np.bool_)
    if spec.datatype is Datatype.BOOL:
        values = stacked.view(np.uint8).reshape(len(stacked), -1)
        if (values > 1).any():
            bad |= (values > 1).any(axis=1)
    elif spec.finite and not finite(stacked):
        bad |= ~np.isfinite(stacked.reshape(len(stacked), -1)).all(axis=1)
    return bad
