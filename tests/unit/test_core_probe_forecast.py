"""How many probes a step waits for, and how often they come."""

import math
from typing import Any

import numpy as np
import pytest

from streamsplit.core.evidence import speed
from streamsplit.core.evidence.expected import probes_needed
from streamsplit.core.evidence.mixture import log_mean
from streamsplit.core.probe_forecast import ProbeForecast, forecast_probes
from streamsplit.core.rollout_forecast import forecast
from tests.unit.test_core_rollout_forecast import rollout

DRY = {"guards": {"latency": {"dry_run": True}}}


def told(steps: list[Any], rate: float | None = None, **fields: Any) -> ProbeForecast | None:
    read = rollout(steps, **fields)
    return forecast_probes(read, forecast(read, rate), rate)


def first_enough(log_needed: float) -> int:
    """After how many probes, none of them slower, the test itself has enough."""
    return next(
        count
        for count in range(1000)
        if log_mean(speed.promote_increment(count, 0), speed.WEIGHTS) >= log_needed
    )  # fmt: skip


@pytest.mark.parametrize("needed", [math.log(20), math.log(60), math.log(1000)])
def test_where_no_probe_is_slower_it_is_exactly_when_the_test_has_enough(needed: float) -> None:
    assert probes_needed(slower=0.0, log_needed=needed) == first_enough(needed)


def test_the_more_probes_are_slower_the_more_are_needed_and_at_half_of_them_no_number_is_enough() -> None:
    needed = [probes_needed(slower=share, log_needed=math.log(20)) for share in (0.0, 0.1, 0.3, 0.45, 0.5)]
    assert needed == sorted(needed)
    assert np.isfinite(needed[:-1]).all()
    assert needed[-1] == math.inf


def test_it_is_said_how_many_are_needed_and_how_often_they_come_where_they_are_rarest() -> None:
    steps = [{"weight": 0, "mirror": {"canary": 50}}, {"weight": 2, "advance": "evidence"}, {"weight": 10}]
    plain = told(steps)
    assert plain is not None
    assert (plain.probes[0], plain.step, plain.a_second) == (first_enough(math.log(20)), 1, None)
    assert "at most 5 a second. Where none can come `latency: {dry_run: true}` waits for none" in str(plain)
    seldom = told(steps, 50.0)
    assert seldom is not None
    assert seldom.a_second == pytest.approx(1.0)
    assert "at steps[1] at most 1: 7 s to 13 s" in str(seldom)
    often = told(steps, 5000.0)
    assert often is not None
    assert often.a_second == 5.0
    assert "steps[" not in str(often)


def test_a_narrower_promise_takes_more_probes() -> None:
    wide, narrow = (
        told([{"weight": 10}], judge={"guards": {"latency": {"rollback_ratio": 1.05, "promote_ratio": ratio}}})
        for ratio in (1.5, 1.1)
    )
    assert wide is not None
    assert narrow is not None
    assert narrow.probes[1] > 10 * wide.probes[1]


@pytest.mark.parametrize(
    ("steps", "fields"),
    [([{"weight": 10}], {"judge": DRY}), (["pause", {"weight": 100, "for": "5s"}], {}), ([{"weight": 100}], {})],
)
def test_nothing_is_said_where_no_step_waits_for_probes(steps: list[Any], fields: dict[str, Any]) -> None:
    assert told(steps, **fields) is None
