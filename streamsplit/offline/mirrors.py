"""Mirrored requests: what the audit says of them, against what the log derives, and what they have shown."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamsplit.core.records import Outcome, Routing
from streamsplit.offline.recorded import RecordedAudits, Words
from streamsplit.offline.report import Fault, Finding, MirroredArm

_POSSIBLE = frozenset(outcome.label for outcome in Outcome if outcome is not Outcome.DEAD_LETTER)
_AGREE, _DIFFER = "True", "False"


def word_of(mirrored: Iterable[Mapping[str, Any]]) -> str | None:
    """One word for an audit record's `mirrored`, the same for all that differ in times and scores alone; None: empty.

    A line for each candidate: its name, its outcome, and `True`, `False` or `None` for whether it agrees.
    """
    return "\n".join(f"{each['arm']} {each['outcome']} {each['agrees']}" for each in mirrored) or None


def findings(audits: RecordedAudits, routing: Routing, arms: Sequence[str]) -> Iterator[Finding]:
    """Requests that were mirrored to other candidates than derived, or with an outcome that no mirror can have.

    Args:
        audits: k rows of one revision.
        routing: What the log derives for them.
        arms: Names of the arms, control first.
    """
    derived: list[str | None] = [None] * len(audits)
    for arm in sorted(routing.mirrors or {}):
        for row in (routing.mirrors or {})[arm].tolist():
            before = derived[row]
            derived[row] = arms[arm] if before is None else f"{before} {arms[arm]}"
    right = mirrored_to(audits.mirrored).same(Words.of(derived))
    impossible = [code for code, word in enumerate(audits.mirrored.vocabulary) if not _possible(word)]
    wrong = ~right | np.isin(audits.mirrored.codes, impossible)
    yield Finding.at(Fault.WRONG_MIRROR, audits.partitions[wrong], audits.offsets[wrong])


def mirrored_to(words: Words) -> Words:
    """The names of the candidates alone, in their order."""
    names = tuple(" ".join(arm for arm, *_ in _lines(word)) for word in words.vocabulary)
    return Words.joined([Words(words.codes, names)])


def to_arm(words: Words, arm: str) -> NDArray[np.bool_]:
    """Which rows were mirrored to a candidate."""
    codes = [code for code, word in enumerate(words.vocabulary) if any(arm == name for name, *_ in _lines(word))]
    return np.isin(words.codes, codes)


def shown(audits: RecordedAudits) -> tuple[MirroredArm, ...]:
    """How each candidate fared with what was mirrored to it."""
    outcomes: dict[str, Counter[str]] = defaultdict(Counter)
    agreement: dict[str, Counter[str]] = defaultdict(Counter)
    for word, count in audits.mirrored.counts().items():
        for arm, outcome, agrees in _lines(word):
            outcomes[arm][outcome] += count
            agreement[arm][agrees] += count
    return tuple(
        MirroredArm(arm, counts.total(), dict(counts), agreement[arm][_AGREE], agreement[arm][_DIFFER])
        for arm, counts in sorted(outcomes.items())
    )


def _lines(word: str) -> Iterator[tuple[str, str, str]]:
    """Arm, outcome and whether it agrees; of a name that no arm can have, perhaps in other pieces."""
    for line in word.split("\n"):
        arm, _, rest = line.partition(" ")
        outcome, _, agrees = rest.rpartition(" ")
        yield arm, outcome, agrees


def _possible(word: str) -> bool:
    return all(
        outcome in _POSSIBLE and (agrees == "None" or outcome == Outcome.OK.label)
        for _, outcome, agrees in _lines(word)
    )
