"""What one transaction adds to each window, per arm: small, additive."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from streamsplit.core.mirroring import MirrorCounts
from streamsplit.core.ranks import ranks
from streamsplit.core.records import Outcome, Predictions, Routing
from streamsplit.core.windows import by_label, windows_of

COUNT_BYTES = 1000
"""More than one count takes on the wire, with a name of 100 bytes and all outcomes."""


@dataclass(frozen=True, slots=True)
class PartitionProgress:
    """What a transaction consumed of a partition.

    Attributes:
        partition: Of the request topic.
        start: First offset consumed; equal to `end` when none was.
        end: The next offset to consume.
        lag: Records behind the partition's end; -1 when not known.
        newest_request_time: Milliseconds since the epoch; None when not known.
    """

    partition: int
    start: int
    end: int
    lag: int = -1
    newest_request_time: int | None = None


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
    """

    start: int
    rule: int
    arm: str
    requests: int
    outcomes: Mapping[str, int]
    served_by_arm: int


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


def in_parts(summary: Summary, most: int) -> tuple[Summary, ...]:
    """Part a summary that has many counts: requests whose times lie far apart have a window each.

    Args:
        summary: The whole.
        most: Most counts in a part, those of windows and of the mirror together; positive.

    Returns:
        Summaries that add up to the whole, numbered from its `sequence`; all but the counts is in the first.
    """
    windows, mirrored = len(summary.windows), len(summary.mirrored)
    if windows + mirrored <= most:
        return (summary,)
    bare = replace(summary, partitions=(), undecodable=0, lost=())
    return tuple(
        replace(
            bare if start else summary,
            sequence=summary.sequence + index,
            windows=summary.windows[start : start + most],
            mirrored=summary.mirrored[max(0, start - windows) : max(0, start + most - windows)],
        )
        for index, start in enumerate(range(0, windows + mirrored, most))
    )


def count_windows(
    window_ms: int, times: NDArray[np.int64], routing: Routing, predictions: Predictions, arm_names: tuple[str, ...]
) -> tuple[WindowCounts, ...]:
    """Count the requests of a batch by window, rule and assigned arm.

    Args:
        window_ms: Length of a window in milliseconds; positive.
        times: int64 (m,), request times in milliseconds since the epoch; any int64.
        routing: The assigned arms.
        predictions: How the requests ended.
        arm_names: Names of the arms, control first.

    Returns:
        The counts, by window (`windows_of`), rule and arm; none for an empty batch.
    """
    if not len(times):
        return ()
    windows, window = ranks(windows_of(window_ms, times))
    rules, arms = int(routing.rules.max()) + 2, len(arm_names)
    cells = (window * rules + (routing.rules + 1)) * arms + routing.arms
    groups, group = ranks(cells)
    count, kinds = len(groups), len(Outcome)
    outcomes = np.bincount(group * kinds + predictions.outcomes, minlength=count * kinds).reshape(count, kinds)
    own = np.bincount(group[predictions.served_by == routing.arms], minlength=count)
    keys = np.stack([windows[groups // (rules * arms)], groups // arms % rules - 1, groups % arms]).T.tolist()
    return tuple(
        WindowCounts(
            start=number * window_ms,
            rule=rule,
            arm=arm_names[arm],
            requests=sum(counts),
            outcomes=by_label(counts),
            served_by_arm=served,
        )
        for (number, rule, arm), counts, served in zip(keys, outcomes.tolist(), own.tolist(), strict=True)
    )
