"""A dose's scores of control in random order: made once, whichever candidates are compared with them."""

from streamsplit.core.doses import Dose
from streamsplit.core.evidence.bins import Binned
from streamsplit.core.evidence.bounded import Shuffle, generator


class Shuffles:
    """Those of one dose, made when first asked for.

    Args:
        rollout: Name of the rollout.
        dose: Window, rule and revision.
        scores: Control's.
    """

    __slots__ = ("_dose", "_known", "_rollout", "_scores")

    def __init__(self, rollout: str, dose: Dose, scores: Binned) -> None:
        self._rollout = rollout
        self._dose = dose
        self._scores = scores
        self._known: dict[str, Shuffle] = {}

    def of(self, metric: str) -> Shuffle:
        """Control's scores.

        Args:
            metric: What is compared.
        """
        if metric not in self._known:
            self._known[metric] = self.fresh(metric, self._scores)
        return self._known[metric]

    def fresh(self, metric: str, control: Binned) -> Shuffle:
        """Other values of control, shuffled by the dose's numbers: as those with the worst for each that is missing."""
        dose = self._dose
        return Shuffle(control, generator(self._rollout, metric, dose.start, dose.rule, dose.revision))
