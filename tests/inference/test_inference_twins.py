"""Identical models have identical counted outcomes, row for row, whoever is asked and whoever else is in the batch.

That is what the test of errors rests on (docs/judging.md): one request's outcome does not depend on how others were
assigned.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from streamsplit.core.records import Outcome, Predictions
from streamsplit.core.rollout import Limits
from streamsplit.inference.dispatch import Dispatcher
from streamsplit.inference.job import Job
from tests.inference.conftest import FLOAT, INT64, ModelFolder, onnx_model

BOOL = TensorProto.BOOL

ROWS = 1_000

PATIENT = 20.0
"""A time-out that no machine is too slow for."""

POISON = 50
"""A row that raises."""


@dataclass(frozen=True)
class Twins:
    """Two arms of the same bytes, and a third that answers whatever they raise on."""

    control: Any
    canary: Any
    robust: Any

    def assign(self, x: NDArray[np.int64], assigned: NDArray[np.int8], run_rows: int) -> Predictions:
        """A batch between the twins."""
        return self._serve(self.control, x, assigned, run_rows)

    def behind_robust(self, x: NDArray[np.int64], run_rows: int) -> Predictions:
        """A batch of the canary's alone, whose control can answer everything."""
        return self._serve(self.robust, x, np.ones(len(x), np.int8), run_rows)

    def _serve(self, control: Any, x: NDArray[np.int64], assigned: NDArray[np.int8], run_rows: int) -> Predictions:
        limits = Limits(PATIENT, run_rows=run_rows)
        job = Job({"x": x}, assigned, [control, self.canary], limits=limits)
        return Dispatcher().submit(job).collect(lambda: True).predictions


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twins]:
    """Arms that serve all tests of this file."""
    models = ModelFolder(tmp_path_factory.mktemp("twins"))
    models.put_gather("table@1")
    models.put_gather("table@2")
    models.put_gather("robust@1", table=[0.0] * (POISON + 1))
    with (
        models.running("table@1") as control,
        models.running("table@2", name="canary") as canary,
        models.running("robust@1") as robust,
    ):
        yield Twins(control, canary, robust)


def poisoned(share: float, seed: int) -> NDArray[np.int64]:
    """Rows of which a share raises, at least one."""
    generator = np.random.default_rng(seed)
    x = generator.integers(0, 3, ROWS)
    x[generator.permutation(ROWS)[: max(1, round(share * ROWS))]] = POISON
    return x


@pytest.mark.parametrize("run_rows", [1, 10, 64, 256, ROWS])
@pytest.mark.parametrize("share", [0.001, 0.01, 0.1, 1 / 3, 1.0])
def test_identical_models_have_identical_counted_outcomes_row_for_row(
    twins: Twins, share: float, run_rows: int
) -> None:
    x = poisoned(share, seed=run_rows)
    raising = x == POISON
    for part in (0.0, 0.25, 0.75, 1.0):
        assigned = (np.random.default_rng(run_rows).random(ROWS) < part).astype(np.int8)
        predictions = twins.assign(x, assigned, run_rows)
        assert ((predictions.outcomes == Outcome.OK) == ~raising).all()
        # A row that raised is control's to answer, which cannot either: it counts against whom it was assigned to.
        assert (predictions.outcomes[raising] == Outcome.DEAD_LETTER).all()
        assert (predictions.served_by[~raising] == assigned[~raising]).all()
        assert predictions.outputs["y"][~raising].tolist() == (10.0 * (x[~raising] + 1)).tolist()
        assert not predictions.fallen
        assert not predictions.control_fell
        assert dict(predictions.ran) == ({1: False} if part else {})


@pytest.mark.parametrize("share", [0.01, 1 / 3, 1.0])
def test_what_raises_alone_is_an_error_and_nothing_else(twins: Twins, share: float) -> None:
    x = poisoned(share, seed=7)
    predictions = twins.behind_robust(x, run_rows=256)
    assert ((predictions.outcomes == Outcome.FALLBACK_ERROR) == (x == POISON)).all()
    assert ((predictions.outcomes == Outcome.OK) == (x != POISON)).all()


def put_slow_gather(models: ModelFolder, label: str, *, table: int = 3, turns: int | None = 30_000) -> Path:
    """Answer y = 1 after a loop, which takes some milliseconds: raises for rows whose x is outside of a table.

    Without `turns` it loops as often as the run's first row says.
    """
    x, y = ("x", INT64, ["N"]), ("y", FLOAT, ["N"])
    body = helper.make_graph(
        [helper.make_node("Identity", ["going"], ["goes_on"]), helper.make_node("Identity", ["before"], ["after"])],
        "body",
        [
            helper.make_tensor_value_info("turn", INT64, []),
            helper.make_tensor_value_info("going", BOOL, []),
            helper.make_tensor_value_info("before", INT64, [None]),
        ],
        [
            helper.make_tensor_value_info("goes_on", BOOL, []),
            helper.make_tensor_value_info("after", INT64, [None]),
        ],
    )
    nodes = [
        helper.make_node("Loop", ["first" if turns is None else "turns", "", "x"], ["same"], body=body),
        helper.make_node("Gather", ["table", "same"], ["y"]),
    ]
    constants = {"turns": np.array(turns or 0), "table": np.ones(table, np.float32), "zero": np.array(0)}
    if turns is None:
        nodes.insert(0, helper.make_node("Gather", ["x", "zero"], ["first"]))
    return models.put(label, onnx_model(nodes, [x], [y], constants), ([x], [y]), ({"x": [1]}, {"y": [1.0]}))


LATE = Limits(timeout_seconds=2.0)
"""Half of it is a fraction of what so many runs of a slow model take, and much more than one takes."""

MANY = 300


def test_a_share_whose_search_is_late_falls_as_a_share_and_no_row_of_it_is_an_error(models: ModelFolder) -> None:
    """Also where control cannot answer a row of it either: the others of the share are not counted."""
    put_slow_gather(models, "slow@1")
    put_slow_gather(models, "slow@2")
    x = np.resize([1, POISON], MANY)
    with models.running("slow@1") as control, models.running("slow@2", name="canary") as canary:
        pid = canary.status.pid
        job = Job({"x": x}, np.ones(MANY, np.int8), [control, canary], limits=LATE)
        collected = Dispatcher().submit(job).collect(lambda: True)
        assert canary.status.pid == pid
        small = Job({"x": x[:4]}, np.ones(4, np.int8), [control, canary], limits=LATE)
        assert Dispatcher().submit(small).collect(lambda: True).predictions.ran == {1: False}
    predictions = collected.predictions
    expected = np.where(x == POISON, Outcome.DEAD_LETTER, Outcome.FALLBACK_TIMEOUT)
    np.testing.assert_array_equal(predictions.outcomes, expected)
    assert (predictions.served_by[x == 1] == 0).all()
    assert (predictions.outputs["y"][x == 1] == 1).all()
    assert (predictions.fallen, predictions.ran) == (frozenset({1}), {1: True})
    assert collected.update.fell == {"canary": True}
    assert "not all found within 1 s" in collected.update.reasons["canary"]


def test_twins_whose_searches_are_late_have_both_failed_a_run(models: ModelFolder) -> None:
    put_slow_gather(models, "slow@1")
    put_slow_gather(models, "slow@2")
    x = np.resize([1, POISON], 2 * MANY)
    assigned = np.resize([0, 0, 1, 1], 2 * MANY).astype(np.int8)
    with models.running("slow@1") as control, models.running("slow@2", name="canary") as canary:
        job = Job({"x": x}, assigned, [control, canary], limits=LATE)
        predictions = Dispatcher().submit(job).collect(lambda: True).predictions
    assert (predictions.control_fell, dict(predictions.ran)) == (True, {1: True})
    # Control has nobody to fall back on: its search goes on until each row is decided.
    assert ((predictions.outcomes == Outcome.DEAD_LETTER) == (x == POISON)).all()
    assert (predictions.outputs["y"][x == 1] == 1).all()


def test_a_shadow_whose_search_is_late_has_failed_a_run(models: ModelFolder) -> None:
    put_slow_gather(models, "slow@1", table=POISON + 1)
    put_slow_gather(models, "slow@2")
    x, mirrors = np.full(MANY, POISON), {1: np.arange(MANY)}
    with models.running("slow@1") as control, models.running("slow@2", name="canary") as canary:
        assigned = np.zeros(MANY, np.int8)
        job = Job({"x": x}, assigned, [control, canary], limits=LATE, mirrors=mirrors, budget_seconds=PATIENT)
        collected = Dispatcher().submit(job).collect(lambda: True)
    assert collected.predictions.mirrored is not None
    reflection = collected.predictions.mirrored[1]
    assert (reflection.outcomes == Outcome.FALLBACK_TIMEOUT).all()
    assert (reflection.fallen, reflection.ran) == (True, True)
    assert collected.update.fell == {"canary": True}
    assert (collected.predictions.outcomes == Outcome.OK).all()


def test_a_run_that_hangs_in_the_search_is_a_hang_and_costs_no_answer(models: ModelFolder) -> None:
    """The whole run raises, as its first row makes it short; the run of the second row never ends."""
    models.put_constant("constant@1", answer=7.0)
    put_slow_gather(models, "first@2", turns=None)
    x = np.array([1, 1 << 40, 1, 1])
    with models.running("constant@1") as control, models.running("first@2", name="canary") as canary:
        job = Job({"x": x}, np.ones(4, np.int8), [control, canary], limits=Limits(timeout_seconds=0.5))
        collected = Dispatcher().submit(job).collect(lambda: True)
    assert (collected.predictions.outcomes == Outcome.FALLBACK_TIMEOUT).all()
    assert collected.predictions.outputs["y"].tolist() == [7.0] * 4
    assert (collected.predictions.fallen, dict(collected.predictions.ran)) == (frozenset({1}), {1: True})
    assert "no run finished within" in collected.update.reasons["canary"]
