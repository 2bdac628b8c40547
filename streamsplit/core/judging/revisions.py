"""What workers have served under: the shares of each revision, and whose requests are evidence under it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from streamsplit.core.doses import Dose
from streamsplit.core.rollout import Rollout, State
from streamsplit.core.stays import exposed_on, movers, remaining

MOST_REVISIONS = 256
"""Most that are remembered, the latest."""


@dataclass(frozen=True, slots=True)
class _Revision:
    """Of the default route: basis points of each candidate, and what `State.exposed` was."""

    weights: tuple[int, ...]
    exposed: int | None


class Revisions:
    """The revisions that summaries have named."""

    def __init__(self) -> None:
        self._known: dict[int, _Revision] = {}
        self._shares: dict[tuple[int, int, str], float | None] = {}  # what was asked for since a revision was noted

    def note(self, state: State) -> None:
        """Workers serve under a state from now on."""
        self._shares.clear()
        self._known[state.revision] = _Revision(state.weights, state.exposed)
        for old in sorted(self._known)[:-MOST_REVISIONS]:
            del self._known[old]

    def __contains__(self, revision: int) -> bool:
        """Whether it is known."""
        return revision in self._known

    def known(self) -> frozenset[int]:
        """All of them."""
        return frozenset(self._known)

    def weights(self, dose: Dose, rollout: Rollout) -> tuple[int, ...]:
        """Basis points of each candidate among the requests of a dose; none where its revision is not known."""
        if dose.rule >= 0:
            return rollout.rules[dose.rule].weights
        known = self._known.get(dose.revision)
        return () if known is None else known.weights

    def share(self, dose: Dose, rollout: Rollout, arm: str) -> float | None:
        """The share of a candidate that is to be expected among what is compared of it and control in a dose.

        That is requests or, where a unit has many of them, units that had met no candidate before this stay: those that
        moved to the candidate, beside those that are still on control.

        Returns:
            Above 0 and below 1; None where one of the two gets nothing.
        """
        key = dose.rule, dose.revision, arm
        if key not in self._shares:
            self._shares[key] = self._share(dose, rollout, arm)
        return self._shares[key]

    def _share(self, dose: Dose, rollout: Rollout, arm: str) -> float | None:
        weights, known = self.weights(dose, rollout), self._known.get(dose.revision)
        exposed = 0
        if rollout.unit.sticky:
            if known is None:
                return None
            exposed = exposed_on(known.exposed, weights if dose.rule >= 0 else None)
        moved = _of(arm, movers(weights, exposed), rollout)
        still = remaining(weights, exposed)
        return moved / (moved + still) if moved and still > 0 else None

    def to_plain(self) -> list[Any]:
        """As JSON can hold it, exactly."""
        return [[revision, each.weights, each.exposed] for revision, each in sorted(self._known.items())]

    @classmethod
    def from_plain(cls, plain: Sequence[Any]) -> Self:
        """What `to_plain` gave."""
        revisions = cls()
        revisions._known = {int(revision): _Revision(tuple(weights), exposed) for revision, weights, exposed in plain}
        return revisions


def _of(arm: str, shares: Sequence[int], rollout: Rollout) -> int:
    """A candidate's, where there is one for each candidate; 0 where no rollout is under way."""
    names: Mapping[str, int] = dict(zip((each.name for each in rollout.arms[1:]), shares, strict=False))
    return names.get(arm, 0)
