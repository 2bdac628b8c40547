"""What each step of a rollout is expected to take, before anything has been served.

Only the guard of errors can be planned for: how far scores and run times scatter is not known beforehand. Both arms are
taken to fail alike; how often is not known either, so every figure is a pair, the least and the most over
`BASE_RATES`. Of the traffic only what follows the steps is looked at; segments with a rule of their own come on top.
"""

import enum
import math
from dataclasses import dataclass

from streamsplit.core.evidence.expected import WINDOW_REQUESTS, mirrored_requests, split_requests
from streamsplit.core.rollout import WHOLE, Mirror, Rollout, Step, UnitKind

BASE_RATES = (0.0, 0.001, 0.01)
"""Shares of requests that control fails, for which the figures are computed."""

Span = tuple[float, float]
"""Least and most, over the base rates."""


_Spans = tuple[Span, Span]
"""Requests of a candidate, and those of everybody."""


class Wait(enum.StrEnum):
    """What a step waits for."""

    EVIDENCE = "evidence"
    """That the candidate is good enough, from requests that the arms split."""
    PAIRS = "mirrored evidence"
    """The same from requests that both arms were asked."""
    TIME = "time"
    """Time and sample, while no guard objects."""
    PERSON = "a person"
    """A pause."""


@dataclass(frozen=True, slots=True)
class StepForecast:
    """What one step is expected to take.

    Attributes:
        index: Of the step.
        wait: What it waits for.
        candidate_requests: Requests of the candidate that needs the most: answered or, with PAIRS, mirrored to it;
            infinite where the evidence would never suffice. With sticky units: units that moved to it. None where
            nothing can be said: for a pause, and where the evidence comes from segments or other guards alone.
        requests: Of everybody whom the steps are for; with sticky units: units. None likewise.
        seconds: Time; with sticky units the least it can take, as only a unit's first request counts. None likewise,
            and where the rate is not known.
    """

    index: int
    wait: Wait
    candidate_requests: Span | None = None
    requests: Span | None = None
    seconds: Span | None = None


def sticky(rollout: Rollout) -> bool:
    """Whether a unit has more than one request, so that its first one in a step is what counts."""
    return rollout.unit.kind is not UnitKind.ID


def forecast(rollout: Rollout, rate: float | None = None) -> tuple[StepForecast, ...]:
    """What each step is expected to take.

    Args:
        rollout: The file.
        rate: Requests a second that follow the steps; positive. None where it is not known.

    Returns:
        One entry a step.
    """
    beside = [index for index, step in enumerate(rollout.steps) if not step.pause and sum(step.weights) < WHOLE]
    forecasts = []
    before: tuple[int, ...] = (0,) * (len(rollout.arms) - 1)
    for index, step in enumerate(rollout.steps):
        # Promotion asks for evidence at the last step that has control traffic, however that step is left.
        proves = index in beside and (step.advance == "evidence" or index == beside[-1])
        forecasts.append(_step(rollout, index, before, rate, proves=proves))
        before = before if step.pause else step.weights
    return tuple(forecasts)


def mirrored(rollout: Rollout, rate: float | None = None) -> StepForecast:
    """What a step of weight 0 that mirrors everything to every candidate would take, in the place of the first one."""
    candidates = len(rollout.arms) - 1
    step = Step((0,) * candidates, mirror=Mirror((WHOLE,) * candidates))
    return _entry(rollout, 0, step, rate, wait=Wait.PAIRS, spans=_of_pairs(rollout, step, WHOLE, rate))


def _step(rollout: Rollout, index: int, before: tuple[int, ...], rate: float | None, *, proves: bool) -> StepForecast:
    step = rollout.steps[index]
    if step.pause:
        return StepForecast(index, Wait.PERSON)
    if not proves:
        return _entry(rollout, index, step, rate, wait=Wait.TIME, spans=((step.requests, step.requests), (0, 0)))
    arms = zip(step.weights, before, strict=True)
    spans = [_of_split(rollout, step, weight, old, rate) for weight, old in arms if weight]
    wait = Wait.EVIDENCE
    if not spans and step.mirror is not None:
        spans = [_of_pairs(rollout, step, share, rate) for share in step.mirror.shares if share]
        wait = Wait.PAIRS
    if not spans or rollout.judge.errors.dry_run:
        return StepForecast(index, wait)
    return _entry(rollout, index, step, rate, wait=wait, spans=max(spans, key=lambda span: span[1][1]))


def _entry(rollout: Rollout, index: int, step: Step, rate: float | None, *, wait: Wait, spans: _Spans) -> StepForecast:
    """A forecast that knows of the step's bake time and sample too."""
    share = sum(step.weights) / WHOLE
    sample = step.requests / share if share else 0.0
    least, most = (max(requests, sample) for requests in spans[1])
    seconds = None
    if rate is not None:
        # The first window of a revision is no evidence, and the last one is looked at after its grace.
        judge = rollout.judge
        beside = 0.0 if wait is Wait.TIME else judge.window_seconds + judge.grace_seconds
        seconds = (max(least / rate + beside, step.bake_seconds), max(most / rate + beside, step.bake_seconds))
    return StepForecast(index, wait, spans[0], (least, most), seconds)


def _of_split(rollout: Rollout, step: Step, weight: int, before: int, rate: float | None) -> _Spans:
    """What the evidence of a candidate takes from requests that the arms split."""
    # Of sticky units those count that moved in this step, beside those that are still on control.
    counted = max(0, weight - before) if sticky(rollout) else weight
    if not counted:
        return (math.inf, math.inf), (math.inf, math.inf)
    control = WHOLE - sum(step.weights)
    share, part = counted / (counted + control), (counted + control) / WHOLE
    guard = rollout.judge.errors
    takes = [
        split_requests(
            guard.promote_ratio,
            guard.promote_floor,
            share=share,
            error_rate=base,
            log_needed=needed(rollout),
            window_requests=_window(rollout, part, rate),
        )
        for base in BASE_RATES
    ]
    return (share * min(takes), share * max(takes)), (min(takes) / part, max(takes) / part)


def _of_pairs(rollout: Rollout, step: Step, share: int, rate: float | None) -> _Spans:
    """What the evidence of a candidate takes from requests that are mirrored to it."""
    part = share / WHOLE * (WHOLE - sum(step.weights)) / WHOLE
    guard = rollout.judge.errors
    takes = [
        mirrored_requests(
            guard.promote_ratio,
            guard.promote_floor,
            error_rate=base,
            log_needed=needed(rollout),
            window_requests=_window(rollout, part, rate),
        )
        for base in BASE_RATES
    ]
    return (min(takes), max(takes)), (min(takes) / part, max(takes) / part)


def needed(rollout: Rollout) -> float:
    """What the log of each e-value for a promotion must reach."""
    return math.log((len(rollout.arms) - 1) / rollout.judge.alpha)


def _window(rollout: Rollout, part: float, rate: float | None) -> int:
    """Requests in a window, of the part of all of them that counts."""
    return WINDOW_REQUESTS if rate is None else max(1, round(part * rate * rollout.judge.window_seconds))
