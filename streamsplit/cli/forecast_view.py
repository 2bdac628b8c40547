"""What each step of a rollout file is expected to take, as a table and as JSON."""

import math
from collections.abc import Sequence

from rich.table import Table

from streamsplit.cli.console import plain_table
from streamsplit.core.judging.risk import Risk
from streamsplit.core.probe_forecast import ProbeForecast
from streamsplit.core.quantities import duration_text, percent_text
from streamsplit.core.rollout import Rollout
from streamsplit.core.rollout_concerns import span_text
from streamsplit.core.rollout_forecast import Span, StepForecast, Wait, sticky

HEADING = "Expected until a step may be left, where control and candidate both fail 0 to 1 % of the requests:"
"""What the spans of the table are spans of."""


def forecast_table(rollout: Rollout, forecasts: Sequence[StepForecast], rate: float | None) -> Table:
    """A row for each step."""
    counted = "units" if sticky(rollout) else "requests"
    table = plain_table(
        "step",
        "weight",
        "left on",
        f"candidate's {counted}",
        f"{counted} in all",
        *([f"time at {rate:g} requests/s"] if rate is not None else []),
    )
    for each in forecasts:
        table.add_row(*_cells(rollout, each, timed=rate is not None))
    return table


def _cells(rollout: Rollout, each: StepForecast, *, timed: bool) -> list[str]:
    weights = rollout.steps[each.index].weights
    cells = [f"steps[{each.index}]", ", ".join(percent_text(weight) for weight in weights), each.wait.value]
    cells += ["" if span is None else span_text(span) for span in (each.candidate_requests, each.requests)]
    return [*cells, _time(rollout, each)] if timed else cells


def _time(rollout: Rollout, each: StepForecast) -> str:
    if each.seconds is None:
        return ""
    low, high = (duration_text(seconds) for seconds in each.seconds)
    least = "at least " if sticky(rollout) and each.wait is Wait.EVIDENCE else ""
    return least + (low if low == high else f"{low} to {high}")


def forecast_json(forecasts: Sequence[StepForecast]) -> list[dict[str, object]]:
    """The same for programs: least and most of each figure, null where it will never suffice or is not known."""
    return [
        {
            "step": each.index,
            "left_on": each.wait.value,
            "candidate_requests": _finite(each.candidate_requests),
            "requests": _finite(each.requests),
            "seconds": _finite(each.seconds),
        }
        for each in forecasts
    ]


def besides(probes: ProbeForecast | None, risk: Risk | None) -> list[str]:
    """What the table does not say: sentences."""
    waits = [f"A step left on evidence waits for {probes}."] if probes is not None else []
    return waits + ([f"Over the whole rollout {risk}."] if risk is not None else [])


def probes_json(probes: ProbeForecast | None) -> dict[str, object] | None:
    """The probes that are waited for, where they are rarest, and how many a worker makes a second there."""
    if probes is None:
        return None
    return {"probes": _finite(probes.probes), "step": probes.step, "a_second": probes.a_second}


def alphas_json(risk: Risk) -> dict[str, float]:
    """Guard → the chance that it is ever wrong about a healthy rollout, at most; and the `sum`."""
    return {**risk.alphas, "sum": risk.total}


def _finite(span: Span | None) -> list[float | None] | None:
    return None if span is None else [value if math.isfinite(value) else None for value in span]
