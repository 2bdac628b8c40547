"""Columns from a broker: what was committed when the verification began."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from confluent_kafka import Message
from numpy.typing import NDArray

from streamsplit.core.byte_strings import ByteStrings
from streamsplit.core.errors import DataError
from streamsplit.core.headers import Headers
from streamsplit.core.records import RequestColumns
from streamsplit.kafka.clients import Connection
from streamsplit.kafka.topics import Topics
from streamsplit.offline.derivation import wanted_attributes
from streamsplit.offline.fields import Fields, RequestFields, text_bytes
from streamsplit.offline.history import accepted, read_history
from streamsplit.offline.mirrors import word_of
from streamsplit.offline.ranges import Extent, committed_offsets, extents, place_of, read_range
from streamsplit.offline.recorded import (
    NOTHING,
    Recorded,
    RecordedAudits,
    RecordedDeadLetters,
    RecordedOutputs,
    RecordedRequests,
    Words,
    fingerprint,
    head_fingerprint,
    joined,
)
from streamsplit.offline.rehash import Committed, Rehash
from streamsplit.offline.report import Gap, Span
from streamsplit.offline.universe import Edges, spans, unread_gaps
from streamsplit.wire.dead_letters import PREFIX
from streamsplit.wire.schemas import SchemaStore
from streamsplit.wire.summaries import SummaryReader

_TOPIC, _PARTITION, _OFFSET, _STAGE = (PREFIX + word for word in ("topic", "partition", "offset", "stage"))
_OUTPUT = ("id", "rollout", "revision", "arm", "model", "outcome", "source_partition", "source_offset")
_AUDIT = (*_OUTPUT, "unit", "rule", "bucket", "served_by", "mirrored")


@dataclass(frozen=True, slots=True)
class Reading:
    """What a verification is made of.

    Attributes:
        recorded: The columns.
        spans: The universe.
        unread: Ranges that retention removed before they were read.
    """

    recorded: Recorded
    spans: tuple[Span, ...]
    unread: tuple[Gap, ...]


def read(connection: Connection, topics: Topics, schemas: SchemaStore) -> Reading:
    """Read a deployment's topics, committed records alone.

    The order matters: offsets first, then how far the topics of answers reach, so that every answer to a request
    below the committed offset is there.

    Args:
        connection: The way to the broker.
        topics: The deployment's.
        schemas: Writers' schemas.

    Raises:
        ServiceError: A topic is missing or cannot be read.
    """
    of_requests = extents(connection, topics.requests)
    committed = committed_offsets(connection, group_of(topics.deployment), topics.requests, of_requests)
    states, kinds = accepted(read_history(connection, topics.control))
    answers = topics.audit, topics.outputs, topics.dead_letters
    ends = {name: extents(connection, name) for name in (topics.summaries, *answers)}
    rehash = Rehash(_committed(connection, topics, schemas, ends))
    audit_fields, output_fields = Fields(schemas, "audit", _AUDIT), Fields(schemas, "output", _OUTPUT)
    # A chunk becomes columns before the next is read: a million records as objects would fill a gigabyte.
    audit_parts = [_audits(chunk, audit_fields, rehash) for chunk in _chunks(connection, topics.audit, ends)]
    audits = joined([part for part, _ in audit_parts])
    outputs = joined([_outputs(chunk, output_fields) for chunk in _chunks(connection, topics.outputs, ends)])
    rehash.dead_letters()
    parts = [_dead_letters(chunk, rehash) for chunk in _chunks(connection, topics.dead_letters, ends)]
    letters = joined([part for part, _ in parts])
    unsourced = tuple(place for _, places in (*audit_parts, *parts) for place in places)
    edges = Edges(
        committed=committed,
        retained={partition: extent.start for partition, extent in of_requests.items()},
        cut={
            name: frozenset(partition for partition, extent in ends[name].items() if extent.start > 0)
            for name in answers
        },
    )
    universe = spans(edges, {topics.audit: audits, topics.outputs: outputs, topics.dead_letters: letters})
    judged = {span.partition: Extent(span.start, span.end) for span in universe if span.start < span.end}
    attributes = wanted_attributes(states)
    requests = _requests(
        read_range(connection, topics.requests, judged), RequestFields(schemas, attributes), attributes
    )
    digested = rehash.digested(edges.cut[topics.audit], edges.cut[topics.dead_letters])
    recorded = Recorded(requests, audits, outputs, letters, states, kinds, unsourced, digested)
    return Reading(recorded, universe, unread_gaps(edges))


def group_of(deployment: str) -> str:
    """The consumer group that reads a deployment's requests."""
    return f"{deployment}.requests"


def _chunks(connection: Connection, topic: str, ends: Mapping[str, Mapping[int, Extent]]) -> Iterator[list[Message]]:
    yield []  # an empty topic still has columns
    yield from read_range(connection, topic, ends[topic])


def _committed(
    connection: Connection, topics: Topics, schemas: SchemaStore, ends: Mapping[str, Mapping[int, Extent]]
) -> Committed:
    """What the summaries say was committed."""
    reader = SummaryReader(schemas)
    committed = Committed(begins=ends[topics.summaries][0].start == 0)
    for chunk in _chunks(connection, topics.summaries, ends):
        for message in chunk:
            try:
                committed.add(place_of(message)[2], message.value() or b"", reader.read(message.value() or b""))
            except DataError:
                committed.add(place_of(message)[2], b"", None)
    return committed


def _numbers(values: Iterable[int], dtype: type[np.generic]) -> NDArray[Any]:
    return np.array(list(values), dtype)


def _audits(
    messages: list[Message], fields: Fields, rehash: Rehash
) -> tuple[RecordedAudits, tuple[tuple[int, int], ...]]:
    """The audit records, and the places of what is none."""
    rows, unsourced = [], []
    for message in messages:
        _, partition, offset = place_of(message)
        record = fields.read(message.value())
        if not record:
            unsourced.append((partition, offset))
            continue
        rows.append((partition, record))
        rehash.audit(record["source_partition"], record["source_offset"], message.value())
    records = [record for _, record in rows]
    columns = RecordedAudits(
        **_shared(rows, records),
        rules=_numbers((record["rule"] for record in records), np.int32),
        buckets=_numbers((record["bucket"] for record in records), np.int32),
        units=_numbers((fingerprint(record["unit"]) for record in records), np.uint64),
        served_by=Words.of(record["served_by"] for record in records),
        mirrored=Words.of(word_of(record["mirrored"]) for record in records),
    )
    return columns, tuple(unsourced)


def _outputs(messages: list[Message], fields: Fields) -> RecordedOutputs:
    rows, heads = [], []
    for message in messages:
        if record := fields.read(message.value()):
            rows.append((place_of(message)[1], record))
            heads.append(head_fingerprint(message.key(), _headers(message)))
    return RecordedOutputs(**_shared(rows, [record for _, record in rows]), heads=np.array(heads, np.uint64))


def _shared(rows: list[tuple[int, Mapping[str, Any]]], records: list[Mapping[str, Any]]) -> dict[str, Any]:
    """The columns that audit and outputs have in common."""
    return {
        "partitions": _numbers((record["source_partition"] for record in records), np.int32),
        "offsets": _numbers((record["source_offset"] for record in records), np.int64),
        "own_partitions": _numbers((partition for partition, _ in rows), np.int32),
        "revisions": _numbers((record["revision"] for record in records), np.int64),
        "ids": _numbers((fingerprint(text_bytes(record["id"])) for record in records), np.uint64),
        "rollouts": Words.of(record["rollout"] for record in records),
        "arms": Words.of(record["arm"] for record in records),
        "models": Words.of(record["model"] for record in records),
        "outcomes": Words.of(record["outcome"] for record in records),
    }


def _dead_letters(messages: list[Message], rehash: Rehash) -> tuple[RecordedDeadLetters, tuple[tuple[int, int], ...]]:
    """The dead letters, and the places of those that name no request."""
    partitions, offsets, own, heads, routed, unsourced = [], [], [], [], [], []
    for message in messages:
        _, partition, offset = place_of(message)
        headers = _headers(message)
        named = dict(headers)
        try:
            source = int(named[_PARTITION] or b""), int(named[_OFFSET] or b"")
        except (KeyError, ValueError):
            unsourced.append((partition, offset))
            continue
        rehash.dead_letter(*source, message.value())
        partitions.append(source[0])
        offsets.append(source[1])
        own.append(partition)
        # A dead letter that was sent again as a request has such headers of its own; ours are the last.
        ours = max((at for at, (name, _) in enumerate(headers) if name == _TOPIC), default=0)
        reference = _is_reference(message.value(), *source)
        heads.append(NOTHING if reference else head_fingerprint(message.key(), headers[:ours]))
        routed.append(named.get(_STAGE) != b"decode")
    columns = RecordedDeadLetters(
        np.array(partitions, np.int32),
        np.array(offsets, np.int64),
        np.array(own, np.int32),
        np.array(heads, np.uint64),
        np.array(routed, np.bool_),
    )
    return columns, tuple(unsourced)


def _is_reference(value: bytes | None, partition: int, offset: int) -> bool:
    """Whether a dead letter stands for a request that was too large to keep: its key and headers may be missing."""
    try:
        document = json.loads(value or b"")
    except ValueError:
        return False
    return (
        isinstance(document, dict)
        and "sha256" in document
        and ((document.get("partition"), document.get("offset")) == (partition, offset))
    )


def _requests(chunks: Iterable[list[Message]], fields: RequestFields, attributes: tuple[str, ...]) -> RecordedRequests:
    partitions, offsets, heads, keys, found = [], [], [], [], []
    for chunk in chunks:
        for message in chunk:
            _, partition, offset = place_of(message)
            key = message.key()
            partitions.append(partition)
            offsets.append(offset)
            heads.append(head_fingerprint(key, _headers(message)))
            keys.append(key)
            found.append(fields.read(message.value()))
    order = np.lexsort((np.array(offsets, np.int64), np.array(partitions, np.int32)))
    sorted_fields = [found[row] for row in order]
    rows = [row for row, read_fields in enumerate(sorted_fields) if read_fields is not None]
    decoded = [read_fields for read_fields in sorted_fields if read_fields is not None]
    columns = RequestColumns(
        rows=np.array(rows, np.int64),
        ids=ByteStrings.of([identity for identity, _ in decoded]),
        times=np.zeros(len(decoded), np.int64),
        attributes={name: ByteStrings.of([values[at] for _, values in decoded]) for at, name in enumerate(attributes)},
        inputs={},
    )
    return RecordedRequests(
        np.array(partitions, np.int32)[order],
        np.array(offsets, np.int64)[order],
        np.array(heads, np.uint64)[order],
        ByteStrings.of(keys).at(order),
        columns,
    )


def _headers(message: Message) -> Headers:
    return cast("Headers", message.headers() or ())
