"""Stretches of audit and dead letters against the digests that were committed with them."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from streamsplit.offline.digested import Digested, Stretch
from streamsplit.offline.recorded import RecordedAudits
from streamsplit.offline.report import SHOWN, Digests, Fault, Finding, Span


def findings(digested: Digested, spans: Iterable[Span]) -> list[Finding]:
    """What was changed, removed, inserted or reordered after it was committed.

    Args:
        digested: Stretches and chains.
        spans: The universe; stretches behind its end are not judged, as some of their records may be unread.
    """
    wrong = [(each.partition, each.start) for each in _inside(digested, spans) if _differs(each) and not each.cut]
    broken = [(0, offset) for offset in digested.broken]
    return [
        Finding(Fault.DIGEST_MISMATCH, len(wrong), tuple(wrong[:SHOWN])),
        Finding(Fault.CHAIN_BROKEN, len(broken), tuple(broken[:SHOWN])),
    ]


def counted(digested: Digested, spans: Iterable[Span], audits: RecordedAudits) -> Digests:
    """What became of each digest that is no fault.

    Args:
        digested: Stretches and chains.
        spans: The universe.
        audits: Those of the universe.
    """
    stretches = list(_inside(digested, spans))
    return Digests(
        verified=sum(not _differs(each) for each in stretches),
        removed=sum(_differs(each) and each.cut for each in stretches),
        without=_without(stretches, audits),
        restarted=digested.restarted,
        served_again=_served_again(stretches),
    )


def _inside(digested: Digested, spans: Iterable[Span]) -> Iterator[Stretch]:
    ends = {span.partition: span.end for span in spans}
    return (each for each in digested.stretches if each.end <= ends.get(each.partition, 0))


def _differs(stretch: Stretch) -> bool:
    return stretch.committed != stretch.found


def _without(stretches: Sequence[Stretch], audits: RecordedAudits) -> int:
    without = 0
    for partition in np.unique(audits.partitions).tolist():
        offsets = audits.offsets[audits.partitions == partition]
        of = [each for each in stretches if each.partition == partition]
        begun, ended = (np.searchsorted(np.sort(edges), offsets, side="right") for edges in _edges(of))
        without += int((begun == ended).sum())
    return without


def _edges(stretches: Sequence[Stretch]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([each.start for each in stretches], np.int64), np.array([each.end for each in stretches], np.int64)


def _served_again(stretches: Iterable[Stretch]) -> int:
    reached: dict[int, int] = {}
    again = 0
    for each in stretches:
        again += each.start < reached.get(each.partition, 0)
        reached[each.partition] = each.end
    return again
