"""Circuit breakers as values: what a batch would change is installed only after its commit."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class BreakerUpdate:
    """What one batch says about the candidates.

    Attributes:
        rollout: Offset of the apply that the batch was served under.
        threshold: Failed batches in a row that open a breaker.
        fell: Candidate → True where its process crashed or hung on this batch, False where it finished. Candidates
            that were not asked are missing, and those that were still at work on mirrored rows when their budget ended.
        reasons: Candidate → why it fell.
    """

    rollout: int
    threshold: int
    fell: Mapping[str, bool] = field(default_factory=lambda: MappingProxyType({}))
    reasons: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def joined(self, verdicts: Mapping[str, tuple[bool, str]]) -> "BreakerUpdate":
        """The update with what the mirror says as well: candidate → whether it fell, and why.

        A candidate has fallen on a batch when it fell on its own rows or on mirrored ones.
        """
        fell = {name: self.fell.get(name, False) or verdict for name, (verdict, _) in verdicts.items()}
        reasons = {name: reason for name, (verdict, reason) in verdicts.items() if verdict}
        return BreakerUpdate(self.rollout, self.threshold, {**self.fell, **fell}, {**reasons, **self.reasons})


@dataclass(frozen=True, slots=True)
class Breakers:
    """Failed batches in a row, and which candidates are asked no more.

    Attributes:
        rollout: Offset of the apply they belong to; another one begins anew.
        failures: Candidate → batches in a row on which its process fell.
        open: Candidate → why; open until the rollout ends.
    """

    rollout: int = -1
    failures: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    open: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def after(self, update: BreakerUpdate) -> "Breakers":
        """The breakers once a batch is committed."""
        same = update.rollout == self.rollout
        failures = dict(self.failures) if same else {}
        opened = dict(self.open) if same else {}
        for name, fell in update.fell.items():
            failures[name] = failures.get(name, 0) + 1 if fell else 0
            if failures[name] >= update.threshold:
                opened.setdefault(name, f"{failures[name]} batches in a row failed: {update.reasons.get(name, '')}")
        return Breakers(update.rollout, MappingProxyType(failures), MappingProxyType(opened))

    def is_open(self, rollout: int, name: str) -> bool:
        """Whether a candidate of a rollout is asked no more."""
        return rollout == self.rollout and name in self.open
