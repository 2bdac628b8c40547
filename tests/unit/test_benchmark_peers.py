"""What the benchmark compares StreamSplit with: the same requests, the same arms, the same records."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.digits import CANDIDATE, CONTROL, PIXELS, WRITERS, digit_requests, images, write_models
from benchmarks.pass_through import producer_config
from benchmarks.peers import PEERS, Plan, named, plain
from benchmarks.peers.records import Filler, Schema, Source
from benchmarks.peers.scorer import Scorer
from examples.flight_requests import flight_requests
from streamsplit.core.byte_strings import ByteStrings
from streamsplit.core.records import RawBatch
from streamsplit.core.routing import bucket_of
from streamsplit.inference.repository import Repository
from streamsplit.inference.session import Model
from streamsplit.inference.vetting import warm_up
from streamsplit.kafka.clients import Connection
from streamsplit.wire.decoder import RequestDecoder
from streamsplit.wire.reader import RecordReader
from streamsplit.wire.request import Wanted
from streamsplit.wire.schemas import SchemaStore, packaged

ROOT = Path(__file__).parents[2]
DELAY = tuple(str(ROOT / "models" / "delay" / version / "model.onnx") for version in ("1", "2"))
COUNT = 500
SOURCES = [Source(number % 4, number, 1_700_000_000_000 + number) for number in range(COUNT)]


def plan(models: tuple[str, ...] = DELAY, output_bytes: float = 0.0) -> Plan:
    assert len(models) == 2
    pair = (models[0], models[1])
    return Plan("127.0.0.1:1", "in", "bench", 100, pair, "flights", "delay-v2", 10, output_bytes, 240, "/nowhere")


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_models(folder)
    return folder


@pytest.fixture(scope="module")
def flights() -> list[bytes]:
    return [request.value or b"" for request in flight_requests(COUNT)]


def test_a_plan_travels_as_text() -> None:
    assert Plan.parse(plan().text()) == plan()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"bacth": 1}, "bacth; expected only audit_bytes"),
        ({"models": ["control.onnx"]}, "two models"),
        ({"brokers": None}, "not complete.*brokers"),
    ],
)
def test_a_plan_that_is_not_one_is_refused(change: dict[str, object], complaint: str) -> None:
    told = {**json.loads(plan().text()), **change}
    with pytest.raises(ValueError, match=complaint):
        Plan.parse(json.dumps({name: value for name, value in told.items() if value is not None}))


def test_an_unknown_peer_is_answered_with_those_there_are() -> None:
    with pytest.raises(KeyError, match=r"plain, kstreams, quix, faust_agent.*'flink'"):
        named("flink")


def test_every_peer_is_started_with_the_plan_as_its_last_argument() -> None:
    for peer in PEERS:
        assert Plan.parse(peer.command(plan())[-1]) == plan()


def test_what_java_unpacks_goes_into_the_folder_that_is_removed_afterwards() -> None:
    assert "-Djava.io.tmpdir=/nowhere" in named("kstreams").command(plan())


def test_the_loop_produces_with_the_settings_of_the_pass_through() -> None:
    limit = producer_config(Connection("127.0.0.1:1"), "x")
    mine = plain.producer_config(plan())
    assert mine["linger.ms"] == limit["linger.ms"]
    assert mine["batch.num.messages"] == limit["batch.num.messages"]
    assert mine["queue.buffering.max.messages"] == limit["queue.buffering.max.messages"]


def test_peers_route_as_streamsplit_does(flights: list[bytes]) -> None:
    store = SchemaStore()
    outputs, audit = RecordReader(store, "output"), RecordReader(store, "audit")
    canaries = 0
    for source, (output, record) in zip(SOURCES, Scorer(plan()).many(flights, SOURCES), strict=True):
        answer, told = outputs.read(output), audit.read(record)
        bucket = bucket_of("delay-v2", answer["id"].encode())
        arm, model = ("canary", "delay@2") if bucket < 1000 else ("control", "delay@1")
        canaries += arm == "canary"
        assert (answer["arm"], answer["model"], told["arm"], told["served_by"]) == (arm, model, arm, arm)
        assert (told["unit"], told["bucket"]) == (answer["id"].encode(), bucket)
        assert (answer["source_partition"], answer["source_offset"]) == source[:2]
        assert (told["source_partition"], told["source_offset"], told["request_time"]) == source
    assert 0 < canaries < COUNT / 5


def test_a_request_alone_is_answered_as_in_a_batch(flights: list[bytes]) -> None:
    scorer, decode = Scorer(plan()), Schema("output").decode
    for (output, _), value, source in zip(scorer.many(flights, SOURCES), flights, SOURCES, strict=True):
        together, alone = decode(output), decode(scorer.one(value, source)[0])
        assert {**together, "outputs": None} == {**alone, "outputs": None}
        for one, other in zip(together["outputs"], alone["outputs"], strict=True):
            kind = "<f4" if one["datatype"] == "FP32" else "<i8"
            assert np.allclose(np.frombuffer(one["data"], kind), np.frombuffer(other["data"], kind), atol=1e-6)


def test_values_are_as_long_in_the_mean_as_they_shall_be(flights: list[bytes]) -> None:
    wanted = 260.0
    encoded = Scorer(plan(output_bytes=wanted)).many(flights, SOURCES)
    assert abs(np.mean([len(output) for output, _ in encoded]) - wanted) < 1
    assert abs(np.mean([len(record) for _, record in encoded]) - 240) < 1


def test_a_value_that_is_long_enough_is_not_filled() -> None:
    filler = Filler(10)
    filler.note(b"x" * 12)
    assert filler.text == ""


def test_a_value_of_another_schema_is_refused_by_its_header() -> None:
    with pytest.raises(ValueError, match=f"begins with {packaged('request').header.hex()}"):
        Scorer(plan()).one(packaged("output").header + b"\0" * 40, SOURCES[0])


def test_digits_are_models_that_a_worker_would_load(digits: Path) -> None:
    repository = Repository(digits)
    signatures = []
    for label in (CONTROL, CANDIDATE):
        manifest, raw = repository.manifest(label), repository.read(repository.pin(label))
        warm_up(Model(manifest, raw, ["CPUExecutionProvider"], 1), run_rows=256)
        signatures.append(manifest.signature)
    assert signatures[0] == signatures[1]


def test_digits_are_requests_that_a_worker_reads(digits: Path) -> None:
    signature = Repository(digits).manifest(CONTROL).signature
    requests = list(digit_requests(WRITERS + 2))
    assert len({request.id for request in requests}) == len(requests)
    assert requests[WRITERS].key == requests[0].key
    n = 3
    batch = RawBatch(
        0,
        ByteStrings.of([request.value for request in requests[:n]]),
        ByteStrings.repeated(None, n),
        ByteStrings.repeated(None, n),
        np.zeros(n, np.int32),
        *[np.arange(n)] * 2,
    )
    columns, letters = RequestDecoder(SchemaStore()).decode(batch, Wanted(signature.inputs, ()))
    assert not letters
    assert columns.inputs["pixels"].shape == (n, PIXELS)
    assert np.array_equal(columns.inputs["pixels"], images()[:n])


def test_peers_answer_digits_as_well_as_the_models_do(digits: Path) -> None:
    models = tuple(str(digits / "digits" / version / "model.onnx") for version in ("1", "2"))
    values = [request.value or b"" for request in digit_requests(COUNT)]
    answers = [Schema("output").decode(output) for output, _ in Scorer(plan(models)).many(values, SOURCES)]
    labels = [int.from_bytes(answer["outputs"][1]["data"], "little") for answer in answers]
    from sklearn.datasets import load_digits

    assert np.mean(np.array(labels) == load_digits().target[:COUNT]) > 0.9
    assert {answer["model"] for answer in answers} == {CONTROL, CANDIDATE}
