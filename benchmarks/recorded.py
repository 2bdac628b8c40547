"""What a worker wrote during a measurement: sizes, outcomes, batches."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from statistics import fmean

from benchmarks.ruler import Stretch
from streamsplit.core.errors import ServiceError
from streamsplit.core.summary import Summary
from streamsplit.kafka.clients import Connection
from streamsplit.kafka.topics import Topics
from streamsplit.offline.fields import Fields
from streamsplit.offline.ranges import Extent, extents, read_range
from streamsplit.wire.schemas import SchemaStore
from streamsplit.wire.summaries import SummaryReader

_SAMPLE = 2_000
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
        mirrored_share: Share of requests that were mirrored, by a sample of the audit.
        outcomes: Outcome → requests, in the measured stretch.
    """

    output_bytes: float
    audit_bytes: float
    summary_bytes: float
    batch: float
    candidate_share: float
    mirrored_share: float
    outcomes: Mapping[str, int]


def written(connection: Connection, topics: Topics, stretch: Stretch) -> Written:
    """Read what a worker wrote.

    Raises:
        ServiceError: It served requests otherwise than by the arm they were assigned to, so that its figures would
            speak of something else.
    """
    told = list(_told(connection, topics.summaries))
    summaries = [each for _, each in told if stretch.from_ms <= each.written_time <= stretch.to_ms]
    outcomes, arms = count(summaries)
    if set(outcomes) != {OK}:
        raise ServiceError(f"not every measured request was answered by its own arm: {dict(outcomes)}; measure again")
    requests = arms.total()
    audit = list(_newest(connection, topics.audit))
    return Written(
        output_bytes=fmean(map(len, _newest(connection, topics.outputs))),
        audit_bytes=fmean(map(len, audit)),
        summary_bytes=fmean(length for length, _ in told),
        batch=requests / len(summaries),
        candidate_share=1 - arms["control"] / requests,
        mirrored_share=_mirrored(audit),
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


def _told(connection: Connection, topic: str) -> Iterator[tuple[int, Summary]]:
    """The length of each summary that tells of requests, and the summary."""
    reader = SummaryReader(SchemaStore())
    for value in _values(connection, topic, extents(connection, topic)):
        if (summary := reader.read(value)).windows:
            yield len(value), summary


def _mirrored(audit: Iterable[bytes]) -> float:
    fields = Fields(SchemaStore(), "audit", ("mirrored",))
    records = [fields.read(value) for value in audit]
    return fmean(bool(record and record["mirrored"]) for record in records)


def _newest(connection: Connection, topic: str) -> Iterator[bytes]:
    """The newest values of each partition; the first ones are of the warm-up."""
    kept = extents(connection, topic)
    ends = {number: Extent(max(each.start, each.end - _SAMPLE), each.end) for number, each in kept.items()}
    return _values(connection, topic, ends)


def _values(connection: Connection, topic: str, ranges: Mapping[int, Extent]) -> Iterator[bytes]:
    for chunk in read_range(connection, topic, ranges):
        yield from (value for message in chunk if (value := message.value()) is not None)
