"""Requests of the past, judged in memory by the guards that judge live rollouts."""

import functools
import io
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import fastavro
import numpy as np
import pytest

from streamsplit.core import Judged, Probe, judge_arrays, judge_audit
from streamsplit.core.decision import DecisionKind, Verdict
from streamsplit.core.errors import UsageError
from streamsplit.core.evidence import errors
from streamsplit.core.evidence.restarts import Restarting
from streamsplit.core.rollout import WHOLE
from streamsplit.wire.audit import AuditReader
from streamsplit.wire.schemas import SchemaStore, packaged, plain

BEGIN = 1_700_000_000_000
SCORE = {"guards": {"score": {"output": "p", "range": [0, 1], "margin": 0.05}}}


def columns(
    windows: int = 40, *, per_window: int = 1000, share: float = 0.2, rates: tuple[float, float] = (0.01, 0.01)
) -> dict[str, Any]:
    """Requests in windows of 5 s."""
    random = np.random.default_rng(7)
    count = windows * per_window
    arms = np.where(random.random(count) < share, "canary", "control")
    times = BEGIN + 5000 * (np.arange(count) // per_window) + random.integers(0, 5000, count)
    rate = np.where(arms == "canary", rates[1], rates[0])
    return {"arms": arms, "times": times, "errors": random.random(count) < rate}


def by_hand(data: dict[str, Any]) -> float:
    """The e-value of errors from counts that are made here."""
    against = Restarting(errors.ROLLBACK_WEIGHTS)
    windows, canary = data["times"] // 5000, data["arms"] == "canary"
    for window in np.unique(windows):
        of_control, of_canary = (windows == window) & ~canary, (windows == window) & canary
        numbers = [int(mask.sum()) for arm in (of_control, of_canary) for mask in (arm, arm & data["errors"])]
        against.add(errors.rollback_increment(errors.Counts(*numbers), 1.1, 0.001))
    return against.log_e


def audit_of(data: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    """The same requests as audit records."""
    rows = zip(data["arms"].tolist(), data["times"].tolist(), data["errors"].tolist(), strict=True)
    return [
        {
            "id": f"r{place}",
            "unit": f"r{place}",
            "rollout": "delay-v2",
            "revision": 3,
            "rule": -1,
            "bucket": 0,
            "arm": arm,
            "served_by": arm if not failed else ("control" if arm == "canary" else None),
            "model": None,
            "outcome": "ok" if not failed else ("fallback_error" if arm == "canary" else "dead_letter"),
            "source_partition": 0,
            "source_offset": place,
            "request_time": time,
            "processed_time": time,
            "inference_micros": 900,
            "score": None,
            "mirrored": [],
            **more,
        }
        for place, (arm, time, failed) in enumerate(rows)
    ]


def test_the_evidence_is_that_of_the_test_over_counts_made_by_hand() -> None:
    data = columns(rates=(0.01, 0.015))
    # nine windows: later the window before the first, which stands for a warm-up, would show in the restarts' turns
    expected = by_hand({name: column[: 9 * 1000] for name, column in data.items()})
    part = {name: column[: 9 * 1000] for name, column in data.items()}
    reading = judge_arrays(**part).reading("errors")
    assert reading.log_e == pytest.approx(expected, abs=1e-9)
    assert reading.counts["control_requests"] == (part["arms"] == "control").sum()
    assert reading.counts["candidate_errors"] == part["errors"][part["arms"] == "canary"].sum()


def test_a_candidate_with_three_times_the_errors_is_taken_back_and_an_equal_one_promoted() -> None:
    bad, good = judge_arrays(**columns(rates=(0.01, 0.03))), judge_arrays(**columns())
    assert bad.decided is not None
    assert bad.decided.kind is DecisionKind.ROLLBACK
    assert "canary errors" in bad.decided.reasons[0]
    assert bad.reading("errors").verdict is Verdict.BAD
    assert bad.windows[-1].log_e >= bad.log_needed > bad.windows[0].log_e
    assert good.decided is not None
    assert good.decided.kind is DecisionKind.PROMOTE


def test_every_window_counts_and_is_told_once() -> None:
    data = columns(10)
    judged = judge_arrays(**data)
    assert [each.start for each in judged.windows] == sorted({int(time) // 5000 * 5000 for time in data["times"]})
    assert sum(each.control_requests + each.candidate_requests for each in judged.windows) == 10_000


def test_rows_may_come_in_any_order() -> None:
    data = columns(rates=(0.01, 0.02))
    order = np.random.default_rng(1).permutation(len(data["times"]))
    assert judge_arrays(**{name: column[order] for name, column in data.items()}) == judge_arrays(**data)


def test_times_may_be_datetimes_and_flags_numbers() -> None:
    data = columns(10)
    other = {**data, "times": data["times"].astype("datetime64[ms]"), "errors": data["errors"].astype(int)}
    assert judge_arrays(**other) == judge_arrays(**data)


def test_requests_hours_apart_are_judged_like_those_of_windows_in_a_row() -> None:
    data = columns(rates=(0.01, 0.02))
    apart = {**data, "times": data["times"] + (data["times"] - BEGIN) // 5000 * 7_200_000}
    assert judge_arrays(**apart).readings == judge_arrays(**data).readings


def test_a_shift_between_rules_or_revisions_is_no_fault_of_the_candidate() -> None:
    """Simpson: where more of the bad requests go to the candidate, pooled rates differ and those of a rule do not."""
    random = np.random.default_rng(3)
    rules = np.arange(40_000) % 2
    arms = np.where(random.random(40_000) < np.where(rules == 1, 0.75, 0.05), "canary", "control")
    failed = random.random(40_000) < np.where(rules == 1, 0.05, 0.002)
    times = BEGIN + np.arange(40_000) * 5
    apart, pooled = (judge_arrays(arms, times, errors=failed, rules=each) for each in (rules - 1, None))
    assert pooled.reading("errors").verdict is Verdict.BAD
    assert apart.reading("errors").verdict is not Verdict.BAD
    of_revisions = judge_arrays(arms, np.sort(times), errors=failed, revisions=rules)
    assert of_revisions.reading("errors").log_e == pytest.approx(apart.reading("errors").log_e)


def test_scores_shifts_splits_and_probes_are_judged_too() -> None:
    data, random = columns(), np.random.default_rng(5)
    canary = data["arms"] == "canary"
    scores = np.clip(random.normal(np.where(canary, 0.3, 0.5), 0.1), 0, 1)
    guards = {**SCORE["guards"], "shift": {"output": "p", "limit": 0.25}}
    probes = [Probe(BEGIN + 100 * place, "new", 64, 5000, 15_000) for place in range(100)]
    judged = judge_arrays(**data, scores=scores, probes=probes, judge={"guards": guards}, weight=10)
    verdicts = {each.guard: each.verdict for each in judged.readings}
    assert verdicts["score drop"] is Verdict.BAD
    assert verdicts["speed"] is Verdict.BAD
    assert verdicts["split"] is Verdict.HELD, "a fifth came where a tenth should"
    assert verdicts["shift"] is Verdict.HELD
    assert judged.reading("score drop").candidate == pytest.approx(0.3, abs=0.01)


def test_nobody_can_tell_from_a_sample_whether_a_candidate_would_bear_all_of_the_traffic() -> None:
    """In windows of a second these would be far more requests than one process can answer at a second each."""
    probes = [Probe(BEGIN + 100 * place, "new", 64, 64_000_000, 64_000_000) for place in range(1000)]
    judged = judge_arrays(**columns(), probes=probes)
    assert "capacity" not in {each.guard for each in judged.readings}
    assert not any("capacity" in reason for each in judged.decisions for reason in each.reasons)


def test_a_guard_without_its_column_is_shown_and_decides_nothing() -> None:
    data, random = columns(), np.random.default_rng(5)
    judged = judge_arrays(data["arms"], data["times"], scores=random.random(40_000), judge=SCORE)
    assert {each.guard for each in judged.readings if not each.dry_run} == {
        "score drop",
        "score rise",
        "split",
    }


def test_the_table_names_every_guard_and_what_was_decided() -> None:
    judged = judge_arrays(**columns(rates=(0.01, 0.03)))
    text = str(judged)
    assert text.startswith("rollback in window ")
    assert all(each.guard in text for each in judged.readings)
    assert "dry run" in text


# -- audit ------------------------------------------------------------------------------------------------------------


def as_lines(records: list[dict[str, Any]]) -> list[str]:
    return [json.dumps(record) + "\n" for record in records]


SCHEMA = fastavro.parse_schema(plain(packaged("audit").definition), _force=True)


def in_bytes(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**record, "unit": record["unit"].encode()} for record in records]


def as_avro_json(records: list[dict[str, Any]]) -> list[str]:
    """Unions wrapped, bytes as text."""
    written = io.StringIO()
    fastavro.json_writer(written, SCHEMA, in_bytes(records))
    return written.getvalue().splitlines()


def as_read(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """As they are read from the topic."""
    reader, read = AuditReader(SchemaStore()), []
    for record in in_bytes(records):
        body = io.BytesIO()
        fastavro.schemaless_writer(body, SCHEMA, record)
        read.append(asdict(reader.read(packaged("audit").header + body.getvalue())))
    return read


@pytest.mark.parametrize("written", [as_lines, as_avro_json, as_read, lambda records: ["\n", *as_lines(records)[::-1]]])
def test_audit_is_judged_like_the_same_columns_but_for_the_warm_up(written: Callable[[Any], Any]) -> None:
    data = columns(20, per_window=500, rates=(0.01, 0.05))
    judged = judge_audit(written(audit_of(data)))
    later = data["times"] >= data["times"].min() // 5000 * 5000 + 5000
    columns_alone = judge_arrays(**{name: column[later] for name, column in data.items()})
    assert judged.reading("errors").log_e == pytest.approx(columns_alone.reading("errors").log_e)
    assert judged.decided is not None
    assert judged.decided.kind is DecisionKind.ROLLBACK
    assert judged.decided.rollout == "delay-v2"


def users_of(*, ratio: float, seed: int = 3, **more: Any) -> list[dict[str, Any]]:
    """Audit records of users who ask again and again, over three steps; each fails always or never."""
    random = np.random.default_rng(seed)
    count, users = 60_000, 12_000
    activity = random.lognormal(0.0, 1.0, users)
    who = random.choice(users, count, p=activity / activity.sum())
    buckets, luck = random.integers(WHOLE, size=users), random.random(users)
    times = BEGIN + np.sort(random.integers(0, 40 * 5000, count))
    records = []
    for place, (user, time) in enumerate(zip(who.tolist(), times.tolist(), strict=True)):
        step = 3 * place // count
        arm = "canary" if buckets[user] < (2000, 4000, 6000)[step] else "control"
        failed = luck[user] < 0.01 * (ratio if arm == "canary" else 1.0)
        (record,) = audit_of(
            {"arms": np.array([arm]), "times": np.array([time]), "errors": np.array([failed])},
            id=f"r{place}",
            unit=f"user {user}",
            revision=3 + step,
            bucket=int(buckets[user]),
        )
        records.append({**record, **more})
    return records


HEALTHY_USERS = users_of(ratio=1.0)


@functools.cache
def surely_on_control(step: int) -> int:
    """The bucket from which on units were on control at a step; all were before the first."""
    at_step = [each["bucket"] for each in HEALTHY_USERS if each["revision"] == 3 + step and each["arm"] == "control"]
    return min(at_step, default=0)


def test_of_sticky_units_the_first_requests_are_judged_of_those_that_moved_and_of_those_that_stayed() -> None:
    judged = judge_audit(HEALTHY_USERS[::-1])
    counts = judged.reading("errors").counts
    warming: dict[int, int] = {}
    moved, stayed = set[str](), set[tuple[int, str]]()
    for record in HEALTHY_USERS:
        step, window = record["revision"] - 3, (record["request_time"] - BEGIN) // 5000
        if window > warming.setdefault(step, window):
            if record["arm"] == "control":
                stayed.add((step, record["unit"]))
            elif record["bucket"] >= surely_on_control(step - 1):
                moved.add(record["unit"])
    assert (counts["candidate_units"], counts["control_units"]) == (len(moved), len(stayed))
    assert judged.decided is None or judged.decided.kind is DecisionKind.PROMOTE
    assert not judged.reading("errors").dry_run
    assert judged.reading("runs").dry_run


def test_sticky_units_that_fail_five_times_as_often_are_found_in_a_recording() -> None:
    judged = judge_audit(users_of(ratio=5.0))
    assert judged.reading("errors").verdict is Verdict.BAD
    assert judged.decided is not None
    assert judged.decided.kind is DecisionKind.ROLLBACK


def test_sticky_units_without_buckets_are_refused() -> None:
    record = {name: value for name, value in HEALTHY_USERS[0].items() if name != "bucket"}
    with pytest.raises(UsageError, match="`bucket` is missing"):
        judge_audit([{**record, "arm": arm} for arm in ("control", "canary")])


def test_a_client_that_retries_a_failing_request_is_one_error() -> None:
    records = audit_of(columns(20, per_window=500))
    last = records[-1]
    again = {**last, "arm": "canary", "served_by": "control", "outcome": "fallback_error", "id": "x", "unit": "x"}
    judged, plain = (judge_audit(each).reading("errors") for each in ([*records, *[again] * 200], records))
    assert judged.counts["candidate_errors"] == plain.counts["candidate_errors"] + 1


def test_mirrored_requests_are_judged_in_pairs() -> None:
    records = audit_of(columns(20, per_window=500, rates=(0.0, 0.0)), arm="control")
    records = [{**record, "served_by": "control", "outcome": "ok"} for record in records]
    for place, record in enumerate(records):
        outcome = "fallback_error" if place % 30 == 0 else "ok"
        record["mirrored"] = [{"arm": "canary", "outcome": outcome, "inference_micros": 5, "score": None}]
    judged = judge_audit(records)
    pairs = judged.reading("mirrored errors")
    assert pairs.verdict is Verdict.BAD
    assert pairs.counts["candidate_requests"] == 9_500, "the first window is the warm-up"
    assert pairs.counts["both"] == 0


def test_mirrored_scores_are_judged_in_pairs_in_whatever_order_they_were_recorded() -> None:
    random = np.random.default_rng(8)
    records = audit_of(columns(20, per_window=500, rates=(0.0, 0.0)), arm="control")
    for record in records:
        score = random.uniform(0.1, 0.6)
        record.update(served_by="control", outcome="ok", score=score)
        mine = None if random.random() < 0.01 else {"double": 0.8 * score}
        record["mirrored"] = [{"arm": "canary", "outcome": "ok", "inference_micros": 5, "score": mine}]
    judged, turned = judge_audit(records, judge=SCORE), judge_audit(records[::-1], judge=SCORE)
    assert turned == judged
    pairs = judged.reading("mirrored score drop")
    assert (pairs.verdict, judged.reading("mirrored score rise").verdict) == (Verdict.BAD, Verdict.GOOD)
    assert pairs.effect == pytest.approx(0.8, abs=1e-6)
    assert pairs.counts["candidate_scores"] + pairs.counts["unscored"] == 9_500
    assert pairs.counts["unscored"] > 50


def test_of_several_rollouts_or_candidates_one_is_to_be_named() -> None:
    records = audit_of(columns(4))
    others = [{**record, "rollout": "delay-v3"} for record in records]
    with pytest.raises(UsageError, match="rollout: nothing is given; expected one of `delay-v2`, `delay-v3`"):
        judge_audit([*records, *others])
    assert judge_audit([*records, *others], rollout="delay-v3") == judge_audit(others)
    new = [{**record, "arm": "new"} if record["arm"] == "canary" else record for record in records]
    with pytest.raises(UsageError, match="candidate: nothing is given; expected one of"):
        judge_audit([*records, *new])
    with pytest.raises(UsageError, match="there is none named `delay-v9`"):
        judge_audit(records, rollout="delay-v9")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: .*expected an audit record as JSON"),
        ("[1]", "line 2: it is a list; expected an audit record"),
        ({"request_time": "yesterday"}, "line 2: `request_time` is `yesterday`; expected a whole number"),
        ({"outcome": "fine"}, "line 2: `outcome` is `fine`; expected ok, fallback_error"),
        ({"arm": None}, "line 2: `arm` is nothing; expected text"),
        ({"rule": 2**40}, "line 2: `rule` is .*; expected a whole number from -1 to"),
    ],
)
def test_a_wrong_line_is_named(line: Any, message: str) -> None:
    (record, *_) = audit_of(columns(1, per_window=1))
    wrong = line if isinstance(line, str) else json.dumps({**record, **line})
    with pytest.raises(UsageError, match=message):
        judge_audit([json.dumps({**record, "arm": "canary"}), wrong])


# -- what bad input gets ----------------------------------------------------------------------------------------------

GOOD = columns(2, per_window=10, share=0.5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"arms": ["control"] * 20}, "arms: found `control`; expected `control` and one candidate"),
        ({"arms": [*["a", "b"] * 9, "control", "control"]}, "arms: found `a`, `b`, `control`; expected"),
        ({"arms": []}, "arms: found nothing"),
        ({"times": GOOD["times"][:5]}, r"times: the shape is \(5,\); expected \(20,\), int64 milliseconds"),
        ({"times": GOOD["times"] / 1000}, "times: they are float64; expected int64 milliseconds"),
        ({"times": np.full(20, np.datetime64("NaT"))}, "times: some are NaT"),
        ({"errors": np.full(20, 0.5)}, "errors: they are float64 with other values than 0 and 1"),
        ({"errors": None}, "there is nothing to judge; expected `errors`, `scores` or `probes`"),
        ({"scores": np.zeros(20)}, "scores: no guard looks at them; expected one in `judge`"),
        ({"judge": SCORE}, "scores: nothing is given"),
        ({"scores": ["high"] * 20, "judge": SCORE}, "scores: .*expected a number for each request"),
        ({"scores": np.zeros((20, 2)), "judge": SCORE}, r"scores: the shape is \(20, 2\)"),
        ({"micros": np.full(20, -1)}, "micros: some are none, too small or too large; expected numbers from 0"),
        ({"rules": np.full(20, -2)}, "rules: some are none, too small"),
        ({"revisions": ["a"] * 20}, "revisions: some are none"),
        ({"arms": None}, "arms: the shape is"),
        ({"probes": [Probe(BEGIN, "canary", 0, 5, 5)]}, "probes: got .*expected whole numbers, at least one row"),
        ({"weight": 0}, "weight: it leaves one of the arms nothing"),
        ({"weight": "much"}, "weight: .*percentage"),
        ({"judge": {"windows": "5s"}}, "windows: unknown field; expected one of window, .*did you mean `window`"),
        ({"judge": {"guards": {"score": {"output": "p"}}}}, "guards.score.margin: nothing is given"),
    ],
)
def test_wrong_columns_and_settings_are_named_with_what_was_expected(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        judge_arrays(**{**GOOD, **change})


def test_more_revisions_than_the_judge_remembers_are_refused() -> None:
    data = columns(2)
    with pytest.raises(UsageError, match="revisions: there are 300; expected at most 256"):
        judge_arrays(**data, revisions=np.arange(2000) % 300)


def test_scores_that_are_none_or_endless_stop_nothing() -> None:
    scores = np.resize([np.nan, np.inf, -np.inf, 0.5], 20)
    judged = judge_arrays(**GOOD, scores=scores, judge=SCORE)
    assert isinstance(judged, Judged)
    assert judged.reading("score drop").counts["clipped"] + judged.reading("score drop").counts["unscored"] > 0


def test_a_model_process_does_not_load_the_judge() -> None:
    code = "import streamsplit.core, sys; print([name for name in sys.modules if 'judg' in name])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"
