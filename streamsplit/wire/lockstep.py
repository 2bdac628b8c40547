"""Requests of one writer's schema, a whole batch in lockstep.

Only requests that fit in every respect are taken; all others are left to the slow way, which finds the words for what
is wrong, or serves what is merely unusual.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from streamsplit.core.byte_strings import NULL, ByteStrings
from streamsplit.core.records import Datatype, TensorSpec
from streamsplit.core.text_tensor import Tensor
from streamsplit.native.library import are_utf8
from streamsplit.wire.lanes import Ints, Lanes, Mask
from streamsplit.wire.patterns import Patterns
from streamsplit.wire.request import Wanted
from streamsplit.wire.requests_avro import AvroRequests
from streamsplit.wire.tensors import example_bytes, misfits, stack, unpack_elements
from streamsplit.wire.walker import Column, Record, Spans

ABSENT = -1
"""Start of a span that a request lacks."""

_TENSORS = "inputs"


@dataclass(frozen=True, slots=True)
class Part:
    """Decoded requests of a batch, as columns.

    Attributes:
        rows: int64 (k,), index in the `RawBatch`.
        ids: k ids.
        times: int64 (k,), milliseconds.
        attributes: For each of `Wanted.attributes` k values.
        inputs: For each of `Wanted.signature_inputs` an array (k, *shape).
    """

    rows: Ints
    ids: ByteStrings
    times: Ints
    attributes: tuple[ByteStrings, ...]
    inputs: tuple[Tensor, ...]


class Lockstep:
    """Decodes what one schema wrote, for one `Wanted`."""

    def __init__(self, requests: AvroRequests, wanted: Wanted) -> None:
        """Prepare what each input is compared with."""
        self._requests = requests
        assert isinstance(requests.walker, Record)
        self._fields = requests.walker.fields
        self._tensors = dict(self._fields)[_TENSORS]
        self._patterns = Patterns(self._walk_tensors)
        self._attributes = tuple(name.encode() for name in wanted.attributes)
        symbols = requests.datatypes
        self._inputs = tuple(
            _Expected(spec, spec.name.encode(), symbols.index(spec.datatype) if spec.datatype in symbols else -1)
            for spec in wanted.signature_inputs
        )
        self._rank = 1 + max((len(spec.shape) for spec in wanted.signature_inputs), default=0)

    def decode(self, values: ByteStrings, rows: Ints, timestamps: Ints, body: int) -> tuple[Part, Ints]:
        """Decode a batch.

        Args:
            values: k values of the schema, each at least `body` bytes long.
            rows: int64 (k,), their indices in the `RawBatch`.
            timestamps: int64 (k,), of their records.
            body: Where Avro begins in each.

        Returns:
            The requests that fit, and int64 indices (into `values`) of those left to the slow way.
        """
        lanes = Lanes.over(values, body)
        fields: dict[str, Column] = {}
        for name, node in self._fields:
            if name == _TENSORS:
                starts, fits = self._patterns.walk(lanes, len(self._inputs))
            else:
                fields[name] = node.walk(lanes)
        fits &= lanes.finished
        inputs = [_gather(lanes, each, where, fits) for each, where in zip(self._inputs, starts, strict=True)]
        ids = _texts(lanes, _spans(fields["id"]), fits)
        attributes = self._find(lanes, fields.get("attributes"), fits)
        times = self._times(fields.get("time"), timestamps)
        kept = np.flatnonzero(fits)
        if kept.size == len(values):
            return Part(rows, ids, times, tuple(attributes), tuple(inputs)), kept[:0]
        part = Part(
            rows[kept],
            ids.at(kept),
            times[kept],
            tuple(column.at(kept) for column in attributes),
            tuple(array[kept] for array in inputs),
        )
        return part, np.flatnonzero(~fits)

    def _walk_tensors(self, lanes: Lanes) -> tuple[list[Spans], Mask]:
        """Find each expected input among the tensors; requests with any other tensor do not fit."""
        items = self._tensors.walk(lanes)
        assert isinstance(items, Sequence)
        fits = np.ones(len(lanes), np.bool_)
        found = [Spans(np.full(len(lanes), ABSENT), np.zeros(len(lanes), np.int64)) for _ in self._inputs]
        for some in items:
            assert isinstance(some.column, Mapping)
            name, data = _spans(some.column["name"]), _spans(some.column["data"])
            shapes = _Shapes(some.column["shape"], len(some.which), self._rank)
            known = np.zeros(len(some.which), np.bool_)
            for expected, where in zip(self._inputs, found, strict=True):
                good = equal(lanes, name, expected.name)
                good &= some.column["datatype"] == expected.symbol
                good &= shapes.are(expected.spec.shape)
                if expected.spec.datatype is not Datatype.BYTES:
                    good &= data.length == example_bytes(expected.spec)
                good &= where.start[some.which] == ABSENT
                known |= good
                if good.all():
                    where.start[some.which], where.length[some.which] = data.start, data.length
                else:
                    where.start[some.which[good]], where.length[some.which[good]] = data.start[good], data.length[good]
            fits[some.which[~known]] = False
        for where in found:
            fits &= where.start != ABSENT
        return found, fits

    def _find(self, lanes: Lanes, entries: Column, fits: Mask) -> list[ByteStrings]:
        """The wanted attributes; of a key that is there twice the last counts."""
        assert entries is None or isinstance(entries, list)
        columns = []
        for name in self._attributes:
            found = Spans(np.full(len(lanes), ABSENT), np.zeros(len(lanes), np.int64))
            for some in entries or ():
                assert some.keys is not None
                hit = equal(lanes, some.keys, name)
                value = _spans(some.column)
                found.start[some.which[hit]], found.length[some.which[hit]] = value.start[hit], value.length[hit]
            columns.append(_texts(lanes, found, fits))
        return columns

    def _times(self, column: Column, timestamps: Ints) -> Ints:
        if column is None:
            return timestamps
        if isinstance(column, np.ndarray):
            return column // self._requests.time_unit
        assert isinstance(column, Sequence)
        times = timestamps.copy()
        for branch in column:
            if isinstance(branch.column, np.ndarray):
                times[branch.which] = branch.column // self._requests.time_unit
        return times


@dataclass(frozen=True, slots=True)
class _Expected:
    """An input, its name in UTF-8, and its datatype's index among the writer's symbols (-1: the writer lacks it)."""

    spec: TensorSpec
    name: bytes
    symbol: int


class _Shapes:
    """The shapes of one tensor of each request, as columns of dimensions."""

    def __init__(self, items: Column, count: int, rank: int) -> None:
        assert isinstance(items, Sequence)
        self._rank = np.zeros(count, np.int64)
        self._sizes = np.full((rank, count), ABSENT, np.int64)
        for some in items:
            at = self._rank[some.which]
            inside = at < rank
            self._rank[some.which] = at + 1
            assert isinstance(some.column, np.ndarray)
            self._sizes[at[inside], some.which[inside]] = some.column[inside]

    def are(self, shape: tuple[int, ...]) -> Mask:
        """Which shapes are this one, or this one with a leading 1: bool (k,)."""
        plain, led = self._is(shape), self._is((1, *shape))
        return plain | led

    def _is(self, shape: tuple[int, ...]) -> Mask:
        same: Mask = self._rank == len(shape)
        for size, column in zip(shape, self._sizes, strict=False):
            same &= column == size
        return same


def equal(lanes: Lanes, spans: Spans, word: bytes) -> Mask:
    """Which spans hold exactly this word: bool (k,)."""
    same: Mask = spans.length == len(word)
    for at in range(0, len(word), 8):
        piece = word[at : at + 8]
        start = np.minimum(spans.start + at, lanes.park) if at else spans.start
        mask = np.uint64((1 << 8 * len(piece)) - 1)
        same &= (lanes.words[start] & mask) == np.uint64(int.from_bytes(piece, "little"))
    return same


def _spans(column: Column) -> Spans:
    assert isinstance(column, Spans)
    return column


def _texts(lanes: Lanes, spans: Spans, fits: Mask) -> ByteStrings:
    """The spans' bytes, null where a span is absent; requests whose bytes are not UTF-8 do not fit.

    What did not fit before has no text: its span may be anywhere.
    """
    there = fits & (spans.start != ABSENT)
    texts = ByteStrings(lanes.buffer, np.where(there, spans.start, 0), np.where(there, spans.length, NULL))
    fits &= are_utf8(texts)
    return texts


def _gather(lanes: Lanes, expected: _Expected, where: Spans, fits: Mask) -> Tensor:
    """Stack one input of all requests; those that do not fit, now or before, hold anything."""
    spec = expected.spec
    if spec.datatype is Datatype.BYTES:
        return unpack_elements(spec, lanes.buffer, where.start, where.length, fits)
    if fits.all():
        stacked = stack(spec, lanes.buffer, where.start)
        bad = misfits(spec, stacked)
        if bad.any():
            fits[bad] = False
        return stacked
    kept = np.flatnonzero(fits)
    stacked = np.zeros((len(lanes), *spec.shape), spec.datatype.numpy)
    stacked[kept] = stack(spec, lanes.buffer, where.start[kept])
    fits[kept[misfits(spec, stacked[kept])]] = False
    return stacked
