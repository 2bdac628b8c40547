"""What one transaction adds to each window of the requests that were mirrored, per candidate: small, additive."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from streamsplit.core.merging import merged, nothing

SCORE_STEPS = 1000
"""Steps of equal width between the points of [-1, 1] at which pairs of scores are counted."""

SCORE_PARTS = 1000
"""What one pair counts, dealt to the two points around it."""

SCORE_UNIT = 10**9
"""What a score of 1, brought to [0, 1], adds to a sum."""


@dataclass(frozen=True, slots=True)
class ScorePairs:
    """Scores of mirrored requests beside each other; `+` merges.

    Scores are clipped to the score guard's range and brought to [0, 1]. In each direction that the guard looks at, D of
    a pair over its scale (`evidence/margin.py`) lies in [-1, 1], where point k stands at `2k / SCORE_STEPS - 1`. A pair
    counts `SCORE_PARTS` parts: those of the point above it are its distance from the point below in `SCORE_PARTS`-th of
    a step, rounded, and the point below has the rest. So the mean of what it counts is D.

    Attributes:
        scored: Requests to which both arms gave a score.
        clipped: Those of them in which the candidate's lay outside the range.
        unscored: Requests to which one arm alone gave a score, though both were asked.
        control: Sum of control's scores over `scored`, in `SCORE_UNIT`-th.
        candidate: Of the candidate's.
        squares: Of the squares of control's.
        drop: Point → parts, of `scored`; only points that have some. Empty where the guard does not look at a drop.
        rise: The same of a rise.
        drop_unscored: Point → parts, of `unscored`, where a missing score is 0.
        rise_unscored: The same of a rise, where it is 1.
    """

    scored: int = 0
    clipped: int = 0
    unscored: int = 0
    control: int = 0
    candidate: int = 0
    squares: int = 0
    drop: Mapping[int, int] = field(default_factory=nothing)
    rise: Mapping[int, int] = field(default_factory=nothing)
    drop_unscored: Mapping[int, int] = field(default_factory=nothing)
    rise_unscored: Mapping[int, int] = field(default_factory=nothing)

    def __len__(self) -> int:
        """How many numbers of parts it has."""
        return len(self.drop) + len(self.rise) + len(self.drop_unscored) + len(self.rise_unscored)

    def without_points(self) -> "ScorePairs":
        """The sums alone."""
        return ScorePairs(self.scored, self.clipped, self.unscored, self.control, self.candidate, self.squares)

    def __add__(self, other: "ScorePairs") -> "ScorePairs":
        """The counts of both."""
        return ScorePairs(
            scored=self.scored + other.scored,
            clipped=self.clipped + other.clipped,
            unscored=self.unscored + other.unscored,
            control=self.control + other.control,
            candidate=self.candidate + other.candidate,
            squares=self.squares + other.squares,
            drop=merged(self.drop, other.drop),
            rise=merged(self.rise, other.rise),
            drop_unscored=merged(self.drop_unscored, other.drop_unscored),
            rise_unscored=merged(self.rise_unscored, other.rise_unscored),
        )


NO_SCORES = ScorePairs()
"""Nothing was scored."""


@dataclass(frozen=True, slots=True)
class MirrorCounts:
    """Requests of one window and rule that control answered and one candidate was handed too.

    With `outcomes` and `control_failed` the four cells of a pair are known: only the candidate failed, only control,
    both, neither.

    Attributes:
        start: Milliseconds since the epoch, a multiple of the window's length.
        rule: Index of the rule; -1 is the default route.
        arm: Name of the candidate.
        requests: How many.
        outcomes: Label of the candidate's outcome → requests; only those that occurred; they sum to `requests`.
        control_failed: The same, of those requests alone that control could not answer.
        agree: Requests where every label that the candidate gave was control's.
        differ: Requests where one was not.
        scores: The score guard's number of both arms.
        fallen: The candidate answered none of them because its process fell: no request is to blame, and they are no
            pairs.
    """

    start: int
    rule: int
    arm: str
    requests: int
    outcomes: Mapping[str, int]
    control_failed: Mapping[str, int]
    agree: int
    differ: int
    scores: ScorePairs = NO_SCORES
    fallen: bool = False
