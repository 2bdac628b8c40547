"""From a served batch to the records of its transaction: outputs, audit, dead letters, the summary."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from streamsplit.core.byte_strings import ByteStrings
from streamsplit.core.headers import unpacked
from streamsplit.core.records import NOBODY, DeadLetter, Outcome, Predictions, RawBatch, Routing
from streamsplit.core.scores import judged_score, scores_of_arms
from streamsplit.kafka.batches import next_of
from streamsplit.kafka.lane import Progress
from streamsplit.kafka.outgoing import Outgoing
from streamsplit.kafka.topics import Topics
from streamsplit.service.digests import digests_of
from streamsplit.service.served import Served
from streamsplit.service.stopwatch import Stopwatch
from streamsplit.service.summaries import Summaries
from streamsplit.wire.audit import AuditEncoder
from streamsplit.wire.dead_letters import Origin, dead_letter_record, record_size, size_bounds
from streamsplit.wire.outputs import OutputEncoder
from streamsplit.wire.provenance import Provenance
from streamsplit.wire.summaries import SummaryEncoder

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Sealed:
    """All that one transaction writes.

    Attributes:
        epoch: Of the batch.
        revision: What it was served under.
        outgoing: The records.
        through: Partition → the next offset.
        counts: What it adds to the worker's tally.
        link: What the next summary follows, once this is committed.
    """

    epoch: int
    revision: int
    outgoing: tuple[Outgoing, ...]
    through: Mapping[int, int]
    counts: Mapping[str, int]
    link: bytes


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
        self._limits = limits
        self._origin = Origin(topics.requests, topics.deployment, slot)
        self._summaries = Summaries(topics.summaries, encoders.summaries, slot, limits[topics.summaries])

    def seal(
        self,
        served: Served,
        progress: Progress,
        now_ms: int,
        beside: Callable[[], None] = lambda: None,
        *,
        previous: bytes | None = None,
    ) -> Sealed:
        """Everything that the batch's transaction writes.

        Args:
            served: The batch.
            progress: Where the lane stands, for the summary.
            now_ms: The worker's time, milliseconds since the epoch.
            beside: Called a few times on the way, for whoever has something else under way.
            previous: The link of the summary before; None where a chain begins.
        """
        served, values, letters = self._outputs(served)
        self._stopwatch.lap("outputs")
        beside()
        batch, rows, through = served.batch, served.requests.rows, next_of(served.batch)
        answered = rows[served.predictions.served_by != NOBODY]
        score = judged_score(served.judge)
        scores = None if score is None else scores_of_arms(score, served.routing, served.predictions)
        audit = self._encoders.audit.encode(
            batch,
            served.requests,
            served.routing,
            served.predictions,
            served.provenance,
            processed_time=now_ms,
            scores=scores,
        )
        self._stopwatch.lap("audit")
        beside()
        dead_letters = self._dead_letters(batch, letters)
        digests = digests_of(batch.partitions, rows, audit, dead_letters)
        self._stopwatch.lap("digests")
        summary = self._summaries.of_batch(
            served, scores, through, progress, now_ms, digests=digests, previous=previous
        )
        self._stopwatch.lap("summary")
        outgoing = [
            _like_requests(self._topics.outputs, batch, answered, values, headers=True),
            _like_requests(self._topics.audit, batch, rows, audit, headers=False),
            dead_letters,
            summary.records,
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
        return Sealed(batch.epoch, served.provenance.revision, records, through, counts, summary.link)

    def seal_idle(
        self, progress: Progress, provenance: Provenance, now_ms: int, *, previous: bytes | None = None
    ) -> Sealed:
        """A summary alone, also of ranges that retention removed; `previous` as of `seal`."""
        summary = self._summaries.alone(progress, provenance, now_ms, previous=previous)
        through = {number: progress.reading[number] for number in progress.lost}
        return Sealed(progress.epoch, provenance.revision, (summary.records,), through, {"commits": 1}, summary.link)

    def _outputs(self, served: Served) -> tuple[Served, ByteStrings, list[DeadLetter]]:
        """Outputs that the topic accepts; a row whose output is too large becomes a dead letter."""
        values = self._encoders.outputs.encode(served.batch, served.requests, served.predictions, served.provenance)
        positions = np.flatnonzero(served.predictions.served_by != NOBODY)
        limit = self._limits[self._topics.outputs]
        too_large = _too_large(served.batch, served.requests.rows[positions], values, limit)
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
            values = values.at(np.setdiff1d(np.arange(len(values)), list(too_large)))
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
        return Outgoing.of(
            self._topics.dead_letters,
            values=[record.value for record in records],
            keys=[record.key for record in records],
            partitions=[int(batch.partitions[letter.row]) for letter in letters],
            headers=[record.headers for record in records],
        )


def _like_requests(topic: str, batch: RawBatch, rows: Rows, values: ByteStrings, *, headers: bool) -> Outgoing:
    """Records with the keys, partition numbers and, where wanted, headers of the requests they belong to."""
    passed = batch.headers.at(rows) if headers else ByteStrings.repeated(None, len(rows))
    return Outgoing(topic, values, batch.keys.at(rows), batch.partitions[rows], passed)


def _too_large(batch: RawBatch, rows: Rows, values: ByteStrings, limit: int) -> dict[int, int]:
    """Index in `values` → size, of those that a topic with this limit would refuse."""
    keys, headers = batch.keys.at(rows), batch.headers.at(rows)
    suspects = np.flatnonzero(size_bounds(keys, values, headers) > limit).tolist()
    sizes = {index: record_size(keys[index], values[index], unpacked(headers[index])) for index in suspects}
    return {index: size for index, size in sizes.items() if size > limit}


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
