"""A shadow on real flights: who is mirrored, what is recorded of it, and a shadow that hangs."""

import json
import shutil
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest
from scipy.stats import binom

from streamsplit.core.routing import bucket_of, mirror_bucket_of
from streamsplit.wire.audit import AuditRecord, Mirrored
from tests.faults.failing_models import put_hanging
from tests.inference.conftest import ModelFolder
from tests.service.conftest import Deploy
from tests.service.deployed import EXAMPLES, MODELS, PATIENCE_SECONDS, Deployed, flights, until

pytestmark = pytest.mark.broker

FLIGHTS = 10_000
SALT = "delay-v2-shadow"


def expected(audit: AuditRecord, weight: int, share: int) -> tuple[str, tuple[str, ...]]:
    """The arm, and the arms that are mirrored to, as docs/routing.md has them; weight and share in basis points."""
    unit = audit.id.encode()
    if bucket_of(SALT, unit) < weight:
        return "canary", ()
    return "control", ("canary",) if mirror_bucket_of(SALT, unit) < share else ()


def arms(audit: AuditRecord) -> tuple[str, tuple[str, ...]]:
    return audit.arm, tuple(each.arm for each in audit.mirrored)


def reflections(audits: Iterable[AuditRecord]) -> list[Mirrored]:
    return [each for audit in audits for each in audit.mirrored]


def test_a_fifth_of_the_flights_is_mirrored_and_the_shadow_becomes_a_canary(deploy: Deploy, tmp_path: Path) -> None:
    deployed = deploy()
    worker = deployed.run()
    file = tmp_path / "shadow.yaml"
    example = (EXAMPLES / "shadow.yaml").read_text()
    assert "budget: 20ms" in example
    assert "timeout: 200ms" in example
    # A busy machine is no reason to be late; the judge watches, and the test walks the steps.
    example = example.replace("budget: 20ms", "budget: 5s").replace("timeout: 200ms", "timeout: 10s")
    file.write_text(f"{example}mode: advise\n")
    deployed.apply(file)
    deployed.send(flights(FLIGHTS))
    deployed.until_served()

    audits = list(deployed.audits().values())
    assert {audit.served_by for audit in audits} == {"control"}
    assert [arms(audit) for audit in audits] == [expected(audit, 0, 2000) for audit in audits]
    shadow = reflections(audits)
    lowest, highest = binom.ppf([1e-6, 1 - 1e-6], FLIGHTS, 0.2)
    assert lowest <= len(shadow) <= highest
    assert Counter(each.outcome for each in shadow) == {"ok": len(shadow)}
    assert {each.agrees for each in shadow} == {True, False}  # two models of one question
    assert all(each.inference_micros > 0 and each.score is None for each in shadow)

    counted = [each for summary in deployed.summaries() for each in summary.mirrored]
    assert {each.arm for each in counted} == {"canary"}
    assert sum(each.requests for each in counted) == len(shadow)
    assert sum(each.agree for each in counted) == sum(each.agrees is True for each in shadow)
    assert sum(each.differ for each in counted) == sum(each.agrees is False for each in shadow)
    assert not any(each.control_failed for each in counted)

    pictured = deployed.told("get")
    assert [(arm["set"], arm["mirror"]) for arm in pictured["arms"]] == [(100.0, 0.0), (0.0, 20.0)]
    assert (pictured["budget_ms"], pictured["steps"][0]) == (5000.0, {"weights": [0.0], "mirror": [20.0]})
    assert worker.status()["totals"]["mirrored:canary"] == len(shadow)

    deployed.do("promote", "--wait")
    deployed.send(flights(FLIGHTS))
    deployed.until_served()
    canary = [audit for place, audit in deployed.audits().items() if audit.revision != audits[0].revision]
    assert len(canary) == FLIGHTS
    assert [arms(audit) for audit in canary] == [expected(audit, 1000, 2000) for audit in canary]
    report = deployed.verify()
    assert {(share["set"], share["within"]) for share in report["mirrors"]} == {(20.0, True)}
    assert report["mirrored"]["canary"]["requests"] == len(shadow) + len(reflections(canary))
    splits = [entry["split"] for entry in deployed.told("history") if entry["split"]]
    assert splits == ["canary=0 mirror canary=20", "canary=10 mirror canary=20"]


@pytest.fixture
def hanging(deploy: Deploy, tmp_path: Path) -> Deployed:
    """A deployment whose models folder has a candidate that hangs on every flight."""
    shutil.copytree(MODELS / "delay" / "1", tmp_path / "models" / "delay" / "1")
    put_hanging(ModelFolder(tmp_path / "models"), "hang@1")
    return deploy(MODELS=str(tmp_path / "models"))


def test_a_shadow_that_hangs_costs_no_answer_and_is_taken_back_by_itself(hanging: Deployed, tmp_path: Path) -> None:
    file = tmp_path / "shadow.yaml"
    file.write_text(
        json.dumps(
            {
                "rollout": SALT,
                "arms": {"control": "delay@1", "canary": "hang@1"},
                "routes": [{"mirror": {"canary": 50, "budget": "30ms"}}],
                "limits": {"breaker": 3},
            }
        )
    )
    worker = hanging.run(BATCH__RECORDS="100")
    hanging.apply(file)

    def taken_back() -> bool:
        # Batches that come while its process is started again say nothing about it.
        hanging.send(flights(500))
        hanging.until_served()
        return worker.status()["phase"] == "RolledBack"

    until(taken_back, PATIENCE_SECONDS, lambda: f"{worker.status()}")

    audits = list(hanging.audits().values())
    assert {(audit.served_by, audit.outcome) for audit in audits} == {("control", "ok")}
    shadow = reflections(audits)
    assert {each.agrees for each in shadow} == {None}
    ended = Counter(each.outcome for each in shadow)
    assert ended["fallback_timeout"] > 0
    assert ended.keys() <= {"fallback_timeout", "fallback_open", "fallback_loading"}
    last = hanging.told("history")[-1]
    assert (last["kind"], last["actor"]) == ("abort", "breaker@worker")
    # Within the budget, or, where the process was still busy with the batch before, within the timeout.
    assert "3 batches in a row failed: no " in last["reason"]
    hanging.verify()
