"""The three rollouts of the demonstration: what each is, what the judge should make of it, and what it does."""

import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from examples.demo_stage import Failed, Stage
from streamsplit.cli.chronicle import chronicle
from streamsplit.core.judge_commands import ACTOR
from streamsplit.core.rollout import Phase
from streamsplit.offline.history import Entry

_LOOK_SECONDS = 0.5
_ENDS = {Phase.PROMOTED, Phase.ROLLED_BACK, Phase.FAILED}


@dataclass(frozen=True, slots=True)
class Trial:
    """A rollout that is left to the judge.

    Attributes:
        rollout: Its name; `examples/NAME.yaml` is its file.
        story: What the new model is.
        label: The same in a few words.
        phase: What the judge should bring it to.
        guard: How the name of the guard begins that should decide; empty where all agree.
    """

    rollout: str
    story: str
    label: str
    phase: Phase
    guard: str = ""

    @property
    def file(self) -> str:
        """Path from the root of the project."""
        return f"examples/{self.rollout}.yaml"

    def expected(self, phase: str, guard: str) -> bool:
        """Whether it should have come to this phase, by this guard."""
        return phase == self.phase and guard.startswith(self.guard)


TRIALS = (
    Trial(
        "delay-v2",
        "A better model. It is loaded, vetted and warmed while delay@1 goes on serving. The judge does the rest.",
        "delay@2: better",
        Phase.PROMOTED,
    ),
    Trial(
        "delay-v3",
        "A model that was exported with two columns swapped: it runs without an error and predicts badly.",
        "delay@3: columns swapped",
        Phase.ROLLED_BACK,
        "score",
    ),
    Trial(
        "delay-v4",
        "A model that raises on a third of the flights: control answers those.",
        "delay@4: raises",
        Phase.ROLLED_BACK,
        "error",
    ),
)


def judged(
    stage: Stage, traffic: subprocess.Popen[str], entries: Callable[[], Sequence[Entry]], trial: Trial, seconds: float
) -> dict[str, Any]:
    """Apply a rollout and watch until it is promoted or taken back.

    Args:
        stage: Where commands are typed.
        traffic: The sender of flights.
        entries: Reads the control log.
        trial: The rollout.
        seconds: How long it may take.

    Returns:
        The command that ended it, as a row of `streamsplit history -o json`.

    Raises:
        Failed: It was ended otherwise than it should, not by the judge, or not in time; or the sender ended.
    """
    stage.say(trial.story)
    stage.type("apply", "-f", trial.file)
    seen = 0
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        rows = [row for row in chronicle(entries()) if row["rollout"] == trial.rollout and row["accepted"]]
        for row in rows[seen:]:
            stage.tell(_line(row))
        seen = len(rows)
        if rows and rows[-1]["result"] in _ENDS:
            return _required(rows[-1], trial)
        stage.let_flow(_LOOK_SECONDS, traffic)
    raise Failed(f"{trial.rollout} was not decided within {seconds:.0f} s")


def _line(row: Mapping[str, Any]) -> str:
    split = f", {row['split']}" if row["split"] else ""
    why = f": {row['reason']}" if row["reason"] else ""
    return f"{row['time'][11:23]}  {row['actor']}  {row['command']} → {row['result']}{split}{why}"


def _required(row: dict[str, Any], trial: Trial) -> dict[str, Any]:
    if row["result"] != trial.phase or row["actor"] != ACTOR:
        raise Failed(f"{trial.rollout} is {row['result']} by {row['actor']}; expected: {trial.phase} by {ACTOR}")
    return row
