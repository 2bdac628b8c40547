"""The committed flight models are what their cards, their scores and their stories say."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from models.catalogue import NAME
from models.flight_table import FEATURES, FlightTable, load_flights
from models.scoring import Scores, feed, open_model, score, score_table
from models.train import committed_scores, differences, split
from models.versions import UNSEEN
from streamsplit.inference.manifest import Manifest
from streamsplit.inference.repository import Repository

HOME = Path(__file__).parents[2] / "models"
VERSIONS = ("1", "2", "3", "4", "5")


def manifest(version: str) -> Manifest:
    return Repository(HOME).manifest(f"{NAME}@{version}")


def model_bytes(version: str) -> bytes:
    repository = Repository(HOME)
    return repository.read(repository.pin(f"{NAME}@{version}"))


def session(version: str) -> onnxruntime.InferenceSession:
    return open_model(model_bytes(version))


@pytest.fixture(scope="module")
def later() -> FlightTable:
    return split()[1]


@pytest.fixture(scope="module")
def scored(later: FlightTable) -> dict[str, Scores]:
    """Scores over every tenth later flight."""
    tenth = later.take(slice(0, None, 10))
    return {version: score(session(version), tenth) for version in VERSIONS}


@pytest.mark.parametrize("version", VERSIONS)
def test_a_committed_model_has_the_digest_of_its_card_and_is_small(version: str) -> None:
    assert len(model_bytes(version)) < 300_000  # `pin` compares the digest


@pytest.mark.parametrize("version", VERSIONS)
def test_golden_records_reproduce_in_a_batch_and_alone(version: str) -> None:
    card = manifest(version)
    assert 3 <= len(card.golden) <= 5
    numeric = np.array([golden.inputs["numeric"] for golden in card.golden], dtype=np.float32)
    carrier = np.array([golden.inputs["carrier"] for golden in card.golden], dtype=object)
    expected = [golden.outputs["probability"] for golden in card.golden]
    opened = session(version)
    probability, label = opened.run(["probability", "label"], {"numeric": numeric, "carrier": carrier})
    np.testing.assert_allclose(probability, expected, rtol=0, atol=card.tolerance)
    assert label.tolist() == [list(golden.outputs["label"]) for golden in card.golden]
    for row in range(len(numeric)):
        alone = {"numeric": numeric[row : row + 1], "carrier": carrier[row : row + 1]}
        np.testing.assert_allclose(opened.run(["probability"], alone)[0][0], expected[row], rtol=0, atol=card.tolerance)


def test_golden_records_are_flights_that_took_place() -> None:
    table = load_flights()
    for golden in manifest("2").golden:
        same = (table.numeric == np.array(golden.inputs["numeric"], dtype=np.float32)).all(axis=1)
        assert (same & (table.carriers == golden.inputs["carrier"][0])).any()


def test_all_versions_have_one_signature() -> None:
    signatures = {manifest(version).signature for version in VERSIONS}
    assert len(signatures) == 1
    (inputs,) = {signature.inputs for signature in signatures}
    assert [(spec.name, spec.datatype.value, spec.shape, spec.finite) for spec in inputs] == [
        ("numeric", "FP32", (len(FEATURES),), True),
        ("carrier", "BYTES", (1,), False),
    ]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_graph_uses_standard_operators_and_holds_all_its_data(version: str) -> None:
    model = onnx.load_model_from_string(model_bytes(version))
    assert {node.domain for node in model.graph.node} <= {"", "ai.onnx.ml"}
    assert not any(tensor.external_data for tensor in model.graph.initializer)


@pytest.mark.parametrize("version", ["1", "2", "3", "4"])
def test_the_recorded_scores_are_those_of_the_committed_model(version: str, later: FlightTable) -> None:
    again = {version: score(session(version), later).as_mapping()}
    assert differences({version: committed_scores()[version]}, again) == []


def test_the_readme_shows_the_recorded_scores() -> None:
    assert score_table(committed_scores()) in (HOME / "README.md").read_text(encoding="utf-8")


def test_the_second_model_predicts_later_months_better_than_the_first(scored: dict[str, Scores]) -> None:
    first, second = scored["1"], scored["2"]
    assert second.log_loss < first.log_loss - 0.03
    assert second.brier < first.brier - 0.01
    assert second.auc > first.auc + 0.05


def test_the_third_model_predicts_worse_than_the_first(scored: dict[str, Scores]) -> None:
    assert scored["3"].log_loss > scored["1"].log_loss + 0.1
    assert scored["3"].brier > scored["1"].brier + 0.05


def test_the_third_model_is_the_second_with_two_columns_swapped(later: FlightTable) -> None:
    inputs = feed(later.take(slice(0, 256)))
    delay, hour = FEATURES.index("dep_delay"), FEATURES.index("hour")
    order = list(range(len(FEATURES)))
    order[delay], order[hour] = hour, delay
    swapped = {**inputs, "numeric": np.ascontiguousarray(inputs["numeric"][:, order])}
    np.testing.assert_array_equal(session("3").run(None, swapped)[0], session("2").run(None, inputs)[0])


def test_the_fourth_model_raises_on_carriers_that_its_encoder_never_saw(later: FlightTable) -> None:
    opened = session("4")
    for carrier in sorted(set(later.carriers)):
        flight = feed(later.take(later.carriers == carrier).take(slice(0, 1)))
        if carrier in UNSEEN:
            with pytest.raises(Exception, match="Unknown Category"):
                opened.run(None, flight)
        else:
            assert np.isfinite(opened.run(["probability"], flight)[0]).all()


def test_the_fourth_model_answers_about_two_thirds_of_the_flights(scored: dict[str, Scores]) -> None:
    assert 0.6 < scored["4"].answered < 0.7


def test_the_fifth_model_is_good_and_does_at_least_thirty_times_the_work_of_the_second(
    scored: dict[str, Scores],
) -> None:
    assert scored["5"].log_loss < scored["1"].log_loss
    slow = onnx.load_model_from_string(model_bytes("5"))
    fast = onnx.load_model_from_string(model_bytes("2"))
    multiplications = max(int(np.prod(tensor.dims)) for tensor in slow.graph.initializer)  # of each row
    (trees,) = (node for node in fast.graph.node if node.op_type == "TreeEnsembleRegressor")
    nodes = next(len(entry.ints) for entry in trees.attribute if entry.name == "nodes_nodeids")
    assert multiplications > 30 * nodes  # a row compares at most every node once
