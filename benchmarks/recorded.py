"""What a worker wrote during a measurement: sizes, outcomes, batches."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from statistics import fmean

from benchmarks.ruler import Stretch
from streamsplit.core.errors import ServiceError
from streamsplit.core.summary import Summary
from streamsplit.kafka.clients import Connection
from streamsplit.kafka.topics import Topics
from streamsplit.offline.ranges import extents, read_range
from streamsplit.wire.schemas import SchemaStore
from streamsplit.wire.summaries import SummaryReader

_SAMPLE_CHUNKS = 3
OK = "ok"


@dataclass(frozen=True, slots=True)
class Written:
    """What was written.

    Attributes:
        output_bytes: Mean length of an output value, without its key.
        audit_bytes: Mean length of an audit value.
        summary_bytes: Mean length of a summary that tells of requests.
        batch: Mean number of requests in a transaction, in the measured stretch.
        candidate_share: Share of requests assigned to candidates, in the measured stretch.
        outcomes: Outcome → requests, in the measured stretch.
    """

    output_bytes: float
    audit_bytes: float
    summary_bytes: float
    batch: float
    candidate_share: float
    outcomes: Mapping[str, int]


def written(connection: Connection, topics: Topics, stretch: Stretch) -> Written:
    """Read what a worker wrote.

    Raises:
        ServiceError: It served requests otherwise than by the arm they were assigned to, so that its figures would
            speak of something else.
    """
    reader = SummaryReader(SchemaStore())
    told = [
        (len(value), summary)
        for value in _values(connection, topics.summaries)
        if (summary := reader.read(value)).windows
    ]
    summaries = [each for _, each in told if stretch.from_ms <= each.written_time <= stretch.to_ms]
    outcomes, arms = count(summaries)
    if set(outcomes) != {OK}:
        raise ServiceError(f"not every measured request was answered by its own arm: {dict(outcomes)}; measure again")
    requests = arms.total()
    return Written(
        output_bytes=_mean_length(connection, topics.outputs),
        audit_bytes=_mean_length(connection, topics.audit),
        summary_bytes=fmean(length for length, _ in told),
        batch=requests / len(summaries),
        candidate_share=1 - arms["control"] / requests,
        outcomes=dict(outcomes),
    )


def count(summaries: Iterable[Summary]) -> tuple[Counter[str], Counter[str]]:
    """Requests by outcome, and by the arm they were assigned to."""
    outcomes: Counter[str] = Counter()
    arms: Counter[str] = Counter()
    for window in (window for summary in summaries for window in summary.windows):
        outcomes.update(window.outcomes)
        arms[window.arm] += window.requests
    return outcomes, arms


def _values(connection: Connection, topic: str) -> Iterable[bytes]:
    for chunk in read_range(connection, topic, extents(connection, topic)):
        yield from (value for message in chunk if (value := message.value()) is not None)


def _mean_length(connection: Connection, topic: str) -> float:
    chunks = islice(read_range(connection, topic, extents(connection, topic)), _SAMPLE_CHUNKS)
    return fmean(len(message.value() or b"") for chunk in chunks for message in chunk)
