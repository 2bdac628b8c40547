"""A rollout from its first step to the end and back: one worker, the same 20 000 flights at every weight."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

import pytest
from scipy.stats import binom

from streamsplit.core.log_time import SILENCE_MS
from streamsplit.core.summary import Summary
from streamsplit.wire.audit import AuditRecord
from tests.service.conftest import Deploy
from tests.service.deployed import PATIENCE_SECONDS, Deployed, Place, Running, flights, until

pytestmark = [pytest.mark.broker, pytest.mark.timeout(1200)]

FLIGHTS = 20_000
WEIGHTS = (0.01, 0.5, 10.0, 25.0, 75.0)
DOUBT = 1e-6


@dataclass(frozen=True)
class Journey:
    """What was sent at each stop, and how it was served.

    Attributes:
        deployed: The deployment, whose worker still runs.
        worker: It.
        audits: Stop → the audit records of what was sent there, in the order of sending.
        phases: Stop → the phase there.
        summaries: All until the end of the journey.
    """

    deployed: Deployed
    worker: Running
    audits: Mapping[str, Sequence[AuditRecord]]
    phases: Mapping[str, str]
    summaries: Sequence[Summary]

    def on(self, stop: str, arm: str = "canary") -> set[str]:
        """The ids that were assigned to an arm."""
        return {audit.id for audit in self.audits[stop] if audit.arm == arm}


class _Recorder:
    def __init__(self, deployed: Deployed, worker: Running) -> None:
        self.deployed, self.worker = deployed, worker
        self.places: dict[str, list[Place]] = {}
        self.phases: dict[str, str] = {}
        self._flights = flights(FLIGHTS)

    def stop(self, name: str, count: int = 2_000) -> None:
        """Send flights and wait until they are served."""
        self.places[name] = self.deployed.send(self._flights[:count])
        self.deployed.until_served()
        self.phases[name] = self.worker.status()["phase"]

    def command(self, line: Mapping[str, object]) -> None:
        """Write a command as kcat would, and wait until the worker serves under it."""
        ((_, offset),) = self.deployed.write_control(json.dumps(line).encode())
        until(
            lambda: self.worker.status()["revision"] == offset,
            PATIENCE_SECONDS,
            lambda: f"{line}: {self.worker.status()}",
        )


@pytest.fixture(scope="module")
def journey(deploy: Deploy) -> Journey:
    """The whole way."""
    deployed = deploy()
    worker = deployed.run()
    deployed.apply(deployed.watched("delay-v2.yaml"))
    recorder = _Recorder(deployed, worker)
    recorder.stop("first step")
    for weight in WEIGHTS:
        recorder.command({"kind": "set_weight", "payload": {"weights": {"canary": weight}}})
        recorder.stop(f"{weight:g} %", FLIGHTS)
    deployed.do("set", "weight", "canary=10", "--wait")
    recorder.stop("back at 10 %", FLIGHTS)
    recorder.command({"kind": "resume"})
    recorder.stop("resumed")
    recorder.command({"kind": "pause"})
    recorder.stop("paused")
    recorder.command({"kind": "advance"})
    recorder.stop("next step")
    deployed.do("promote", "--full", "--wait")
    recorder.stop("promoted")
    recorder.command({"kind": "abort"})
    recorder.stop("rolled back")
    for file in ("delay-v4.yaml", "segment-by-carrier.yaml", "key-split.yaml"):
        deployed.apply(deployed.watched(file, control="delay@1"), "--replace")
        recorder.stop(file, FLIGHTS if file == "delay-v4.yaml" else 5_000)
    audits = deployed.audits()
    served = {name: [audits[place] for place in places] for name, places in recorder.places.items()}
    return Journey(deployed, worker, served, recorder.phases, deployed.summaries())


@pytest.mark.parametrize("weight", WEIGHTS)
def test_the_share_reached_is_within_the_binomial_bounds_of_the_share_set(journey: Journey, weight: float) -> None:
    taken = len(journey.on(f"{weight:g} %"))
    low, high = binom.interval(1 - DOUBT, FLIGHTS, weight / 100)
    assert low <= taken <= high
    assert len({audit.id for audit in journey.audits[f"{weight:g} %"]}) == FLIGHTS


def test_the_bucket_alone_decides_even_at_a_hundredth_of_a_percent(journey: Journey) -> None:
    for weight in WEIGHTS:
        audits = journey.audits[f"{weight:g} %"]
        assert all((audit.arm == "canary") == (audit.bucket < round(weight * 100)) for audit in audits)


def test_a_smaller_share_is_inside_of_a_larger_one(journey: Journey) -> None:
    shares = [journey.on(f"{weight:g} %") for weight in WEIGHTS]
    assert all(small <= large for small, large in pairwise(shares))


def test_exactly_the_units_that_left_return(journey: Journey) -> None:
    assert journey.on("back at 10 %") == journey.on("10 %")
    assert not journey.on("rolled back")


def test_a_line_of_json_turns_the_weight(journey: Journey) -> None:
    """The revision of every result is the offset of the command that made its weight."""
    history = {entry["revision"]: entry for entry in journey.deployed.told("history")}
    for weight in WEIGHTS:
        (revision,) = {audit.revision for audit in journey.audits[f"{weight:g} %"]}
        assert history[revision]["kind"] == "set_weight"
        assert history[revision]["actor"] == "unknown"


@pytest.mark.parametrize(
    ("stop", "phase", "share"),
    [
        ("first step", "Progressing", 10),
        ("back at 10 %", "Paused", 10),
        ("resumed", "Progressing", 25),
        ("paused", "Paused", 25),
        ("next step", "Progressing", 75),
    ],
)
def test_resume_pause_and_advance_walk_the_steps(journey: Journey, stop: str, phase: str, share: float) -> None:
    assert journey.phases[stop] == phase
    assert all((audit.arm == "canary") == (audit.bucket < share * 100) for audit in journey.audits[stop])


def test_after_the_promotion_the_candidate_is_control_and_after_the_abort_the_old_one_again(journey: Journey) -> None:
    by_stop = {
        stop: {(audit.arm, audit.model, audit.outcome) for audit in journey.audits[stop]}
        for stop in ("promoted", "rolled back")
    }
    assert by_stop == {
        "promoted": {("control", "delay@2", "ok")},
        "rolled back": {("control", "delay@1", "ok")},
    }


def test_the_old_control_stayed_warm(journey: Journey) -> None:
    """Its process is never started again: the abort is in force with the next batch."""
    (control,) = (arm for arm in journey.worker.status()["arms"] if arm["name"] == "control")
    assert (control["model"], control["restarts"]) == ("delay@1", 0)


def test_every_row_that_a_candidate_fails_is_answered_by_control(journey: Journey) -> None:
    audits = journey.audits["delay-v4.yaml"]
    taken = [audit for audit in audits if audit.arm == "canary"]
    low, high = binom.interval(1 - DOUBT, FLIGHTS, 0.1)
    assert low <= len(taken) <= high
    unknown = {audit.id for audit in taken if audit.id.split("-")[3] in {"UA", "B6"}}
    failed = {audit.id for audit in taken if (audit.outcome, audit.served_by) == ("fallback_error", "control")}
    served = {audit.id for audit in taken if (audit.outcome, audit.served_by) == ("ok", "canary")}
    assert unknown
    assert failed == unknown
    assert served == {audit.id for audit in taken} - failed
    assert {(audit.outcome, audit.served_by) for audit in audits if audit.arm == "control"} == {("ok", "control")}


def test_a_segment_rule_holds_for_its_segment_alone(journey: Journey) -> None:
    for audit in journey.audits["segment-by-carrier.yaml"]:
        inside = audit.id.split("-")[3] in {"UA", "B6"}
        assert (audit.rule == 0) == inside
        assert (audit.arm == "canary") == (audit.bucket < (5_000 if inside else 100))


def test_a_key_split_sends_its_attribute_to_one_arm_and_all_others_to_control(journey: Journey) -> None:
    audits = journey.audits["key-split.yaml"]
    keyed = [audit for audit in audits if audit.unit is not None]
    assert all((audit.arm == "canary") == (audit.id.split("-")[5] == "JFK") for audit in keyed)
    assert {audit.arm for audit in keyed} == {"control", "canary"}


def test_every_request_was_answered(journey: Journey) -> None:
    report = journey.deployed.verify()
    assert report["requests"] == sum(map(len, journey.audits.values()))
    assert report["outputs"] == report["requests"]
    assert all(share["within"] for share in report["shares"])


def test_summaries_count_every_request_once(journey: Journey) -> None:
    counted: dict[tuple[str, int, str, str], int] = {}
    for summary in journey.summaries:
        for window in summary.windows:
            assert sum(window.outcomes.values()) == window.requests
            for outcome, count in window.outcomes.items():
                key = summary.rollout, window.rule, window.arm, outcome
                counted[key] = counted.get(key, 0) + count
    audited: dict[tuple[str, int, str, str], int] = {}
    for audits in journey.audits.values():
        for audit in audits:
            key = audit.rollout, audit.rule, audit.arm, audit.outcome
            audited[key] = audited.get(key, 0) + 1
    assert counted == audited


def test_summaries_chain_each_partition_without_a_gap(journey: Journey) -> None:
    ends: dict[int, int] = {}
    for summary in journey.summaries:
        for each in summary.partitions:
            assert each.start == ends.get(each.partition, each.start)
            assert each.start <= each.end
            ends[each.partition] = each.end
    assert ends == journey.deployed.committed()


def test_a_worker_writes_a_summary_at_least_once_a_second_also_when_idle(journey: Journey) -> None:
    assert [summary.sequence for summary in journey.summaries] == sorted({s.sequence for s in journey.summaries})
    before = len(journey.summaries)

    def since() -> list[Summary]:
        found = journey.deployed.summaries()[before:]
        return found if len(found) > 8 else []

    idle = until(since, PATIENCE_SECONDS, "no summaries")
    assert all(not summary.windows for summary in idle)
    gaps = [later.written_time - earlier.written_time for earlier, later in pairwise(idle)]
    # A machine that halts is late with single ones; a worker that keeps the log time going is never silent for longer.
    assert median(gaps) <= 1_500
    assert max(gaps) < SILENCE_MS
