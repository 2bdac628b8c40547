"""What `get` shows of a rollout, with a shadow: what is set beside what is reached."""

from dataclasses import replace

import pytest
from rich.console import Console

from streamsplit.cli.tree import picture, rollout_tree, weights_text
from streamsplit.core.rollout import Arm, Mirror, ModelRef, Phase, Rollout, State, Step, Unit, UnitKind
from streamsplit.core.status import Status

OLD, NEW = (ModelRef("delay", "1", "0" * 64),), (ModelRef("delay", "2", "1" * 64),)
SHADOW = Mirror((2000,), 0.03)
STEPS = (Step((0,), mirror=SHADOW), Step(pause=True, mirror=SHADOW), Step((1000,)))
ROLLOUT = Rollout("x", "x", (Arm("control", OLD), Arm("canary", NEW)), Unit(UnitKind.ID), steps=STEPS)
STATE = State(revision=3, phase=Phase.PROGRESSING, serving=OLD, rollout=ROLLOUT, step=0, weights=(0,))
STATUS = Status(
    slot="w-0",
    incarnation="a",
    started_ms=0,
    written_ms=0,
    version="1",
    revision=3,
    digest="d",
    phase="Progressing",
    ready=True,
    prepared=True,
    rates={"requests": 100.0, "control": 100.0, "canary": 0.0},
    mirrored={"canary": 20.0},
    mirror_failed={"canary": 5.0},
)


def drawn(state: State, *statuses: Status) -> str:
    console = Console(width=200, record=True, file=None, quiet=False)
    with console.capture() as capture:
        console.print(rollout_tree("flights", state, {status.slot: status for status in statuses}))
    return capture.get()


def test_a_shadow_is_drawn_with_its_share_its_rate_and_what_it_missed() -> None:
    (canary,) = (line for line in drawn(STATE, STATUS).splitlines() if "canary  delay@2" in line)
    assert (
        "set 0 %  actual 0.00 %  mirrored 20 % of control's, actual 20/s, 25.0 % of them not in time and well" in canary
    )


def test_steps_and_the_line_of_a_command_say_what_is_mirrored() -> None:
    lines = drawn(STATE, STATUS)
    assert "▶ canary=0 mirror canary=20" in lines
    assert "· canary=10\n" in lines.replace(" " * 3, "").replace(" \n", "\n")
    assert weights_text(STATE) == "canary=0 mirror canary=20"
    assert weights_text(replace(STATE, step=2, weights=(1000,))) == "canary=10"


def test_nothing_is_said_of_a_mirror_where_there_is_none() -> None:
    assert "mirror" not in drawn(
        replace(STATE, step=2, weights=(1000,)), replace(STATUS, mirrored={}, mirror_failed={})
    ).replace("canary=0 mirror canary=20", "")


@pytest.mark.parametrize(("step", "share", "budget"), [(0, 20.0, 30.0), (1, 20.0, 30.0), (2, 0.0, None)])
def test_the_picture_has_the_same_as_values(step: int, share: float, budget: float | None) -> None:
    shown = picture("flights", replace(STATE, step=step), {"w-0": STATUS})
    arms: list[dict[str, object]] = shown["arms"]  # type: ignore[assignment]
    assert [(arm["mirror"], arm["mirrored"]) for arm in arms] == [(0.0, 0.0), (share, 20.0)]
    assert shown["budget_ms"] == budget
    assert shown["steps"] == [
        {"weights": [0.0], "mirror": [20.0]},
        {"pause": True},
        {"weights": [10.0], "mirror": [0.0]},
    ]
