"""The guards of a rollout file: what the judge looks at, and how much it minds."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from streamsplit.core.findings import Findings, Path, is_list, is_utf8, show
from streamsplit.core.guards import Direction, ErrorGuard, LatencyGuard, Score, ScoreGuard, ShiftGuard
from streamsplit.core.quantities import QuantityError
from streamsplit.core.rollout_values import Bounds, Fields, number

GUARDS = ("errors", "latency", "score", "shift", "outcome")
ERRORS = ("rollback_ratio", "rollback_floor", "promote_ratio", "promote_floor", "limit", "dry_run")
LATENCY = ("rollback_ratio", "promote_ratio", "floor", "quantile", "limit", "dry_run")
SCORE = ("output", "index", "range", "margin", "direction", "dry_run")
SHIFT = ("output", "index", "range", "shown", "limit", "dry_run")

LEAST_MARGIN = 0.002
"""Of a score's range: less could not be told from the width of a bin."""

NOT_BUILT = "`outcome` is not built yet: no guard waits for what became of a request; take it out"

_RATIO = Bounds("a number above 1 and at most 1000, such as `1.5`", low=1.0, high=1000.0, above=True)
_FLOOR = Bounds("a percentage from `0%` to below `100%`, such as `0.1%`", low=0.0, high=1.0, below=True)
_GOOD_FLOOR = Bounds(
    "a percentage above `0%` and below `100%`, such as `0.2%`: without it a control that never fails is never matched",
    low=0.0,
    high=1.0,
    above=True,
    below=True,
)
_LIMIT = Bounds("a percentage above `0%` and below `100%`, such as `20%`, or `none`", 0.0, 1.0, above=True, below=True)
_SLOWEST = Bounds("a duration above 0, such as `50ms`, or `none`", low=0.0, above=True)
_DIFFERENCE = Bounds("a duration such as `2ms`, at least `0ms`", low=0.0)
_QUANTILE = Bounds("a number from 0.5 to 0.999, such as `0.95`", low=0.5, high=0.999)
_PSI = Bounds("a population stability index above 0 and at most 10, such as `0.25`", low=0.0, high=10.0, above=True)

_MOST_INDEX = 2**31
_UNITS = "a number in units of the score, such as `0.02`"
_MEAN = "a share of control's mean, such as `15%`"
_RELATIVE = Bounds("a percentage above `0%` and below `100%`, such as `15%`", 0.0, 1.0, above=True, below=True)


@dataclass(frozen=True, slots=True)
class Guards:
    """What `guards` says.

    Attributes:
        errors: Errors.
        latency: Run times.
        score: A mean; None: not looked at.
        shift: A distribution; None: not looked at.
    """

    errors: ErrorGuard = field(default_factory=ErrorGuard)
    latency: LatencyGuard = field(default_factory=LatencyGuard)
    score: ScoreGuard | None = None
    shift: ShiftGuard | None = None


def read_guards(found: Findings, value: object, path: Path) -> Guards:
    """Reads the guards; errors and latency are looked at whether they are named or not.

    Args:
        found: Collects what is wrong.
        value: What the file says.
        path: Where.

    Returns:
        The guards; meaningless where something was found.
    """
    fields = Fields.read(found, value, path, GUARDS, "guard → its numbers, such as `{errors: {limit: 20%}}`")
    if "outcome" in fields:
        found.add(fields.at("outcome"), NOT_BUILT)
    given = fields.given
    errors = _read_errors(found, given["errors"], fields.at("errors")) if "errors" in fields else ErrorGuard()
    latency = _read_latency(found, given["latency"], fields.at("latency")) if "latency" in fields else LatencyGuard()
    wrong = len(found.all())
    score = _read_score_guard(found, given["score"], fields.at("score")) if "score" in fields else None
    shift = _read_shift(found, given["shift"], fields.at("shift")) if "shift" in fields else None
    if score and shift and score.score != shift.score and len(found.all()) == wrong:
        # Summaries carry one histogram an arm.
        found.add(fields.at("shift"), "it looks at another number than `score`", "its `output`, `index` and `range`")
    return Guards(errors, latency, score, shift)


def _read_errors(found: Findings, value: object, path: Path) -> ErrorGuard:
    fields = Fields.read(found, value, path, ERRORS, "numbers such as `{rollback_ratio: 1.1, limit: 20%}`")
    default = ErrorGuard()
    return ErrorGuard(
        rollback_ratio=fields.number("rollback_ratio", default.rollback_ratio, _RATIO),
        rollback_floor=fields.share("rollback_floor", default.rollback_floor, _FLOOR),
        promote_ratio=fields.number("promote_ratio", default.promote_ratio, _RATIO),
        promote_floor=fields.share("promote_floor", default.promote_floor, _GOOD_FLOOR),
        limit=fields.largest_share("limit", default.limit, _LIMIT),
        dry_run=fields.flag("dry_run"),
    )


def _read_latency(found: Findings, value: object, path: Path) -> LatencyGuard:
    fields = Fields.read(found, value, path, LATENCY, "numbers such as `{rollback_ratio: 1.2, floor: 2ms}`")
    default = LatencyGuard()
    return LatencyGuard(
        rollback_ratio=fields.number("rollback_ratio", default.rollback_ratio, _RATIO),
        promote_ratio=fields.number("promote_ratio", default.promote_ratio, _RATIO),
        floor_seconds=fields.duration("floor", default.floor_seconds, _DIFFERENCE),
        quantile=fields.number("quantile", default.quantile, _QUANTILE),
        limit_seconds=fields.longest("limit", default.limit_seconds, _SLOWEST),
        dry_run=fields.flag("dry_run"),
    )


def _read_score_guard(found: Findings, value: object, path: Path) -> ScoreGuard | None:
    example = "`{output: probability, index: 1, range: [0, 1], margin: 15%}`"
    if not isinstance(value, Mapping):
        found.wrong(path, value, example)
        return None
    fields = Fields.read(found, value, path, SCORE, example)
    score = _read_score(fields)
    margin, relative = _read_margin(fields, score)
    direction = fields.word("direction", Direction.EITHER)
    return ScoreGuard(score, margin, relative=relative, direction=direction, dry_run=fields.flag("dry_run"))


def _read_shift(found: Findings, value: object, path: Path) -> ShiftGuard | None:
    example = "`{output: probability, index: 1}`"
    if not isinstance(value, Mapping):
        found.wrong(path, value, example)
        return None
    fields = Fields.read(found, value, path, SHIFT, example)
    score = _read_score(fields)
    default = ShiftGuard(score)
    shown = fields.number("shown", default.shown, _PSI)
    limit = fields.number("limit", default.limit, _PSI)
    if shown > limit:
        found.add(fields.at("shown"), f"{shown:g} is above `limit`, {limit:g}", "at most `limit`")
    return ShiftGuard(score, shown, limit, dry_run=fields.flag("dry_run"))


def _read_score(fields: Fields) -> Score:
    output, index = fields.given.get("output"), fields.given.get("index", 0)
    if not isinstance(output, str) or not output or not is_utf8(output):
        expected = "the name of an output of the models, such as `probability`"
        fields.found.wrong(fields.at("output"), output, expected)
        output = ""
    if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < _MOST_INDEX:
        fields.found.wrong(fields.at("index"), index, "a whole number, the place in the output from 0")
        index = 0
    return Score(output, index, *_read_range(fields))


def _read_range(fields: Fields) -> tuple[float, float]:
    value = fields.given.get("range", (0, 1))
    place, expected = fields.at("range"), "the least and the greatest value, such as `[0, 1]`"
    if not is_list(value) or len(value) != 2:  # noqa: PLR2004 - two ends
        fields.found.wrong(place, value, expected)
        return 0.0, 1.0
    try:
        low, high = (number(end) for end in value)
    except QuantityError as wrong:
        fields.found.add(place, wrong.message, expected)
        return 0.0, 1.0
    if not (low < high and math.isfinite(high - low)):
        fields.found.add(place, f"{show(value[0])} to {show(value[1])} is no range", expected)
        return 0.0, 1.0
    return low, high


def _read_margin(fields: Fields, score: Score) -> tuple[float, bool]:
    """The margin as a share, and whether it is one of control's mean (else of the range)."""
    place, value = fields.at("margin"), fields.given.get("margin")
    if isinstance(value, str):
        if score.low != 0:
            # The judge scales values to [0, 1]: only then is a share of the scaled mean one of the mean.
            fields.found.add(place, "a share of the mean needs a range that begins at 0", _UNITS)
        return fields.share("margin", LEAST_MARGIN, _RELATIVE), True
    try:
        margin = number(value)
    except QuantityError as wrong:
        fields.found.add(place, "nothing is given" if value is None else wrong.message, f"{_UNITS}, or {_MEAN}")
        return LEAST_MARGIN, False
    width = score.high - score.low
    if not LEAST_MARGIN * width <= margin < width:
        least = f"{LEAST_MARGIN * width:g} (0.2 % of the range)"
        fields.found.add(place, f"{show(value)} is out of bounds", f"{least} to below {width:g}, or {_MEAN}")
        return LEAST_MARGIN, False
    return margin / width, False
