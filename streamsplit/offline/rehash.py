"""Hashes audit and dead letters again, stretch by stretch, and follows the chains of summaries.

Records belong to the stretch that their request lies in. After an operator's reset of offsets a request lies in
several: its first record then belongs to the first of them in the order of the summaries, and so on; one too many
belongs to the last.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Iterable

from streamsplit.core.audit_digest import StretchDigest, link
from streamsplit.core.summary import Summary
from streamsplit.offline.digested import Digested, Stretch

_Committed = tuple[int, int, int, bytes]
"""Partition, first offset, the offset behind the last, digest."""


class Committed:
    """What summaries say, in the order of their log.

    Args:
        begins: Whether the log's beginning is kept, so that a slot's first summary must be the first of a chain.
    """

    def __init__(self, *, begins: bool) -> None:
        self._begins = begins
        self._links: dict[str, bytes] = {}
        self.stretches: list[_Committed] = []
        self.broken: list[int] = []
        self.restarted = 0

    def add(self, offset: int, value: bytes, summary: Summary | None) -> None:
        """The next one.

        Args:
            offset: Its place.
            value: Its bytes.
            summary: What they say; None where they are no summary.
        """
        if summary is None:
            self.broken.append(offset)
            return
        before = self._links.get(summary.slot)
        if summary.previous is None:
            self.restarted += before is not None
        elif summary.previous != before and (before is not None or self._begins):
            self.broken.append(offset)
        self._links[summary.slot] = link(value)
        for each in summary.partitions:
            if each.digest is not None:
                self.stretches.append((each.partition, each.start, each.end, each.digest))


class Rehash:
    """Takes the audit, then the dead letters, each in the order of its log.

    Args:
        committed: All of it.
    """

    def __init__(self, committed: Committed) -> None:
        self._committed = committed
        self._hashes = [StretchDigest() for _ in committed.stretches]
        self._covering = _covering(committed.stretches)
        self._met: Counter[tuple[int, int]] = Counter()
        self._first_audit: dict[int, int] = {}
        self._first_letter: dict[int, int] = {}

    def audit(self, partition: int, offset: int, value: bytes | None) -> None:
        """The next audit record of a partition, by the place of its request."""
        self._first_audit.setdefault(partition, offset)
        self._add(partition, offset, value)

    def dead_letters(self) -> None:
        """All audit records are there; what follows is dead letters."""
        self._met.clear()
        for each in self._hashes:
            each.dead_letters()

    def dead_letter(self, partition: int, offset: int, value: bytes | None) -> None:
        """The next dead letter of a partition, by the place of its request."""
        self._first_letter.setdefault(partition, offset)
        self._add(partition, offset, value)

    def digested(self, audit_cut: Collection[int], letters_cut: Collection[int]) -> Digested:
        """What came of it, when all records are there.

        Args:
            audit_cut: Partitions of `audit` of which retention has removed the beginning.
            letters_cut: Partitions of `dead-letters` of which it has.
        """

        def cut(partition: int, start: int) -> bool:
            audit, letter = self._first_audit.get(partition), self._first_letter.get(partition)
            # Letters of one transaction are not in the order of their offsets: the first kept one may be its second.
            return (partition in audit_cut and (audit is None or start < audit)) or (
                partition in letters_cut and (letter is None or start <= letter)
            )

        stretches = tuple(
            Stretch(partition, start, end, digest, made.digest(), cut(partition, start))
            for (partition, start, end, digest), made in zip(self._committed.stretches, self._hashes, strict=True)
        )
        return Digested(stretches, tuple(self._committed.broken), self._committed.restarted)

    def _add(self, partition: int, offset: int, value: bytes | None) -> None:
        points, covering = self._covering.get(partition, ((), ()))
        at = bisect_right(points, offset) - 1
        owners = covering[at] if at >= 0 else ()
        if not owners:
            return
        owner = owners[0]
        if len(owners) > 1:
            self._met[partition, offset] += 1
            owner = owners[min(self._met[partition, offset], len(owners)) - 1]
        self._hashes[owner].add([value])


_Covering = tuple[list[int], list[tuple[int, ...]]]
"""Offsets where something begins or ends, ascending; from each on, the stretches there in the order of their log."""


def _covering(stretches: Iterable[_Committed]) -> dict[int, _Covering]:
    edges: dict[int, dict[int, list[tuple[bool, int]]]] = {}
    for index, (partition, start, end, _) in enumerate(stretches):
        of = edges.setdefault(partition, {})
        of.setdefault(start, []).append((True, index))
        of.setdefault(end, []).append((False, index))
    found: dict[int, _Covering] = {}
    for partition, of in edges.items():
        points, here, covering = sorted(of), set[int](), list[tuple[int, ...]]()
        for point in points:
            here |= {index for begins, index in of[point] if begins}
            here -= {index for begins, index in of[point] if not begins}
            covering.append(tuple(sorted(here)))
        found[partition] = points, covering
    return found
