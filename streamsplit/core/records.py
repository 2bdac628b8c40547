"""The columns that travel along the way of a request.

A batch is never a list of objects: it is a handful of lists and numpy arrays side by side. `n` below is the number
of records that were consumed, `m` the number of those that could be decoded.
"""

import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from streamsplit.core.byte_strings import ByteStrings
from streamsplit.core.text_tensor import Tensor

CONTROL = 0
"""Index of control among the arms; candidates follow in the order of the rollout file."""

NOBODY = -1
"""`served_by` of a request that no arm could serve."""


class Outcome(enum.IntEnum):
    """How a request ended; `label` is the word on the wire (docs/design.md section 3)."""

    OK = 0
    FALLBACK_ERROR = 1
    FALLBACK_TIMEOUT = 2
    FALLBACK_INVALID = 3
    FALLBACK_OPEN = 4
    FALLBACK_LOADING = 5
    FALLBACK_STALE = 6
    DEAD_LETTER = 7

    @property
    def label(self) -> str:
        """The word on the wire."""
        return self.name.lower()


class Datatype(enum.StrEnum):
    """Element types of tensors, in the Open Inference Protocol's words."""

    BOOL = "BOOL"
    UINT8 = "UINT8"
    UINT16 = "UINT16"
    UINT32 = "UINT32"
    UINT64 = "UINT64"
    INT8 = "INT8"
    INT16 = "INT16"
    INT32 = "INT32"
    INT64 = "INT64"
    FP16 = "FP16"
    FP32 = "FP32"
    FP64 = "FP64"
    BYTES = "BYTES"

    @property
    def numpy(self) -> np.dtype:
        """The little-endian numpy dtype of one element; `object` (of `bytes`) for BYTES."""
        return _NUMPY[self]


_NUMPY = {
    datatype: np.dtype(code)
    for datatype, code in {
        Datatype.BOOL: "?",
        Datatype.UINT8: "u1",
        Datatype.UINT16: "<u2",
        Datatype.UINT32: "<u4",
        Datatype.UINT64: "<u8",
        Datatype.INT8: "i1",
        Datatype.INT16: "<i2",
        Datatype.INT32: "<i4",
        Datatype.INT64: "<i8",
        Datatype.FP16: "<f2",
        Datatype.FP32: "<f4",
        Datatype.FP64: "<f8",
        Datatype.BYTES: "O",
    }.items()
}


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Name, element type and shape of one tensor.

    Attributes:
        name: The model's name for it.
        datatype: Element type.
        shape: Shape of one example, without the batch dimension; every entry is positive.
        finite: True where NaN and infinities are forbidden.
    """

    name: str
    datatype: Datatype
    shape: tuple[int, ...]
    finite: bool = False

    @property
    def elements(self) -> int:
        """Number of elements of one example."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class Signature:
    """What a model takes and gives, per example."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


@dataclass(frozen=True, slots=True)
class RawBatch:
    """A batch as it was consumed.

    Attributes:
        epoch: The lane's epoch when it was consumed; a batch of an older epoch is never committed.
        values: n record values; a null is a tombstone.
        keys: n record keys.
        headers: n packed lists of headers (`headers.py`), null where a record has none.
        partitions: int32 (n,).
        offsets: int64 (n,); ascending within a partition.
        timestamps: int64 (n,), milliseconds since the epoch; the record's timestamp.
    """

    epoch: int
    values: ByteStrings
    keys: ByteStrings
    headers: ByteStrings
    partitions: NDArray[np.int32]
    offsets: NDArray[np.int64]
    timestamps: NDArray[np.int64]

    def __len__(self) -> int:
        """Number of records."""
        return len(self.values)


@dataclass(frozen=True, slots=True)
class RequestColumns:
    """The decoded requests of a batch.

    Attributes:
        rows: int64 (m,), ascending: the index in the `RawBatch` of each decoded request.
        ids: m request ids, UTF-8.
        times: int64 (m,), milliseconds since the epoch; the record's timestamp where the request names none.
        attributes: For each wanted attribute m values in UTF-8, null where the request lacks it.
        inputs: For each input of the signature an array (m, *shape) of its dtype, C-contiguous and little-endian;
            BYTES are texts that are valid UTF-8.
    """

    rows: NDArray[np.int64]
    ids: ByteStrings
    times: NDArray[np.int64]
    attributes: Mapping[str, ByteStrings]
    inputs: Mapping[str, Tensor]

    def __len__(self) -> int:
        """Number of decoded requests (m)."""
        return len(self.ids)

    def at(self, positions: NDArray[np.int64]) -> "RequestColumns":
        """The requests at these positions (int64 (k,), ascending) alone."""
        return RequestColumns(
            rows=self.rows[positions],
            ids=self.ids.at(positions),
            times=self.times[positions],
            attributes={name: column.at(positions) for name, column in self.attributes.items()},
            inputs={name: array[positions] for name, array in self.inputs.items()},
        )


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that cannot be served.

    Attributes:
        row: Index in the `RawBatch`.
        stage: Where it left: `decode`, `infer` or `encode`.
        reason: One sentence for a person.
    """

    row: int
    stage: str
    reason: str


@dataclass(frozen=True, slots=True)
class Routing:
    """Which arm each request of a batch is assigned to.

    Attributes:
        units: m units (the bytes that were hashed), null where the request has none.
        buckets: int16 (m,), 0..9999; -1 without a unit.
        rules: int16 (m,), index of the matching rule; -1 is the default route.
        arms: int8 (m,), index of the assigned arm; 0 is control.
        mirrors: Index of a candidate → int64 (k,), ascending, the requests of control that it answers too, unseen;
            only candidates that have some. None where there is none.
    """

    units: ByteStrings
    buckets: NDArray[np.int16]
    rules: NDArray[np.int16]
    arms: NDArray[np.int8]
    mirrors: Mapping[int, NDArray[np.int64]] | None = None


@dataclass(frozen=True, slots=True)
class Timing:
    """As many rows through control and through a candidate, each in one run.

    Attributes:
        rows: How many.
        control_micros: Wall time of control's run, in microseconds.
        candidate_micros: Of the candidate's; of one that was not finished in time what it was given.
        control_over: Whether control was not finished in time.
        candidate_over: Whether the candidate was not.
    """

    rows: int
    control_micros: int
    candidate_micros: int
    control_over: bool = False
    candidate_over: bool = False


UNKNOWN, DIFFERS, AGREES = -1, 0, 1
"""Codes of `Reflection.agrees`."""


@dataclass(frozen=True, slots=True)
class Reflection:
    """What a candidate answered to the requests that were mirrored to it; nobody is shown the answers themselves.

    Attributes:
        rows: int64 (k,), ascending: the requests.
        outcomes: int8 (k,), `Outcome` codes, as if its answers were wanted.
        micros: int64 (k,), wall time in microseconds of the run that answered; of a run that did not finish in time
            what it was given; 0 where none is known.
        agrees: int8 (k,), AGREES where both arms answered and every output that is a label (an integer, a truth value
            or a text) is control's, DIFFERS where one is not; UNKNOWN without labels, and where one arm did not answer.
        timing: The first runs of both arms, where they had as many rows or the candidate was late; else None.
        scores: float64 (k,), the score guards' number of each answer that passes its checks, NaN for none; None where
            nobody asked.
        fallen: It answered none of them because its process was not there for them: it fell at them (crash, time-out,
            killed), or at requests of its own before.
        ran: Whether it fell by its own fault, if it finished or fell so; None where that is not known.
    """

    rows: NDArray[np.int64]
    outcomes: NDArray[np.int8]
    micros: NDArray[np.int64]
    agrees: NDArray[np.int8]
    timing: Timing | None = None
    scores: NDArray[np.float64] | None = None
    fallen: bool = False
    ran: bool | None = None


@dataclass(frozen=True, slots=True)
class Predictions:
    """What the arms answered to a batch.

    Attributes:
        served_by: int8 (m,), index of the arm that answered; -1 where none could (a dead letter).
        outcomes: int8 (m,), `Outcome` codes.
        micros: int64 (m,), wall time in microseconds of the run that answered.
        outputs: For each output of the signature an array (m, *shape) of its dtype; rows with `served_by` -1 are
            meaningless. BYTES are object arrays of `bytes`.
        reasons: For rows that an arm failed, why, for a person.
        mirrored: Index of a candidate → how it fared with the requests mirrored to it; None where nothing is mirrored.
        fallen: Indices of the candidates that answered none of their own requests because they were not there for them:
            fallen (crash, time-out), not asked (open breaker, not loaded, stale).
        ran: Index of a candidate → whether it fell by its own fault; only those that were handed requests of their own,
            and finished or fell so.
        control_fell: Whether control's process fell by its own fault at any of the requests.
    """

    served_by: NDArray[np.int8]
    outcomes: NDArray[np.int8]
    micros: NDArray[np.int64]
    outputs: Mapping[str, NDArray[np.generic]]
    reasons: Mapping[int, str]
    mirrored: Mapping[int, Reflection] | None = None
    fallen: frozenset[int] = frozenset()
    ran: Mapping[int, bool] = field(default_factory=lambda: MappingProxyType({}))
    control_fell: bool = False
