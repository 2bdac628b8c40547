"""Where the tensors of an exchange lie in an arena.

A tensor of numbers is its elements, row-major. One of BYTES is an int64 length for each element, and a blob elsewhere
that holds the elements one behind the other; a blob is known by (offset, size).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamsplit.core.byte_strings import ByteStrings
from streamsplit.core.records import Datatype, TensorSpec
from streamsplit.core.text_tensor import Tensor, TextTensor
from streamsplit.inference.arena import Arena, aligned

Blob = tuple[int, int]
"""Offset and size in bytes."""

_LENGTH = np.dtype("<i8")


def stored(spec: TensorSpec) -> np.dtype[Any]:
    """The dtype of a tensor's fixed part: its own, or lengths."""
    return _LENGTH if spec.datatype is Datatype.BYTES else spec.datatype.numpy


def reserve(specs: Sequence[TensorSpec], rows: int, start: int) -> tuple[dict[str, int], int]:
    """Offsets of the fixed parts of some tensors, and the first free offset behind them."""
    offsets = {}
    for spec in specs:
        offsets[spec.name] = start
        start = aligned(start + rows * spec.elements * stored(spec).itemsize)
    return offsets, start


def fixed(arena: Arena, spec: TensorSpec, offset: int, rows: int) -> NDArray[Any]:
    """A tensor's fixed part, on the memory itself: (rows, *shape)."""
    return arena.array(offset, stored(spec), (rows, *spec.shape))


def write_inputs(
    arena: Arena,
    specs: Sequence[TensorSpec],
    columns: Mapping[str, Tensor],
    rows: NDArray[np.int64],
    *,
    offsets: Mapping[str, int],
    free: int,
) -> tuple[dict[str, Blob], int]:
    """Copy some rows of columns into an arena.

    Args:
        arena: Where to; grown as needed.
        specs: The tensors.
        columns: For each the m examples; BYTES as texts, or as an array of `bytes` objects.
        rows: int64 (k,), the rows wanted, in order.
        offsets: Where the fixed parts go, as `reserve` said.
        free: First free offset, where blobs go.

    Returns:
        The blobs of the BYTES tensors, and the first free offset behind them.

    Raises:
        OSError: There is no more memory.
    """
    arena.ensure(free)
    blobs: dict[str, Blob] = {}
    for spec in specs:
        target = fixed(arena, spec, offsets[spec.name], len(rows))
        column = columns[spec.name]
        if isinstance(column, TextTensor) or spec.datatype is Datatype.BYTES:
            blobs[spec.name], free = _write_texts(arena, TextTensor.of(column)[rows].elements, target, free)
        else:
            # "clip" only because numpy then writes straight into `out`; the rows are always within.
            np.take(column, rows, axis=0, out=target, mode="clip")
    return blobs, free


def append_texts(arena: Arena, values: NDArray[Any], lengths: NDArray[Any], free: int) -> tuple[Blob, int]:
    """Write `bytes` objects as a blob at `free`, and their lengths; returns the blob and the next free offset."""
    return _write_texts(arena, ByteStrings.of(values.reshape(-1).tolist()), lengths, free)


def _write_texts(arena: Arena, texts: ByteStrings, lengths: NDArray[Any], free: int) -> tuple[Blob, int]:
    data = texts.joined()
    lengths.reshape(-1)[:] = texts.lengths
    arena.ensure(free + len(data))
    arena.write(free, data)
    return (free, len(data)), aligned(free + len(data))


def read_texts(arena: Arena, blob: Blob, lengths: NDArray[Any]) -> NDArray[Any]:
    """The `bytes` objects of a blob, in the shape of their lengths."""
    return _cut(arena.read(*blob), lengths)


def read_strings(arena: Arena, blob: Blob, lengths: NDArray[Any]) -> NDArray[Any]:
    """The `str` objects of a blob of UTF-8, in the shape of their lengths."""
    data = arena.read(*blob)
    if data.isascii():
        return _cut(data.decode(), lengths)
    return _of([text.decode() for text in _cut(data, lengths).reshape(-1).tolist()], lengths.shape)


def _cut(data: bytes | str, lengths: NDArray[Any]) -> NDArray[Any]:
    ends = np.cumsum(lengths.reshape(-1)).tolist()
    return _of([data[start:end] for start, end in zip([0, *ends], ends, strict=False)], lengths.shape)


def _of(objects: Sequence[bytes | str], shape: tuple[int, ...]) -> NDArray[Any]:
    array = np.empty(len(objects), dtype=object)
    array[:] = objects
    return array.reshape(shape)
