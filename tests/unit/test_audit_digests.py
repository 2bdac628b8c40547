"""Whatever is changed in audit, dead letters or summaries after they were committed shows."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamsplit.core.audit_digest import StretchDigest, link, stretch_digest
from streamsplit.core.byte_strings import ByteStrings
from streamsplit.core.summary import PartitionProgress, Summary, WindowCounts
from streamsplit.kafka.outgoing import Outgoing
from streamsplit.offline.digests import counted, findings
from streamsplit.offline.recorded import RecordedAudits, Words
from streamsplit.offline.rehash import Committed, Rehash
from streamsplit.offline.report import Digests, Fault, Span
from streamsplit.service.digests import digests_of
from streamsplit.service.summaries import Summaries
from streamsplit.wire.schemas import SchemaStore, packaged
from streamsplit.wire.summaries import SummaryEncoder, SummaryReader

Values = list[bytes | None]
AUDIT: Values = [b"ab", b"c", b""]
LETTERS: Values = [b"dead", None]
VALUES = st.lists(st.none() | st.binary(max_size=3), max_size=4)


@pytest.mark.parametrize(
    ("audit", "letters"),
    [
        ([b"ab", b"d", b""], LETTERS),
        ([b"a", b"bc", b""], LETTERS),
        ([b"c", b"ab", b""], LETTERS),
        ([b"ab", b"c"], LETTERS),
        ([b"ab", b"c", b"", b""], LETTERS),
        ([b"ab", b"c", b"", b"dead"], [None]),
        ([b"ab", b"c"], [b"", b"dead", None]),
        (AUDIT, [b"dead", b""]),
        (AUDIT, [None, b"dead"]),
        (AUDIT, [b"dead"]),
    ],
    ids=[
        "a byte changed",
        "a boundary moved",
        "two swapped",
        "one removed",
        "an empty one inserted",
        "a dead letter made audit",
        "audit made a dead letter",
        "a null made empty",
        "dead letters swapped",
        "a null removed",
    ],
)
def test_every_change_of_a_stretch_has_another_digest(audit: Values, letters: Values) -> None:
    assert stretch_digest(audit, letters) != stretch_digest(AUDIT, LETTERS)


@given(VALUES, VALUES, VALUES, VALUES)
def test_two_stretches_have_one_digest_only_where_they_are_the_same(a: Values, b: Values, c: Values, d: Values) -> None:
    assert (stretch_digest(a, b) == stretch_digest(c, d)) == ((a, b) == (c, d))


@given(VALUES, VALUES)
def test_records_one_by_one_have_the_digest_of_all_at_once(audit: Values, letters: Values) -> None:
    stretch = StretchDigest()
    for value in audit:
        stretch.add([value])
    stretch.dead_letters()
    for value in letters:
        stretch.add([value])
    assert stretch.digest() == stretch_digest(audit, letters)


def test_each_partition_of_a_batch_has_the_digest_of_its_own_records_in_their_order() -> None:
    partitions = np.array([1, 0, 1, 2, 0], np.int32)
    letters = Outgoing.of("dead-letters", [None, b"x"], [None, None], [2, 0])
    made = digests_of(partitions, np.array([0, 1, 2, 4]), ByteStrings.of([b"a", b"b", b"c", b"d"]), letters)
    assert made == {
        0: stretch_digest([b"b", b"d"], [b"x"]),
        1: stretch_digest([b"a", b"c"], []),
        2: stretch_digest([], [None]),
    }


Record = tuple[int, bytes]
LOG: list[Record] = [(offset, b"audit %d" % offset) for offset in range(30) if offset % 10 != 9]
DEAD: list[Record] = [(offset, b"letter %d" % offset) for offset in (9, 19, 29)]
SPANS = (Span(0, 0, 30),)


def committed(starts: tuple[int, ...] = (0, 10, 20)) -> Committed:
    """Ten requests of one partition a summary."""
    made, previous = Committed(begins=True), None
    for at, start in enumerate(starts):
        audit, letters = ([value for offset, value in log if start <= offset < start + 10] for log in (LOG, DEAD))
        progress = PartitionProgress(0, start, start + 10, digest=stretch_digest(audit, letters))
        summary = Summary("s-0", at, "r", 1, 0, (progress,), previous=previous)
        made.add(at, b"summary %d" % at, summary)
        previous = link(b"summary %d" % at)
    return made


def found(log: list[Record], dead: list[Record], of: Committed, *, audit_cut: bool = False) -> list[int]:
    """First offsets of the stretches that are not as they were committed."""
    rehash = Rehash(of)
    for offset, value in log:
        rehash.audit(0, offset, value)
    rehash.dead_letters()
    for offset, value in dead:
        rehash.dead_letter(0, offset, value)
    (mismatch, _) = findings(rehash.digested([0] if audit_cut else [], []), SPANS)
    assert mismatch.fault is Fault.DIGEST_MISMATCH
    return [start for _, start in mismatch.first]


def test_what_was_not_changed_is_verified() -> None:
    assert found(LOG, DEAD, committed()) == []


@pytest.mark.parametrize(
    ("tamper", "stretches"),
    [
        (lambda log: [*log[:12], (log[12][0], b"other"), *log[13:]], [10]),
        (lambda log: [*log[:12], *log[13:]], [10]),
        (lambda log: [*log[:13], *log[12:]], [10]),
        (lambda log: [*log[:12], log[13], log[12], *log[14:]], [10]),
        (lambda log: [*log, log[12]], [10]),
        (lambda log: [*log[:12], log[0], log[20], *log[12:]], [0, 20]),
        (lambda log: [*log, (30, b"beyond")], []),
    ],
    ids=["changed", "removed", "inserted", "swapped", "added at the end", "copied", "of no stretch"],
)
def test_a_tampered_audit_record_is_found_in_its_stretch(
    tamper: Callable[[list[Record]], list[Record]], stretches: list[int]
) -> None:
    assert found(tamper(LOG), DEAD, committed()) == stretches


def test_a_tampered_dead_letter_is_found_in_its_stretch() -> None:
    assert found(LOG, DEAD[:2], committed()) == [20]


def test_stretches_that_retention_may_have_cut_are_no_fault_unless_they_are_whole() -> None:
    assert found(LOG[13:], DEAD, committed(), audit_cut=True) == []
    assert found(LOG[13:20] + LOG[21:], DEAD, committed(), audit_cut=True) == [20]


def test_stretches_that_were_served_again_after_a_reset_are_told_apart_by_their_order() -> None:
    again = committed((0, 10, 5, 15))
    log, dead = LOG[:18] + LOG[5:23], DEAD[:2] + DEAD[:2]
    assert found(log, dead, again) == []
    assert found([*log[:20], (11, b"other"), *log[20:]], dead, again) != []


def test_a_stretch_behind_the_committed_offset_is_not_judged() -> None:
    rehash = Rehash(committed())
    rehash.dead_letters()
    mismatch, _ = findings(rehash.digested([], []), (Span(0, 0, 20),))
    assert mismatch.count == 2


Chain = list[tuple[str, bytes, bytes | None]]
"""Slot, value and link of each summary."""
CHAIN: Chain = [
    ("a", b"a0", None),
    ("b", b"b0", None),
    ("a", b"a1", link(b"a0")),
    ("b", b"b1", link(b"b0")),
    ("a", b"a2", link(b"a1")),
]


def followed(chain: Chain, *, begins: bool = True) -> Committed:
    made = Committed(begins=begins)
    for offset, (slot, value, previous) in enumerate(chain):
        made.add(offset, value, Summary(slot, 0, "r", 1, 0, previous=previous))
    return made


@pytest.mark.parametrize(
    ("chain", "broken", "restarted"),
    [
        (CHAIN, [], 0),
        (CHAIN[:2] + CHAIN[3:], [3], 0),
        (CHAIN[1:], [1], 0),
        ([*CHAIN[:2], CHAIN[4], CHAIN[3], CHAIN[2]], [2, 4], 0),
        ([*CHAIN[:2], ("a", b"edited", link(b"a0")), *CHAIN[3:]], [4], 0),
        ([*CHAIN[:3], ("a", b"foreign", link(b"else")), *CHAIN[3:]], [3, 5], 0),
        ([*CHAIN, ("a", b"anew", None), ("a", b"next", link(b"anew"))], [], 1),
    ],
    ids=["sound", "removed", "the first removed", "swapped", "edited", "inserted", "a process started again"],
)
def test_a_chain_shows_what_was_done_to_its_summaries(chain: Chain, broken: list[int], restarted: int) -> None:
    made = followed(chain)
    assert (made.broken, made.restarted) == (broken, restarted)


def test_a_chain_whose_beginning_retention_removed_is_not_broken() -> None:
    assert followed(CHAIN[2:], begins=False).broken == []


def test_what_is_no_summary_breaks_the_chain() -> None:
    made = followed(CHAIN)
    made.add(9, b"", None)
    assert made.broken == [9]


def test_summaries_without_digest_are_no_fault_and_counted() -> None:
    made = Committed(begins=True)
    made.add(0, b"old", Summary("a", 0, "r", 1, 0, (PartitionProgress(0, 0, 10),)))
    digested = Rehash(made).digested([], [])
    assert not any(each.count for each in findings(digested, SPANS))
    assert digested.stretches == ()


def test_parts_of_a_summary_are_links_of_one_chain() -> None:
    windows = tuple(WindowCounts(start, -1, "control", 1, {"ok": 1}, 1) for start in range(40))
    whole = Summary("s-0", 4, "r", 1, 0, (PartitionProgress(0, 0, 40, digest=b"d" * 32),), windows, previous=b"p" * 32)
    summaries = Summaries("summaries", SummaryEncoder(packaged("summary").header), "s-0", 10_000)
    written = summaries._records(whole)
    values = [value for value in written.records.values if value is not None]
    parts = [SummaryReader(SchemaStore()).read(value) for value in values]
    assert len(parts) > 2
    assert [part.previous for part in parts] == [b"p" * 32, *map(link, values[:-1])]
    assert written.link == link(values[-1])
    assert [each.digest for part in parts for each in part.partitions] == [b"d" * 32]
    assert replace(parts[-1], previous=None).partitions == whole.partitions


def audits_of(offsets: range) -> RecordedAudits:
    """Audit records of partition 0, of which only the places matter."""
    numbers, words = np.array(offsets, np.int64), Words.of(["x"] * len(offsets))
    zeros = np.zeros(len(offsets), np.int32)
    hashes = zeros.astype(np.uint64)
    return RecordedAudits(
        zeros, numbers, zeros, numbers, zeros, zeros, hashes, hashes, words, words, words, words, words, words
    )


def test_digests_that_cover_a_request_twice_count_it_once() -> None:
    rehash = Rehash(committed((0, 10, 5, 15)))
    rehash.dead_letters()
    digests = counted(rehash.digested([0], [0]), SPANS, audits_of(range(30)))
    assert digests == Digests(verified=0, removed=4, without=5, restarted=0, served_again=1)
