"""Outputs and audit are encoded from columns; fastavro reads exactly what went in."""

import io
import tracemalloc
from dataclasses import replace
from typing import Any

import fastavro
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamsplit.core.byte_strings import ByteStrings
from streamsplit.core.errors import DataError
from streamsplit.core.records import (
    AGREES,
    DIFFERS,
    UNKNOWN,
    Datatype,
    Outcome,
    Predictions,
    RawBatch,
    Reflection,
    RequestColumns,
    Routing,
    TensorSpec,
)
from streamsplit.wire.audit import AuditEncoder, AuditReader
from streamsplit.wire.columns import integers, rows_of, varint
from streamsplit.wire.framing import confluent_header
from streamsplit.wire.outputs import OutputEncoder, OutputReader
from streamsplit.wire.provenance import Provenance
from streamsplit.wire.schemas import SchemaStore, packaged, plain

ARMS = ("control", "canary", "größer")
MODELS = ("delay@1", "delay@2", "encode@1|delay@3")
OUTPUTS = (
    TensorSpec("label", Datatype.INT64, ()),
    TensorSpec("word", Datatype.BYTES, (2,)),
    TensorSpec("probability", Datatype.FP32, (2, 1)),
)
INT64 = st.integers(-(2**63), 2**63 - 1)

row = st.fixed_dictionaries(
    {
        "id": st.text(max_size=200),
        "unit": st.one_of(st.none(), st.binary(max_size=100)),
        "partition": st.integers(0, 2**31 - 1),
        "offset": st.integers(0, 2**63 - 1),
        "time": INT64,
        "rule": st.integers(-1, 3),
        "bucket": st.integers(-1, 9999),
        "arm": st.integers(0, 2),
        "served_by": st.integers(-1, 2),
        "outcome": st.sampled_from(Outcome),
        "micros": st.integers(0, 2**40),
        "score": st.one_of(st.none(), st.floats(allow_nan=False)),
        "label": INT64,
        "word": st.lists(st.text(max_size=80), min_size=2, max_size=2),
        "probability": st.lists(st.floats(width=32, allow_nan=False), min_size=2, max_size=2),
    }
)


class Case:
    """The columns of some rows; every second record of the batch was not decodable."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        def column(name: str, dtype: Any) -> Any:
            return np.array([each[name] for each in rows], dtype)

        m = len(rows)
        self.batch = RawBatch(
            0,
            ByteStrings.repeated(b"", 2 * m),
            ByteStrings.repeated(None, 2 * m),
            ByteStrings.repeated(None, 2 * m),
            np.repeat(column("partition", np.int32), 2),
            np.repeat(column("offset", np.int64), 2),
            np.zeros(2 * m, np.int64),
        )
        ids = ByteStrings.of([each["id"].encode() for each in rows])
        self.requests = RequestColumns(np.arange(m) * 2, ids, column("time", np.int64), {}, {})
        self.routing = Routing(
            ByteStrings.of([each["unit"] for each in rows]),
            column("bucket", np.int16),
            column("rule", np.int16),
            column("arm", np.int8),
        )
        words = np.empty((m, 2), object)
        for index, each in enumerate(rows):
            words[index] = [word.encode() for word in each["word"]]
        outputs = {
            "label": column("label", "<i8"),
            "word": words,
            "probability": column("probability", "<f4").reshape(m, 2, 1),
        }
        self.predictions = Predictions(
            column("served_by", np.int8), column("outcome", np.int8), column("micros", np.int64), outputs, {}
        )
        self.scores = np.array([np.nan if each["score"] is None else each["score"] for each in rows], np.float64)


def provenance(outputs: tuple[TensorSpec, ...] = OUTPUTS, revision: int = 70) -> Provenance:
    return Provenance("delay-v2", revision, ARMS, MODELS, outputs)


def fastavro_reads(name: str, value: bytes) -> Any:
    schema = packaged(name)
    assert value.startswith(schema.header)
    body = io.BytesIO(value[len(schema.header) :])
    record = fastavro.schemaless_reader(body, fastavro.parse_schema(plain(schema.definition), _force=True))
    assert body.read() == b""
    return record


@settings(max_examples=60, deadline=None)
@given(st.lists(row, max_size=12), st.sampled_from([OUTPUTS, OUTPUTS[:1], OUTPUTS[1:2], OUTPUTS[2:], ()]))
def test_outputs_are_what_fastavro_reads(rows: list[dict[str, Any]], outputs: tuple[TensorSpec, ...]) -> None:
    case = Case(rows)
    encoder = OutputEncoder(packaged("output").header)
    values = encoder.encode(case.batch, case.requests, case.predictions, provenance(outputs))
    served = [each for each in rows if each["served_by"] >= 0]
    assert len(values) == len(served)
    for each, value in zip(served, values, strict=True):
        data = {
            "label": np.array(each["label"], "<i8").tobytes(),
            "word": b"".join(len(word.encode()).to_bytes(4, "little") + word.encode() for word in each["word"]),
            "probability": np.array(each["probability"], "<f4").tobytes(),
        }
        assert fastavro_reads("output", value) == {
            "id": each["id"],
            "rollout": "delay-v2",
            "revision": 70,
            "arm": ARMS[each["served_by"]],
            "model": MODELS[each["served_by"]],
            "outcome": each["outcome"].label,
            "outputs": [
                {"name": spec.name, "datatype": spec.datatype, "shape": list(spec.shape), "data": data[spec.name]}
                for spec in outputs
            ],
            "source_partition": each["partition"],
            "source_offset": each["offset"],
        }


def test_wide_outputs_are_written_as_pieces_and_not_byte_by_byte() -> None:
    """Beside arms whose names differ in length; a mask over all bytes would take as much again, and longer."""
    count, width = 200, 2000
    outputs = tuple(TensorSpec(name, Datatype.FP32, (width,)) for name in ("first", "second"))
    specs = (outputs[0], TensorSpec("label", Datatype.INT64, ()), outputs[1])
    rows = np.arange(count)
    numbers = np.arange(count * width, dtype="<f4").reshape(count, width)
    tensors = {"first": numbers, "label": rows, "second": -numbers}
    zeros = np.zeros(count, np.int64)
    predictions = Predictions((rows % 2).astype(np.int8), zeros.astype(np.int8), zeros, tensors, {})
    batch = RawBatch(
        0, *(ByteStrings.repeated(each, count) for each in (b"", None, None)), zeros.astype(np.int32), rows, zeros
    )
    requests = RequestColumns(rows, ByteStrings.repeated(b"id", count), zeros, {}, {})
    tracemalloc.start()
    try:
        values = OutputEncoder(packaged("output").header).encode(batch, requests, predictions, provenance(specs))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 3.5 * 2 * numbers.nbytes
    for row in (0, 1, count - 1):
        found = fastavro_reads("output", values[row])
        assert found["arm"] == ARMS[row % 2]
        assert [each["data"] for each in found["outputs"]] == [
            tensors[spec.name][row].astype(spec.datatype.numpy).tobytes() for spec in specs
        ]


@settings(max_examples=60, deadline=None)
@given(st.lists(row, max_size=12), INT64, st.booleans())
def test_audit_is_what_fastavro_reads(rows: list[dict[str, Any]], now: int, scored: bool) -> None:  # noqa: FBT001
    case = Case(rows)
    values = AuditEncoder(packaged("audit").header).encode(
        case.batch,
        case.requests,
        case.routing,
        case.predictions,
        provenance(revision=-1),
        processed_time=now,
        scores=case.scores if scored else None,
    )
    assert len(values) == len(rows)
    for each, value in zip(rows, values, strict=True):
        nobody = each["served_by"] < 0
        assert fastavro_reads("audit", value) == {
            "id": each["id"],
            "unit": each["unit"],
            "rollout": "delay-v2",
            "revision": -1,
            "rule": each["rule"],
            "bucket": each["bucket"],
            "arm": ARMS[each["arm"]],
            "served_by": None if nobody else ARMS[each["served_by"]],
            "model": None if nobody else MODELS[each["served_by"]],
            "outcome": each["outcome"].label,
            "source_partition": each["partition"],
            "source_offset": each["offset"],
            "request_time": each["time"],
            "processed_time": now,
            "inference_micros": each["micros"],
            "score": each["score"] if scored else None,
            "mirrored": [],
        }


MIRRORED = st.tuples(
    st.sampled_from([outcome for outcome in Outcome if outcome is not Outcome.DEAD_LETTER]),
    st.integers(0, 2**62),
    st.sampled_from([UNKNOWN, DIFFERS, AGREES]),
)
WORD_OF_AGREES = {UNKNOWN: None, DIFFERS: False, AGREES: True}


@settings(max_examples=60, deadline=None)
@given(
    st.lists(row, min_size=1, max_size=12),
    st.lists(st.dictionaries(st.sampled_from(range(1, len(ARMS))), MIRRORED), min_size=12, max_size=12),
    st.sampled_from([None, np.nan, 0.25]),
)
def test_mirrored_requests_are_what_fastavro_reads(
    rows: list[dict[str, Any]], mirrored: list[dict[int, tuple[Outcome, int, int]]], score: float | None
) -> None:
    case = Case(rows)
    reflections = {}
    for arm in range(1, len(ARMS)):
        chosen = [index for index in range(len(rows)) if arm in mirrored[index]]
        columns = list(zip(*(mirrored[index][arm] for index in chosen), strict=True)) or [(), (), ()]
        if chosen:
            reflections[arm] = Reflection(
                np.array(chosen, np.int64),
                np.array(columns[0], np.int8),
                np.array(columns[1], np.int64),
                np.array(columns[2], np.int8),
                scores=None if score is None else np.full(len(chosen), score),
            )
    values = AuditEncoder(packaged("audit").header).encode(
        case.batch,
        case.requests,
        case.routing,
        replace(case.predictions, mirrored=reflections),
        provenance(),
        processed_time=9,
    )
    for index, (each, value) in enumerate(zip(rows, values, strict=True)):
        read = fastavro_reads("audit", value)
        assert (read["id"], read["source_offset"]) == (each["id"], each["offset"])
        assert read["mirrored"] == [
            {
                "arm": ARMS[arm],
                "outcome": outcome.label,
                "inference_micros": micros,
                "score": 0.25 if score == 0.25 else None,
                "agrees": WORD_OF_AGREES[agrees],
            }
            for arm, (outcome, micros, agrees) in sorted(mirrored[index].items())
        ]


ROW: dict[str, Any] = {
    "id": "r1",
    "unit": b"N1",
    "partition": 3,
    "offset": 99,
    "time": 5,
    "rule": -1,
    "bucket": 7,
    "arm": 1,
    "served_by": 0,
    "outcome": Outcome.FALLBACK_ERROR,
    "micros": 12,
    "score": 0.5,
    "label": 1,
    "word": ["a", "b"],
    "probability": [0.5, 0.25],
}


def test_recorded_answers_are_read_back() -> None:
    case, store = Case([ROW]), SchemaStore()
    [output] = OutputEncoder(packaged("output").header).encode(
        case.batch, case.requests, case.predictions, provenance()
    )
    read = OutputReader(store).read(output)
    assert (read.id, read.arm, read.source_offset, read.outputs[2].shape) == ("r1", "control", 99, (2, 1))
    [audit] = AuditEncoder(packaged("audit").header).encode(
        case.batch, case.requests, case.routing, case.predictions, provenance(), processed_time=9
    )
    record = AuditReader(store).read(audit)
    assert (record.unit, record.arm, record.served_by, record.processed_time) == (b"N1", "canary", "control", 9)


@pytest.mark.parametrize("damage", [slice(0, -1), slice(0, 10), slice(0, 5), slice(1, None)])
def test_a_damaged_record_is_a_data_error(damage: slice) -> None:
    case = Case([ROW])
    [audit] = AuditEncoder(packaged("audit").header).encode(
        case.batch, case.requests, case.routing, case.predictions, provenance(), processed_time=9
    )
    reader = AuditReader(SchemaStore())
    with pytest.raises(DataError):
        reader.read(audit[damage])
    with pytest.raises(DataError, match="1 bytes too many"):
        reader.read(audit + b"\0")


def test_values_begin_with_the_header_they_were_given() -> None:
    case = Case([ROW])
    [value] = OutputEncoder(confluent_header(5)).encode(case.batch, case.requests, case.predictions, provenance())
    assert value[:5] == b"\0\0\0\0\5"
    assert value[5:8] == b"\4r1"


@given(st.lists(INT64, min_size=1, max_size=30))
def test_columns_of_integers_are_avro_s(values: list[int]) -> None:
    expected = []
    for value in values:
        body = io.BytesIO()
        fastavro.schemaless_writer(body, "long", value)
        expected.append(body.getvalue())
    assert rows_of([integers(np.array(values, np.int64))], len(values)) == expected
    assert [varint(value) for value in values] == expected
