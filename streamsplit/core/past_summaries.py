"""Summaries of requests of the past, such as workers write of live ones."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from streamsplit.core.counting import count_batch, window_ms
from streamsplit.core.mirror_counting import count_mirrored
from streamsplit.core.past_requests import PastRequests
from streamsplit.core.rollout import Rollout
from streamsplit.core.summary import PartitionProgress, Probe, RunCounts, Summary
from streamsplit.core.windows import windows_of

_SLOT = "past"
_MOST_ROWS = 1_000_000
"""In a summary; the judge believes none that has many times as many."""


class PastSummaries:
    """Summaries as one worker would have written them that read all partitions, each window and revision at once.

    Args:
        rollout: How it is judged.
        requests: At least one.
        probes: What was timed.

    Attributes:
        begin: Where the first window begins, milliseconds since the epoch.
    """

    def __init__(self, rollout: Rollout, requests: PastRequests, probes: Sequence[Probe]) -> None:
        self._judge = rollout.judge
        self._length = window_ms(rollout.judge)
        windows = windows_of(self._length, requests.times)
        order = np.lexsort((requests.revisions, windows))
        self._requests, self._windows = requests.ordered(order), windows[order]
        self._probes: dict[int, list[Probe]] = {}
        for each in probes:
            self._probes.setdefault(each.start // self._length, []).append(each)
        self.begin = (
            min(int(windows.min()), *self._probes) * self._length if probes else int(windows.min()) * self._length
        )
        self._empty = Summary(_SLOT, 0, rollout.name, int(requests.revisions.min()), 0)

    def earlier(self) -> Iterator[Summary]:
        """Something of each revision in a window before the first, so that none is taken for a warm-up."""
        before = self.begin - self._length
        nothing = RunCounts(before, self._requests.arm_names[1], 0, 0, 0)
        for revision in np.unique(self._requests.revisions).tolist():
            yield replace(self._written(before), revision=revision, runs=(nothing,))

    def summaries(self) -> Iterator[Summary]:
        """All that was counted, and a last one that closes all windows."""
        requests, revision, end = self._requests, self._empty.revision, self.begin
        for window in sorted({*self._windows.tolist(), *self._probes}):
            end = (window + 1) * self._length
            start, stop = np.searchsorted(self._windows, (window, window + 1)).tolist()
            cuts = (start + 1 + np.flatnonzero(np.diff(requests.revisions[start:stop]))).tolist()
            for first, last in pairwise(sorted({start, *cuts, *range(start, stop, _MOST_ROWS), stop})):
                part = requests.between(first, last)
                revision = int(part.revisions[0]) if len(part) else revision
                counted = self._counted(self._written(end - 1), part)
                yield replace(counted, revision=revision, probes=tuple(self._probes.pop(window, ())))
        yield replace(self._written(end + round(1000 * self._judge.grace_seconds)), revision=revision)

    def _written(self, time: int) -> Summary:
        """By a worker that has read all requests up to then."""
        return replace(self._empty, written_time=time, partitions=(PartitionProgress(0, 0, 1, 1, time),))

    def _counted(self, summary: Summary, part: PastRequests) -> Summary:
        columns = (part.times, part.routing, part.predictions, part.arm_names)
        firsts = None if part.firsts is None else np.flatnonzero(part.firsts)
        counts = count_batch(self._judge, *columns, scores=part.scores, firsts=firsts)
        mirrored = (
            count_mirrored(self._length, *columns, guard=self._judge.score, scores=part.scores) if len(part) else ()
        )
        return replace(summary, windows=counts.windows, failing=counts.failing, mirrored=mirrored, firsts=counts.firsts)
