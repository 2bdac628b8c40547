"""`streamsplit bench` as its user types it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.broker

PROGRAM = Path(sys.executable).parent / "streamsplit"
ROOT = Path(__file__).parents[2]


def test_a_worker_is_measured_and_its_stages_make_up_its_time(tmp_path: Path) -> None:
    words = ["bench", "--stages", "--requests", "200000", "--control", "delay@1", "--canary", "delay@2", "-o", "json"]
    ran = subprocess.run(
        [PROGRAM, *words],
        cwd=tmp_path,
        env={**os.environ, "STREAMSPLIT_MODELS": str(ROOT / "models")},
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert found["requests"] > 50_000
    assert found["requests_per_second"] > 0
    stages = found["stages"]
    assert {"consume", "decode", "route", "outputs", "audit", "summary", "commit", "model of control"} <= set(stages)
    assert all(micros >= 0 for micros in stages.values())
    assert sum(stages.values()) == pytest.approx(found["cpu_micros_per_request"], rel=0.25)


def test_an_unknown_model_is_refused_with_what_there_is(tmp_path: Path) -> None:
    ran = subprocess.run(
        [PROGRAM, "bench", "--control", "delay@99"],
        cwd=tmp_path,
        env={**os.environ, "STREAMSPLIT_MODELS": str(ROOT / "models")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode != 0
    assert "Known models: delay@1, delay@2" in ran.stderr
    assert "Traceback" not in ran.stderr
