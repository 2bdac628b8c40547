"""The judge's decisions beside those of a replay: a judge that reads the same topics decides the same, bit for bit."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from types import MappingProxyType
from typing import Self

from streamsplit.core.decision import Decision
from streamsplit.core.errors import DataError
from streamsplit.core.judge import DECIDES, Judge
from streamsplit.core.judging.baseline import Level
from streamsplit.core.judging.interference import level_told
from streamsplit.core.rollout import State
from streamsplit.kafka.state_history import StateHistory
from streamsplit.wire.decisions import DecisionEncoder
from streamsplit.wire.summaries import SummaryReader

SHOWN = 5
"""How many decisions with a fault are named."""


@dataclass(frozen=True, slots=True)
class ReplayedDecisions:
    """What a replay of the judge comes to, against the topic `decisions`.

    Attributes:
        decided: Decisions of the topic that were compared.
        missing: Decisions of the replay that the topic does not have.
        different: Decisions that say something else than the replay's of the same id.
        extra: Records of the topic that are no decision of the replay's, or repeat one.
        unjudged: Decisions that were not compared: not all summaries of their rollout are there, or it was judged only
            from its middle on, or by what another version of the judge had left.
        versions: Version of the judge → decisions by it, of versions other than this program's: not compared.
        again: Decisions that repeat others, byte for byte and from the first on, as those of a judge do whose offset
            was reset; no fault, and not among `decided`.
        resets: How often it began again.
        first: Ids of the first few with a fault.
    """

    decided: int = 0
    missing: int = 0
    different: int = 0
    extra: int = 0
    unjudged: int = 0
    versions: Mapping[int, int] = field(default_factory=lambda: MappingProxyType({}))
    again: int = 0
    resets: int = 0
    first: tuple[str, ...] = ()

    @property
    def sound(self) -> bool:
        """Whether the topic holds what a replay decides, and nothing else."""
        return not self.missing + self.different + self.extra

    def to_json(self) -> dict[str, object]:
        """As plain values, for scripts."""
        return {
            "decided": self.decided,
            "missing": self.missing,
            "different": self.different,
            "extra": self.extra,
            "unjudged": self.unjudged,
            "version": DECIDES,
            "versions": {str(version): count for version, count in sorted(self.versions.items())},
            "again": self.again,
            "resets": self.resets,
            "first": list(self.first),
        }


@dataclass(slots=True)
class Replay:
    """The judge, fed with recorded summaries as the workers' judge is (`service/aggregator.py`).

    Attributes:
        states: The control log, folded.
        position: Next offset of the control log: nothing is known of revisions from it on.
        reader: Reads summaries.
        since: Rollouts of summaries of revisions below it are not judged.
        levels: As `Judge` takes them.
    """

    states: StateHistory
    position: int
    reader: SummaryReader
    since: int = -1
    levels: Mapping[int, Level] = field(default_factory=lambda: MappingProxyType({}))
    _judge: Judge = field(init=False)
    _known: tuple[int, State] = (-2, State())

    def __post_init__(self) -> None:
        self._judge = Judge(self.levels)

    def take(self, offset: int, value: bytes | None) -> tuple[Decision, ...]:
        """What follows from one record of `summaries`; nothing from one that cannot be judged."""
        try:
            summary = self.reader.read(value or b"")
        except DataError:
            return ()
        revision = max(self._judge.revision, summary.revision)
        if revision >= self.position:
            return ()
        if self._known[0] != revision:
            self._known = (revision, self.states.at(revision))
        if summary.revision < self.since:
            self._judge.overhear(summary, self._known[1])
            return ()
        return self._judge.take(summary, offset, self._known[1], revision + 1)


def first_level(recorded: Iterable[Decision | None], since: int) -> dict[int, Level]:
    """Revision of its apply → control's level before the first rollout that is compared, as its first decision has it.

    It was measured before the rollout, so perhaps by summaries that retention has removed; those of later rollouts were
    not. So what is compared with it is that all decisions of the rollout go by the same.

    Args:
        recorded: As in `compare`.
        since: As in `compare`.
    """
    compared = [each for each in recorded if each is not None and each.apply_revision >= since]
    first = min(compared, key=lambda each: each.apply_revision, default=None)
    level = level_told(first.readings) if first is not None else None
    return {first.apply_revision: level} if first is not None and level is not None else {}


def compare(recorded: Iterable[Decision | None], replayed: Iterable[Decision], *, since: int = -1) -> ReplayedDecisions:
    """Set what was written against what a replay decides.

    Args:
        recorded: The topic's records in their order; None: one that is no decision.
        replayed: What the replay decides.
        since: Rollouts that were applied before this revision are not compared.
    """
    encoder, found = DecisionEncoder(b""), tuple(recorded)
    scope = _Scope.of(found, since)
    expected = {each.decision_id: _fingerprint(encoder, each) for each in replayed if scope.holds(each)}
    places = {name: place for place, name in enumerate(expected)}
    compared = [each for each in found if each is None or scope.holds(each)]
    faults: dict[int, str] = {}
    alike: list[int] = []
    repeated: list[int] = []
    met: set[str] = set()
    for at, each in enumerate(compared):
        if each is None or each.decision_id not in expected:
            faults[at] = "extra"
            continue
        known = each.decision_id in met
        met.add(each.decision_id)
        if expected[each.decision_id] != _fingerprint(encoder, each):
            faults[at] = "extra" if known else "different"
            continue
        alike.append(places[each.decision_id])
        repeated += [at] if known else []
    resets = _resets(alike, len(expected))
    if not resets:
        faults.update(dict.fromkeys(repeated, "extra"))
    names = [each.decision_id if (each := compared[at]) is not None else "(no decision)" for at in sorted(faults)]
    missing = [name for name in expected if name not in met]
    again = len(repeated) if resets else 0
    counts = Counter(faults.values())
    return ReplayedDecisions(
        decided=len(compared) - again,
        missing=len(missing),
        different=counts["different"],
        extra=counts["extra"],
        unjudged=sum(each is not None and each.judge == DECIDES and not scope.holds(each) for each in found),
        versions=Counter(each.judge for each in found if each is not None and each.judge != DECIDES),
        again=again,
        resets=resets,
        first=tuple((*names, *missing)[:SHOWN]),
    )


@dataclass(frozen=True, slots=True)
class _Scope:
    """What can be compared.

    Attributes:
        since: Least revision of an apply.
        until: Apply → offset of summaries from which on another version of the judge has decided: what this version
            would make of them depends on what that one remembered.
    """

    since: int
    until: Mapping[int, int]

    @classmethod
    def of(cls, recorded: Iterable[Decision | None], since: int) -> Self:
        until: dict[int, int] = {}
        for each in recorded:
            if each is not None and each.judge != DECIDES:
                until[each.apply_revision] = min(each.summaries_to, until.get(each.apply_revision, each.summaries_to))
        return cls(since, until)

    def holds(self, decision: Decision) -> bool:
        if decision.apply_revision < self.since:
            return False
        until = self.until.get(decision.apply_revision)
        return until is None or decision.summaries_to < until


def _resets(places: Sequence[int], whole: int) -> int:
    """How often a judge began again, by the places in the replay of the decisions that it wrote, in their order.

    One whose offset was reset decides all again, from the first decision on and in the same order, until it is where it
    stood. 0 where the order is another: then what stands there twice was not written by a judge that began again.
    """
    starts = [at for at, place in enumerate(places) if place == 0]
    passes = [places[start:end] for start, end in pairwise((*starts, len(places)))]
    in_order = all(list(each) == list(range(len(each))) for each in passes)
    return len(passes) - 1 if in_order and starts[:1] == [0] and len(passes[-1]) == whole else 0


def _fingerprint(encoder: DecisionEncoder, decision: Decision) -> bytes:
    return hashlib.sha256(encoder.encode(decision)).digest()
