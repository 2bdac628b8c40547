"""From a served batch to the records of its transaction: outputs, audit, dead letters, the summary."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from streamsplit.core.mirroring import count_mirrored
from streamsplit.core.records import (
    NOBODY,
    DeadLetter,
    Headers,
    Outcome,
    Predictions,
    RawBatch,
    RequestColumns,
    Routing,
)
from streamsplit.core.summary import COUNT_BYTES, LostRange, PartitionProgress, Summary, count_windows, in_parts
from streamsplit.kafka.batches import first_of, next_of
from streamsplit.kafka.lane import Progress
from streamsplit.kafka.topics import Topics
from streamsplit.kafka.transaction import Outgoing
from streamsplit.service.stopwatch import Stopwatch
from streamsplit.wire.audit import AuditEncoder
from streamsplit.wire.dead_letters import Origin, dead_letter_record, record_size
from streamsplit.wire.outputs import OutputEncoder
from streamsplit.wire.provenance import Provenance
from streamsplit.wire.summaries import SummaryEncoder


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
        window_ms: Length of a window.
    """

    batch: RawBatch
    requests: RequestColumns
    letters: Sequence[DeadLetter]
    routing: Routing
    predictions: Predictions
    provenance: Provenance
    window_ms: int


@dataclass(frozen=True, slots=True)
class Sealed:
    """All that one transaction writes.

    Attributes:
        epoch: Of the batch.
        revision: What it was served under.
        outgoing: The records.
        through: Partition → the next offset.
        counts: What it adds to the worker's tally.
    """

    epoch: int
    revision: int
    outgoing: tuple[Outgoing, ...]
    through: Mapping[int, int]
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Encoders:
    """How each topic's values are written."""

    outputs: OutputEncoder
    audit: AuditEncoder
    summaries: SummaryEncoder


class Sealer:
    """Makes the records of transactions.

    Args:
        topics: Where they go.
        encoders: How values are written.
        slot: Of this worker.
        limits: Topic → `max.message.bytes`, asked of the brokers.
        stopwatch: Of the thread that seals.
    """

    def __init__(
        self, topics: Topics, encoders: Encoders, slot: str, limits: Mapping[str, int], stopwatch: Stopwatch
    ) -> None:
        self._stopwatch = stopwatch
        self._topics = topics
        self._encoders = encoders
        self._slot = slot
        self._limits = limits
        self._origin = Origin(topics.requests, topics.deployment, slot)
        self._sequence = 0

    def seal(self, served: Served, progress: Progress, now_ms: int) -> Sealed:
        """Everything that the batch's transaction writes.

        Args:
            served: The batch.
            progress: Where the lane stands, for the summary.
            now_ms: The worker's time, milliseconds since the epoch.
        """
        served, values, letters = self._outputs(served)
        self._stopwatch.lap("outputs")
        batch, rows, through = served.batch, served.requests.rows, next_of(served.batch)
        answered = rows[served.predictions.served_by != NOBODY]
        audit = self._encoders.audit.encode(
            batch, served.requests, served.routing, served.predictions, served.provenance, processed_time=now_ms
        )
        self._stopwatch.lap("audit")
        summary = self._summary(served, through, progress, now_ms)
        self._stopwatch.lap("summary")
        outgoing = [
            _like_requests(self._topics.outputs, batch, answered.tolist(), values, headers=True),
            _like_requests(self._topics.audit, batch, rows.tolist(), audit, headers=False),
            self._dead_letters(batch, letters),
            summary,
        ]
        counts = {
            "requests": len(batch),
            "dead_letters": len(letters),
            "batches": 1,
            "commits": 1,
            **_by_arm(served.routing, served.predictions, served.provenance.arms),
            **_by_mirror(served.predictions, served.provenance.arms),
        }
        records = tuple(each for each in outgoing if each.values)
        self._stopwatch.lap("seal")
        return Sealed(batch.epoch, served.provenance.revision, records, through, counts)

    def seal_idle(self, progress: Progress, provenance: Provenance, now_ms: int) -> Sealed:
        """A summary alone, also of ranges that retention removed."""
        summary = Summary(
            slot=self._slot,
            sequence=self._sequence,
            rollout=provenance.rollout,
            revision=provenance.revision,
            written_time=now_ms,
            partitions=tuple(
                PartitionProgress(number, offset, offset, progress.lag[number], None)
                for number, offset in progress.reading.items()
            ),
            lost=_lost(progress),
        )
        through = {number: progress.reading[number] for number in progress.lost}
        return Sealed(progress.epoch, provenance.revision, (self._summary_records(summary),), through, {"commits": 1})

    def _outputs(self, served: Served) -> tuple[Served, list[bytes], list[DeadLetter]]:
        """Outputs that the topic accepts; a row whose output is too large becomes a dead letter."""
        values = self._encoders.outputs.encode(served.batch, served.requests, served.predictions, served.provenance)
        positions = np.flatnonzero(served.predictions.served_by != NOBODY)
        limit = self._limits[self._topics.outputs]
        too_large = _too_large(served.batch, served.requests.rows[positions].tolist(), values, limit)
        if too_large:
            served_by, outcomes = served.predictions.served_by.copy(), served.predictions.outcomes.copy()
            rows = positions[list(too_large)]
            served_by[rows], outcomes[rows] = NOBODY, Outcome.DEAD_LETTER
            reasons = dict(served.predictions.reasons) | {
                int(row): f"its output takes {size} bytes and topic {self._topics.outputs} accepts {limit}; raise the "
                "topic's max.message.bytes"
                for row, size in zip(rows.tolist(), too_large.values(), strict=True)
            }
            predictions = replace(served.predictions, served_by=served_by, outcomes=outcomes, reasons=reasons)
            served = replace(served, predictions=predictions)
            values = [value for index, value in enumerate(values) if index not in too_large]
        encoded = set(positions[list(too_large)].tolist())
        unserved = [
            DeadLetter(
                int(served.requests.rows[row]),
                "encode" if row in encoded else "infer",
                served.predictions.reasons.get(row, "no arm could serve it"),
            )
            for row in np.flatnonzero(served.predictions.served_by == NOBODY).tolist()
        ]
        return served, values, [*served.letters, *unserved]

    def _dead_letters(self, batch: RawBatch, letters: Sequence[DeadLetter]) -> Outgoing:
        limit = self._limits[self._topics.dead_letters]
        records = [dead_letter_record(batch, letter, self._origin, limit) for letter in letters]
        return Outgoing(
            self._topics.dead_letters,
            values=[record.value for record in records],
            keys=[record.key for record in records],
            partitions=[int(batch.partitions[letter.row]) for letter in letters],
            headers=[record.headers for record in records],
        )

    def _summary(self, served: Served, through: Mapping[int, int], progress: Progress, now_ms: int) -> Outgoing:
        provenance = served.provenance
        summary = Summary(
            slot=self._slot,
            sequence=self._sequence,
            rollout=provenance.rollout,
            revision=provenance.revision,
            written_time=now_ms,
            partitions=tuple(_progress_of(served, through, progress)),
            windows=count_windows(
                served.window_ms, served.requests.times, served.routing, served.predictions, provenance.arms
            ),
            undecodable=len(served.letters),
            lost=tuple(lost for lost in _lost(progress) if lost.partition in through),
            mirrored=count_mirrored(
                served.window_ms, served.requests.times, served.routing, served.predictions, provenance.arms
            ),
        )
        return self._summary_records(summary)

    def _summary_records(self, summary: Summary) -> Outgoing:
        """One record; more where the topic would refuse it, so that no times of requests stop a partition."""
        parts = in_parts(summary, max(1, self._limits[self._topics.summaries] // COUNT_BYTES))
        self._sequence += len(parts)
        values = [self._encoders.summaries.encode(part) for part in parts]
        return Outgoing(self._topics.summaries, values, [self._slot.encode()] * len(parts), [0] * len(parts))


def _like_requests(topic: str, batch: RawBatch, rows: list[int], values: Sequence[bytes], *, headers: bool) -> Outgoing:
    """Records with the keys, partition numbers and, where wanted, headers of the requests they belong to."""
    everything = len(rows) == len(batch)
    keys = batch.keys if everything else [batch.keys[row] for row in rows]
    partitions = batch.partitions.tolist() if everything else batch.partitions[rows].tolist()
    lists: Sequence[Headers | None] | None = None
    if headers and any(batch.headers):
        lists = [batch.headers[row] for row in rows]
    return Outgoing(topic, values, keys, partitions, lists)


def _too_large(batch: RawBatch, rows: list[int], values: Sequence[bytes], limit: int) -> dict[int, int]:
    """Index in `values` → size, of those that a topic with this limit would refuse."""
    if not values:
        return {}
    if not any(batch.headers):
        largest = record_size(max((key or b"" for key in batch.keys), key=len), max(values, key=len), None)
        if largest <= limit:
            return {}
    sizes = (record_size(batch.keys[row], value, batch.headers[row]) for row, value in zip(rows, values, strict=True))
    return {index: size for index, size in enumerate(sizes) if size > limit}


def _progress_of(served: Served, through: Mapping[int, int], progress: Progress) -> list[PartitionProgress]:
    numbers = served.batch.partitions[served.requests.rows]
    newest = np.full(int(numbers.max(initial=-1)) + 1, np.iinfo(np.int64).min)
    np.maximum.at(newest, numbers, served.requests.times)
    known = {number: int(newest[number]) for number in np.flatnonzero(np.bincount(numbers)).tolist()}
    starts = first_of(served.batch)
    return [
        PartitionProgress(number, starts.get(number, offset), offset, progress.lag.get(number, -1), known.get(number))
        for number, offset in {**progress.reading, **through}.items()
    ]


def _lost(progress: Progress) -> tuple[LostRange, ...]:
    return tuple(LostRange(number, start, end) for number, (start, end) in progress.lost.items())


def _by_arm(routing: Routing, predictions: Predictions, arms: Sequence[str]) -> dict[str, int]:
    """Requests that each arm was assigned, and those of them that it did not answer itself."""
    assigned = np.bincount(routing.arms, minlength=len(arms)).tolist()
    unanswered = np.bincount(routing.arms[predictions.served_by != routing.arms], minlength=len(arms)).tolist()
    counts = {f"arm:{name}": count for name, count in zip(arms, assigned, strict=True)}
    return counts | {f"failed:{name}": count for name, count in zip(arms, unanswered, strict=True) if count}


def _by_mirror(predictions: Predictions, arms: Sequence[str]) -> dict[str, int]:
    """Requests that were mirrored to each candidate, and those of them that it did not answer."""
    counts: dict[str, int] = {}
    for arm, reflection in (predictions.mirrored or {}).items():
        counts[f"mirrored:{arms[arm]}"] = len(reflection.rows)
        counts[f"mirror_failed:{arms[arm]}"] = int((reflection.outcomes != Outcome.OK).sum())
    return counts
