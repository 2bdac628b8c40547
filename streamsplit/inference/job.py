"""A routed batch as it is handed to the arms, and as it comes back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from streamsplit.core.guards import Score
from streamsplit.core.records import Outcome, Predictions
from streamsplit.core.rollout import BUDGET_SECONDS, Check, Limits
from streamsplit.core.text_tensor import Tensor
from streamsplit.inference.arm import Arm
from streamsplit.inference.breakers import Breakers, BreakerUpdate
from streamsplit.inference.process import ModelProcess


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
        mirrors: Index of a candidate → int64 (k,), ascending, rows of control that it answers too, unseen; None where
            nothing is mirrored.
        budget_seconds: Longest time that the batch, all its answers ready, waits for the mirrored rows.
        score: The number that is wanted of mirrored answers; None: none.
    """

    inputs: Mapping[str, Tensor]
    assigned: NDArray[np.int8]
    arms: Sequence[Arm | None]
    rollout: int = -1
    limits: Limits = field(default_factory=Limits)
    checks: Mapping[str, Check] = field(default_factory=lambda: MappingProxyType({}))
    stale: bool = False
    mirrors: Mapping[int, NDArray[np.int64]] | None = None
    budget_seconds: float = BUDGET_SECONDS
    score: Score | None = None

    @property
    def search_seconds(self) -> float:
        """How long an arm may look for the rows that raise: half of a candidate's time-out.

        One clock for both arms, so that a search that is late is a failed run of either.
        """
        return self.limits.timeout_seconds / 2

    @property
    def lateness(self) -> str:
        """What is said of a candidate whose search was late."""
        return f"the rows that raise were not all found within {self.search_seconds:g} s"

    def whom(self, index: int, breakers: Breakers) -> ModelProcess | Outcome:
        """The process to ask for a candidate's rows, or how they end because it is not asked."""
        arm = self.arms[index] if 0 < index < len(self.arms) else None
        process = arm.process if arm is not None else None
        if self.stale:
            return Outcome.FALLBACK_STALE
        if arm is not None and breakers.is_open(self.rollout, arm.name):
            return Outcome.FALLBACK_OPEN
        return Outcome.FALLBACK_LOADING if process is None else process


@dataclass(frozen=True, slots=True)
class Collected:
    """A batch that every arm is done with.

    Attributes:
        predictions: The answers; rows with `served_by` -1 are dead letters of stage `infer`, their `reasons` say why.
        update: To be handed to `Dispatcher.install` once the batch is committed.
    """

    predictions: Predictions
    update: BreakerUpdate
