"""How many probes the evidence that a candidate is fast enough takes, and how often they come, before anything runs."""

import math
from dataclasses import dataclass

from streamsplit.core.evidence.expected import probes_needed
from streamsplit.core.quantities import duration_text
from streamsplit.core.rollout import WHOLE, Rollout, Step
from streamsplit.core.rollout_concerns import span_text
from streamsplit.core.rollout_forecast import Span, StepForecast, Wait, needed

A_SECOND = 5.0
"""Most probes a second of a worker (docs/design.md section 9)."""

_SCATTER = 0.25
"""Standard deviation of the log of a run's time, of the probes that take longest; the other end is none."""


@dataclass(frozen=True, slots=True)
class ProbeForecast:
    """What the guard of latency waits for, at each step that is left on evidence.

    Attributes:
        probes: Of each candidate, where it is as fast as control: the least, and the most.
        step: Index of the step at which they are rarest.
        a_second: Most probes of a second there, of one worker; None where the rate of requests is not known.
    """

    probes: Span
    step: int
    a_second: float | None = None

    def __str__(self) -> str:
        """What a person should know."""
        text = f"{span_text(self.probes)} probes of a candidate's speed, each of a batch of which it was given rows"
        text += f", and a worker makes at most {A_SECOND:g} a second"
        if self.a_second is not None and self.a_second < A_SECOND:
            times = " to ".join(duration_text(probes / self.a_second) for probes in self.probes)
            text += f", at steps[{self.step}] at most {self.a_second:.2g}: {times}"
        return f"{text}. Where none can come `latency: {{dry_run: true}}` waits for none"


def forecast_probes(
    rollout: Rollout, forecasts: tuple[StepForecast, ...], rate: float | None = None
) -> ProbeForecast | None:
    """What a rollout waits for; None where no step waits for probes.

    Args:
        rollout: The file.
        forecasts: What its steps are expected to take.
        rate: Requests a second that follow the steps; positive. None where it is not known.
    """
    waiting = [each.index for each in forecasts if each.wait in {Wait.EVIDENCE, Wait.PAIRS}]
    latency = rollout.judge.latency
    if latency.dry_run or not waiting:
        return None
    # Two equal arms: the ratio of two times scatters by sqrt(2) times as much as each of them.
    slower = 0.5 * math.erfc(math.log(latency.promote_ratio) / (2 * _SCATTER))
    least, most = (probes_needed(slower=share, log_needed=needed(rollout)) for share in (0.0, slower))
    rarest = min(waiting, key=lambda index: _given(rollout.steps[index]))
    a_second = min(A_SECOND, rate * _given(rollout.steps[rarest])) if rate is not None else None
    return ProbeForecast((least, most), rarest, a_second or None)


def _given(step: Step) -> float:
    """The share of requests that a candidate is given, to answer or mirrored: the least, of those that get any."""
    control = WHOLE - sum(step.weights)
    mirrored = step.mirror.shares if step.mirror is not None else (0,) * len(step.weights)
    given = [weight + control * share / WHOLE for weight, share in zip(step.weights, mirrored, strict=True)]
    return min((each for each in given if each), default=0.0) / WHOLE
