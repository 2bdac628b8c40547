"""What is counted in one window while it is open.

All of it merges by addition, whatever the order, and takes bounded room: of failing units and of probes a window keeps
those with the least hashes, a choice that knows nothing of how they fared.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass
from operator import itemgetter
from typing import Any, Protocol, Self, TypeVar

import xxhash

from streamsplit.core.arm_sums import ArmSums
from streamsplit.core.doses import ArmCounts, ClosedWindow, Dose, Failing, PairCounts, Pairs, Probes, Runs, pairs_of
from streamsplit.core.mirroring import MirrorCounts, ScorePairs
from streamsplit.core.summary import FailingUnits, FirstCounts, Probe, RunCounts, Summary, WindowCounts

MOST_UNITS = 500
"""Most failing units that a window names of a rule, revision and arm; the errors of further ones are unnamed."""

MOST_PROBES = 200
"""Most probes that a window keeps of a revision and candidate."""


Entry = WindowCounts | FirstCounts | MirrorCounts | RunCounts | FailingUnits | Probe
"""What a summary says of one window."""


@dataclass(slots=True)
class RunSums:
    """Of one revision and candidate, added up in place; see `Runs`."""

    batches: int = 0
    control_failed: int = 0
    candidate_failed: int = 0

    def add(self, batches: int, control_failed: int, candidate_failed: int) -> None:
        """Take in those of a summary, or of another window."""
        self.batches += batches
        self.control_failed += control_failed
        self.candidate_failed += candidate_failed


@dataclass(frozen=True, slots=True)
class UnitErrors:
    """Errors by unit.

    Attributes:
        errors: Hash → errors, of the `MOST_UNITS` least hashes; one that is here now was never left out.
        unnamed: All other errors.
    """

    errors: Mapping[int, int]
    unnamed: int

    def __add__(self, other: "UnitErrors") -> "UnitErrors":
        errors = dict(self.errors)
        for unit, count in other.errors.items():
            errors[unit] = errors.get(unit, 0) + count
        unnamed = self.unnamed + other.unnamed
        if len(errors) > MOST_UNITS:
            for unit in sorted(errors)[MOST_UNITS:]:
                unnamed += errors.pop(unit)
        return UnitErrors(errors, unnamed)


@dataclass(frozen=True, slots=True)
class Sample:
    """Probes drawn by hash.

    Attributes:
        drawn: The `MOST_PROBES` with the least hashes of origin and contents, ascending by them.
        left_out: How many are not among them.
    """

    drawn: tuple[tuple[int, Probe], ...]
    left_out: int

    def __add__(self, other: "Sample") -> "Sample":
        drawn = sorted((*self.drawn, *other.drawn), key=itemgetter(0))
        left_out = self.left_out + other.left_out + max(0, len(drawn) - MOST_PROBES)
        return Sample(tuple(drawn[:MOST_PROBES]), left_out)


class _Additive(Protocol):
    def __add__(self, other: Self, /) -> Self: ...


_Key = TypeVar("_Key")
_Counts = TypeVar("_Counts", bound=_Additive)


class OpenWindow:
    """One window.

    Args:
        start: Milliseconds since the epoch.
        opened: Log time at which it was first counted in.

    Attributes:
        late_requests: Requests that belong to windows before it.
        arms: Rule, revision and arm → counts.
        pairs: Rule, revision and candidate → counts.
        runs: Revision and candidate → sums.
        units: Rule, revision and arm → errors by unit.
        samples: Revision and candidate → probes.
        firsts: Rule, revision and arm → counts of first requests.
    """

    def __init__(self, start: int, opened: int) -> None:
        self.start = start
        self.opened = opened
        self.late_requests = 0
        self.arms: dict[tuple[int, int, str], ArmSums] = {}
        self.pairs: dict[tuple[int, int, str], PairCounts] = {}
        self.runs: dict[tuple[int, str], RunSums] = {}
        self.units: dict[tuple[int, int, str], UnitErrors] = {}
        self.samples: dict[tuple[int, str], Sample] = {}
        self.firsts: dict[tuple[int, int, str], ArmSums] = {}

    def add(self, summary: Summary, each: Entry) -> None:
        """Count one entry of a summary, whatever window it says."""
        revision = summary.revision
        if isinstance(each, WindowCounts):
            self.arms.setdefault((each.rule, revision, each.arm), ArmSums()).count(each)
        elif isinstance(each, FirstCounts):
            self.firsts.setdefault((each.counts.rule, revision, each.counts.arm), ArmSums()).count(each.counts)
        elif isinstance(each, MirrorCounts):
            _merge(self.pairs, (each.rule, revision, each.arm), pairs_of(each))
        elif isinstance(each, RunCounts):
            sums = self.runs.setdefault((revision, each.arm), RunSums())
            sums.add(each.batches, each.control_failed, each.candidate_failed)
        elif isinstance(each, FailingUnits):
            _merge(self.units, (each.rule, revision, each.arm), _named(each))
        else:
            origin = repr((summary.slot, summary.sequence, each)).encode()
            _merge(self.samples, (revision, each.arm), Sample(((xxhash.xxh64_intdigest(origin), each),), 0))

    def absorb(self, older: "OpenWindow") -> int:
        """Count all of an older window here, as late; how many of its requests were not late before."""
        requests = sum(counts.assigned for counts in older.arms.values())
        self.opened = min(self.opened, older.opened)
        self.late_requests += requests
        for mine, theirs in ((self.arms, older.arms), (self.firsts, older.firsts)):
            for key, sums in theirs.items():
                mine.setdefault(key, ArmSums()).add(sums)
        _merge_all(self.pairs, older.pairs)
        for arm, runs in older.runs.items():
            self.runs.setdefault(arm, RunSums()).add(runs.batches, runs.control_failed, runs.candidate_failed)
        _merge_all(self.units, older.units)
        _merge_all(self.samples, older.samples)
        return requests - older.late_requests

    def revisions(self) -> frozenset[int]:
        """The revisions that it has anything of."""
        by_rule = (key[1] for part in (self.arms, self.pairs, self.units, self.firsts) for key in part)
        by_arm = (key[0] for part in (self.runs, self.samples) for key in part)
        return frozenset((*by_rule, *by_arm))

    def close(self, end: int, warming: tuple[int, ...]) -> ClosedWindow:
        """All that was counted, in an order that does not depend on that of the summaries.

        Args:
            end: First millisecond after it.
            warming: See `ClosedWindow`.
        """
        start = self.start
        return ClosedWindow(
            start=start,
            end=end,
            doses=tuple(_doses(start, self.arms)),
            pairs=tuple(Pairs(start, *key, counts) for key, counts in sorted(self.pairs.items(), key=itemgetter(0))),
            runs=tuple(
                Runs(start, *key, sums.batches, sums.control_failed, sums.candidate_failed)
                for key, sums in sorted(self.runs.items(), key=itemgetter(0))
            ),
            probes=tuple(
                Probes(start, *key, tuple(probe for _, probe in sample.drawn), sample.left_out)
                for key, sample in sorted(self.samples.items(), key=itemgetter(0))
            ),
            failing=tuple(
                Failing(start, *key, tuple(sorted(units.errors)), _repeats(units), units.unnamed)
                for key, units in sorted(self.units.items(), key=itemgetter(0))
            ),
            late_requests=self.late_requests,
            warming=warming,
            firsts=tuple(_doses(start, self.firsts)),
        )

    def to_plain(self) -> dict[str, Any]:
        """All of it as JSON can hold it, exactly."""
        return {
            "start": self.start,
            "opened": self.opened,
            "late_requests": self.late_requests,
            "arms": _plain_arms(self.arms),
            "firsts": _plain_arms(self.firsts),
            "pairs": [[*key, _plain_pairs(counts)] for key, counts in sorted(self.pairs.items(), key=itemgetter(0))],
            "runs": [[*key, astuple(sums)] for key, sums in sorted(self.runs.items(), key=itemgetter(0))],
            "units": [
                [*key, sorted(units.errors.items()), units.unnamed]
                for key, units in sorted(self.units.items(), key=itemgetter(0))
            ],
            "samples": [
                [*key, [[number, astuple(probe)] for number, probe in sample.drawn], sample.left_out]
                for key, sample in sorted(self.samples.items(), key=itemgetter(0))
            ],
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "OpenWindow":
        """What `to_plain` gave."""
        window = cls(plain["start"], plain["opened"])
        window.late_requests = plain["late_requests"]
        window.arms, window.firsts = _arms(plain["arms"]), _arms(plain["firsts"])
        window.pairs = {(rule, revision, arm): _pairs(counts) for rule, revision, arm, counts in plain["pairs"]}
        window.runs = {(revision, arm): RunSums(*sums) for revision, arm, sums in plain["runs"]}
        window.units = {
            (rule, revision, arm): UnitErrors(dict(errors), unnamed)
            for rule, revision, arm, errors, unnamed in plain["units"]
        }
        window.samples = {
            (revision, arm): Sample(tuple((number, Probe(*probe)) for number, probe in drawn), left_out)
            for revision, arm, drawn, left_out in plain["samples"]
        }
        return window


def _merge(into: dict[_Key, _Counts], key: _Key, counts: _Counts) -> None:
    into[key] = into[key] + counts if key in into else counts


def _merge_all(into: dict[_Key, _Counts], older: Mapping[_Key, _Counts]) -> None:
    for key, counts in older.items():
        _merge(into, key, counts)


def _named(failing: FailingUnits) -> UnitErrors:
    """The errors of one summary; a worker names fewer than a window keeps, and whatever else wrote it is cut down."""
    named = UnitErrors(Counter(failing.units), failing.unnamed)
    return named if len(named.errors) <= MOST_UNITS else UnitErrors({}, 0) + named


def _repeats(units: UnitErrors) -> int:
    return sum(units.errors.values()) - len(units.errors)


def _doses(start: int, counted: Mapping[tuple[int, int, str], ArmSums]) -> list[Dose]:
    doses: dict[tuple[int, int], dict[str, ArmCounts]] = {}
    for (rule, revision, arm), sums in sorted(counted.items(), key=itemgetter(0)):
        doses.setdefault((rule, revision), {})[arm] = sums.closed()
    return [Dose(start, rule, revision, arms) for (rule, revision), arms in doses.items()]


def _plain_arms(counted: Mapping[tuple[int, int, str], ArmSums]) -> list[list[Any]]:
    return [[*key, _plain_arm(sums)] for key, sums in sorted(counted.items(), key=itemgetter(0))]


def _arms(plain: Iterable[tuple[int, int, str, Mapping[str, Any]]]) -> dict[tuple[int, int, str], ArmSums]:
    return {
        (rule, revision, arm): ArmSums(**{**sums, "scores": dict(sums["scores"])})
        for rule, revision, arm, sums in plain
    }


def _plain_arm(sums: ArmSums) -> dict[str, Any]:
    return {**{name: getattr(sums, name) for name in ArmSums.__slots__}, "scores": sorted(sums.scores.items())}


_POINTS = ("drop", "rise", "drop_unscored", "rise_unscored")


def _plain_pairs(counts: PairCounts) -> dict[str, Any]:
    scores = {name: getattr(counts.scores, name) for name in ScorePairs.__slots__}
    points = {name: sorted(scores[name].items()) for name in _POINTS}
    return {**{name: getattr(counts, name) for name in PairCounts.__slots__}, "scores": {**scores, **points}}


def _pairs(plain: Mapping[str, Any]) -> PairCounts:
    points = {name: dict(plain["scores"][name]) for name in _POINTS}
    return PairCounts(**{**plain, "scores": ScorePairs(**{**plain["scores"], **points})})
