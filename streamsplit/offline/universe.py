"""Which requests a verification speaks of.

Per partition from the first request that an audit record, output or dead letter names, to the group's committed
offset, less what retention has removed from any of these topics: of a request whose answer may have been removed
nobody can say whether it was answered.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamsplit.offline.recorded import RecordedAudits, RecordedDeadLetters, RecordedOutputs
from streamsplit.offline.report import Gap, Span

_Named = RecordedAudits | RecordedOutputs | RecordedDeadLetters


@dataclass(frozen=True, slots=True)
class Edges:
    """What the broker said of the topics when the verification began.

    Attributes:
        committed: Request partition → the group's committed offset, where it has one.
        retained: Request partition → the first offset that is kept.
        cut: Topic (`audit`, `outputs`, `dead-letters`) → its partitions of which retention has removed the beginning.
    """

    committed: Mapping[int, int]
    retained: Mapping[int, int]
    cut: Mapping[str, frozenset[int]]


def spans(edges: Edges, named: Mapping[str, _Named]) -> tuple[Span, ...]:
    """The universe by partition; a partition that nothing was committed of has none.

    Args:
        edges: What is committed and kept.
        named: Topic → its columns, for `audit`, `outputs` and `dead-letters`.
    """
    return tuple(_span(partition, end, edges, named) for partition, end in sorted(edges.committed.items()))


def _span(partition: int, end: int, edges: Edges, named: Mapping[str, _Named]) -> Span:
    firsts = {topic: _first(columns, partition) for topic, columns in named.items()}
    begun = min((first for first in firsts.values() if first is not None), default=end)
    floors = [edges.retained.get(partition, 0)]
    for topic, first in firsts.items():
        if partition in edges.cut.get(topic, frozenset()):
            floors.append(end if first is None else first)
    start = min(max(begun, *floors), end)
    return Span(partition, start, end, max(0, start - begun))


def _first(columns: _Named, partition: int) -> int | None:
    offsets = columns.offsets[columns.partitions == partition]
    return int(offsets.min()) if len(offsets) else None


def inside(spans_: Iterable[Span], partitions: NDArray[np.int32], offsets: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which (partition, offset) belong to the universe."""
    mask = np.zeros(len(offsets), np.bool_)
    for span in spans_:
        mask |= (partitions == span.partition) & (offsets >= span.start) & (offsets < span.end)
    return mask


def unread_gaps(edges: Edges) -> tuple[Gap, ...]:
    """Requests that retention removed although the group has not read them yet."""
    return tuple(
        Gap(partition, committed, edges.retained[partition], accepted=False)
        for partition, committed in sorted(edges.committed.items())
        if edges.retained.get(partition, 0) > committed
    )
