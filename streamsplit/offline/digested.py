"""What summaries say was committed, beside what the topics hold now."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stretch:
    """What one transaction served of one partition.

    Attributes:
        partition: Of the requests topic.
        start: First offset.
        end: The offset behind the last.
        committed: Digest of its audit and dead letters, as its summary has it.
        found: Digest of those that are there now.
        cut: Whether retention may have removed some of them.
    """

    partition: int
    start: int
    end: int
    committed: bytes
    found: bytes
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Digested:
    """All stretches that have a digest, and the chains of summaries.

    Attributes:
        stretches: In the order of the summaries' log.
        broken: Offsets of summaries that do not follow the last one of their slot, or are none.
        restarted: How often a slot began its chain anew.
    """

    stretches: tuple[Stretch, ...] = ()
    broken: tuple[int, ...] = ()
    restarted: int = 0
