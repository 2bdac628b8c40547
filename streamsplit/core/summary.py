"""What one transaction adds to each window, per arm: small, additive."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from streamsplit.core.mirroring import MirrorCounts

SCORE_BINS = 1000
"""Bins of equal width over a score's range."""

MOST_UNITS = 256
"""Most units that a summary names."""

COUNT_BYTES = 1000
"""More than one count takes on the wire, with a name of 100 bytes and all outcomes; without its bins and units."""

BIN_BYTES = 12
"""No less than one bin of a score takes, or one point of a pair of them."""

PROGRESS_BYTES = 90
"""No less than the progress of a partition takes, with its digest."""

UNIT_BYTES = 10
"""No less than the hash of a failing unit takes."""


@dataclass(frozen=True, slots=True)
class PartitionProgress:
    """What a transaction consumed of a partition.

    Attributes:
        partition: Of the request topic.
        start: First offset consumed; equal to `end` when none was.
        end: The next offset to consume.
        lag: Records behind the partition's end; -1 when not known.
        newest_request_time: Milliseconds since the epoch; None when not known.
        digest: Of its audit records and dead letters (`audit_digest.py`), 32 bytes; None where there are none.
    """

    partition: int
    start: int
    end: int
    lag: int = -1
    newest_request_time: int | None = None
    digest: bytes | None = None


@dataclass(frozen=True, slots=True)
class WindowCounts:
    """Requests of one window that one rule assigned to one arm.

    Attributes:
        start: Milliseconds since the epoch, a multiple of the window's length.
        rule: Index of the rule; -1 is the default route.
        arm: Name of the assigned arm.
        requests: How many.
        outcomes: Outcome's label → requests; only those that occurred; they sum to `requests`.
        served_by_arm: Requests that the assigned arm answered itself.
        fallen: Outcome's label → requests, of those whose arm did not answer its whole share of the batch (crash,
            time-out, open breaker): one failure of a run, not so many errors.
        slow: Requests whose run took longer than the latency guard's limit; 0 without one.
        scores: Bin → requests, of the score guards' number; only bins that occurred. 0 to `SCORE_BINS` - 1.
        clipped: Requests whose score lay outside its range, and counts in the first or last bin.
        unscored: Requests that the assigned arm answered without a number for a score (NaN), or did not answer, while
            there is a score guard.
    """

    start: int
    rule: int
    arm: str
    requests: int
    outcomes: Mapping[str, int]
    served_by_arm: int
    fallen: Mapping[str, int] = field(default_factory=dict)
    slow: int = 0
    scores: Mapping[int, int] = field(default_factory=dict)
    clipped: int = 0
    unscored: int = 0


@dataclass(frozen=True, slots=True)
class FirstCounts:
    """Counts of first requests, told from those of all.

    Attributes:
        counts: They.
    """

    counts: WindowCounts

    @property
    def start(self) -> int:
        """Start of the window."""
        return self.counts.start


@dataclass(frozen=True, slots=True)
class RunCounts:
    """Batches in which control and a candidate both had requests, of its own or mirrored.

    Attributes:
        start: Of the window of the batch's newest request, milliseconds since the epoch.
        arm: The candidate.
        batches: How many; one run of each arm each.
        control_failed: Those of them in which control's process fell.
        candidate_failed: Those in which the candidate's whole share fell. An open breaker counts in the batch that
            opened it, and batches while it is open are none.
    """

    start: int
    arm: str
    batches: int
    control_failed: int
    candidate_failed: int


@dataclass(frozen=True, slots=True)
class FailingUnits:
    """Who met the errors of an arm.

    Attributes:
        start: Of the window, milliseconds since the epoch.
        rule: Index of the rule.
        arm: Name of the assigned arm.
        units: Hashes of the units (signed 64 bits), one for each error, in the order of the requests; at most
            `MOST_UNITS` in a summary.
        unnamed: Errors beyond them, and those without a unit.
    """

    start: int
    rule: int
    arm: str
    units: tuple[int, ...]
    unnamed: int


@dataclass(frozen=True, slots=True)
class Probe:
    """The same rows through control and a candidate, off the answers' path, or a mirrored run.

    Attributes:
        start: Of the window, milliseconds since the epoch.
        arm: The candidate.
        rows: How many rows a run had.
        control_micros: Time of control's runs, in microseconds.
        candidate_micros: Of the candidate's.
        control_over: Whether control took longer than it was given.
        candidate_over: Whether the candidate did.
    """

    start: int
    arm: str
    rows: int
    control_micros: int
    candidate_micros: int
    control_over: bool = False
    candidate_over: bool = False


@dataclass(frozen=True, slots=True)
class UnitMarks:
    """Units of one partition that were met for the first time in a stay, where a unit has many requests.

    Attributes:
        partition: Of the request topic.
        stay: Revision that began the stay.
        counted: Whether their first requests are counted; not while a new owner of the partition does not know whom
            those before it have met.
        met: Places of the partition's bitmap that are set now (`seen_units.py`).
        places: Those that are newly set, as `seen_units.packed` gives them.
    """

    partition: int
    stay: int
    counted: bool
    met: int
    places: bytes


@dataclass(frozen=True, slots=True)
class LostRange:
    """Offsets `start` (included) to `end` (not included) that retention removed before they were read."""

    partition: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Summary:
    """One summary.

    Attributes:
        slot: Who wrote it.
        sequence: Counts the summaries of the process; 0 is its first.
        rollout: Name of the rollout.
        revision: What the batch was served under.
        written_time: The worker's own time, milliseconds since the epoch.
        partitions: What was consumed.
        windows: What was counted.
        undecodable: Dead letters that failed before routing.
        lost: Ranges found lost.
        mirrored: What was counted of the mirror.
        runs: What became of whole runs.
        failing: Who met errors.
        probes: What was timed.
        previous: The link of the slot's summary before it (`audit_digest.py`), 32 bytes; None where a chain begins.
        firsts: Where a unit has many requests, those that are evidence: the first ones in this stay of units that had
            met no candidate before it. Scores are counted here then, and not in `windows`.
        units: Whom they are of.
    """

    slot: str
    sequence: int
    rollout: str
    revision: int
    written_time: int
    partitions: tuple[PartitionProgress, ...] = ()
    windows: tuple[WindowCounts, ...] = ()
    undecodable: int = 0
    lost: tuple[LostRange, ...] = ()
    mirrored: tuple[MirrorCounts, ...] = ()
    runs: tuple[RunCounts, ...] = ()
    failing: tuple[FailingUnits, ...] = ()
    probes: tuple[Probe, ...] = ()
    previous: bytes | None = None
    firsts: tuple[WindowCounts, ...] = ()
    units: tuple[UnitMarks, ...] = ()


def in_parts(summary: Summary, most: int) -> tuple[Summary, ...]:
    """Part a summary that has many counts: requests whose times lie far apart have a window each.

    Args:
        summary: The whole.
        most: Most bytes of counts in a part, as `_bytes_of` reckons them; what alone takes more has a part alone.

    Returns:
        Summaries that add up to the whole, numbered from its `sequence`. Where the worker stands comes last, so
        that no window is closed by a summary whose counts are still to come; all else but the counts is in the first,
        and of the counts runs, probes, failing units and first requests as far as they fit. The link is the whole's in
        each: whoever writes them chains them.
    """
    items: list[_Item] = [
        *summary.runs,
        *summary.probes,
        *summary.failing,
        *map(FirstCounts, summary.firsts),
        *summary.units,
        *summary.windows,
        *summary.mirrored,
        *summary.partitions,
    ]
    bins = sum(len(each.scores) for each in (*summary.windows, *summary.firsts))
    bins += sum(len(each.scores) for each in summary.mirrored)
    standing = len(summary.partitions)
    counts = COUNT_BYTES * (len(items) - standing) + PROGRESS_BYTES * standing
    met = sum(len(each.places) for each in summary.units)
    if counts + BIN_BYTES * bins + UNIT_BYTES * MOST_UNITS + met <= most:
        return (summary,)
    parts: list[list[_Item]] = [[]]
    room = most
    for each in items:
        size = _bytes_of(each)
        if size > room and parts[-1]:
            parts.append([])
            room = most
        parts[-1].append(each)
        room -= size
    bare = replace(summary, undecodable=0, lost=())
    return tuple(
        replace(
            bare if index else summary,
            sequence=summary.sequence + index,
            partitions=_only(PartitionProgress, part),
            runs=_only(RunCounts, part),
            probes=_only(Probe, part),
            failing=_only(FailingUnits, part),
            windows=_only(WindowCounts, part),
            mirrored=_only(MirrorCounts, part),
            firsts=tuple(each.counts for each in _only(FirstCounts, part)),
            units=_only(UnitMarks, part),
        )
        for index, part in enumerate(parts)
    )


_Item = WindowCounts | MirrorCounts | RunCounts | FailingUnits | Probe | PartitionProgress | FirstCounts | UnitMarks
_Kind = TypeVar("_Kind")


def _only(kind: type[_Kind], items: list[_Item]) -> tuple[_Kind, ...]:
    return tuple(each for each in items if isinstance(each, kind))


def _bytes_of(each: _Item) -> int:
    """No less than it takes on the wire."""
    if isinstance(each, PartitionProgress):
        return PROGRESS_BYTES
    if isinstance(each, WindowCounts | MirrorCounts):
        return COUNT_BYTES + BIN_BYTES * len(each.scores)
    if isinstance(each, FirstCounts):
        return _bytes_of(each.counts)
    if isinstance(each, UnitMarks):
        return PROGRESS_BYTES + len(each.places)
    if isinstance(each, FailingUnits):
        return COUNT_BYTES + UNIT_BYTES * len(each.units)
    return COUNT_BYTES
