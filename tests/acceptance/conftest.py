"""The command line as a person runs it: a process, with a deployment of the test's own."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

MODELS = Path(__file__).parents[2] / "models"
PROGRAM = Path(sys.executable).parent / "streamsplit"
ROLLOUT = """\
rollout: delay-v2
arms:
  control: delay@1
  canary: delay@2
steps:
  - {weight: 10}
  - pause
  - {weight: 75}
"""

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(brokers: str, deployment: str, tmp_path: Path) -> Run:
    """Runs the program against the session's broker, with a deployment of the test's own."""
    (tmp_path / "rollout.yaml").write_text(ROLLOUT)
    settings = {"BROKERS": brokers, "DEPLOYMENT": deployment, "MODELS": str(MODELS), "DEVELOPMENT": "true"}
    variables = {f"STREAMSPLIT_{name}": value for name, value in settings.items()}

    def start(*words: str, code: int = 0, **more: str) -> subprocess.CompletedProcess[str]:
        result = subprocess.run(
            [PROGRAM, *words],
            cwd=tmp_path,
            env={**os.environ, **variables, **{f"STREAMSPLIT_{name}": value for name, value in more.items()}},
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert result.returncode == code, f"{words}: exit {result.returncode}\n{result.stdout}\n{result.stderr}"
        assert "Traceback" not in result.stderr
        return result

    return start


@pytest.fixture
def ready(run: Run) -> Run:
    """The same, with the topics made."""
    run("topics", "create", "--partitions", "2")
    return run
