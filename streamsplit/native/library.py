"""Calls of the compiled library. Each releases the interpreter while it runs.

The arrays handed over are what C works on: C-contiguous, of the dtypes that are said, and long enough. Callers hold
them until a call returns.
"""

import ctypes
import enum
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from confluent_kafka import cimpl
from numpy.typing import NDArray

from streamsplit.core.byte_strings import PADDING, ByteStrings
from streamsplit.core.errors import UsageError

_LIBRARY = "columns.so"
_POINTER = ctypes.c_void_p
_INTEGER = ctypes.c_int64

_FUNCTIONS = (
    "consume_batch_queue",
    "message_destroy",
    "message_timestamp",
    "message_headers",
    "header_get_all",
    "produce_batch",
    "produceva",
    "error_code",
    "error_destroy",
    "headers_new",
    "header_add",
    "headers_destroy",
    "conf_interceptor_add_on_new",
)
"""Of librdkafka, in the order of `functions` in client.c."""


class _Strings(ctypes.Structure):
    """`strings` of client.c."""

    _fields_ = (("buffer", _POINTER), ("start", _POINTER), ("length", _POINTER))


class _Column(ctypes.Structure):
    """`column` of rows.c."""

    _fields_ = (
        ("kind", _INTEGER),
        ("data", _POINTER),
        ("start", _POINTER),
        ("length", _POINTER),
        ("width", _INTEGER),
        ("stride", _INTEGER),
    )


@cache
def client() -> ctypes.CDLL:
    """The librdkafka that confluent-kafka has loaded; its functions return pointers unless they say otherwise."""
    found = ctypes.CDLL(cimpl.__file__)
    for name in ("queue_new", "queue_get_partition", "topic_new"):
        getattr(found, f"rd_kafka_{name}").restype = _POINTER
    return found


@cache
def path() -> str:
    """Where the compiled library lies; also what librdkafka loads as a plugin (`plugin.library.paths`).

    Raises:
        UsageError: It was not compiled.
    """
    found = Path(str(files("streamsplit.native") / _LIBRARY))
    if not found.exists():
        raise UsageError(
            f"{found} is missing: install StreamSplit with `pip install .` (`make setup`), which builds it"
        )
    return str(found)


@cache
def library() -> ctypes.CDLL:
    """The compiled library, bound to the client.

    Raises:
        UsageError: It was not compiled.
    """
    found = ctypes.CDLL(path())
    found.streamsplit_newest.restype = _POINTER
    for name in ("take", "words", "produce", "message_bytes", "rows_bound", "rows", "hashes"):
        getattr(found, f"streamsplit_{name}").restype = _INTEGER
    addresses = [ctypes.cast(getattr(client(), f"rd_kafka_{name}"), _POINTER) for name in _FUNCTIONS]
    found.streamsplit_bind((_POINTER * len(addresses))(*(address.value for address in addresses)))
    return found


def pointer(array: NDArray[Any], at: int = 0) -> ctypes.c_void_p:
    """The address of an array's element `at` (of its first dimension)."""
    return _POINTER(array.ctypes.data + at * array.strides[0])


def strings(column: ByteStrings) -> _Strings:
    """A column as client.c takes it; valid as long as the column is."""
    return _Strings(*_places(column))


def _places(column: ByteStrings) -> tuple[ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]:
    """Where a column's buffer, starts and lengths are."""
    return pointer(column.buffer), pointer(column.starts), pointer(column.lengths)


class Kind(enum.IntEnum):
    """How the cells of a row are written, as in rows.c; `content` is what `put_together` takes."""

    FIXED = 0
    """uint8 (m, w), contiguous or one row repeated: w bytes."""
    PIECES = 1
    """Byte strings, as they are; none is null."""
    TEXTS = 2
    """Byte strings behind their length; none is null."""
    OPTIONAL_TEXTS = 3
    """The same; a null is the first branch."""
    INTEGERS = 4
    """int64 (m,)."""
    OPTIONAL_DOUBLES = 5
    """float64 (m,); NaN is the first branch."""


def _column(kind: Kind, content: NDArray[Any] | ByteStrings) -> _Column:
    if isinstance(content, ByteStrings):
        if kind is not Kind.OPTIONAL_TEXTS and not content.given.all():
            raise ValueError(f"a null in a column of {kind.name}")
        return _Column(kind, *_places(content), 0, 0)
    if kind is Kind.FIXED:
        return _Column(kind, pointer(content), None, None, content.shape[1], content.strides[0])
    return _Column(kind, pointer(content), None, None, 0, 0)


def put_together(columns: Sequence[tuple[Kind, NDArray[Any] | ByteStrings]], count: int) -> ByteStrings:
    """Write columns side by side: `count` byte strings, one behind the other in one buffer.

    Raises:
        ValueError: A null where none may be.
    """
    table = (_Column * len(columns))(*(_column(kind, content) for kind, content in columns))
    sizes = _INTEGER(len(columns)), _INTEGER(count)
    bound = library().streamsplit_rows_bound(table, *sizes)
    buffer, ends = np.empty(bound + PADDING, np.uint8), np.empty(count, np.int64)
    size = library().streamsplit_rows(table, *sizes, pointer(buffer), pointer(ends))
    buffer[size : size + PADDING] = 0
    return ByteStrings.ending_at(buffer[: size + PADDING], ends)


def are_utf8(column: ByteStrings) -> NDArray[np.bool_]:
    """Which texts are valid UTF-8 (RFC 3629) within the buffer: bool (m,); nulls are."""
    good = np.ones(len(column), np.bool_)
    library().streamsplit_utf8(
        *_places(column),
        _INTEGER(len(column)),
        _INTEGER(len(column.buffer)),
        pointer(good),
    )
    return good


def hashes(prefix: bytes, column: ByteStrings) -> NDArray[np.uint64]:
    """XXH64, seed 0, of the prefix and each string that is there: uint64 (k,)."""
    scratch = np.empty(len(prefix) + int(column.sizes.max(initial=0)), np.uint8)
    scratch[: len(prefix)] = np.frombuffer(prefix, np.uint8)
    found = np.empty(len(column), np.uint64)
    count = library().streamsplit_hashes(
        *_places(column),
        _INTEGER(len(column)),
        pointer(scratch),
        _INTEGER(len(prefix)),
        pointer(found),
    )
    return found[:count]
