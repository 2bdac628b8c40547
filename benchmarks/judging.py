"""What judging costs: CPU time from the first summary to the last decision, and how large the judge's state is.

Nothing but the judge is measured, in this process: the summaries of one worker, five a second, are made before. Neither
their encoding nor the topics are in it.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from benchmarks.rows import Ledger, Row
from simulations.world import Behaviour, World
from streamsplit.core.judge import Judge
from streamsplit.core.rollout import State
from streamsplit.core.summary import Summary

WINDOWS = 1000
CASES = ((2, 1000), (8, 1000), (8, 10_000))
"""Arms, control included, and requests a second."""

_SHARE = 5
"""Percent of the requests that a candidate gets."""

_SUMMARY_MS = 200
_PROBES = 5.0
"""Of a worker a second, its candidates together (docs/design.md section 12)."""

Log = list[tuple[Summary, State]]


@dataclass(frozen=True, slots=True)
class Judged:
    """What came out of a log.

    Attributes:
        seconds: Of CPU time.
        windows: Closed ones that a decision was made of.
        state_bytes: Of the judge's state at the end.
    """

    seconds: float
    windows: int
    state_bytes: int


def rollout(arms: int) -> dict[str, Any]:
    """A rollout file with all guards, whose candidates are judged for as long as it lasts."""
    candidates = {f"canary-{number}": f"delay@{number + 1}" for number in range(1, arms)}
    score = {"output": "probability", "index": 1, "range": [0, 1]}
    return {
        "rollout": "judging",
        "arms": {"control": "delay@1", **candidates},
        "steps": [{"weights": dict.fromkeys(candidates, _SHARE), "for": "24h"}],
        "judge": {
            "window": "1s",
            "grace": "1s",
            "guards": {
                "latency": {"limit": "1s"},
                "score": {**score, "margin": "5%"},
                "shift": score,
            },
        },
    }


def served(arms: int, rate: float, windows: int = WINDOWS) -> Log:
    """What a worker says of healthy candidates until so many windows have closed, and the states it served under."""
    spec = rollout(arms)
    world = World(
        spec,
        dict.fromkeys(spec["arms"], Behaviour()),
        rate=rate,
        probes=_PROBES / (arms - 1),
        batch_ms=_SUMMARY_MS,
    )
    world.run(windows + 1)  # the last one waits for its grace
    return world.log


def judged(log: Iterable[tuple[Summary, State]]) -> Judged:
    """Judge a log anew."""
    judge, windows = Judge.fresh(), 0
    begun = time.process_time()
    for offset, (summary, state) in enumerate(log):
        windows += len(judge.take(summary, offset, state, state.revision + 1))
    seconds = time.process_time() - begun
    return Judged(seconds, windows, len(judge.record()))


def measure(repetitions: int, tell: Callable[[str], None], windows: int = WINDOWS) -> tuple[Row, ...]:
    """Every case so often, in turn.

    Args:
        repetitions: How often.
        tell: Told what came out.
        windows: How many are closed; the figures are given for `WINDOWS`.
    """
    logs = {case: served(*case, windows) for case in CASES}
    ledger = Ledger("judging")
    for _ in range(repetitions):
        for (arms, rate), log in logs.items():
            found = judged(log)
            seconds = found.seconds * WINDOWS / found.windows
            ledger.add({"arms": arms, "requests/s": rate}, {"judging_s": seconds, "state_kb": found.state_bytes / 1000})
            tell(f"judging {arms} arms, {rate:,} requests/s: {seconds:.2f} s of CPU for {WINDOWS:,} windows")
    return ledger.rows()
