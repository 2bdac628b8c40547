"""Absolute limits: what hangs together is one observation."""

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from simulations.world import Behaviour, World, behaving, canary
from streamsplit.core.rollout import Phase
from streamsplit.core.summary import MOST_UNITS, FailingUnits, Summary, WindowCounts

LIMITED: dict[str, Any] = {"window": "1s", "grace": "1s", "guards": {"latency": {"limit": "50ms"}}}


def with_slow_batches(share: float, seed: int) -> World:
    """A world in which so many of the candidate's batches take too long, all their requests together."""
    random = np.random.default_rng(seed)

    def edit(summary: Summary) -> tuple[Summary, ...]:
        slow = random.random() < share
        windows = tuple(
            replace(each, slow=each.requests) if slow and each.arm == "canary" else each for each in summary.windows
        )
        return (replace(summary, windows=windows),)

    one = World(canary(judge=LIMITED, steps=[{"weight": 10, "for": "1h"}]), behaving(), rate=200.0, seed=seed)
    one.edit = edit
    return one


@pytest.mark.parametrize("seed", range(3))
def test_one_slow_batch_in_two_hundred_is_within_a_limit_on_the_99th_percentile(seed: int) -> None:
    one = with_slow_batches(0.005, seed)
    one.run(300)
    (latency,) = [each for each in one.decisions[-1].readings if each.guard == "latency limit"]
    assert latency.counts["bad"] > 0
    assert one.state.phase is Phase.PROGRESSING


def test_a_candidate_that_is_always_too_slow_is_taken_back_after_three_batches() -> None:
    one = with_slow_batches(1.0, 0)
    one.run(2)
    assert one.state.phase is Phase.ROLLED_BACK
    assert one.decisions[-1].reasons[0].startswith("canary latency limit: 100 % of its requests took longer than 50 ms")


RETRIES = 30


def with_clients_that_try_again(seed: int, *, control: float, candidate: float) -> World:
    """A world in which whoever fails asks, and fails, thirty times more at once."""
    units = iter(range(1, 2**62))

    def again(counted: WindowCounts) -> tuple[WindowCounts, FailingUnits]:
        word = "dead_letter" if counted.arm == "control" else "fallback_error"
        failed = counted.outcomes.get(word, 0)
        named = [unit for unit in itertools.islice(units, failed) for _ in range(1 + RETRIES)]
        outcomes = {**counted.outcomes, word: len(named)}
        who = FailingUnits(
            counted.start, counted.rule, counted.arm, tuple(named[:MOST_UNITS]), max(0, len(named) - MOST_UNITS)
        )
        return replace(counted, requests=counted.requests + failed * RETRIES, outcomes=outcomes), who

    def edit(summary: Summary) -> tuple[Summary, ...]:
        windows, failing = zip(*map(again, summary.windows), strict=True) if summary.windows else ((), ())
        return (replace(summary, windows=windows, failing=failing),)

    behaviours = {"control": Behaviour(error_rate=control), "canary": Behaviour(error_rate=candidate)}
    one = World(canary(), behaviours, seed=seed, batch_ms=200)
    one.edit = edit
    return one


@pytest.mark.parametrize("seed", range(3))
def test_clients_that_try_again_take_no_candidate_back_and_make_no_split_look_wrong(seed: int) -> None:
    """A quarter of the requests of either arm are such retries."""
    one = with_clients_that_try_again(seed, control=0.01, candidate=0.01)
    one.run(300)
    assert one.state.phase is Phase.PROMOTED
    (split,) = [each for each in one.decisions[-1].readings if each.guard == "split"]
    assert split.log_e < 1


def test_a_candidate_that_fails_twice_as_often_is_found_among_clients_that_try_again() -> None:
    one = with_clients_that_try_again(0, control=0.01, candidate=0.02)
    one.run(300)
    assert one.state.phase is Phase.ROLLED_BACK
    assert one.decisions[-1].reasons[0].startswith("canary errors ")
