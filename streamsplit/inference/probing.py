"""Probes: a few rows that a candidate has answered, through both arms again, timed beside each other.

Requests of a batch share runs, and a run of a hundred rows cannot be compared with one of nine hundred. So rows of some
batches are run by control, twice by the candidate, and by control (what drifts meanwhile meets both alike), each run as
large as the others and none at the same time. Nobody waits for the answers: between two batches the processes have
nothing to do while the records of the one are written and those of the other are read, and there a probe has its place.
It stays there over several batches, if need be.

Which batches are probed is decided by a hash, not by how much there is to do: else only quiet times would be compared.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import xxhash
from numpy.typing import NDArray

from streamsplit.core.guards import LatencyGuard
from streamsplit.core.records import CONTROL, Outcome, Predictions, Timing
from streamsplit.core.text_tensor import Tensor
from streamsplit.inference.arm import Arm
from streamsplit.inference.breakers import Breakers
from streamsplit.inference.job import Job
from streamsplit.inference.process import ModelProcess
from streamsplit.inference.share import Share
from streamsplit.inference.waiting import wait_for_shares

MOST_ROWS = 64
"""Rows of a probe."""

PAUSE_SECONDS = 0.2
"""From the beginning of a probe to that of the next: at most five a second."""

LEAST_BUDGET_SECONDS = 0.02
"""What a run is given at least."""

_ORDER = (0, 1, 1, 0)
"""Control and candidate; what drifts in time is the same for both."""


@dataclass(frozen=True, slots=True)
class Probed:
    """A probe that has ended.

    Attributes:
        rollout: Offset of the apply that the arms belong to.
        arm: Name of the candidate.
        timing: Mean time of each arm's runs.
    """

    rollout: int
    arm: str
    timing: Timing


@dataclass(slots=True)
class _Probe:
    """A probe under way.

    Attributes:
        rollout: Offset of the apply.
        columns: The inputs, k rows each.
        rows: How many (k).
        arms: Control and the candidate.
        processes: Theirs when it began.
        ratio: Slowness that is tolerated.
        usual: What control usually takes, in microseconds.
        least_budget: Seconds that a run is given at least.
        times: Microseconds of control's runs, and of the candidate's.
        given: Microseconds after which a run of control, and one of the candidate, was given up; None: none was.
        runs: How many have begun.
    """

    rollout: int
    columns: Mapping[str, Tensor]
    rows: int
    arms: tuple[Arm, Arm]
    processes: tuple[ModelProcess, ModelProcess]
    ratio: float
    usual: int
    least_budget: float
    times: tuple[list[int], list[int]] = field(default_factory=lambda: ([], []))
    given: list[int | None] = field(default_factory=lambda: [None, None])
    runs: int = 0

    @property
    def done(self) -> bool:
        """Whether nothing is left to be run: an arm that was late is run no more, but the other one is, once."""
        late = any(given is not None for given in self.given)
        return self.runs == len(_ORDER) or (late and all(map(self._shown, (0, 1))))

    @property
    def budget_seconds(self) -> float:
        """What a run is given: never less than twice what would be tolerated of the candidate."""
        return max(self.least_budget, 2 * self.ratio * max([self.usual, *self.times[0]]) / 1e6)

    def timing(self) -> Timing:
        """What it has shown, once it is done."""
        return Timing(
            self.rows,
            self._micros(0),
            self._micros(1),
            control_over=self.given[0] is not None,
            candidate_over=self.given[1] is not None,
        )

    def _shown(self, whose: int) -> bool:
        return bool(self.times[whose]) or self.given[whose] is not None

    def _micros(self, whose: int) -> int:
        given, times = self.given[whose], self.times[whose]
        return sum(times) // len(times) if given is None else given


class Prober:
    """Carries out one probe at a time; all methods belong to the thread that serves batches.

    Args:
        slot: Of this worker; decides, with the number of a batch, which batches are probed.
        least_budget: Seconds that a run is given at least, and so what the next batch may have to wait for.
    """

    def __init__(self, slot: str, least_budget: float = LEAST_BUDGET_SECONDS) -> None:
        self._slot = slot
        self._least_budget = least_budget
        self._batches = 0
        self._began = float("-inf")
        self._probe: _Probe | None = None
        self._run: Share | None = None
        self._whose = 0
        self._sent = 0.0
        self._ended: list[Probed] = []

    def consider(self, job: Job, predictions: Predictions, breakers: Breakers, latency: LatencyGuard) -> None:
        """Begin a probe with rows of a batch that has all its answers, if it is chosen and none is under way.

        Args:
            job: The batch.
            predictions: Its answers.
            breakers: As of the last committed batch.
            latency: What is tolerated.
        """
        self._batches += 1
        chosen = xxhash.xxh64_intdigest(f"{self._slot}:{self._batches}".encode())
        now = time.monotonic()
        if self._probe is not None or chosen % 2 or now - self._began < PAUSE_SECONDS:
            return
        candidates = self._candidates(job, predictions)
        usual = int(predictions.micros[predictions.served_by == CONTROL].max(initial=0))
        if not candidates or not usual:
            return
        arm = sorted(candidates)[chosen // 2 % len(candidates)]
        control, candidate = job.arms[CONTROL], job.arms[arm]
        if control is None or candidate is None:
            return
        processes = control.process, job.whom(arm, breakers)
        if processes[0] is None or not isinstance(processes[1], ModelProcess):
            return
        rows = candidates[arm][:MOST_ROWS]
        self._probe = _Probe(
            job.rollout,
            {name: column[rows] for name, column in job.inputs.items()},
            len(rows),
            (control, candidate),
            (processes[0], processes[1]),
            max(latency.rollback_ratio, latency.promote_ratio),
            usual,
            self._least_budget,
        )
        self._began = now
        self.poll()

    def poll(self) -> None:
        """Take what has come, and begin the next run if the last one is done; never waits."""
        if self._probe is None:
            return
        if self._run is not None:
            self._run.poll()
            self._look(self._probe, self._run)
        if self._probe is not None and self._run is None:
            self._begin(self._probe)

    def give_way(self) -> None:
        """Before a batch is handed over: wait for the run under way, at most for what is left of its budget."""
        if self._probe is None or self._run is None:
            return
        wait_for_shares([self._run], lambda: True, until=self._sent + self._probe.budget_seconds)
        self._look(self._probe, self._run, last=True)

    def take(self, rollout: int) -> tuple[Probed, ...]:
        """What has ended since this was last asked, of this rollout; what belongs to another is forgotten.

        Its candidates may be candidates no longer.
        """
        ended, self._ended = self._ended, []
        return tuple(each for each in ended if each.rollout == rollout)

    @staticmethod
    def _candidates(job: Job, predictions: Predictions) -> dict[int, NDArray[np.int64]]:
        """Candidate → rows of the batch that it has answered, its own where it has some, else mirrored ones."""
        mirrored = predictions.mirrored or {}
        rows = {arm: each.rows[each.outcomes == Outcome.OK] for arm, each in mirrored.items()}
        for arm in np.unique(predictions.served_by[predictions.served_by > CONTROL]).tolist():
            rows[arm] = np.flatnonzero(predictions.served_by == arm)
        return {arm: found for arm, found in rows.items() if len(found) and arm < len(job.arms)}

    def _begin(self, probe: _Probe) -> None:
        whose = _ORDER[probe.runs]
        process = probe.processes[whose]
        if probe.arms[whose].process is not process:
            self._end(None)  # it fell meanwhile, on other rows
            return
        if process.busy is not None:
            return  # still at rows of a mirror that were given up: later
        rows = np.arange(probe.rows)
        # A probe never kills a process: whoever needs it next has the patience that is due to it.
        probe.runs += 1
        self._whose, self._sent = whose, time.monotonic()
        self._run = Share(process, probe.columns, rows, run_rows=probe.rows, patience=float("inf"))

    def _look(self, probe: _Probe, run: Share, *, last: bool = False) -> None:
        """Note how the run has gone, if that is known."""
        had = time.monotonic() - self._sent
        if not run.finished and had < probe.budget_seconds and not last:
            return
        self._run = None
        timed = run.first_run if run.fall is None else None
        if not run.finished or (run.fall is not None and run.fall.blamed):
            probe.given[self._whose] = int(had * 1e6)
        elif timed is not None:
            probe.times[self._whose].append(timed[1])
        else:
            self._end(None)  # it raised, or somebody ended the process: nothing is known of its time
            return
        if probe.done:
            self._end(Probed(probe.rollout, probe.arms[1].name, probe.timing()))

    def _end(self, ended: Probed | None) -> None:
        self._probe = None
        if ended is not None:
            self._ended.append(ended)
