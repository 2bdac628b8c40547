"""First requests of sticky units in a recording, worked out exactly: by units, where workers have bitmaps.

The weights are not recorded, and bounds of them are: candidates own at least the buckets up to the greatest that one of
them was given, and at most those below the least of control's. Revisions whose bounds agree are one stay, as nobody who
was recorded has moved between them; only who was surely on control at earlier stays had met no candidate. The recording
begins with the rollout, or units that had met one before count as new ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamsplit.core.rollout import WHOLE
from streamsplit.core.routing import NO_BUCKET
from streamsplit.core.windows import windows_of


@dataclass(frozen=True, slots=True)
class UnitColumns:
    """Recorded requests of one rollout, while candidates had some; n of them, of all arms, in any order.

    Attributes:
        units: Who is split; None for nobody.
        times: int64 (n,), milliseconds since the epoch.
        revisions: int64 (n,), what each was served under.
        rules: int64 (n,), what it was routed by.
        buckets: int64 (n,); `NO_BUCKET` without a unit.
        candidate: bool (n,), whether it was assigned to any candidate.
    """

    units: Sequence[bytes | None]
    times: NDArray[np.int64]
    revisions: NDArray[np.int64]
    rules: NDArray[np.int64]
    buckets: NDArray[np.int64]
    candidate: NDArray[np.bool_]


def first_requests(columns: UnitColumns, window_ms: int) -> NDArray[np.bool_]:
    """Which requests are evidence: bool (n,).

    They are the first ones in their stay of units that had met no candidate at an earlier one. The first window of each
    revision, which the judge leaves out, is left out here as workers do, or most units would be lost in it.

    Args:
        columns: The requests.
        window_ms: Length of a window in milliseconds.
    """
    stays, exposed = _stays(columns)
    windows, (revisions, place) = (
        windows_of(window_ms, columns.times),
        np.unique(columns.revisions, return_inverse=True),
    )
    warming = np.full(len(revisions), np.iinfo(np.int64).max)
    np.minimum.at(warming, place, windows)
    open_to = ~exposed & (columns.buckets != NO_BUCKET) & (windows > warming[place])
    firsts, seen = np.zeros(len(windows), np.bool_), set[tuple[int, bytes | None]]()
    for row in np.lexsort((columns.times, columns.revisions)).tolist():
        key = (int(stays[row]), columns.units[row])
        if open_to[row] and key not in seen:
            seen.add(key)
            firsts[row] = True
    return firsts


def _stays(columns: UnitColumns) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The revision that began the stay of each request, and whether its unit had met a candidate before it."""
    stays, exposed = columns.revisions.copy(), np.zeros(len(columns.revisions), np.bool_)
    below: dict[int, int] = {}
    present: dict[int, tuple[int, int]] = {}
    stay = -1
    for revision in np.unique(columns.revisions).tolist():
        rows = np.flatnonzero(columns.revisions == revision)
        found = {
            rule: _bounds(columns, rows[columns.rules[rows] == rule]) for rule in set(columns.rules[rows].tolist())
        }
        both = present | {rule: _agreed(present.get(rule, bounds), bounds) for rule, bounds in found.items()}
        if stay < 0 or any(end > control for end, control in both.values()):
            below |= {rule: max(*bounds, below.get(rule, 0)) for rule, bounds in present.items()}
            stay, both = revision, found
        present = both
        stays[rows] = stay
        exposed[rows] = columns.buckets[rows] < np.array([below.get(rule, 0) for rule in columns.rules[rows].tolist()])
    return stays, exposed


def _bounds(columns: UnitColumns, rows: NDArray[np.int64]) -> tuple[int, int]:
    """Behind the greatest bucket of a candidate, and the least of control."""
    known = rows[columns.buckets[rows] != NO_BUCKET]
    mine = columns.candidate[known]
    candidates, control = columns.buckets[known[mine]], columns.buckets[known[~mine]]
    return int(candidates.max(initial=-1)) + 1, int(control.min(initial=WHOLE))


def _agreed(one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
    return max(one[0], other[0]), min(one[1], other[1])
