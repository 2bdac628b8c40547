"""A routed batch as it is handed to the arms, and as it comes back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamsplit.core.records import Predictions
from streamsplit.core.rollout import Check, Limits
from streamsplit.inference.arm import Arm
from streamsplit.inference.breakers import BreakerUpdate


@dataclass(frozen=True, slots=True)
class Job:
    """A routed batch.

    Attributes:
        inputs: For each input of control's signature an array (m, *shape).
        assigned: int8 (m,), index of each row's arm; 0 is control.
        arms: Control, then the candidates in the order of the rollout; None where a worker has no such arm.
        rollout: Offset of the apply that the arms belong to; breakers last as long as it.
        limits: What a candidate may use.
        checks: Output name → condition, for all arms.
        stale: True while the control log is out of reach: candidates are not asked.
    """

    inputs: Mapping[str, NDArray[Any]]
    assigned: NDArray[np.int8]
    arms: Sequence[Arm | None]
    rollout: int = -1
    limits: Limits = field(default_factory=Limits)
    checks: Mapping[str, Check] = field(default_factory=lambda: MappingProxyType({}))
    stale: bool = False


@dataclass(frozen=True, slots=True)
class Collected:
    """A batch that every arm is done with.

    Attributes:
        predictions: The answers; rows with `served_by` -1 are dead letters of stage `infer`, their `reasons` say why.
        update: To be handed to `Dispatcher.install` once the batch is committed.
    """

    predictions: Predictions
    update: BreakerUpdate
