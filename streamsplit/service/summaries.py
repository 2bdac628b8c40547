"""The summaries that one worker writes: one a transaction, numbered."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from streamsplit.core.audit_digest import link
from streamsplit.core.counting import count_batch, window_ms
from streamsplit.core.mirror_counting import count_mirrored
from streamsplit.core.summary import LostRange, PartitionProgress, Summary, in_parts
from streamsplit.kafka.batches import first_of
from streamsplit.kafka.lane import Progress
from streamsplit.kafka.outgoing import Outgoing
from streamsplit.service.served import Served
from streamsplit.wire.provenance import Provenance
from streamsplit.wire.summaries import SummaryEncoder


@dataclass(frozen=True, slots=True)
class Written:
    """Summaries of one transaction.

    Attributes:
        records: They.
        link: Of the last of them: what the next summary follows, once this transaction is committed.
    """

    records: Outgoing
    link: bytes


class Summaries:
    """Makes summaries and numbers them.

    Args:
        topic: Where they go.
        encoder: How they are written.
        slot: Of this worker.
        limit: The topic's `max.message.bytes`.
    """

    def __init__(self, topic: str, encoder: SummaryEncoder, slot: str, limit: int) -> None:
        self._topic = topic
        self._encoder = encoder
        self._slot = slot
        self._limit = limit
        self._sequence = 0

    def of_batch(
        self,
        served: Served,
        scores: NDArray[np.float64] | None,
        through: Mapping[int, int],
        progress: Progress,
        now_ms: int,
        *,
        digests: Mapping[int, bytes],
        previous: bytes | None,
    ) -> Written:
        """What a batch adds to each window.

        Args:
            served: The batch.
            scores: float64 (m,), the score guards' number of each request, NaN for none; None without such a guard.
            through: Partition → the next offset after the batch.
            progress: Where the lane stands.
            now_ms: The worker's time, milliseconds since the epoch.
            digests: Partition → the digest of its audit records and dead letters.
            previous: The link of the summary before.
        """
        provenance, times = served.provenance, served.requests.times
        counts = count_batch(
            served.judge,
            times,
            served.routing,
            served.predictions,
            provenance.arms,
            scores=scores,
            timings=served.timings,
            firsts=served.firsts,
        )
        return self._records(
            Summary(
                slot=self._slot,
                sequence=self._sequence,
                rollout=provenance.rollout,
                revision=provenance.revision,
                written_time=now_ms,
                partitions=tuple(_progress_of(served, through, progress, digests)),
                windows=counts.windows,
                undecodable=len(served.letters),
                lost=tuple(lost for lost in _lost(progress) if lost.partition in through),
                mirrored=count_mirrored(
                    window_ms(served.judge),
                    times,
                    served.routing,
                    served.predictions,
                    provenance.arms,
                    guard=served.judge.score,
                    scores=scores,
                ),
                runs=counts.runs,
                failing=counts.failing,
                probes=counts.probes,
                previous=previous,
                firsts=counts.firsts,
                units=served.units,
            )
        )

    def alone(self, progress: Progress, provenance: Provenance, now_ms: int, *, previous: bytes | None) -> Written:
        """A summary without a batch: where the worker stands, and ranges that retention removed."""
        return self._records(
            Summary(
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
                previous=previous,
            )
        )

    def _records(self, summary: Summary) -> Written:
        """One record; more where the topic would refuse it, so that no times of requests stop a partition."""
        parts = in_parts(summary, self._limit)
        self._sequence += len(parts)
        values: list[bytes] = []
        for part in parts:
            values.append(self._encoder.encode(replace(part, previous=link(values[-1])) if values else part))
        records = Outgoing.of(self._topic, values, [self._slot.encode()] * len(parts))
        return Written(records, link(values[-1]))


def _progress_of(
    served: Served, through: Mapping[int, int], progress: Progress, digests: Mapping[int, bytes]
) -> list[PartitionProgress]:
    numbers = served.batch.partitions[served.requests.rows]
    newest = np.full(int(numbers.max(initial=-1)) + 1, np.iinfo(np.int64).min)
    np.maximum.at(newest, numbers, served.requests.times)
    known = {number: int(newest[number]) for number in np.flatnonzero(np.bincount(numbers)).tolist()}
    starts = first_of(served.batch)
    return [
        PartitionProgress(
            number,
            starts.get(number, offset),
            offset,
            progress.lag.get(number, -1),
            known.get(number),
            digests.get(number),
        )
        for number, offset in {**progress.reading, **through}.items()
    ]


def _lost(progress: Progress) -> tuple[LostRange, ...]:
    return tuple(LostRange(number, start, end) for number, (start, end) in progress.lost.items())
