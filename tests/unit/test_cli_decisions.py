"""A decision on the screen: all that it says, in any width, whatever is in it."""

import io
import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from simulations.world import World, behaving, canary
from streamsplit.cli.decision_view import caused, mean_log_e, render
from streamsplit.cli.figures import as_json, clock, e_value, number, of_needed
from streamsplit.cli.sparkline import Sparkline
from streamsplit.core.commands import Command
from streamsplit.core.decision import Decision, DecisionKind, Reading, Verdict, WindowPoint
from streamsplit.core.quantities import moment_text
from streamsplit.core.rollout import Phase, State
from streamsplit.offline.history import Entry

TWENTY, FORTY, THOUSAND = math.log(20), math.log(40), math.log(1000)
MINUTE = 1_795_491_660_000  # 2026-11-24T03:41:00Z
READINGS = (
    Reading("errors", "canary", Verdict.BAD, 0.0102, 0.032, "%", 3.1, 1.9, 5.1, 9.03, FORTY, -5.2, TWENTY),
    Reading("speed", "canary", Verdict.GOOD, 12.1, 12.4, "ms", 1.02, 0.9, 1.1, -1.2, FORTY, 4.1, TWENTY),
    Reading("shift", "canary", Verdict.HELD, effect=0.31, low=0.28, dry_run=True),
    Reading(
        "error limit", "canary", Verdict.OPEN, control=0.2, candidate=0.032, unit="%", log_e=-40.0, log_needed=THOUSAND
    ),
)
WINDOWS = tuple(WindowPoint(MINUTE + 5000 * i, 900, 9, 100, i, 0.5 * i) for i in range(8))
DECISION = Decision(
    "4f0c12ab" * 4, "delay-v2", 1, 4, 1, MINUTE + 35_000, MINUTE + 40_000, DecisionKind.ROLLBACK,
    ("Errors of canary are 3.1 times control's.", "The split is as it should be."),
    READINGS, WINDOWS, "abort", "c1", summaries_to=812, control_to=5, log_time=MINUTE + 42_500,
)  # fmt: skip
BARE = Decision("", "", -1, -1, -1, 0, 0, DecisionKind.HOLD, ())
REFUSED = Entry(5, MINUTE, Command(command_id="c1", kind="abort"), State(), "there is nothing to abort")
TAKEN = replace(REFUSED, state=State(phase=Phase.ROLLED_BACK), refusal=None)


def screen(decision: Decision, entry: Entry | None = None, steps: int = 0, width: int = 120) -> list[str]:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    for part in render(decision, entry, steps):
        console.print(part, highlight=False, soft_wrap=isinstance(part, str))
    written = console.file
    assert isinstance(written, io.StringIO)
    return [line.rstrip() for line in written.getvalue().splitlines()]


def line(lines: list[str], *begins: str) -> str:
    """The words of the only line with these first words."""
    (found,) = (" ".join(each.split()) for each in lines if each.split()[: len(begins)] == list(begins))
    return found


def test_what_when_and_why_stand_on_one_screen() -> None:
    lines = screen(DECISION, TAKEN, 4)
    assert len(lines) <= 24
    assert lines[0] == "✖ rollback  delay-v2"
    assert line(lines, "decision") == f"decision {DECISION.decision_id}"
    assert line(lines, "window") == "window 2026-11-24T03:41:35.000+00:00 to 03:41:40"
    assert line(lines, "step") == "step 2 of 4, at revision 4 (applied at 1)"
    assert line(lines, "caused") == "caused abort, revision 5: RolledBack"
    assert line(lines, "read") == "read summaries below offset 812, control below 5"
    assert line(lines, "1.") == "1. Errors of canary are 3.1 times control's."
    assert line(lines, "2.") == "2. The split is as it should be."


def test_each_guard_shows_both_arms_the_effect_with_its_interval_and_what_it_needs() -> None:
    lines = screen(DECISION)
    assert line(lines, "guard") == "guard verdict control canary ratio or difference e against it alone e for it"
    assert line(lines, "errors", "bad") == "errors bad 1.02 % 3.2 % 3.1 (1.9 to 5.1) 8350 of 40 0.00552 of 20"
    assert line(lines, "speed") == "speed good 12.1 ms 12.4 ms 1.02 (0.9 to 1.1) 0.301 of 40 60.3 of 20"
    assert line(lines, "shift") == "shift held (dry run) 0.31 (0.28 to ∞)"
    assert line(lines, "error", "limit") == "error limit open limit 20 % 3.2 % 4.2e-18 of 1000"


def test_the_windows_are_drawn_with_one_scale_for_both_arms_and_the_mean_beside_its_limit() -> None:
    lines = screen(DECISION)
    assert line(lines, "Windows") == "Windows 8, from 2026-11-24T03:41:00.000+00:00 to 03:41:40"
    assert line(lines, "errors", "control") == "errors control ▂▂▂▂▂▂▂▂ 1 % of 7200 requests"
    assert line(lines, "canary") == "canary ▁▂▃▄▅▆▇█ 3.5 % of 800 requests"
    assert line(lines, "mean", "e") == "mean e log scale ▁▂▃▄▅▆▇█ now 33.1, rolls back at 20"


def test_the_mean_needs_as_many_times_less_than_a_guard_alone_as_there_are_guards() -> None:
    assert mean_log_e(DECISION) == (3.5, pytest.approx(TWENTY))
    twice = [replace(each, log_needed=each.log_needed and each.log_needed + math.log(2)) for each in READINGS]
    both = (*twice, *(replace(each, arm="green") for each in twice))
    assert mean_log_e(replace(DECISION, readings=both)) == (3.5, pytest.approx(FORTY))
    dry = tuple(replace(each, dry_run=True) for each in READINGS)
    assert mean_log_e(replace(DECISION, readings=dry, windows=())) == (None, None)


@pytest.mark.parametrize("dry_run", [False, True])
def test_the_mean_and_what_it_needs_are_those_that_the_judge_rolls_back_by(dry_run: bool) -> None:  # noqa: FBT001 # a column
    judge = {"window": "1s", "grace": "1s", "alpha": 0.01, "guards": {"latency": {"dry_run": dry_run}}}
    world = World(canary(judge=judge), behaving(error_rate=0.03), rate=1000.0, seed=0)
    world.run(60)
    last = world.decisions[-1]
    assert last.kind is DecisionKind.ROLLBACK
    mean, needed = mean_log_e(last)
    assert mean is not None
    assert needed == pytest.approx(math.log(100))
    assert last.reasons[0].endswith(f"mean e-value {math.exp(mean):.3g}, 100 needed")
    assert mean >= needed
    assert screen(last)


@pytest.mark.parametrize(
    ("decision", "entry", "said"),
    [
        (BARE, None, "no command"),
        (DECISION, None, "abort; not in the control log: not yet, or overtaken by another command"),
        (DECISION, REFUSED, "abort, refused: there is nothing to abort"),
        (
            replace(DECISION, advice=True),
            None,
            "advises abort; the rollout's mode is `advise`: type `streamsplit abort`",
        ),
        (replace(DECISION, advice=True, command="dance"), None, "advises dance; the rollout's mode is `advise`"),
    ],
    ids=["none", "lost", "refused", "advice", "advice of another version"],
)
def test_what_a_decision_caused_is_told_with_what_came_of_it(
    decision: Decision, entry: Entry | None, said: str
) -> None:
    assert caused(decision, entry) == said


def test_a_decision_with_nothing_in_it_says_what_it_lacks() -> None:
    lines = screen(BARE)
    assert line(lines, "step") == "step none, at revision -1 (applied at -1)"
    assert line(lines, "window").endswith("still open: a limit acted")
    assert line(lines, "-") == "- no reason was written down"
    assert "No guard has looked at a candidate yet." in lines
    assert not any("Windows" in each for each in lines)


def test_each_candidate_has_a_table_of_its_own() -> None:
    second = replace(READINGS[0], arm="green", candidate=0.077)
    lines = screen(replace(DECISION, readings=(*READINGS, second)))
    assert {"Guards of canary", "Guards of green"} <= set(lines)
    assert any("7.7 %" in each for each in lines)
    assert line(lines, "candidate").startswith("candidate ▁▂▃▄▅▆▇█")


def test_control_by_itself_has_a_table_of_its_own_and_is_no_candidate() -> None:
    counts = {"before_requests": 20_000.0, "found": 0.031}
    alone = Reading("interference", "control", Verdict.HELD, 0.004, 0.031, "%", 7.75, counts=counts)
    both = replace(DECISION, readings=(*READINGS, replace(alone, log_e=math.log(2500), log_needed=math.log(2000))))
    lines = screen(both)
    assert "Guards of canary" in lines
    assert "Guards of control" not in lines
    assert line(lines, "guard", "verdict", "before").startswith("guard verdict before the rollout of late")
    assert line(lines, "interference") == "interference held 0.4 % 3.1 % 7.75 2500 of 2000"
    assert line(lines, "canary").startswith("canary "), "the windows are those of the only candidate"
    assert mean_log_e(both) == mean_log_e(DECISION)


def test_names_and_reasons_are_neither_markup_nor_orders_to_the_terminal() -> None:
    hostile = "[/bold][red]\x1b[2Jred\nline"
    decision = replace(
        DECISION, rollout=hostile, reasons=(hostile,), readings=(replace(READINGS[0], guard=hostile, arm=hostile),)
    )
    text = "\n".join(screen(decision, width=400))
    assert "\x1b" not in text
    assert text.count("[/bold][red] [2Jred line") == 6


def test_a_hundred_windows_fit_into_any_width() -> None:
    points = tuple(WindowPoint(MINUTE + 5000 * i, 900, 0, 10, i % 2, float(i)) for i in range(100))
    wide, narrow = (screen(replace(DECISION, windows=points), width=width) for width in (200, 80))
    assert "▁█" * 50 in line(wide, "canary")
    assert max(map(len, narrow)) <= 80
    assert "100, from" in line(narrow, "Windows")


ANY = st.floats(allow_nan=True)
MAYBE = st.none() | ANY
LONGS = st.integers(-(2**63), 2**63 - 1)
ANY_DECISION = st.builds(
    replace,
    st.just(DECISION),
    rollout=st.text(max_size=300),
    reasons=st.lists(st.text(max_size=300), max_size=3).map(tuple),
    step=st.integers(-1, 100),
    window_start=LONGS,
    window_end=LONGS,
    log_time=LONGS,
    readings=st.lists(
        st.builds(
            Reading,
            st.text(max_size=80),
            st.sampled_from(["canary", "control", "", "x" * 300]),
            st.sampled_from(Verdict),
            **dict.fromkeys(("control", "candidate", "effect", "low", "high", "log_e", "log_needed"), MAYBE),
            log_e_good=MAYBE,
            log_needed_good=MAYBE,
            unit=st.text(max_size=20),
        ),
        max_size=4,
    ).map(tuple),
    windows=st.lists(st.builds(WindowPoint, LONGS, LONGS, LONGS, LONGS, LONGS, ANY), max_size=100).map(tuple),
)


@settings(max_examples=60, deadline=None)
@given(ANY_DECISION, st.integers(20, 200))
def test_whatever_was_recorded_is_drawn_within_the_width(decision: Decision, width: int) -> None:
    assert screen(decision, width=width)


def plot(values: list[float | None], low: float, high: float) -> Sparkline:
    return Sparkline(len(values), lambda start, _: values[start], low, high)


@pytest.mark.parametrize(
    ("line_of", "drawn"),
    [
        (plot([0, 1, 2, 3, 4, 5, 6, 7, 8], 0, 8), "▁▂▃▄▅▆▇██"),
        (plot([-5, 99, math.inf, -math.inf], 0, 8), "▁██▁"),
        (plot([None, math.nan, 8.0], 0, 8), "··█"),
        (plot([0.0, 0.0], 0, 0), "▁▁"),
        (plot([5.0, 5.0], 5, 5), "▁▁"),
        (plot([0.0], -1.7e308, 1.7e308), "▅"),
        (plot([], 0, 1), ""),
    ],
    ids=["steps", "beyond the scale", "nothing", "all zero", "all alike", "a scale too long", "no window"],
)
def test_a_sparkline_has_a_block_for_each_value(line_of: Sparkline, drawn: str) -> None:
    assert line_of.text(80) == drawn


def test_a_sparkline_without_room_draws_stretches_and_without_unicode_letters() -> None:
    ten = Sparkline(10, lambda start, end: float(end - start), 0, 8)
    assert ten.text(3) == "▄▄▅"
    assert plot([0, None, 8], 0, 8).text(80, ascii_only=True) == "_ #"


@pytest.mark.parametrize(
    ("log_e", "said"),
    [
        (None, ""),
        (0.0, "1"),
        (TWENTY, "20"),
        (-40.0, "4.2e-18"),
        (1000.0, "2.0e+434"),
        (math.log(10) * 12, "1.0e+12"),
        (-math.inf, "0"),
        (math.inf, "∞"),
        (1e300, "10^4.3e+299"),
        (math.nan, "nan"),
    ],
)
def test_an_e_value_is_told_however_large(log_e: float | None, said: str) -> None:
    assert e_value(log_e) == said


def test_figures_are_short_and_what_has_no_number_is_a_word() -> None:
    assert [number(each, "%") for each in (0.0, 0.0000012, 0.012345, 9.997, 1234.56, -math.inf)] == [
        "0 %", "1.2e-04 %", "1.23 %", "1000 %", "1.2e+05 %", "-∞ %"
    ]  # fmt: skip
    assert [as_json(each) for each in (1.5, None, math.inf, -math.inf, math.nan)] == [
        1.5, None, "Infinity", "-Infinity", "NaN"
    ]  # fmt: skip
    assert of_needed(0.0, None) == "1"
    assert (moment_text(2**62), clock(0)) == (f"{2**62} ms", "00:00:00")
