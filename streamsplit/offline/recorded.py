"""Recorded topics as columns.

Texts that are only compared are kept as 64-bit fingerprints, and texts that repeat (arms, models, outcomes) as codes
into a vocabulary, so that a million requests fit in some hundred megabytes.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self, TypeVar

import numpy as np
import xxhash
from numpy.typing import NDArray

from streamsplit.core.byte_strings import ByteStrings
from streamsplit.core.headers import Headers
from streamsplit.core.records import RequestColumns
from streamsplit.core.rollout import State
from streamsplit.offline.digested import Digested

_OFFSET_BITS = 44
NOTHING = 0
"""Fingerprint of a missing value."""


def fingerprint(value: bytes | None) -> int:
    """Xxh64 of a value; 0 for none."""
    return NOTHING if value is None else xxhash.xxh64_intdigest(value)


def fingerprints(values: Iterable[bytes | None]) -> NDArray[np.uint64]:
    """The fingerprint of each value, uint64."""
    return np.fromiter(map(fingerprint, values), dtype=np.uint64)


def head_fingerprint(key: bytes | None, headers: Headers | None) -> int:
    """One number for a record's key and headers; two records with the same number have the same of both."""
    if not headers:
        return fingerprint(key)
    parts = [(name, -1 if value is None else len(value), value) for name, value in headers]
    return xxhash.xxh64_intdigest(repr((key, parts)).encode())


def places(partitions: NDArray[np.int32], offsets: NDArray[np.int64]) -> NDArray[np.int64]:
    """One sortable number for each (partition, offset)."""
    return (partitions.astype(np.int64) << _OFFSET_BITS) | offsets


@dataclass(frozen=True, slots=True)
class Words:
    """A column of texts that repeat.

    Attributes:
        codes: int32 (n,), index into `vocabulary`; -1 for none.
        vocabulary: The distinct texts.
    """

    codes: NDArray[np.int32]
    vocabulary: tuple[str, ...]

    @classmethod
    def of(cls, texts: Iterable[str | None]) -> Self:
        """The column of these texts."""
        seen: dict[str | None, int] = {None: -1}
        codes = [seen.setdefault(text, len(seen) - 1) for text in texts]
        return cls(np.array(codes, np.int32), tuple(text for text in seen if text is not None))

    def __getitem__(self, index: NDArray[np.bool_] | NDArray[np.intp]) -> "Words":
        """The rows of a mask or an index."""
        return Words(self.codes[index], self.vocabulary)

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.codes)

    def text(self, row: int) -> str | None:
        """One row."""
        code = int(self.codes[row])
        return None if code < 0 else self.vocabulary[code]

    def code(self, text: str | None) -> int:
        """The code of a text; -1 for none and -2 for a text that no row has."""
        if text is None:
            return -1
        return self.vocabulary.index(text) if text in self.vocabulary else -2

    def counts(self) -> dict[str, int]:
        """Text → rows, of the texts that occur, in the order of the vocabulary."""
        rows = np.bincount(self.codes[self.codes >= 0], minlength=len(self.vocabulary)).tolist()
        return {text: count for text, count in zip(self.vocabulary, rows, strict=True) if count}

    def equals(self, text: str | None) -> NDArray[np.bool_]:
        """Which rows are this text."""
        mask: NDArray[np.bool_] = self.codes == self.code(text)
        return mask

    def same(self, other: "Words") -> NDArray[np.bool_]:
        """Which rows are the same text as the other column's, row by row."""
        translation = np.array([*(self.code(text) for text in other.vocabulary), -1], np.int32)
        mask: NDArray[np.bool_] = self.codes == translation[other.codes]
        return mask

    @classmethod
    def joined(cls, parts: "Sequence[Words]") -> "Words":
        """Several columns one behind the other."""
        vocabulary = tuple(dict.fromkeys(text for part in parts for text in part.vocabulary))
        places = {text: code for code, text in enumerate(vocabulary)}
        codes = [np.array([*(places[text] for text in part.vocabulary), -1], np.int32)[part.codes] for part in parts]
        return cls(np.concatenate(codes), vocabulary)


@dataclass(frozen=True, slots=True)
class _Sourced:
    """Columns that name the request they belong to."""

    partitions: NDArray[np.int32]
    offsets: NDArray[np.int64]

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.offsets)

    @property
    def places(self) -> NDArray[np.int64]:
        """One sortable number for each row's request."""
        return places(self.partitions, self.offsets)

    def take(self, index: NDArray[np.bool_] | NDArray[np.intp]) -> Self:
        """The rows of a mask or an index, all columns alike."""
        return replace(self, **{column.name: getattr(self, column.name)[index] for column in fields(self)})


_Columns = TypeVar("_Columns", bound=_Sourced)


def joined(parts: Sequence[_Columns]) -> _Columns:
    """Several stretches one behind the other, column by column; at least one."""
    columns: dict[str, Any] = {}
    for column in fields(parts[0]):
        pieces = [getattr(part, column.name) for part in parts]
        columns[column.name] = Words.joined(pieces) if isinstance(pieces[0], Words) else np.concatenate(pieces)
    return replace(parts[0], **columns)


@dataclass(frozen=True, slots=True)
class RecordedRequests:
    """The requests of the universe.

    Attributes:
        partitions: int32 (n,), ascending.
        offsets: int64 (n,), ascending within a partition.
        heads: uint64 (n,), fingerprint of key and headers.
        keys: n record keys.
        columns: Ids and attributes of those m that can be decoded; no inputs.
    """

    partitions: NDArray[np.int32]
    offsets: NDArray[np.int64]
    heads: NDArray[np.uint64]
    keys: ByteStrings
    columns: RequestColumns

    def __len__(self) -> int:
        """Number of requests."""
        return len(self.offsets)

    @property
    def places(self) -> NDArray[np.int64]:
        """One ascending number for each request."""
        return places(self.partitions, self.offsets)


@dataclass(frozen=True, slots=True)
class RecordedAudits(_Sourced):
    """The audit topic, in the order of its log within each partition.

    Attributes:
        partitions: int32 (k,), the request's partition.
        offsets: int64 (k,), the request's offset.
        own_partitions: int32 (k,), where the audit record itself stands.
        revisions: int64 (k,).
        rules: int32 (k,).
        buckets: int32 (k,).
        ids: uint64 (k,), fingerprints.
        units: uint64 (k,), fingerprints; `NOTHING` without a unit.
        rollouts: k names.
        arms: k names, assigned.
        served_by: k names, none for a dead letter.
        models: k labels, none for a dead letter.
        outcomes: k words.
        mirrored: k words of `mirrors.word_of`, none where the request was not mirrored.
    """

    own_partitions: NDArray[np.int32]
    revisions: NDArray[np.int64]
    rules: NDArray[np.int32]
    buckets: NDArray[np.int32]
    ids: NDArray[np.uint64]
    units: NDArray[np.uint64]
    rollouts: Words
    arms: Words
    served_by: Words
    models: Words
    outcomes: Words
    mirrored: Words


@dataclass(frozen=True, slots=True)
class RecordedOutputs(_Sourced):
    """The outputs topic, in the order of its log within each partition.

    Attributes:
        partitions: int32 (k,), the request's partition.
        offsets: int64 (k,), the request's offset.
        own_partitions: int32 (k,), where the output itself stands.
        heads: uint64 (k,), fingerprint of its key and headers.
        revisions: int64 (k,).
        ids: uint64 (k,), fingerprints.
        rollouts: k names.
        arms: k names, the arm that answered.
        models: k labels.
        outcomes: k words.
    """

    own_partitions: NDArray[np.int32]
    heads: NDArray[np.uint64]
    revisions: NDArray[np.int64]
    ids: NDArray[np.uint64]
    rollouts: Words
    arms: Words
    models: Words
    outcomes: Words


@dataclass(frozen=True, slots=True)
class RecordedDeadLetters(_Sourced):
    """The dead letters, in the order of their log within each partition.

    Attributes:
        partitions: int32 (k,), the request's partition.
        offsets: int64 (k,), the request's offset.
        own_partitions: int32 (k,), where the dead letter itself stands.
        heads: uint64 (k,), fingerprint of its key and of the headers it had as a request; `NOTHING` where it is a
            reference to a request too large to be kept whole.
        routed: bool (k,), whether it says that it failed behind routing.
    """

    own_partitions: NDArray[np.int32]
    heads: NDArray[np.uint64]
    routed: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Recorded:
    """All that a verification looks at.

    Attributes:
        requests: Those of the universe.
        audits: All that are kept.
        outputs: All that are kept.
        dead_letters: All that are kept.
        states: Revision → state, for every accepted command of the control log.
        kinds: Revision → the command's kind.
        unsourced: Dead letters and audit records that name no request, as (partition, offset) of the record itself.
        digested: What was committed, against what is there now.
    """

    requests: RecordedRequests
    audits: RecordedAudits
    outputs: RecordedOutputs
    dead_letters: RecordedDeadLetters
    states: Mapping[int, State]
    kinds: Mapping[int, str]
    unsourced: tuple[tuple[int, int], ...] = ()
    digested: Digested = field(default_factory=Digested)
