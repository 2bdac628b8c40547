"""Doses: what the tests of the judge are handed of one window, rule and revision (docs/judging.md).

Counts merge by addition, over summaries, partitions and workers. Rules and revisions are never pooled: with shares that
differ between them, two equal models would look different (Simpson's paradox).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from streamsplit.core.merging import merged, nothing
from streamsplit.core.mirroring import NO_SCORES, MirrorCounts, ScorePairs
from streamsplit.core.records import Outcome
from streamsplit.core.summary import Probe

SERVED = frozenset({Outcome.OK.label})
"""Outcomes of a request that its arm served correctly."""

ERRORS = frozenset(each.label for each in (Outcome.FALLBACK_ERROR, Outcome.FALLBACK_INVALID, Outcome.DEAD_LETTER))
"""Outcomes that are errors of the arm, a request each. Time-outs and open breakers fail whole runs and are looked at as
such; a model that is not loaded and a worker that cannot reach the control log say nothing about the arm."""

LATE = frozenset({Outcome.FALLBACK_TIMEOUT.label, Outcome.FALLBACK_OPEN.label})
"""Outcomes of requests that have left the row test with their run."""


@dataclass(frozen=True, slots=True)
class ArmCounts:
    """What is counted of the requests that were assigned to one arm; `+` merges.

    Attributes:
        requests: Of the row test: those that end as `SERVED` or `ERRORS`, without those of runs that fell.
        errors: Those of `requests` that the arm did not serve correctly.
        slow: Requests whose run took longer than the latency guard's limit.
        scores: Bin → requests, of the score guards' number.
        clipped: Requests whose score lay outside its range.
        unscored: Requests without a score though there is a score guard.
        assigned: All requests assigned to the arm, whatever became of them: the split as decided.
        served: Those of `assigned` that the arm answered itself: the split as committed.
        fallen: Those of `assigned` that left the row test with their run: crash, time-out, open breaker.
    """

    requests: int = 0
    errors: int = 0
    slow: int = 0
    scores: Mapping[int, int] = field(default_factory=nothing)
    clipped: int = 0
    unscored: int = 0
    assigned: int = 0
    served: int = 0
    fallen: int = 0

    def __add__(self, other: "ArmCounts") -> "ArmCounts":
        """The counts of both."""
        return ArmCounts(
            requests=self.requests + other.requests,
            errors=self.errors + other.errors,
            slow=self.slow + other.slow,
            scores=merged(self.scores, other.scores),
            clipped=self.clipped + other.clipped,
            unscored=self.unscored + other.unscored,
            assigned=self.assigned + other.assigned,
            served=self.served + other.served,
            fallen=self.fallen + other.fallen,
        )


@dataclass(frozen=True, slots=True)
class PairCounts:
    """Mirrored requests by who failed them; `+` merges.

    Attributes:
        only_candidate: Control answered, the candidate failed.
        only_control: The candidate answered, control could not.
        both: Neither answered.
        neither: Both answered.
        agree: Requests where every label was control's.
        differ: Requests where one was not.
        scores: The score guard's number of both arms.
    """

    only_candidate: int = 0
    only_control: int = 0
    both: int = 0
    neither: int = 0
    agree: int = 0
    differ: int = 0
    scores: ScorePairs = NO_SCORES

    def __add__(self, other: "PairCounts") -> "PairCounts":
        """The counts of both."""
        return PairCounts(
            only_candidate=self.only_candidate + other.only_candidate,
            only_control=self.only_control + other.only_control,
            both=self.both + other.both,
            neither=self.neither + other.neither,
            agree=self.agree + other.agree,
            differ=self.differ + other.differ,
            scores=self.scores + other.scores,
        )


@dataclass(frozen=True, slots=True)
class Dose:
    """The counts of one window, rule and revision.

    Attributes:
        start: Of the window, milliseconds since the epoch.
        rule: Index of the rule; -1 is the default route.
        revision: What the requests were served under.
        arms: Name → counts, by name; an arm without requests is missing.
    """

    start: int
    rule: int
    revision: int
    arms: Mapping[str, ArmCounts]


@dataclass(frozen=True, slots=True)
class Pairs:
    """The mirrored requests of one window, rule and revision that one candidate was handed.

    Attributes:
        start: Of the window, milliseconds since the epoch.
        rule: Index of the rule; -1 is the default route.
        revision: What the requests were served under.
        arm: The candidate.
        counts: Who failed them.
    """

    start: int
    rule: int
    revision: int
    arm: str
    counts: PairCounts


@dataclass(frozen=True, slots=True)
class Runs:
    """Batches of one window and revision in which control and one candidate both had requests.

    Attributes:
        start: Of the window, milliseconds since the epoch.
        revision: What they were served under.
        arm: The candidate.
        batches: How many.
        control_failed: Those in which control's process fell.
        candidate_failed: Those in which the candidate's whole share fell.
    """

    start: int
    revision: int
    arm: str
    batches: int
    control_failed: int
    candidate_failed: int


@dataclass(frozen=True, slots=True)
class Failing:
    """Who met the row errors of an arm in one window, rule and revision.

    Attributes:
        start: Of the window, milliseconds since the epoch.
        rule: Index of the rule; -1 is the default route.
        revision: What the requests were served under.
        arm: Name of the assigned arm.
        units: Hashes of distinct units, ascending.
        repeats: Errors beyond the first of each of `units`.
        unnamed: Errors of units that are not named.
    """

    start: int
    rule: int
    revision: int
    arm: str
    units: tuple[int, ...]
    repeats: int
    unnamed: int


@dataclass(frozen=True, slots=True)
class Probes:
    """Timed runs of one window and revision through control and one candidate.

    Attributes:
        start: Of the window, milliseconds since the epoch.
        revision: What they were timed under.
        arm: The candidate.
        probes: The runs; their own `start` is as the worker wrote it.
        left_out: Further ones, left out by chance alone.
    """

    start: int
    revision: int
    arm: str
    probes: tuple[Probe, ...]
    left_out: int


@dataclass(frozen=True, slots=True)
class ClosedWindow:
    """A window that counts no more.

    Attributes:
        start: Milliseconds since the epoch.
        end: First millisecond after it.
        doses: By rule and revision.
        pairs: By rule, revision and candidate.
        runs: By revision and candidate.
        probes: By revision and candidate.
        failing: By rule, revision and arm.
        late_requests: Requests counted here though they belong to a window that was closed before they came.
        warming: Revisions that no earlier closed window has anything of, ascending.
        firsts: Doses of first requests alone, where a unit has many requests.
    """

    start: int
    end: int
    doses: tuple[Dose, ...]
    pairs: tuple[Pairs, ...] = ()
    runs: tuple[Runs, ...] = ()
    probes: tuple[Probes, ...] = ()
    failing: tuple[Failing, ...] = ()
    late_requests: int = 0
    warming: tuple[int, ...] = ()
    firsts: tuple[Dose, ...] = ()


def pairs_of(mirrored: MirrorCounts) -> PairCounts:
    """The four cells of a summary's mirrored requests; those that left the row test are in none of them.

    That is what is late, not loaded or stale, and all of a share that fell: one crash would look like many errors.
    """
    if mirrored.fallen:
        return PairCounts()
    failed, served = _sum_of(mirrored.outcomes, ERRORS), _sum_of(mirrored.outcomes, SERVED)
    both, only_control = _sum_of(mirrored.control_failed, ERRORS), _sum_of(mirrored.control_failed, SERVED)
    return PairCounts(
        only_candidate=failed - both,
        only_control=only_control,
        both=both,
        neither=served - only_control,
        agree=mirrored.agree,
        differ=mirrored.differ,
        scores=mirrored.scores,
    )


def _sum_of(counts: Mapping[str, int], labels: frozenset[str]) -> int:
    return sum([count for label, count in counts.items() if label in labels])
