"""Doses: which requests are errors, what merges, and what a window keeps when there is too much of it."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamsplit.core.arm_sums import ArmSums, Limited, deltas
from streamsplit.core.doses import ArmCounts, PairCounts, pairs_of
from streamsplit.core.mirroring import MirrorCounts, ScorePairs
from streamsplit.core.open_window import MOST_PROBES, MOST_UNITS, OpenWindow
from streamsplit.core.records import Outcome
from streamsplit.core.summary import FailingUnits, Probe, RunCounts, Summary, WindowCounts

LABELS = [outcome.label for outcome in Outcome]


def counted(outcomes: dict[str, int], fallen: dict[str, int] | None = None, arm: str = "canary") -> WindowCounts:
    return WindowCounts(0, -1, arm, sum(outcomes.values()), outcomes, outcomes.get("ok", 0), fallen or {})


def summary(*windows: WindowCounts, sequence: int = 0, revision: int = 5) -> Summary:
    return Summary("w-0", sequence, "delay-v2", revision, 1000, windows=windows)


CLASSES = [
    ("ok", 1, 0, 0),
    ("fallback_error", 1, 1, 0),
    ("fallback_invalid", 1, 1, 0),
    ("dead_letter", 1, 1, 0),
    ("fallback_timeout", 0, 0, 1),
    ("fallback_open", 0, 0, 1),
    ("fallback_loading", 0, 0, 0),
    ("fallback_stale", 0, 0, 0),
    ("an outcome of a later version", 0, 0, 0),
]
"""Outcome, and whether it is a request of the row test, an error of it, or has left it with its run."""


def counts_of(one: WindowCounts) -> ArmCounts:
    sums = ArmSums()
    sums.count(one)
    return sums.closed()


@pytest.mark.parametrize(("outcome", "requests", "errors", "fallen"), CLASSES)
def test_an_outcome_counts_as_the_arms_own_work_or_as_its_error_or_nowhere(
    outcome: str, requests: int, errors: int, fallen: int
) -> None:
    counts = counts_of(counted({outcome: 3}))
    assert (counts.requests, counts.errors, counts.fallen) == (3 * requests, 3 * errors, 3 * fallen)
    assert counts.assigned == 3


def test_no_outcome_of_the_wire_is_forgotten() -> None:
    assert set(LABELS) <= {outcome for outcome, *_ in CLASSES}


def test_rows_of_a_run_that_fell_leave_requests_and_errors_of_the_row_test() -> None:
    counts = counts_of(
        counted({"ok": 90, "fallback_error": 7, "dead_letter": 3}, fallen={"fallback_error": 5, "dead_letter": 3})
    )
    assert (counts.requests, counts.errors, counts.fallen, counts.assigned, counts.served) == (92, 2, 8, 100, 90)


def test_more_fallen_rows_than_rows_are_no_negative_errors() -> None:
    assert counts_of(counted({"fallback_error": 2}, fallen={"fallback_error": 5})).errors == 0


def test_the_four_cells_of_a_pair_are_told_apart() -> None:
    mirrored = MirrorCounts(
        start=0,
        rule=-1,
        arm="canary",
        requests=2024,
        outcomes={
            "ok": 980,
            "fallback_error": 15,
            "fallback_invalid": 5,
            "fallback_timeout": 1000,
            "fallback_open": 24,
        },
        control_failed={"ok": 6, "fallback_error": 2, "fallback_timeout": 9},
        agree=970,
        differ=4,
    )
    assert pairs_of(mirrored) == PairCounts(only_candidate=18, only_control=6, both=2, neither=974, agree=970, differ=4)


def test_what_was_never_asked_is_in_no_cell() -> None:
    mirrored = MirrorCounts(
        0, -1, "canary", 12, {"fallback_loading": 7, "fallback_stale": 5}, {"fallback_stale": 2}, 0, 0
    )
    assert pairs_of(mirrored) == PairCounts()


@pytest.mark.parametrize("label", ["fallback_error", "fallback_timeout"])
def test_requests_that_a_candidate_fell_at_are_no_pairs(label: str) -> None:
    mirrored = MirrorCounts(0, -1, "canary", 12, {label: 12}, {label: 2}, 0, 0, fallen=True)
    assert pairs_of(mirrored) == PairCounts()


def test_a_summary_adds_to_each_arm_its_windows_and_rules_together() -> None:
    whole = summary(
        counted({"ok": 5}),
        WindowCounts(5000, 2, "canary", 4, {"ok": 1, "fallback_error": 3}, 1, slow=2, scores={7: 4}),
        counted({"ok": 9}, arm="control"),
    )
    found = deltas(whole)
    assert found["canary"] == Limited(requests=9, errors=3, slow=2)
    assert found["control"].requests == 9


ARM_COUNTS = st.builds(
    ArmCounts,
    *[st.integers(0, 50)] * 3,
    st.dictionaries(st.integers(0, 999), st.integers(1, 9), max_size=4),
    *[st.integers(0, 50)] * 5,
)


@given(ARM_COUNTS, ARM_COUNTS, ARM_COUNTS)
def test_counts_merge_in_any_order_and_change_none_of_their_parts(a: ArmCounts, b: ArmCounts, c: ArmCounts) -> None:
    before = [dict(each.scores) for each in (a, b, c)]
    assert (a + b) + c == a + (b + c) == (c + b) + a
    assert (a + ArmCounts()) == a
    assert [dict(each.scores) for each in (a, b, c)] == before


SCORES = ScorePairs(2, 1, 1, 900, 800, 700, {3: 1500, 4: 500}, {990: 2000}, {500: 1000}, {0: 1000})


def entries(seed: int) -> list[Summary]:
    """Summaries with more failing units and probes than a window keeps."""
    return [
        Summary(
            f"w-{number % 3}",
            number,
            "delay-v2",
            5 + number % 2,
            1000,
            windows=(WindowCounts(0, -1, "canary", 20, {"ok": 15, "fallback_error": 5}, 15, scores={number: 20}),),
            mirrored=(MirrorCounts(0, 0, "canary", 3, {"ok": 3}, {}, 2, 1, SCORES),),
            runs=(RunCounts(0, "canary", 2, 0, 1),),
            failing=(
                FailingUnits(0, -1, "canary", tuple((seed * (number + 3) * k * k) % 2003 - 1000 for k in range(40)), 2),
            ),
            probes=tuple(Probe(0, "canary", 64, 900 + k, 1000 + number) for k in range(12)),
        )
        for number in range(60)
    ]


def fill(window: OpenWindow, summaries: list[Summary]) -> OpenWindow:
    for each in summaries:
        for entry in (*each.windows, *each.mirrored, *each.runs, *each.failing, *each.probes):
            window.add(each, entry)
    return window


@settings(max_examples=20)
@given(st.randoms(use_true_random=False), st.integers(0, 60))
def test_a_full_window_keeps_the_same_whatever_came_first_and_however_it_was_merged(random: object, cut: int) -> None:
    ordered = entries(17)
    shuffled = list(ordered)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    merged = fill(OpenWindow(0, 0), shuffled[:cut])
    merged.absorb(fill(OpenWindow(0, 0), shuffled[cut:]))
    merged.late_requests = 0
    assert merged.close(5000, ()) == fill(OpenWindow(0, 0), ordered).close(5000, ())


def test_failing_units_beyond_the_most_are_counted_unnamed_and_no_error_is_lost() -> None:
    closed = fill(OpenWindow(0, 0), entries(17)).close(5000, ())
    assert [each.revision for each in closed.failing] == [5, 6]
    for each in closed.failing:
        assert len(each.units) == MOST_UNITS
        assert list(each.units) == sorted(set(each.units))
        assert len(each.units) + each.repeats + each.unnamed == 30 * 42


def test_probes_beyond_the_most_are_left_out_without_regard_to_how_they_fared() -> None:
    closed = fill(OpenWindow(0, 0), entries(17)).close(5000, ())
    for each in closed.probes:
        assert len(each.probes) == MOST_PROBES
        assert each.left_out == 30 * 12 - MOST_PROBES
        slow = sum(probe.candidate_micros >= 1030 for probe in each.probes)
        assert 70 <= slow <= 130, "half of them are that slow"


def test_an_open_window_survives_json_exactly() -> None:
    window = fill(OpenWindow(0, 77), entries(17))
    plain = json.loads(json.dumps(window.to_plain()))
    again = OpenWindow.from_plain(plain)
    assert again.close(5000, (5,)) == window.close(5000, (5,))
    assert again.to_plain() == window.to_plain()


def test_rules_and_revisions_are_never_pooled() -> None:
    window = OpenWindow(0, 0)
    for rule, revision in ((0, 5), (-1, 5), (0, 6)):
        each = WindowCounts(0, rule, "canary", 1, {"ok": 1}, 1)
        window.add(summary(each, revision=revision), each)
    assert [(dose.rule, dose.revision) for dose in window.close(5000, ()).doses] == [(-1, 5), (0, 5), (0, 6)]
