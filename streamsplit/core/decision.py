"""What the judge decides, with everything that a person needs to believe it and a program to compute it again."""

import enum
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


class DecisionKind(enum.StrEnum):
    """What is to become of the rollout."""

    ADVANCE = "advance"
    PROMOTE = "promote"
    HOLD = "hold"
    ROLLBACK = "rollback"


class Verdict(enum.StrEnum):
    """What one guard says."""

    GOOD = "good"
    """Surely good enough to go on."""
    BAD = "bad"
    """Surely bad."""
    HELD = "held"
    """Something is wrong that says nothing for or against the candidate."""
    SHOWN = "shown"
    """Something is worth knowing, and decides nothing."""
    OPEN = "open"
    """Not known yet."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One guard of one candidate, up to the window that a decision is about.

    Attributes:
        guard: Its name: `errors`, `runs`, `speed`, `tails`, `score`, `score drop`, `shift`, `split`, `error limit`, ...
        arm: The candidate; `control` where control is looked at by itself (`interference`).
        verdict: What it says.
        control: Control's figure, such as an error rate; None where it has none. Of control by itself: before the
            rollout.
        candidate: The candidate's. Of control by itself: of late.
        unit: Of both, for people: `%`, `ms` or empty.
        effect: Ratio or difference of the two; None where it cannot be told.
        low: Lower end of an always-valid interval for `effect`; None where there is none.
        high: Its upper end.
        log_e: Natural logarithm of the e-value against the candidate; None where the guard has none.
        log_needed: What `log_e` must reach to roll back; for a mean of several guards that of the mean.
        log_e_good: Of the e-value for it, since the step began; None where the guard has none.
        log_needed_good: What that must reach.
        counts: Numbers behind it, such as `control_requests`, for people and to compute it again. Where they do not
            show what the evidence against it says, those of the latest stretch too (`judging/latest.py`): its length,
            such as `latest_requests`, and the figures of it, `latest_candidate` and `latest_control`.
        dry_run: Whether it decides nothing.
    """

    guard: str
    arm: str
    verdict: Verdict
    control: float | None = None
    candidate: float | None = None
    unit: str = ""
    effect: float | None = None
    low: float | None = None
    high: float | None = None
    log_e: float | None = None
    log_needed: float | None = None
    log_e_good: float | None = None
    log_needed_good: float | None = None
    counts: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class WindowPoint:
    """One closed window of one candidate, to be drawn.

    Attributes:
        start: Milliseconds since the epoch.
        control_requests: Counted requests assigned to control.
        control_errors: Errors among them.
        candidate_requests: The same of the candidate.
        candidate_errors: Errors among them.
        log_e: Of the mean e-value against it, at the end of the window.
    """

    start: int
    control_requests: int
    control_errors: int
    candidate_requests: int
    candidate_errors: int
    log_e: float


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision.

    Attributes:
        decision_id: Hash of rollout, revision, window and kind (`decision_id`), so that a judge that is taken over
            writes the same.
        rollout: Name of the rollout.
        apply_revision: Offset of its apply.
        revision: Of the state that it was judged under.
        step: Index of the step; -1 for none.
        window_start: First millisecond of the window that it is about, or log time at which requests ceased.
        window_end: First millisecond after it; equal to `window_start` where a limit acted inside an open window; log
            time where no request came.
        kind: What is to become of the rollout.
        reasons: Why, one sentence each, the weightiest first.
        readings: Every guard of every candidate.
        windows: The latest windows, oldest first.
        command: The command that it causes: `advance`, `promote`, `abort`, or empty.
        command_id: Of that command, so that it is taken once; empty where there is none.
        advice: Whether the command is advice that nobody writes (`mode: advise`).
        summaries_to: Next offset of `summaries`, after what was read.
        control_to: Next offset of `control`, after what was folded.
        log_time: Milliseconds since the epoch, by the workers' clocks in the summaries.
        judge: Version of the judge that decided (`judge.DECIDES`); 1 before it was written down.
    """

    decision_id: str
    rollout: str
    apply_revision: int
    revision: int
    step: int
    window_start: int
    window_end: int
    kind: DecisionKind
    reasons: tuple[str, ...]
    readings: tuple[Reading, ...] = ()
    windows: tuple[WindowPoint, ...] = ()
    command: str = ""
    command_id: str = ""
    advice: bool = False
    summaries_to: int = 0
    control_to: int = 0
    log_time: int = 0
    judge: int = 1


def decision_id(rollout: str, revision: int, window: tuple[int, int], kind: DecisionKind) -> str:
    """The id of a decision on a window, given by its ends: 32 hex digits."""
    start, end = window
    text = "\0".join((rollout, str(revision), str(start), str(end), kind))
    return hashlib.sha256(text.encode()).hexdigest()[:32]
