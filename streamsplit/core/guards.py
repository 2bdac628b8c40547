"""What the judge of a rollout looks at, and how sure it has to be: the part `judge` of a rollout file.

The meaning of each number, its proof and its default stand in docs/judging.md.
"""

import enum
from dataclasses import dataclass


class Direction(enum.StrEnum):
    """Which way a mean may not move."""

    DROP = "drop"
    RISE = "rise"
    EITHER = "either"


class Inconclusive(enum.StrEnum):
    """What happens when the deadline passes without a decision."""

    HOLD = "hold"
    ROLLBACK = "rollback"


@dataclass(frozen=True, slots=True)
class ErrorGuard:
    """Errors of a candidate beside control's, and on their own.

    Attributes:
        rollback_ratio: A candidate whose error rate is at most so many times control's, plus `rollback_floor`, is fine.
        rollback_floor: A share of requests.
        promote_ratio: A candidate is good once its error rate is surely below so many times control's plus
            `promote_floor`.
        promote_floor: A share of requests.
        limit: Share of requests above which the candidate is taken back whatever control does; None: no limit.
        dry_run: Whether it is shown and decides nothing.
    """

    rollback_ratio: float = 1.1
    rollback_floor: float = 0.001
    promote_ratio: float = 1.5
    promote_floor: float = 0.002
    limit: float | None = 0.2
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class LatencyGuard:
    """How long the candidate's runs take beside control's.

    Attributes:
        rollback_ratio: A candidate that takes at most so many times as long as control, plus `floor_seconds`, is fine.
        promote_ratio: A candidate is good once it surely takes less than so many times as long, plus `floor_seconds`.
        floor_seconds: A difference that nobody minds.
        quantile: Of the run times, for the comparison of tails.
        limit_seconds: At most 1 % of the candidate's requests may take longer; None: no limit.
        dry_run: Whether it is shown and decides nothing.
    """

    rollback_ratio: float = 1.2
    promote_ratio: float = 1.5
    floor_seconds: float = 0.002
    quantile: float = 0.95
    limit_seconds: float | None = None
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Score:
    """One number of one output, which every request has.

    Attributes:
        output: Name of the output.
        index: Place in the output of one example, flattened in row-major order.
        low: Least value; what lies below counts as it.
        high: Greatest value; above `low`.
    """

    output: str
    index: int = 0
    low: float = 0.0
    high: float = 1.0


@dataclass(frozen=True, slots=True)
class ScoreGuard:
    """The mean of a score beside control's.

    Attributes:
        score: What is looked at.
        margin: How far the means may be apart: a share of control's mean where `relative`, else of the score's range.
        relative: What `margin` is a share of.
        direction: Which way it matters.
        dry_run: Whether it is shown and decides nothing.
    """

    score: Score
    margin: float
    relative: bool = False
    direction: Direction = Direction.EITHER
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class ShiftGuard:
    """The distribution of a score beside control's.

    Attributes:
        score: What is looked at.
        shown: Population stability index from which a shift is told.
        limit: The one from which the rollout is held.
        dry_run: Whether it is shown and decides nothing.
    """

    score: Score
    shown: float = 0.1
    limit: float = 0.25
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class JudgeSettings:
    """How a rollout is judged.

    Attributes:
        window_seconds: Length of a window of request time.
        grace_seconds: How long a window waits for stragglers.
        alpha: Chance, over the whole rollout, that a healthy candidate is taken back by comparison with control.
        errors: Errors.
        latency: Run times.
        score: A mean; None: not looked at.
        shift: A distribution; None: not looked at.
        deadline_seconds: From the first step on; None: none.
        on_inconclusive: What happens then.
    """

    window_seconds: float = 5.0
    grace_seconds: float = 2.0
    alpha: float = 0.05
    errors: ErrorGuard = ErrorGuard()
    latency: LatencyGuard = LatencyGuard()
    score: ScoreGuard | None = None
    shift: ShiftGuard | None = None
    deadline_seconds: float | None = None
    on_inconclusive: Inconclusive = Inconclusive.HOLD
