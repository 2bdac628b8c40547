"""What every guard offers to the policy: e-processes against a candidate, tests for it, and readings for people."""

import enum
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from streamsplit.core.decision import Reading, Verdict
from streamsplit.core.doses import ArmCounts, Dose, Pairs, Runs
from streamsplit.core.evidence.bins import Binned
from streamsplit.core.judging.shuffles import Shuffles
from streamsplit.core.judging.timed import Timed


@dataclass(frozen=True, slots=True)
class Comparison:
    """One dose of a candidate beside control's; both have requests. Where a unit has many, these are first ones.

    Attributes:
        dose: Window, rule and revision.
        control: Control's counts, each failing unit once.
        candidate: The candidate's.
        in_step: Whether it belongs to the present stay at the step, so that it counts for the candidate.
        control_scores: Control's scores.
        shuffles: The same in random order, made once for all candidates.
        candidate_scores: The candidate's.
    """

    dose: Dose
    control: ArmCounts
    candidate: ArmCounts
    in_step: bool
    control_scores: Binned
    shuffles: Shuffles
    candidate_scores: Binned


@dataclass(frozen=True, slots=True)
class SplitCount:
    """How the requests of one dose were split between control and a candidate.

    Attributes:
        candidate: Requests assigned to the candidate.
        requests: Those of both.
        share: The candidate's expected share of them.
    """

    candidate: int
    requests: int
    share: float


@dataclass(frozen=True, slots=True)
class Memory:
    """What workers remember of the units that they have met in the present stay, where a unit has many requests.

    Attributes:
        partitions: Request partitions of which something is known.
        counting: Those of them whose first requests are counted.
        fullest: Share of the places of a partition's bitmap that are set, of the fullest one.
    """

    partitions: int
    counting: int
    fullest: float


@dataclass(frozen=True, slots=True)
class CandidateWindow:
    """What a closed window says of one candidate; what a revision's first window says is left out (warm-up).

    Attributes:
        doses: Where both arms had requests; of first requests where a unit has many.
        splits: How they were split.
        runs: Batches in which both arms had requests.
        pairs: Mirrored requests.
        probes: Timed runs.
        step_revisions: Revisions that belong to the present stay at the step.
        requests: Requests of the window, whichever arm they were assigned to.
        seconds: Its length.
        workers: How many workers served.
        memory: What they remember of units; None where each request is a unit.
    """

    doses: tuple[Comparison, ...] = ()
    splits: tuple[SplitCount, ...] = ()
    runs: tuple[Runs, ...] = ()
    pairs: tuple[Pairs, ...] = ()
    probes: tuple[Timed, ...] = ()
    step_revisions: frozenset[int] = frozenset()
    requests: int = 0
    seconds: float = 1.0
    workers: int = 1
    memory: Memory | None = None


@dataclass(frozen=True, slots=True)
class Process:
    """An e-process against a candidate; all of them share one alpha.

    Attributes:
        guard: Name of the guard.
        log_e: Logarithm of its value.
        dry_run: Whether it decides nothing.
        enough: Whether so much has happened that a person would believe it.
    """

    guard: str
    log_e: float
    dry_run: bool
    enough: bool = True


class Source(enum.Enum):
    """What a test for a candidate lives on. A step that gives it nothing of that kind does not wait for the test."""

    OWN = enum.auto()
    """Requests of its own, beside control's."""
    MIRRORED = enum.auto()
    """Requests that control answers, and that it is asked too."""
    EITHER = enum.auto()
    """Probes: rows that the candidate was asked, whichever way."""


@dataclass(frozen=True, slots=True)
class Promise:
    """A test for a candidate, of the present stay at the step.

    Attributes:
        guard: Name of the guard.
        log_e: Logarithm of its e-value.
        dry_run: Whether nobody waits for it.
        source: What it lives on.
    """

    guard: str
    log_e: float
    dry_run: bool
    source: Source = Source.OWN


@dataclass(frozen=True, slots=True)
class Needs:
    """What e-values must reach.

    Attributes:
        alpha: Of the rollout.
        alone: log of what one process needs if no other says anything: processes / alpha.
        promise: log of what a test for a candidate needs: candidates / alpha.
    """

    alpha: float
    alone: float
    promise: float

    @classmethod
    def of(cls, alpha: float, processes: int, candidates: int) -> "Needs":
        """For a rollout with so many processes that decide, and so many candidates."""
        return cls(alpha, math.log(max(1, processes) / alpha), math.log(max(1, candidates) / alpha))

    def verdict(self, log_e: float, log_e_good: float | None) -> Verdict:
        """What a guard says by its own two e-values."""
        if log_e >= self.alone:
            return Verdict.BAD
        return Verdict.GOOD if log_e_good is not None and log_e_good >= self.promise else Verdict.OPEN


class Guard(Protocol):
    """One guard of one candidate."""

    def begin_step(self) -> None:
        """Forget what speaks for the candidate: each stay at a step has evidence of its own."""

    def take(self, window: CandidateWindow) -> None:
        """Add a closed window; each once, in order."""

    def processes(self) -> Sequence[Process]:
        """The e-processes against the candidate."""

    def promises(self) -> Sequence[Promise]:
        """The tests for it."""

    def readings(self, needs: Needs, processes: Sequence[Process], promises: Sequence[Promise]) -> Sequence[Reading]:
        """What a person is shown, given what it has just said."""

    def to_plain(self) -> Mapping[str, Any]:
        """Its state as JSON can hold it, exactly."""

    def restore(self, plain: Mapping[str, Any]) -> None:
        """Take over a state that `to_plain` gave.

        Raises:
            ValueError, KeyError, TypeError: It is no such state.
        """
