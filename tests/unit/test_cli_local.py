"""Verbs that need no broker, and what is said when there is none."""

import json
import re
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from streamsplit.cli.main import app

MODELS = Path(__file__).parents[2] / "models"
ROLLOUT = """\
rollout: delay-v2
arms:
  control: delay@1
  canary: delay@2
steps:
  - {weight: 10}
  - {weigth: 75}
"""


def run(*words: str, **variables: str) -> Result:
    return CliRunner().invoke(app, list(words), env={f"STREAMSPLIT_{name}": value for name, value in variables.items()})


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings of the person who runs the tests."""
    monkeypatch.chdir(tmp_path)


def test_lint_names_line_field_and_nearest_word(tmp_path: Path) -> None:
    file = tmp_path / "rollout.yaml"
    file.write_text(ROLLOUT)
    result = run("lint", "-f", str(file))
    assert result.exit_code == 1
    assert f"{file}:7: steps[1].weigth: unknown field" in result.stdout
    assert "did you mean `weight`?" in result.stdout


def test_lint_of_a_good_file_is_exit_0_and_its_json_is_json(tmp_path: Path) -> None:
    file = tmp_path / "rollout.yaml"
    file.write_text(ROLLOUT.replace("weigth", "weight"))
    result = run("lint", "-f", str(file), "-o", "json")
    assert result.exit_code == 0
    said = json.loads(result.stdout)
    assert (said["ok"], said["findings"]) == (True, [])
    assert [(step["step"], step["left_on"], step["seconds"]) for step in said["steps"]] == [
        (0, "evidence", None),
        (1, "evidence", None),
    ]


def test_lint_says_what_each_step_takes_at_a_rate_and_warns_above_the_deadline(tmp_path: Path) -> None:
    file = tmp_path / "rollout.yaml"
    file.write_text(ROLLOUT.replace("weigth", "weight") + "judge: {deadline: 1h}\n")
    result = run("lint", "-f", str(file), "--rate", "5")
    assert result.exit_code == 0
    assert f"{file}:6: note: steps[0]: at 5 requests/s the rollout is here for up to" in result.stdout
    assert "mirror first" in result.stdout
    assert re.search(
        r"steps\[0\] +10 % +evidence +2,\d00 to 3,\d00 +2\d,000 to 3\d,000 +\d+ min to [\d.]+ h", result.stdout
    )
    assert run("lint", "-f", str(file), "--rate", "0").exit_code == 2


def test_lint_of_a_missing_file_is_wrong_use() -> None:
    result = run("lint", "-f", "nowhere.yaml")
    assert result.exit_code == 2
    assert "cannot read nowhere.yaml" in result.stderr


def test_config_show_masks_secrets_and_keeps_the_rest() -> None:
    shown = run("config", "show", "-o", "json", SECURITY='{"sasl.password": "hunter2", "sasl.username": "me"}')
    assert shown.exit_code == 0
    assert json.loads(shown.stdout)["security"] == {"sasl.password": "***", "sasl.username": "me"}
    assert "hunter2" not in run("config", "show", SECURITY='{"sasl.password": "hunter2"}').output


def test_an_unknown_setting_is_wrong_use_with_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("deploymnet: x\n")
    result = run("-c", "mine.yaml", "config", "show")
    assert result.exit_code == 2
    assert "did you mean deployment?" in result.stderr


def test_models_list_shows_each_model() -> None:
    result = run("models", "list", "-o", "json", MODELS=str(MODELS))
    assert result.exit_code == 0
    assert [model["model"] for model in json.loads(result.stdout)] == [f"delay@{number}" for number in range(1, 6)]


def test_models_check_refuses_a_model_whose_bytes_were_changed(tmp_path: Path) -> None:
    folder = tmp_path / "delay" / "1"
    shutil.copytree(MODELS / "delay" / "1", folder)
    assert run("models", "check", MODELS=str(tmp_path)).exit_code == 0
    with (folder / "model.onnx").open("ab") as file:
        file.write(b"!")
    result = run("models", "check", "-o", "json", MODELS=str(tmp_path))
    assert result.exit_code == 1
    (verdict,) = json.loads(result.stdout)
    assert verdict["ok"] is False
    assert "sha256" in verdict["reason"]


def test_models_check_of_an_unknown_model_names_the_known_ones() -> None:
    result = run("models", "check", "delay@9", MODELS=str(MODELS))
    assert result.exit_code == 1
    assert "delay@1, delay@2" in result.stdout


@pytest.mark.parametrize(
    "words", [["get"], ["status"], ["history"], ["verify"], ["abort"], ["topics", "check"]], ids=" ".join
)
def test_without_a_broker_the_answer_is_no_with_address_and_cure(
    words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamsplit.cli.environment.REACH_SECONDS", 0.3)
    result = run(*words, BROKERS="127.0.0.1:1")
    assert result.exit_code == 1
    assert "No Kafka broker answers at 127.0.0.1:1" in result.stderr
    assert "streamsplit dev broker" in result.stderr
    assert "Traceback" not in result.output
    assert result.stdout == ""
