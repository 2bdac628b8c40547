"""A batch between its arms and its transaction."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamsplit.core.guards import JudgeSettings
from streamsplit.core.records import DeadLetter, Predictions, RawBatch, RequestColumns, Routing, Timing
from streamsplit.core.summary import UnitMarks
from streamsplit.wire.provenance import Provenance


@dataclass(frozen=True, slots=True)
class Served:
    """A batch that every arm is done with.

    Attributes:
        batch: The n raw records.
        requests: The m requests among them.
        letters: The records that are no requests.
        routing: The assigned arms of the requests.
        predictions: Their answers.
        provenance: What they were served under.
        judge: What is counted for the judge.
        timings: Name of a candidate and what was timed of it beside control since the batch before.
        firsts: Where a unit has many requests, those that are evidence: int64, ascending indices; None: every one is.
        units: What the summary says of units.
    """

    batch: RawBatch
    requests: RequestColumns
    letters: Sequence[DeadLetter]
    routing: Routing
    predictions: Predictions
    provenance: Provenance
    judge: JudgeSettings
    timings: Sequence[tuple[str, Timing]] = ()
    firsts: NDArray[np.int64] | None = None
    units: tuple[UnitMarks, ...] = ()
