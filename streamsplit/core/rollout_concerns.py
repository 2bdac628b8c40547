"""What a person who plans a rollout should know before it begins: notes on a file that is valid all the same."""

import math
from collections.abc import Iterator, Sequence

from streamsplit.core.findings import Finding
from streamsplit.core.quantities import duration_text
from streamsplit.core.rollout import WHOLE, Rollout
from streamsplit.core.rollout_forecast import Span, StepForecast, Wait, mirrored, sticky

PATIENCE_SECONDS = 86_400.0
"""Where a file has no deadline, a step that takes longer is told."""


def concerns(rollout: Rollout, forecasts: Sequence[StepForecast], rate: float | None = None) -> tuple[Finding, ...]:
    """What may surprise the people who wait for a rollout.

    Args:
        rollout: The file.
        forecasts: What its steps are expected to take, at that rate.
        rate: Requests a second that follow the steps; None where it is not known.

    Returns:
        Notes, with the path of what they are about.
    """
    return (
        *_units(rollout, forecasts),
        *_never(forecasts),
        *_unplanned(rollout, forecasts),
        *_too_long(rollout, forecasts, rate),
        *_without_control(rollout),
    )


def requests_text(requests: float) -> str:
    """A number of requests to two digits."""
    return f"{float(f'{requests:.2g}'):,.0f}" if math.isfinite(requests) else "no number"


def span_text(span: Span) -> str:
    """The least and the most of it, or one number where they are alike."""
    low, high = (requests_text(requests) for requests in span)
    return low if low == high else f"{low} to {high}"


def _units(rollout: Rollout, forecasts: Sequence[StepForecast]) -> Iterator[Finding]:
    waiting = [each for each in forecasts if each.wait is Wait.EVIDENCE and _comes(each)]
    if sticky(rollout) and waiting:
        most = max(waiting, key=_longest)
        yield Finding(
            ("unit",),
            "units are sticky: only the first request of each unit that moved in a step, and of each that is still on "
            f"control, is evidence; steps[{most.index}] takes {span_text(most.requests or (0, 0))} units, however many "
            "requests each of them has, and harm that comes later than a first request is left to the limits",
        )


def _never(forecasts: Sequence[StepForecast]) -> Iterator[Finding]:
    for each in forecasts:
        if each.requests is not None and not _comes(each):
            yield Finding(
                ("steps", each.index),
                "evidence that the candidate is good enough may never come here: raise the weight above that of the "
                "step before, `promote_ratio` or `promote_floor`, or leave the step with `advance: time`",
            )


def _unplanned(rollout: Rollout, forecasts: Sequence[StepForecast]) -> Iterator[Finding]:
    score = rollout.judge.score
    waits = {each.wait for each in forecasts} & {Wait.EVIDENCE, Wait.PAIRS}
    if score is not None and not score.dry_run and waits:
        pairs = " Mirrored requests, which both arms score, take the fewest." if Wait.PAIRS in waits else ""
        yield Finding(
            ("judge", "guards", "score"),
            "steps that are left on evidence wait for the score as well, and what that takes cannot be planned: it "
            f"depends on how far scores scatter. What is expected of a step is what the guard of errors takes.{pairs}",
        )


def _too_long(rollout: Rollout, forecasts: Sequence[StepForecast], rate: float | None) -> Iterator[Finding]:
    """The step at which the deadline is expected to pass, or each that takes very long where there is none."""
    deadline = rollout.judge.deadline_seconds
    passed = 0.0
    for each in forecasts:
        if rate is None or each.seconds is None or not _comes(each):
            continue
        here, took = ("steps", each.index), each.seconds[1]
        passed += took
        if deadline is not None and passed > deadline:
            long = f"at {rate:g} requests/s the rollout is here for up to {duration_text(passed)}"
            yield Finding(here, f"{long}, and its deadline is {duration_text(deadline)}: {_cure(rollout, each, rate)}")
            return
        if deadline is None and took > PATIENCE_SECONDS:
            long = f"at {rate:g} requests/s this step takes up to {duration_text(took)}"
            yield Finding(here, f"{long}: {_cure(rollout, each, rate)}")


def _cure(rollout: Rollout, step: StepForecast, rate: float) -> str:
    pairs = mirrored(rollout, rate)
    if step.wait is Wait.TIME or pairs.seconds is None or pairs.seconds[1] >= (step.seconds or (0, 0))[1]:
        return "set a later deadline, or wait for less"
    names = [arm.name for arm in rollout.arms[1:]]
    weight = "weight: 0" if len(names) == 1 else f"weights: {{{names[0]}: 0}}"
    first = f"{{{weight}, mirror: {{{', '.join(f'{name}: 100' for name in names)}}}}}"
    time = duration_text(pairs.seconds[1])
    return f"mirror first; the step `{first}` takes {span_text(pairs.requests or (0, 0))} requests, up to {time}"


def _comes(step: StepForecast) -> bool:
    return step.requests is not None and math.isfinite(step.requests[1])


def _longest(step: StepForecast) -> float:
    return step.requests[1] if step.requests is not None else 0.0


def _without_control(rollout: Rollout) -> Iterator[Finding]:
    for index, step in enumerate(rollout.steps):
        if sum(step.weights) == WHOLE:
            time = f"after {duration_text(step.bake_seconds)}" if step.bake_seconds else "with its first window"
            yield Finding(
                ("steps", index),
                f"control answers nothing here: limits alone are judged, and the step is left {time}; `holdback: 5` "
                "keeps 5 % on control, to compare with until the promotion",
            )
