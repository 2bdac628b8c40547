"""What `history`, `explain` and `get` make of decisions, before anything is read or printed."""

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from streamsplit.cli.chronicle import chronicle
from streamsplit.cli.chronicle_view import render as render_rows
from streamsplit.cli.latest_decision import LatestDecision
from streamsplit.cli.recalling import explained, pick
from streamsplit.cli.tree import picture, rollout_tree
from streamsplit.core.commands import Command, Malformed
from streamsplit.core.decision import Decision, DecisionKind, Reading, Verdict, WindowPoint
from streamsplit.core.errors import ServiceError, UsageError
from streamsplit.core.judge_commands import command_of
from streamsplit.core.rollout import Arm, ModelRef, Phase, Rollout, State, Step, Unit, UnitKind
from streamsplit.offline.history import Entry

OLD, NEW = (ModelRef("delay", "1", "0" * 64),), (ModelRef("delay", "2", "1" * 64),)
ROLLOUT = Rollout("x", "x", (Arm("control", OLD), Arm("canary", NEW)), Unit(UnitKind.ID), steps=(Step((1000,)),))
RUNNING = State(1, Phase.PROGRESSING, OLD, rollout=ROLLOUT, apply_revision=0, step=0, weights=(1000,))
HOLD = Decision("ab12" * 8, "x", 0, 1, 0, 0, 5000, DecisionKind.HOLD, ("Too few requests.",), control_to=2)
ROLLBACK = replace(
    HOLD,
    decision_id="ab77" * 8,
    kind=DecisionKind.ROLLBACK,
    reasons=("Errors.",),
    readings=(Reading("errors", "canary", Verdict.BAD, log_e=math.inf, high=-math.inf, log_needed=math.log(20)),),
    windows=(WindowPoint(0, 9, 1, 9, 9, math.inf),),
    command="abort",
    command_id="c",
    log_time=5500,
)
BESIDE = replace(HOLD, decision_id="ab99" * 8, reasons=("abort is decided; no worker serves under it yet",))
ABORT = command_of(ROLLBACK)
assert ABORT is not None
APPLY = Entry(0, 1000, Command(command_id="a", kind="apply", rollout="x", actor="me@here"), State(), None)
BEGIN = Entry(1, 2000, Command(command_id="b", kind="begin", rollout="x", actor="fleet@w"), RUNNING, None)
AFTER = Entry(2, 9000, ABORT, replace(RUNNING, revision=2, phase=Phase.ROLLED_BACK), None)
BROKEN = Entry(3, 9500, Malformed("no command"), AFTER.state, "no command")
ENTRIES = (APPLY, BEGIN, AFTER, BROKEN)


def test_a_command_of_the_judge_names_what_explain_takes_and_others_name_nothing() -> None:
    rows = chronicle(ENTRIES)
    assert [row["decision"] for row in rows] == [None, None, ABORT.command_id, None]
    assert pick([ROLLBACK, HOLD], rows[2]["decision"]) == (ROLLBACK,)
    assert rows[2]["reason"] == "Errors."


def test_decisions_stand_before_the_first_command_that_they_had_not_read() -> None:
    rows = chronicle(ENTRIES, (HOLD, ROLLBACK))
    assert [row["kind"] for row in rows] == ["apply", "begin", "decision", "decision", "abort", None]
    hold, rollback = rows[2:4]
    assert (hold["command"], hold["result"], hold["reason"]) == ("decision: hold", "no command", "Too few requests.")
    assert (rollback["revision"], rollback["result"]) == (1, "abort, revision 2: RolledBack")
    assert rollback["decision"] == ROLLBACK.decision_id
    assert all(row.keys() == rows[0].keys() for row in rows)


def test_a_history_without_decisions_or_commands_is_empty() -> None:
    assert chronicle(()) == []
    assert [row["kind"] for row in chronicle((), (HOLD,))] == ["decision"]


@pytest.mark.parametrize(("wanted", "found"), [("ab77" * 8, ROLLBACK), ("ab77", ROLLBACK), ("ab1", HOLD)])
def test_a_decision_is_found_by_its_id_and_by_how_only_it_begins(wanted: str, found: Decision) -> None:
    assert pick([ROLLBACK, HOLD], wanted) == (found,)


def test_an_id_is_read_no_further_than_it_is_found() -> None:
    def newest_first() -> Iterator[Decision]:
        yield ROLLBACK
        raise AssertionError("read on")

    assert pick(newest_first(), ROLLBACK.decision_id) == (ROLLBACK,)


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("ab", f"2 decisions begin with 'ab'; write more of the id: {'ab77' * 8} (rollback), {'ab12' * 8} (hold)"),
        ("", "2 decisions begin with ''"),
        ("ab12ab13", f"the nearest is {'ab12' * 8} (hold)"),
        ("?", f"the nearest is {'ab77' * 8} (rollback). `streamsplit history --decisions`"),
    ],
    ids=["ambiguous", "empty", "mistyped", "like none"],
)
def test_a_wrong_id_is_refused_with_the_nearest(wanted: str, said: str) -> None:
    with pytest.raises(UsageError) as refused:
        pick([ROLLBACK, HOLD], wanted)
    assert said in str(refused.value)


def test_nothing_is_found_where_nothing_was_decided() -> None:
    assert pick([], "ab") == ()


def test_all_of_a_decision_is_json_with_what_came_of_its_command() -> None:
    plain = json.loads(json.dumps(explained(ROLLBACK, ENTRIES), allow_nan=False))
    assert plain["effect"] == {"command": "abort", "command_id": "c", "advice": False, "revision": 2, "refusal": None}
    assert plain["inputs"] == {"summaries_to": 0, "control_to": 2}
    assert (plain["evidence"][0]["log_e"], plain["evidence"][0]["high"]) == ("Infinity", "-Infinity")
    assert plain["windows"][0]["log_e"] == "Infinity"
    assert (plain["kind"], plain["evidence"][0]["verdict"]) == ("rollback", "bad")
    assert plain["alphas"] == {"comparison": pytest.approx(0.05), "sum": 0.05}
    refused = explained(ROLLBACK, (replace(AFTER, refusal="nothing to abort"),))
    assert (refused["effect"]["revision"], refused["effect"]["refusal"]) == (None, "nothing to abort")
    assert explained(HOLD, ENTRIES)["effect"]["revision"] is None


def test_a_command_of_another_version_is_shown_without_an_answer() -> None:
    assert explained(replace(HOLD, command="dance", command_id="b"), ENTRIES)["effect"]["revision"] is None


class Topic:
    """A topic whose newest decision is looked at."""

    def __init__(self) -> None:
        self.decisions: tuple[Decision, ...] = ()
        self.looked = 0
        self.missing = False

    def newest_first(self) -> Iterator[Decision]:
        self.looked += 1
        if self.missing:
            raise ServiceError("the topic is not there")
        return iter(self.decisions)


def test_the_latest_decision_is_that_of_this_rollout_and_is_looked_at_now_and_then() -> None:
    topic, now = Topic(), [0.0]
    latest = LatestDecision(topic.newest_first, lambda: now[0])
    assert latest.of(replace(RUNNING, phase=Phase.PREPARING)) is None
    assert topic.looked == 0
    assert latest.of(RUNNING) is None
    topic.decisions = (ROLLBACK, HOLD)
    assert (latest.of(RUNNING), topic.looked) == (None, 1)
    now[0] = 2.0
    assert (latest.of(RUNNING), topic.looked) == (ROLLBACK, 2)
    assert latest.of(replace(RUNNING, apply_revision=9)) is None


@pytest.mark.parametrize(
    ("phase", "decisions", "shown"),
    [
        (Phase.ROLLED_BACK, (BESIDE, BESIDE, ROLLBACK, HOLD), ROLLBACK),
        (Phase.ROLLED_BACK, (BESIDE, HOLD), BESIDE),
        (Phase.ROLLED_BACK, (replace(ROLLBACK, apply_revision=7), replace(BESIDE, apply_revision=7)), None),
        (Phase.PROMOTED, (BESIDE, replace(HOLD, command="promote"), ROLLBACK), replace(HOLD, command="promote")),
        (Phase.PROGRESSING, (BESIDE, ROLLBACK), BESIDE),
        (Phase.PAUSED, (BESIDE, ROLLBACK), BESIDE),
    ],
)
def test_of_a_rollout_that_is_over_the_decision_that_ended_it_is_shown_of_others_the_latest(
    phase: Phase, decisions: tuple[Decision, ...], shown: Decision | None
) -> None:
    topic = Topic()
    topic.decisions = decisions
    assert LatestDecision(topic.newest_first, lambda: 0.0).of(replace(RUNNING, phase=phase)) == shown


def test_a_topic_that_cannot_be_read_is_a_problem_and_no_failure() -> None:
    topic, now = Topic(), [0.0]
    topic.decisions = (HOLD,)
    latest = LatestDecision(topic.newest_first, lambda: now[0])
    assert latest.of(RUNNING) == HOLD
    topic.missing, now[0] = True, 2.0
    assert latest.of(RUNNING) == HOLD
    assert "is not there" in str(latest.problem)
    topic.missing, now[0] = False, 4.0
    assert (latest.of(RUNNING), latest.problem) == (HOLD, None)


def drawn(decision: Decision | None) -> str:
    console = Console(width=200, color_system=None)
    with console.capture() as capture:
        console.print(rollout_tree("flights", RUNNING, {}, decision))
    return capture.get()


def test_get_shows_the_latest_decision_its_first_reason_and_how_near_it_is() -> None:
    near = replace(ROLLBACK, windows=(WindowPoint(0, 9, 1, 9, 9, math.log(8)),))
    text = drawn(near)
    assert "judge  ✖ rollback  at 1970-01-01T00:00:05.500+00:00, revision 1  mean e-value 8 of 20 needed" in text
    assert "── Errors." in text
    assert "── streamsplit explain ab77ab77ab77\n" in "\n".join(line.rstrip() for line in text.splitlines()) + "\n"
    assert "mean e-value" not in drawn(HOLD)
    assert "judge" not in drawn(None)


def test_the_picture_names_the_latest_decision() -> None:
    assert picture("flights", RUNNING, {})["decision"] is None
    shown = json.loads(json.dumps(picture("flights", RUNNING, {}, ROLLBACK), allow_nan=False))["decision"]
    assert (shown["kind"], shown["decision_id"], shown["reasons"]) == ("rollback", "ab77" * 8, ["Errors."])
    assert (shown["log_e"], shown["log_needed"]) == ("Infinity", pytest.approx(math.log(20)))


def listed(rows: list[dict[str, Any]], width: int) -> str:
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(render_rows(rows, width))
    return capture.get()


@pytest.mark.parametrize("width", [110, 240])
def test_what_a_history_names_is_whole_and_taken_by_explain_at_any_width(width: int) -> None:
    decision = replace(ROLLBACK, reasons=("errors " * 20,), command_id="judge-123456789-advance")
    abort = command_of(decision)
    assert abort is not None
    rows = chronicle((APPLY, BEGIN, replace(AFTER, command=abort)), (HOLD, decision))
    text = listed(rows, width)
    words = text.split()
    for named, found in (("judge-123456789-advance", decision), (HOLD.decision_id[:12], HOLD)):
        assert named in words
        assert pick([decision, HOLD], named) == (found,)
    assert text.count("errors") == 40, "the reason of the decision and of its command, neither of them cut"
    assert all(len(line) <= width for line in text.splitlines())


def test_a_narrow_screen_has_the_reason_below_its_command() -> None:
    lines = [line.strip() for line in listed(chronicle(ENTRIES), 110).splitlines()]
    (place,) = (number for number, line in enumerate(lines) if line.startswith("2 ") and "abort" in line)
    assert lines[place + 1 : place + 3] == ["Errors.", "streamsplit explain c"]
    assert "1970-01-01 00:00:09" in lines[place]
