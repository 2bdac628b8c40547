"""The judge's latest word on a rollout, for displays that are drawn again and again."""

import time
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from types import MappingProxyType

from streamsplit.core.decision import Decision
from streamsplit.core.errors import ServiceError
from streamsplit.core.rollout import Phase, State

_AGAIN_SECONDS = 2.0
"""Windows are longer, and looking means a client of its own."""

_NEWEST = 64
"""So many are looked through for the one that ended a rollout: windows that closed beside it lie behind it."""

_ENDS: Mapping[Phase, str] = MappingProxyType({Phase.PROMOTED: "promote", Phase.ROLLED_BACK: "abort"})
"""What a decision commands that ends a rollout so."""


class LatestDecision:
    """Looks at the end of the topic, at most every 2 s.

    Of a rollout that is over it shows the decision that ended it, where the judge did, though windows were closed and
    decided on until every worker knew; of one that is under way the latest.

    Args:
        newest_first: Reads the decisions from the end of the topic.
        clock: Monotonic seconds.
    """

    def __init__(
        self, newest_first: Callable[[], Iterator[Decision]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._newest_first = newest_first
        self._clock = clock
        self._looked: float | None = None
        self._newest: tuple[Decision, ...] = ()
        self.problem: ServiceError | None = None
        """What kept it from looking; None where nothing did."""

    def of(self, state: State) -> Decision | None:
        """The decision to show of the rollout of this state; None where there is none or it cannot be read."""
        if state.phase in {Phase.EMPTY, Phase.SERVING, Phase.PREPARING}:
            return None  # nothing to judge
        if self._looked is None or self._clock() >= self._looked + _AGAIN_SECONDS:
            self._looked = self._clock()
            self._look(1 if state.phase.active else _NEWEST)
        own = [each for each in self._newest if each.apply_revision == state.apply_revision]
        end = _ENDS.get(state.phase)
        return next((each for each in own if each.command == end), next(iter(own), None))

    def _look(self, count: int) -> None:
        try:
            self._newest, self.problem = tuple(islice(self._newest_first(), count)), None
        except ServiceError as error:
            self.problem = error
