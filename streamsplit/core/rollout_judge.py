"""How a rollout file wants its candidates judged: the part `judge`, read into `guards.py`'s records.

What a file cannot know, such as control's mean, is for the judge to refuse when it sees it.
"""

from streamsplit.core.findings import Findings, Path
from streamsplit.core.guards import JudgeSettings
from streamsplit.core.rollout_guards import Guards, read_guards
from streamsplit.core.rollout_values import Bounds, Fields

FIELDS = ("window", "grace", "alpha", "guards", "deadline", "on_inconclusive")
LONGEST_WINDOW = 3600.0
MOST_GRACE_WINDOWS = 10

_JUDGE = "how to judge, such as `{window: 5s, alpha: 0.05, guards: {errors: {limit: 20%}}}`"
_WINDOW = Bounds("`1s` to `1h`, in whole milliseconds", low=1.0, high=LONGEST_WINDOW)
_ALPHA = Bounds("a number above 0 and at most 0.5, such as `0.05`", low=0.0, high=0.5, above=True)


def read_judge(found: Findings, value: object, path: Path = ("judge",)) -> JudgeSettings:
    """Reads `judge`; what is not given keeps its default.

    Args:
        found: Collects what is wrong.
        value: What the file says.
        path: Where.

    Returns:
        The settings; meaningless where something was found.
    """
    default = JudgeSettings()
    fields = Fields.read(found, value, path, FIELDS, _JUDGE)
    window = _read_milliseconds(fields, "window", default.window_seconds, _WINDOW)
    grace = _read_milliseconds(fields, "grace", default.grace_seconds, _grace_bounds(window))
    guards = read_guards(found, fields.given["guards"], fields.at("guards")) if "guards" in fields else Guards()
    return JudgeSettings(
        window_seconds=window,
        grace_seconds=grace,
        alpha=fields.number("alpha", default.alpha, _ALPHA),
        errors=guards.errors,
        latency=guards.latency,
        score=guards.score,
        shift=guards.shift,
        deadline_seconds=_read_deadline(fields, window),
        on_inconclusive=fields.word("on_inconclusive", default.on_inconclusive),
    )


def _grace_bounds(window: float) -> Bounds:
    most = MOST_GRACE_WINDOWS * window
    return Bounds(f"`0s` to {MOST_GRACE_WINDOWS} windows ({most:g} s), in whole milliseconds", low=0.0, high=most)


def _read_milliseconds(fields: Fields, name: str, default: float, bounds: Bounds) -> float:
    seconds = fields.duration(name, default, bounds)
    # Windows are counted in milliseconds: a finer length would drift from what the file says.
    if round(seconds, 3) != seconds:
        fields.found.add(fields.at(name), "it is finer than a millisecond", bounds.expected)
    return seconds


def _read_deadline(fields: Fields, window: float) -> float | None:
    if "deadline" not in fields:
        return None
    bounds = Bounds(f"a duration of at least one window ({window:g} s), such as `2h`", low=window)
    return fields.duration("deadline", window, bounds)
