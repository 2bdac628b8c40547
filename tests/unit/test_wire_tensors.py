"""Tensors survive the way to the wire and back."""

import tracemalloc
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamsplit.core.byte_strings import PADDING
from streamsplit.core.records import Datatype, TensorSpec
from streamsplit.wire.tensors import data_column, read_tensor, stack, unpack_elements

if TYPE_CHECKING:
    from numpy.typing import NDArray

NUMBERS = [each for each in Datatype if each is not Datatype.BYTES]


@given(st.sampled_from(NUMBERS), st.lists(st.integers(1, 3), max_size=3), st.integers(0, 4), st.data())
def test_numbers_are_stacked_as_they_were_written(
    datatype: Datatype, shape: list[int], rows: int, data: st.DataObject
) -> None:
    spec = TensorSpec("x", datatype, tuple(shape))
    count = rows * spec.elements
    raw = data.draw(st.binary(min_size=count * datatype.numpy.itemsize, max_size=count * datatype.numpy.itemsize))
    if datatype is Datatype.BOOL:
        raw = bytes(byte & 1 for byte in raw)
    array: NDArray[np.generic] = np.frombuffer(raw, datatype.numpy).reshape(rows, *shape)
    column = data_column(array)
    assert b"".join(column) == raw
    assert [read_tensor(spec, each).tobytes() for each in column] == column
    starts = np.arange(rows, dtype=np.int64) * (len(raw) // rows if rows else 0)
    stacked = stack(spec, np.frombuffer(raw + b"\0", np.uint8), starts)
    assert stacked.dtype == datatype.numpy
    assert stacked.shape == (rows, *shape)
    assert stacked.flags.c_contiguous
    assert stacked.tobytes() == raw


@given(st.lists(st.lists(st.text(max_size=5), min_size=2, max_size=2), max_size=4))
def test_texts_survive_the_round_trip(rows: list[list[str]]) -> None:
    spec = TensorSpec("x", Datatype.BYTES, (1, 2))
    array = np.empty((len(rows), 1, 2), object)
    for index, row in enumerate(rows):
        array[index, 0] = [word.encode() for word in row]
    assert [read_tensor(spec, each).tolist() for each in data_column(array)] == array.tolist()


@pytest.mark.parametrize("shape", [(0,), (0, 3)])
def test_an_empty_batch_has_no_data(shape: tuple[int, ...]) -> None:
    assert data_column(np.empty(shape, "<f4")) == []
    assert data_column(np.empty(shape, object)) == []


def test_records_too_short_for_their_elements_take_no_memory_for_where_these_would_lie() -> None:
    spec, count = TensorSpec("words", Datatype.BYTES, (2000,)), 500
    fits = np.ones(count, np.bool_)
    tracemalloc.start()
    try:
        column = unpack_elements(
            spec, np.zeros(PADDING, np.uint8), np.zeros(count, np.int64), np.zeros(count, np.int64), fits
        )
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert not fits.any()
    assert most < 1.5 * (column.elements.starts.nbytes + column.elements.lengths.nbytes)
