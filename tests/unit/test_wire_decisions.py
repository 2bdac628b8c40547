"""A decision comes back from the wire exactly as it was made."""

import io
import json
from dataclasses import replace

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamsplit.core.decision import Decision, DecisionKind, Reading, Verdict, WindowPoint
from streamsplit.core.errors import DataError
from streamsplit.wire.decisions import DecisionEncoder, DecisionReader, decision_record
from streamsplit.wire.framing import confluent_header
from streamsplit.wire.schemas import Schema, SchemaStore, packaged, parse_schema

ENCODER, READER = DecisionEncoder(packaged("decision").header), DecisionReader(SchemaStore())
LONGS = st.integers(-(2**63), 2**63 - 1)
NUMBERS = st.floats(allow_nan=False)
MAYBE = st.none() | NUMBERS
READINGS = st.builds(
    Reading,
    guard=st.text(),
    arm=st.text(),
    verdict=st.sampled_from(Verdict),
    **dict.fromkeys(
        ("control", "candidate", "effect", "low", "high", "log_e", "log_needed", "log_e_good", "log_needed_good"), MAYBE
    ),
    unit=st.text(),
    counts=st.dictionaries(st.text(), NUMBERS, max_size=5),
    dry_run=st.booleans(),
)
DECISIONS = st.builds(
    Decision,
    **dict.fromkeys(("decision_id", "rollout", "command", "command_id"), st.text()),
    **dict.fromkeys(
        ("apply_revision", "revision", "window_start", "window_end", "summaries_to", "control_to", "log_time"), LONGS
    ),
    step=st.integers(-1, 2**31 - 1),
    kind=st.sampled_from(DecisionKind),
    reasons=st.lists(st.text(), max_size=4).map(tuple),
    readings=st.lists(READINGS, max_size=4).map(tuple),
    windows=st.lists(st.builds(WindowPoint, LONGS, LONGS, LONGS, LONGS, LONGS, NUMBERS), max_size=4).map(tuple),
    advice=st.booleans(),
    judge=st.integers(0, 2**31 - 1),
)
BARE = Decision("id", "delay-v2", 1, 2, 0, 0, 5000, DecisionKind.HOLD, ())


@given(DECISIONS)
def test_every_decision_survives_the_round_trip_exactly(decision: Decision) -> None:
    assert repr(READER.read(ENCODER.encode(decision))) == repr(_ordered(decision))


def _ordered(decision: Decision) -> Decision:
    """With the counts by name, and in plain dicts: their order is no part of a decision."""
    readings = tuple(replace(each, counts=dict(sorted(each.counts.items()))) for each in decision.readings)
    return replace(decision, readings=readings)


def test_the_order_of_counts_changes_no_byte() -> None:
    one, other = ({"a": 1.0, "b": 2.0}, {"b": 2.0, "a": 1.0})
    readings = [Reading("errors", "canary", Verdict.OPEN, counts=counts) for counts in (one, other)]
    first, second = (ENCODER.encode(replace(BARE, readings=(each,))) for each in readings)
    assert first == second


def test_a_decision_of_an_older_schema_is_read_with_what_it_lacks_by_default() -> None:
    older = json.loads(packaged("decision").text)
    evidence = next(field for field in older["fields"] if field["name"] == "evidence")["type"]["items"]
    for record in (older, evidence):
        record["fields"] = [field for field in record["fields"] if "default" not in field]
    schema = parse_schema(json.dumps(older))
    decision = replace(BARE, readings=(Reading("errors", "canary", Verdict.BAD, control=0.25, dry_run=True),), judge=7)
    expected = replace(BARE, readings=(Reading("errors", "canary", Verdict.BAD),), judge=1)
    assert DecisionReader(SchemaStore([schema])).read(_written(schema, decision)) == expected


def _written(schema: Schema, decision: Decision) -> bytes:
    body = io.BytesIO()
    body.write(schema.header)
    fastavro.schemaless_writer(body, fastavro.parse_schema(schema.definition, _force=True), decision_record(decision))
    return body.getvalue()


def test_a_decision_is_framed_for_a_registry_where_there_is_one() -> None:
    class One:
        def schema(self, schema_id: int) -> Schema:
            assert schema_id == 7
            return packaged("decision")

    value = DecisionEncoder(confluent_header(7)).encode(BARE)
    assert DecisionReader(SchemaStore(registry=One())).read(value) == BARE


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (b"", "is empty"),
        (b"{}", "expected decision in Avro, got JSON"),
        (ENCODER.encode(BARE)[:-1], "no decision"),
        (ENCODER.encode(BARE) + b"\0", "1 bytes too many"),
        (packaged("audit").header + b"\0", "no decision"),
        (packaged("decision").header, "no decision"),
        (ENCODER.encode(BARE).replace(b"\x08hold", b"\x08wait"), "'wait' is not a valid DecisionKind; upgrade"),
    ],
    ids=["nothing", "JSON", "cut off", "too long", "audit", "only a header", "a newer kind"],
)
def test_what_is_no_decision_is_refused_with_the_reason(value: bytes, said: str) -> None:
    with pytest.raises(DataError, match=said):
        READER.read(value)
