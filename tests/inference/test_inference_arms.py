"""Arms and batches through real processes."""

from typing import Any

import numpy as np

from streamsplit.core.records import Outcome
from streamsplit.inference.dispatch import Dispatcher
from streamsplit.inference.job import Collected, Job


def serve(arms: list[Any], inputs: dict[str, Any], assigned: list[int], **settings: Any) -> Collected:
    """A batch through a dispatcher of its own."""
    job = Job(inputs, np.array(assigned, np.int8), arms, **settings)
    return Dispatcher().submit(job).collect(lambda: True)


def test_each_row_is_answered_by_the_arm_it_is_assigned_to(models: Any) -> None:
    models.put_scale("scale@1", 2.0)
    models.put_scale("scale@2", 3.0)
    x = np.arange(3000, dtype=np.float32).reshape(1000, 3)
    assigned = [row % 2 for row in range(1000)]
    with models.running("scale@1") as control, models.running("scale@2", name="canary") as canary:
        collected = serve([control, canary], {"x": x}, assigned)
    predictions = collected.predictions
    assert predictions.served_by.tolist() == assigned
    assert set(predictions.outcomes.tolist()) == {Outcome.OK}
    np.testing.assert_allclose(predictions.outputs["y"], x * (2 + np.array(assigned, np.float32))[:, None])
    assert (predictions.micros > 0).all()
    assert collected.update.fell == {"canary": False}
