"""Every request exactly one answer, in its place and in its order."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamsplit.core.records import Outcome
from streamsplit.offline.recorded import (
    NOTHING,
    Recorded,
    RecordedAudits,
    RecordedDeadLetters,
    RecordedOutputs,
    RecordedRequests,
    fingerprints,
)
from streamsplit.offline.report import SHOWN, Fault, Finding, Gap

Rows = NDArray[np.int64]
_Sourced = RecordedAudits | RecordedOutputs | RecordedDeadLetters


@dataclass(frozen=True, slots=True)
class Accounts:
    """Which request each record belongs to, and how often each request was answered.

    Attributes:
        audits: int64, for each audit record the index of its request; -1 where there is none.
        outputs: The same for outputs.
        dead_letters: The same for dead letters.
        answers: int64 (n,), outputs and dead letters of each request.
        audit_of: int64 (n,), the first audit record of each request; -1 for none.
    """

    audits: Rows
    outputs: Rows
    dead_letters: Rows
    answers: Rows
    audit_of: Rows


def account(recorded: Recorded) -> Accounts:
    """Match answers and audit records with their requests."""
    known = recorded.requests.places
    audits, outputs, letters = (
        _rows_of(known, columns.places) for columns in (recorded.audits, recorded.outputs, recorded.dead_letters)
    )
    answered = np.concatenate([outputs[outputs >= 0], letters[letters >= 0]])
    audit_of = np.full(len(known), -1, np.int64)
    found = np.flatnonzero(audits >= 0)[::-1]  # the first record is written last, and so stays
    audit_of[audits[found]] = found
    return Accounts(audits, outputs, letters, np.bincount(answered, minlength=len(known)), audit_of)


def _rows_of(known: Rows, wanted: Rows) -> Rows:
    if not len(known):
        return np.full(len(wanted), -1, np.int64)
    at = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    return np.where(known[at] == wanted, at, -1)


def findings(recorded: Recorded, accounts: Accounts, gaps: Iterable[Gap]) -> list[Finding]:
    """All faults of number, place and order.

    Args:
        recorded: The columns, those of the universe only.
        accounts: What `account` made of them.
        gaps: Losses an operator accepted: requests in them need no answer.
    """
    requests = recorded.requests
    needed = np.ones(len(requests), np.bool_)
    for gap in gaps:
        gapped = (requests.partitions == gap.partition) & (requests.offsets >= gap.start) & (requests.offsets < gap.end)
        needed &= ~gapped
    audited = np.bincount(accounts.audits[accounts.audits >= 0], minlength=len(requests))
    return [
        _of_requests(Fault.LOST, requests, needed & (accounts.answers == 0)),
        _of_requests(Fault.DOUBLED, requests, accounts.answers > 1),
        _of_requests(Fault.AUDIT_DOUBLED, requests, audited > 1),
        *_strays(recorded, accounts),
        *_contradictions(recorded, accounts),
        *_misplaced(recorded),
        *_changed(recorded, accounts),
        _out_of_order(recorded.outputs),
    ]


def accepted_gaps(recorded: Recorded, accounts: Accounts) -> tuple[Gap, ...]:
    """The ranges an operator accepted as lost: from behind the last answer before the named offset up to it."""
    losses = {loss for state in recorded.states.values() for loss in state.accepted_losses.items()}
    gaps = []
    for partition, end in sorted(losses):
        earlier = (recorded.requests.partitions == partition) & (recorded.requests.offsets < end)
        answered = recorded.requests.offsets[earlier & (accounts.answers > 0)]
        if len(answered) and int(answered[-1]) + 1 < end:
            gaps.append(Gap(partition, int(answered[-1]) + 1, end, accepted=True))
    return tuple(gaps)


def _of_requests(fault: Fault, requests: RecordedRequests, mask: NDArray[np.bool_]) -> Finding:
    return Finding.at(fault, requests.partitions[mask], requests.offsets[mask])


def _of(fault: Fault, columns: _Sourced, mask: NDArray[np.bool_]) -> Finding:
    return Finding.at(fault, columns.partitions[mask], columns.offsets[mask])


def _strays(recorded: Recorded, accounts: Accounts) -> list[Finding]:
    return [
        Finding(Fault.STRAY, len(recorded.unsourced), recorded.unsourced[:SHOWN]),
        _of(Fault.STRAY, recorded.audits, accounts.audits < 0),
        _of(Fault.STRAY, recorded.outputs, accounts.outputs < 0),
        _of(Fault.STRAY, recorded.dead_letters, accounts.dead_letters < 0),
    ]


def _contradictions(recorded: Recorded, accounts: Accounts) -> list[Finding]:
    """Audit record and answer are two descriptions of one event: they must agree in every field they share."""
    audits, outputs, requests = recorded.audits, recorded.outputs, recorded.requests
    known = np.flatnonzero(accounts.outputs >= 0)
    audit_of = accounts.audit_of[accounts.outputs[known]]
    paired = np.flatnonzero(audit_of >= 0)
    out, audit = outputs.take(known[paired]), audits.take(audit_of[paired])
    agree = (out.revisions == audit.revisions) & (out.ids == audit.ids) & out.rollouts.same(audit.rollouts)
    agree &= out.arms.same(audit.served_by) & out.models.same(audit.models) & out.outcomes.same(audit.outcomes)
    dead = audits.outcomes.equals(Outcome.DEAD_LETTER.label)
    lettered = np.zeros(len(requests), np.bool_)
    lettered[accounts.dead_letters[accounts.dead_letters >= 0]] = True
    sourced = accounts.audits >= 0
    of_dead_letter = np.zeros(len(audits), np.bool_)
    of_dead_letter[sourced] = lettered[accounts.audits[sourced]]
    unpaired = np.zeros(len(outputs), np.bool_)
    unpaired[known[audit_of < 0]] = True
    wrong_ids = np.zeros(len(audits), np.bool_)
    ids = _request_ids(requests)
    wrong_ids[sourced] = ids.known[accounts.audits[sourced]] & (
        ids.values[accounts.audits[sourced]] != audits.ids[sourced]
    )
    return [
        _of(Fault.UNAUDITED, outputs, unpaired),
        *_dead_letter_stages(recorded.dead_letters, accounts),
        _of(Fault.CONTRADICTION, out, ~agree),
        _of(Fault.CONTRADICTION, audits, sourced & (dead != of_dead_letter)),
        _of(Fault.WRONG_ID, audits, wrong_ids),
    ]


def _dead_letter_stages(letters: RecordedDeadLetters, accounts: Accounts) -> list[Finding]:
    """One that failed behind routing was routed, and so has an audit record; one that failed before has none."""
    known = np.flatnonzero(accounts.dead_letters >= 0)
    audited, differ = np.zeros(len(letters), np.bool_), np.zeros(len(letters), np.bool_)
    audited[known] = accounts.audit_of[accounts.dead_letters[known]] >= 0
    differ[known] = audited[known] != letters.routed[known]
    return [
        _of(Fault.UNAUDITED, letters, differ & letters.routed),
        _of(Fault.CONTRADICTION, letters, differ & ~letters.routed),
    ]


@dataclass(frozen=True, slots=True)
class _Ids:
    values: NDArray[np.uint64]
    known: NDArray[np.bool_]


def _request_ids(requests: RecordedRequests) -> _Ids:
    values, known = np.zeros(len(requests), np.uint64), np.zeros(len(requests), np.bool_)
    values[requests.columns.rows] = fingerprints(requests.columns.ids)
    known[requests.columns.rows] = True
    return _Ids(values, known)


def _misplaced(recorded: Recorded) -> list[Finding]:
    return [
        _of(Fault.MISPLACED, columns, columns.own_partitions != columns.partitions)
        for columns in (recorded.audits, recorded.outputs, recorded.dead_letters)
    ]


def _changed(recorded: Recorded, accounts: Accounts) -> list[Finding]:
    """Key and headers of a request go through to its answer untouched."""
    changed = []
    for columns, rows in ((recorded.outputs, accounts.outputs), (recorded.dead_letters, accounts.dead_letters)):
        known = np.flatnonzero((rows >= 0) & (columns.heads != NOTHING))
        differ = np.zeros(len(columns), np.bool_)
        differ[known] = columns.heads[known] != recorded.requests.heads[rows[known]]
        changed.append(_of(Fault.CHANGED, columns, differ))
    return changed


def _out_of_order(outputs: RecordedOutputs) -> Finding:
    """Outputs of a partition stand in the order of their requests; equal ones are doubled, not out of order."""
    outputs = outputs.take(outputs.own_partitions == outputs.partitions)
    order = np.argsort(outputs.partitions, kind="stable")
    partitions, offsets = outputs.partitions[order], outputs.offsets[order]
    late = np.zeros(len(outputs), np.bool_)
    late[order[1:]] = (partitions[1:] == partitions[:-1]) & (offsets[1:] < offsets[:-1])
    return _of(Fault.OUT_OF_ORDER, outputs, late)
