"""What is refused before it reaches a worker, or by the worker itself, while what runs keeps running."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import onnx
import pytest

from tests.service.conftest import Deploy
from tests.service.deployed import MODELS, PATIENCE_SECONDS, Deployed, Running, flights, until

pytestmark = pytest.mark.broker

GOOD = """\
rollout: next
arms:
  control: delay@1
  canary: delay@2
steps:
  - {weight: 10}
"""


@dataclass(frozen=True)
class Serving:
    """A deployment whose worker serves, with a models folder of its own."""

    deployed: Deployed
    worker: Running
    models: Path


@pytest.fixture(scope="module")
def serving(deploy: Deploy, tmp_path_factory: pytest.TempPathFactory) -> Serving:
    """One worker for all refusals: each must leave it as it was."""
    models = tmp_path_factory.mktemp("models") / "models"
    shutil.copytree(MODELS / "delay", models / "delay")
    deployed = deploy(MODELS=str(models))
    worker = deployed.run()
    deployed.apply("serve-delay-1.yaml")
    worker.until_ready()
    return Serving(deployed, worker, models)


def _still_serves(serving: Serving) -> None:
    """The worker is ready, and answers."""
    revision = serving.worker.status()["revision"]
    places = serving.deployed.send(flights(20))
    serving.deployed.until_served()
    outputs = serving.deployed.outputs()
    assert all(outputs[place].outcome == "ok" for place in places)
    assert serving.worker.ask("ready")[0] == 200
    assert serving.worker.status()["revision"] == revision


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (GOOD.replace("weight: 10", "wieght: 10"), ("6", "wieght", "did you mean `weight`?")),
        (GOOD.replace("weight: 10", "weight: 110"), ("6", "weight", "110")),
        (GOOD.replace("canary: delay@2", "canary: delay@99"), ("delay", "99")),
        (GOOD + "judge: {guards: {outcome: {loss: brier}}}\n", ("7", "outcome", "not built yet")),
        (GOOD.replace("steps:", "steps"), (":6:", "no YAML", "could not find expected ':'")),
    ],
    ids=["misspelt field", "weight over 100", "unknown model", "part that is not built", "not YAML"],
)
def test_a_broken_file_is_refused_with_line_field_and_cure(
    serving: Serving, tmp_path: Path, text: str, words: tuple[str, ...]
) -> None:
    file = tmp_path / "broken.yaml"
    file.write_text(text)
    before = serving.deployed.told("history")
    refused = serving.deployed.do("apply", "-f", str(file), code=2).stderr
    assert all(word in refused for word in words), refused
    assert serving.deployed.told("history") == before
    assert serving.worker.ask("ready")[0] == 200


def _other_bytes(folder: Path) -> None:
    path = folder / "model.onnx"
    path.write_bytes(path.read_bytes() + b"\n")


def _external_data(folder: Path) -> None:
    """Moves a weight to a file beside the model, and signs the result anew, so that only this is wrong."""
    import hashlib

    path, card = folder / "model.onnx", folder / "model.yaml"
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    model = onnx.load(path)
    weight = onnx.numpy_helper.from_array(onnx.numpy_helper.np.zeros(4096, "float32"), "beside")
    model.graph.initializer.append(weight)
    onnx.save_model(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    card.write_text(card.read_text().replace(before, hashlib.sha256(path.read_bytes()).hexdigest()))


def _candidate(serving: Serving, folder: Path, spoil: Callable[[Path], None]) -> Path:
    """A rollout file whose candidate has been spoilt in the models folder."""
    candidate = serving.models / "delay" / "2"
    shutil.rmtree(candidate)
    shutil.copytree(MODELS / "delay" / "2", candidate)
    spoil(candidate)
    file = folder / "next.yaml"
    file.write_text(GOOD)
    return file


def test_a_model_whose_bytes_are_not_those_of_its_card_is_refused(serving: Serving, tmp_path: Path) -> None:
    file = _candidate(serving, tmp_path, _other_bytes)
    before = serving.deployed.told("history")
    said = serving.deployed.do("apply", "-f", str(file), code=2).stderr
    assert "sha256" in said
    assert serving.deployed.told("history") == before
    _still_serves(serving)


def test_a_model_with_external_data_is_never_loaded(serving: Serving, tmp_path: Path) -> None:
    file = _candidate(serving, tmp_path, _external_data)
    serving.deployed.do("apply", "-f", str(file))
    serving.worker.until_said("external data")
    said = serving.deployed.do("apply", "-f", str(file), "--wait", "--timeout", "10", code=1).stderr
    assert "external data" in said
    assert "save_as_external_data=False" in said
    assert serving.worker.status()["phase"] == "Preparing"
    _still_serves(serving)
    assert "Failed" in serving.deployed.do("abort").stdout


def test_a_worker_with_other_bytes_than_were_applied_keeps_the_rollout_waiting_and_says_why(
    serving: Serving, tmp_path: Path
) -> None:
    """The file was applied where the model is right; this worker's own copy is not."""
    file = _candidate(serving, tmp_path, _other_bytes)
    # This very file may have been aborted before.
    serving.deployed.do("apply", "-f", str(file), "--retry", MODELS=str(MODELS))
    said = serving.worker.until_said("sha256")
    assert "delay@2" in said
    assert serving.worker.status()["phase"] == "Preparing"
    _still_serves(serving)
    shutil.copy(MODELS / "delay" / "2" / "model.onnx", serving.models / "delay" / "2" / "model.onnx")
    serving.deployed.do("status", "--wait")
    until(lambda: serving.worker.status()["phase"] == "Progressing", PATIENCE_SECONDS, serving.worker.why)
    serving.deployed.verify()
