"""What workers tell the judge of real flights: it adds up to what the audit says of each request."""

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamsplit.core.guards import Score, ScoreGuard
from streamsplit.core.mirroring import ScorePairs
from streamsplit.core.records import Outcome
from streamsplit.core.score_pairs import Scored, count_pairs
from streamsplit.core.summary import SCORE_BINS, Summary
from streamsplit.inference.probing import MOST_ROWS
from streamsplit.wire.audit import AuditRecord
from tests.faults.failing_models import put_hanging
from tests.inference.conftest import ModelFolder
from tests.service.conftest import Deploy
from tests.service.deployed import MODELS, PATIENCE_SECONDS, Deployed, flights, until

pytestmark = pytest.mark.broker

FLIGHTS = 4_000
ARMS = ("control", "canary")
LABELS = {outcome.label: outcome for outcome in Outcome}


def rollout(folder: Path, canary: str, **judge: Any) -> Path:
    """Half for each arm; the judge only watches."""
    file = folder / "rollout.yaml"
    spec = {
        "rollout": "delay-watched",
        "arms": {"control": "delay@1", "canary": canary},
        "steps": [{"weight": 50}],
        "mode": "advise",
        "judge": {"guards": judge},
        "limits": {"timeout": "100ms" if canary.startswith("hang") else "10s", "breaker": 3},
    }
    file.write_text(json.dumps(spec))
    return file


def added(summaries: list[Summary], arm: str, field: str) -> Counter[Any]:
    """A field of the counts of an arm, over all windows."""
    total: Counter[Any] = Counter()
    for each in (window for summary in summaries for window in summary.windows if window.arm == arm):
        value = getattr(each, field)
        total.update(value if isinstance(value, dict) else {field: value})
    return total


def of_arm(audits: list[AuditRecord], arm: str) -> list[AuditRecord]:
    return [audit for audit in audits if audit.arm == arm]


def test_scores_errors_and_probes_of_a_candidate_that_raises_on_some_flights(deploy: Deploy, tmp_path: Path) -> None:
    deployed = deploy(BATCH__RECORDS="500")
    score = {"output": "probability", "index": 1, "range": [0, 1], "margin": "15%"}
    deployed.run()
    deployed.apply(rollout(tmp_path, "delay@4", score=score, latency={"limit": "10s"}))

    def probed() -> bool:
        deployed.send(flights(FLIGHTS))
        deployed.until_served()
        return any(summary.probes for summary in deployed.summaries())

    until(probed, PATIENCE_SECONDS, "no probe")
    summaries, audits = deployed.summaries(), list(deployed.audits().values())
    for arm in ARMS:
        mine = of_arm(audits, arm)
        answered = [audit for audit in mine if audit.served_by == arm]
        assert all(audit.score is not None for audit in answered)
        assert all(audit.score is None for audit in mine if audit.served_by != arm)
        bins = Counter(
            min(int(audit.score * SCORE_BINS), SCORE_BINS - 1) for audit in answered if audit.score is not None
        )
        assert added(summaries, arm, "scores") == bins
        failed = len(mine) - len(answered)
        assert added(summaries, arm, "unscored")["unscored"] == failed
        named = [each for summary in summaries for each in summary.failing if each.arm == arm]
        assert sum(len(each.units) + each.unnamed for each in named) == failed
        assert not added(summaries, arm, "fallen")
        assert added(summaries, arm, "slow")["slow"] == 0
    assert added(summaries, "canary", "outcomes")["fallback_error"] > 0
    runs = [run for summary in summaries for run in summary.runs]
    assert len(runs) >= len(audits) // 500
    assert {(run.arm, run.batches, run.control_failed, run.candidate_failed) for run in runs} == {("canary", 1, 0, 0)}
    for probe in (probe for summary in summaries for probe in summary.probes):
        assert probe.arm == "canary"
        assert 1 <= probe.rows <= MOST_ROWS
        assert min(probe.control_micros, probe.candidate_micros) > 0
    deployed.verify()


def test_scores_of_mirrored_flights_are_those_that_the_audit_has_of_both_arms(deploy: Deploy, tmp_path: Path) -> None:
    deployed = deploy(BATCH__RECORDS="500")
    deployed.run()
    file = tmp_path / "shadow.yaml"
    score = {"output": "probability", "index": 1, "range": [0, 0.5], "margin": "15%"}
    spec = {
        "rollout": "delay-shadowed",
        "arms": {"control": "delay@1", "canary": "delay@2"},
        "routes": [{"mirror": {"canary": 50, "budget": "5s"}}],
        "mode": "advise",
        "judge": {"guards": {"score": score}},
        "limits": {"timeout": "10s"},
    }
    file.write_text(json.dumps(spec))
    deployed.apply(file)
    deployed.send(flights(FLIGHTS))
    deployed.until_served()

    pairs = [(audit.score, each.score, each.outcome) for audit in deployed.audits().values() for each in audit.mirrored]
    control, candidate = (np.array([pair[arm] for pair in pairs], np.float64) for arm in (0, 1))
    outcomes = np.array([LABELS[outcome] for *_, outcome in pairs], np.int8)
    guard = ScoreGuard(Score("probability", 1, 0.0, 0.5), 0.15, relative=True)
    (expected,) = count_pairs(Scored(guard, control, candidate, outcomes), np.zeros(len(pairs), np.int64), 1)
    counted = sum((each.scores for summary in deployed.summaries() for each in summary.mirrored), ScorePairs())
    assert counted == expected
    assert len(pairs) == counted.scored > counted.clipped > 0
    assert min(len(counted.drop), len(counted.rise)) > 10

    def readings() -> dict[str, dict[str, Any]]:
        deployed.send(flights(500))
        deployed.until_served()
        if not any(deployed.records("decisions")):
            return {}
        read = {each["guard"]: each for page in deployed.told("explain") for each in page["evidence"]}
        scored = read.get("mirrored score drop", {"counts": {"candidate_scores": 0}})
        return read if scored["counts"]["candidate_scores"] else {}

    read = until(readings, PATIENCE_SECONDS, "no mirrored scores in a decision")
    assert read["mirrored score drop"]["log_needed_good"] == read["mirrored errors"]["log_needed_good"]
    assert 0 < read["mirrored score rise"]["control"] < guard.score.high
    deployed.verify()


@pytest.fixture
def hanging(deploy: Deploy, tmp_path: Path) -> Deployed:
    """A deployment whose models folder has a candidate that hangs on every flight."""
    shutil.copytree(MODELS / "delay" / "1", tmp_path / "models" / "delay" / "1")
    put_hanging(ModelFolder(tmp_path / "models"), "hang@1")
    return deploy(MODELS=str(tmp_path / "models"), BATCH__RECORDS="200")


def test_a_candidate_that_hangs_fails_runs_and_not_so_many_requests(hanging: Deployed, tmp_path: Path) -> None:
    worker = hanging.run()
    hanging.apply(rollout(tmp_path, "hang@1"))

    def taken_back() -> bool:
        # Batches that come while its process is started again say nothing about it.
        hanging.send(flights(500))
        hanging.until_served()
        return worker.status()["phase"] == "RolledBack"

    until(taken_back, PATIENCE_SECONDS, lambda: f"{worker.status()}")
    summaries, audits = hanging.summaries(), list(hanging.audits().values())
    ended = Counter(audit.outcome for audit in of_arm(audits, "canary"))
    fell = {outcome: count for outcome, count in ended.items() if outcome in {"fallback_timeout", "fallback_open"}}
    assert fell["fallback_timeout"] > 3
    assert added(summaries, "canary", "fallen") == fell
    runs = [run for summary in summaries for run in summary.runs]
    assert 1 <= len(runs) <= 3
    assert {(run.control_failed, run.candidate_failed) for run in runs} == {(0, 1)}
    assert not any(summary.failing for summary in summaries)
    hanging.verify()
