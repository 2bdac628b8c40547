"""What the benchmark's figures mean, on made-up records."""

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from benchmarks import convergence, detection, judging, memory, throughput
from benchmarks.arrivals import delays
from benchmarks.convergence import Convergence, Cut, Trail, cut
from benchmarks.detection import Detection, Way
from benchmarks.failing import failing
from benchmarks.goals import Goal, judge, read_goals
from benchmarks.loads import flights
from benchmarks.memory import Sample
from benchmarks.pass_through import Pass, consumer_config, producer_config
from benchmarks.peers import PEERS
from benchmarks.plot import growth, standing
from benchmarks.recorded import count
from benchmarks.rows import PASS_THROUGH, STREAMSPLIT, TIGHT, WITH_HEADERS, Ledger, Row, find, ratio, reference
from benchmarks.ruler import Reading, Span, Stretch
from benchmarks.run import main
from benchmarks.stages import stages
from benchmarks.trials import DEFAULT_BATCH, Result
from benchmarks.wide import wide
from streamsplit.core.commands import Kind
from streamsplit.core.errors import ServiceError, UsageError
from streamsplit.core.status import Status
from streamsplit.core.summary import Summary, WindowCounts
from streamsplit.inference.repository import Repository
from streamsplit.inference.session import Model
from streamsplit.inference.vetting import warm_up
from streamsplit.kafka.clients import Connection
from streamsplit.kafka.lane_options import LaneOptions
from streamsplit.kafka.transaction import Transaction

SVG = "{http://www.w3.org/2000/svg}"
CONNECTION = Connection("127.0.0.1:9092")
GOAL = Goal("half", "throughput", "cpu_micros", {"subject": "a"}, "<=", 2.0, {"subject": "b"})


def trail(*rows: tuple[int, int], candidates: tuple[int, ...] = ()) -> Trail:
    """Revision and time of each request; `candidates` are the indices of those that met one."""
    revisions, times = np.array(rows, np.int64).T
    return Trail(revisions, times, np.isin(np.arange(len(rows)), candidates))


def stretch(requests: int, seconds: float, cpu: float) -> Stretch:
    return Stretch.between(Reading(0.0, 0, 0, 0.0), Reading(seconds, int(seconds * 1000), requests, cpu))


def rows(**values: tuple[float, ...]) -> tuple[Row, ...]:
    """For each subject the CPU time of its repetitions."""
    return tuple(Row("throughput", {"subject": name}, {"cpu_micros": each}) for name, each in values.items())


def status(incarnation: str, totals: dict[str, int]) -> Status:
    return Status("w", incarnation, 0, 0, "0", 1, "", "", ready=True, prepared=True, totals=totals)


# -- commands ---------------------------------------------------------------------------------------------------------


def test_a_cut_is_told_by_the_slowest_partition() -> None:
    trails = [trail((3, 1000), (3, 1010), (7, 1012)), trail((3, 1005), (7, 1040))]
    assert cut(1002, 7, trails) == Cut(old_ms=8, new_ms=38, candidate_ms=0)


def test_a_command_is_in_force_also_where_a_newer_one_overtook_it() -> None:
    assert cut(1000, 5, [trail((3, 990), (7, 1020))]) == Cut(old_ms=0, new_ms=20, candidate_ms=0)


def test_an_abort_ends_with_the_last_request_that_met_the_candidate_before_another_rollout_began() -> None:
    before, abort, next_rollout = 3, 7, 9
    told = trail((before, 1003), (before, 1010), (abort, 1012), (next_rollout, 1500), candidates=(0, 3))
    assert cut(1002, abort, [told]) == Cut(old_ms=8, new_ms=10, candidate_ms=1)
    broken = trail((before, 1003), (abort, 1012), (abort, 1400), (next_rollout, 1500), candidates=(0, 2, 3))
    assert cut(1002, abort, [told, broken]).candidate_ms == 398


def test_a_partition_that_goes_back_to_an_older_revision_has_no_cut() -> None:
    with pytest.raises(ServiceError, match="went back"):
        cut(1000, 5, [trail((3, 990), (7, 1020), (3, 1030))])


def test_a_partition_without_a_request_behind_the_command_has_no_cut() -> None:
    with pytest.raises(ServiceError, match="denser"):
        cut(1000, 5, [trail((3, 990))])


def test_the_goals_of_an_abort_are_held_against_the_ends_of_the_cut() -> None:
    cuts = (*[Cut(old_ms=10, new_ms=20, candidate_ms=5)] * 98, Cut(350, 501, 200), Cut(400, 600, 390))
    found = convergence.rows([Convergence(Kind.ABORT, cuts)])
    verdicts = [each for each in judge(read_goals(), found, {}) if each.goal.of.get("command") == "abort"]
    told = [(each.value.median, each.word) for each in verdicts if each.value is not None]
    assert told == [(501, "missed"), (200, "met")]


def test_nothing_is_told_of_the_candidate_behind_a_change_of_its_weight() -> None:
    untils = [row.case["until"] for row in convergence.rows([Convergence(Kind.SET_WEIGHT, (Cut(1, 2, 3),))])]
    assert untils == ["last request the old way", "in force on every partition"]


def test_the_longest_way_to_a_rollback_counts() -> None:
    limit, comparison = Way("every request", "limit"), Way("every request", "comparison")
    milder = Detection(Way("a third", "limit"), 9000)
    found = [Detection(limit, 300), Detection(limit, 1200), Detection(comparison, 3900), milder]
    told = [each.word for each in judge(read_goals(), detection.rows(found), {}) if each.goal.source == "detection"]
    assert told == ["missed", "met"]


def test_judging_takes_every_case_to_the_goals_and_closes_as_many_windows_as_are_asked_for() -> None:
    found = judging.judged(judging.served(3, 500.0, windows=4))
    assert found.windows == 4
    told: list[str] = []
    rows = judging.measure(2, told.append, windows=1)
    assert len(told) == 2 * len(rows) == 2 * len(judging.CASES)
    verdicts = [each for each in judge(read_goals(), rows, {}) if each.goal.source == "judging"]
    assert [each.met for each in verdicts if each.goal.figure == "state_kb"] == [True, True]
    assert all(each.value is not None and each.value.low > 0 for each in verdicts)


# -- rows and ratios --------------------------------------------------------------------------------------------------


def test_a_ratio_is_taken_within_each_repetition() -> None:
    mine, limit = rows(a=(10.0, 2.0, 4.0), b=(20.0, 1.0, 4.0))
    spread = ratio(mine, limit, "cpu_micros")
    assert spread is not None
    assert (spread.median, spread.low, spread.high) == (1.0, 0.5, 2.0)


def test_rows_with_unequal_repetitions_have_no_ratio() -> None:
    mine, limit = rows(a=(10.0, 2.0), b=(20.0,))
    assert ratio(mine, limit, "cpu_micros") is None
    assert ratio(mine, limit, "rate") is None


def test_what_passes_headers_on_is_held_against_a_pass_through_that_does_so_too() -> None:
    ledger = Ledger("throughput")
    for subject in (STREAMSPLIT, PASS_THROUGH, STREAMSPLIT + WITH_HEADERS, PASS_THROUGH + WITH_HEADERS, TIGHT):
        ledger.add({"subject": subject, "load": "flights", "batch": 1000}, {"rate": 1.0})
    found = ledger.rows()
    limits = [None if (limit := reference(found, row)) is None else limit.case["subject"] for row in found]
    assert limits == [PASS_THROUGH, None, PASS_THROUGH + WITH_HEADERS, None, PASS_THROUGH]


def test_a_figure_that_no_table_knows_is_refused() -> None:
    with pytest.raises(KeyError):
        Ledger("throughput").add({}, {"speed": 1.0})


# -- goals ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("values", "word"), [((4.0, 4.1, 3.9), "missed"), ((1.0, 9.0, 1.9), "met")])
def test_a_goal_is_met_by_the_median_of_its_ratios(values: tuple[float, ...], word: str) -> None:
    (verdict,) = judge([GOAL], rows(a=values, b=(1.0, 1.0, 1.0)), {})
    assert verdict.word == word


def test_a_goal_may_be_a_least_value() -> None:
    least = replace(GOAL, comparison=">=", by=None)
    assert [each.met for each in judge([least], rows(a=(2.0,)), {})] == [True]
    assert [each.met for each in judge([least], rows(a=(1.9,)), {})] == [False]


def test_a_goal_whose_row_was_left_out_says_why() -> None:
    (verdict,) = judge([GOAL], rows(a=(1.0,)), {"b": "no Java\nlong story"})
    assert (verdict.met, verdict.word) == (None, "not measured: no Java")


@pytest.mark.parametrize(
    "change", [{"bound": None}, {"comparison": "<"}, {"source": "guess"}, {"figure": "speed"}, {"x": 1}]
)
def test_a_goal_that_nothing_could_be_held_against_is_refused(change: dict[str, object]) -> None:
    plain = {"name": "n", "source": "latency", "figure": "p50_ms", "of": {}, "comparison": "<=", "bound": 1.5}
    changed = {name: value for name, value in {**plain, **change}.items() if value is not None}
    with pytest.raises(UsageError, match=r"expected|no row has"):
        Goal.from_dict(changed)


def test_every_goal_speaks_of_rows_that_the_benchmark_makes() -> None:
    subjects = {STREAMSPLIT, PASS_THROUGH, throughput.MIRRORED, *(peer.title for peer in PEERS)}
    goals = read_goals()
    assert len({goal.name for goal in goals}) == len(goals)
    for goal in goals:
        for case in (goal.of, goal.by):
            assert case is None or case.get("subject", STREAMSPLIT) in subjects
            assert case is None or case.get("batch", DEFAULT_BATCH) == DEFAULT_BATCH


# -- the ruler --------------------------------------------------------------------------------------------------------


def test_two_looks_without_a_request_between_them_are_refused() -> None:
    with pytest.raises(ServiceError, match="backlog"):
        stretch(0, 1.0, 1.0)


def test_a_warm_up_lasts_a_share_of_the_backlog_and_some_seconds_and_ends_for_slow_systems_too() -> None:
    span = Span(warm_share=0.2, warm_seconds=4, longest_warm_seconds=12)
    assert not span.warm(0.5, 3.9)
    assert not span.warm(0.1, 11.9)
    assert span.warm(0.2, 4.0)
    assert span.warm(0.001, 12.0)


def test_cpu_by_stage_is_what_grew_in_every_process_by_the_requests_that_they_served() -> None:
    statuses = [
        status("one", {"requests": 1000, "cpu:decode": 500, "cpu:summary": 50}),
        status("two", {"requests": 0}),
        status("one", {"requests": 2000, "cpu:decode": 1500, "cpu:summary": 100}),
        status("two", {"requests": 1000, "cpu:decode": 3000}),
    ]
    assert stages(statuses) == {"cpu:decode": 2.0, "cpu:summary": 0.025}


def test_the_share_of_summaries_is_by_all_cpu_time_of_all_processes() -> None:
    figures = Result(stretch(1000, 1.0, 0.005), stages={"cpu:summary": 0.1}).figures()
    assert figures["summary_share"] == pytest.approx(0.02)


def test_stages_that_no_worker_counts_are_no_figures() -> None:
    assert stages([status("one", {"requests": 0}), status("one", {"requests": 10})]) == {}


def test_requests_are_counted_by_outcome_and_by_assigned_arm() -> None:
    windows = (
        WindowCounts(0, -1, "control", 9, {"ok": 9}, 9),
        WindowCounts(0, -1, "canary", 3, {"ok": 2, "fallback_loading": 1}, 2),
    )
    outcomes, arms = count([Summary("w0", 0, "delay-v2", 1, 0, windows=windows)] * 2)
    assert (dict(outcomes), dict(arms)) == ({"ok": 22, "fallback_loading": 2}, {"control": 18, "canary": 6})


# -- latency and memory -----------------------------------------------------------------------------------------------


def test_the_nth_output_of_a_partition_answers_its_nth_request() -> None:
    sent = [np.array([1_000_000, 2_000_000, 9_000_000], np.int64), np.array([5_000_000], np.int64)]
    arrived = [np.array([4_000_000, 4_000_000, 20_000_000], np.int64), np.array([6_500_000], np.int64)]
    assert delays(sent, arrived, 2_000_000, 9_000_000).tolist() == [2.0, 1.5]


def test_a_missing_output_ends_the_measurement_of_latency() -> None:
    sent = [np.array([1, 2], np.int64)]
    with pytest.raises(ServiceError, match="1 outputs arrived of 2"):
        delays(sent, [np.array([3], np.int64)], 0, 10)


def test_growth_of_memory_leaves_the_first_quarter_out() -> None:
    samples = [Sample(number, 10.0 if number < 25 else 100.0 + number / 10) for number in range(1, 101)]
    whole = memory.rows("flights", samples)[0]
    assert whole.figures["rss_mb"] == (110.0,)
    assert whole.figures["rss_growth"][0] == pytest.approx(108.75 / 103.75)


def test_a_run_too_short_to_speak_of_growth_is_refused() -> None:
    with pytest.raises(ServiceError, match="longer"):
        memory.rows("flights", [Sample(1, 1.0)])


# -- equal conditions -------------------------------------------------------------------------------------------------


def test_the_pass_through_writes_with_the_settings_of_a_worker() -> None:
    assert producer_config(CONNECTION, "x") == Transaction(CONNECTION, "x", 8.0)._config


def test_the_pass_through_reads_with_the_settings_of_a_worker_but_for_where_it_starts_and_who_it_is() -> None:
    plan = Pass("127.0.0.1:9092", "requests", "group", 1000, 1, 1, 1, 1.0)
    lane = {**CONNECTION.client_config(), **LaneOptions("requests", "group", "w", static=False).consumer_config()}
    assert consumer_config(CONNECTION, plan) == {**lane, "auto.offset.reset": "earliest"}


def test_arms_beside_control_get_ten_percent_each() -> None:
    spec = flights().application(candidates=3)["spec"]
    assert isinstance(spec, dict)
    assert spec["steps"][0] == {"weights": {"canary": 10, "second": 10, "third": 10}}


def test_control_alone_is_served_plainly() -> None:
    spec = flights().application(candidates=0)["spec"]
    assert isinstance(spec, dict)
    assert "steps" not in spec


def test_the_models_of_large_tensors_are_such_as_a_worker_loads(tmp_path: Path) -> None:
    load = wide(tmp_path, 800)
    repository = Repository(tmp_path)
    assert repository.manifest(load.control).signature == repository.manifest(load.candidate).signature
    assert repository.manifest(load.control).signature.inputs[0].elements * 8 == 800
    assert repository.pin(load.candidate).sha256
    (key, value), *_ = load.records(1)
    assert key == b"key-0"
    assert len(value) > 800


def test_the_failing_candidate_is_loaded_like_any_other_and_raises_on_every_flight(tmp_path: Path) -> None:
    load = failing(tmp_path)
    repository = Repository(tmp_path)
    manifest, raw = repository.manifest(load.candidate), repository.read(repository.pin(load.candidate))
    assert manifest.signature == repository.manifest(load.control).signature
    model = Model(manifest, raw, ["CPUExecutionProvider"], 1)
    warm_up(model, run_rows=256)
    nearest = np.array([[0, 0, 17, 0, 0, 0]], np.float32)  # miles: the least distance among the flights
    with pytest.raises(Exception, match="indices element out of data bounds"):
        model.run({"numeric": nearest, "carrier": np.array([["UA"]], object)}, 1)


def test_rollouts_have_every_guard_that_makes_workers_count_more() -> None:
    spec = flights().application()["spec"]
    assert isinstance(spec, dict)
    assert spec["mode"] == "advise"
    assert spec["judge"]["guards"].keys() == {"latency", "score", "shift"}
    other = flights().application(judge={"window": "1s"}, guards={"errors": {"limit": "none"}})["spec"]
    assert isinstance(other, dict)
    assert "mode" not in other
    assert other["judge"]["guards"].keys() == {"errors", "latency", "score", "shift"}


# -- the command line and the drawings --------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [["--only", "speed"], ["--requests", "10"], ["--aborts", "-1"], ["--workers", "0"]])
def test_a_wrong_number_is_refused_before_anything_starts(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(wrong)
    assert ended.value.code == 2
    assert wrong[0] in capsys.readouterr().err


def test_drawings_show_every_row_and_every_place_of_an_axis() -> None:
    flat, grown = Ledger("throughput"), Ledger("scale")
    for subject in (STREAMSPLIT, PASS_THROUGH, "Quix <Streams>"):
        flat.add({"subject": subject, "load": "flights", "batch": 1000}, {"cpu_micros": 5.0, "rate": 1e5})
    for at in (1, 2, 4):
        grown.add({"axis": "workers", "at": at}, {"cpu_micros": 5.0 + at})
    drawings = [standing(flat.rows()), growth(grown.rows())]
    bars, panels = (ET.fromstring(drawing) for drawing in drawings)  # noqa: S314 # our own drawings
    assert [text.text for text in bars.iter(f"{SVG}text")].count("Quix <Streams> (1000)") == 1
    assert len(list(panels.iter(f"{SVG}circle"))) == 3


def test_nothing_is_drawn_of_nothing() -> None:
    assert standing(()) == ""
    assert growth(()) == ""


def test_rows_are_found_by_their_whole_case() -> None:
    found = rows(a=(1.0,), b=(2.0,))
    assert find(found, "throughput", {"subject": "b"}) is found[1]
    assert find(found, "throughput", {}) is None
    assert find(found, "latency", {"subject": "b"}) is None
