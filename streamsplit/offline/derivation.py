"""Every arm derived again, the mirror's too: from the state at the audited revision and the request's own bytes."""

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from streamsplit.core.records import Outcome, RequestColumns
from streamsplit.core.rollout import State, chain_label
from streamsplit.core.routing import RoutingTable, route
from streamsplit.offline import mirrors
from streamsplit.offline.accounting import Accounts
from streamsplit.offline.recorded import Recorded, RecordedAudits, RecordedRequests, Words, fingerprints
from streamsplit.offline.report import Fault, Finding

Mask = NDArray[np.bool_]

_BY_CONTROL = tuple(outcome.label for outcome in Outcome if outcome not in {Outcome.OK, Outcome.DEAD_LETTER})


def findings(recorded: Recorded, accounts: Accounts) -> list[Finding]:
    """All faults of routing: what the audit says against what the log and the request demand."""
    audits = recorded.audits
    found = [_backwards(audits), _impossible_servers(audits)]
    order = np.argsort(audits.revisions, kind="stable")
    revisions, starts = np.unique(audits.revisions[order], return_index=True)
    for revision, rows in zip(revisions.tolist(), np.split(order, starts[1:]), strict=False):
        state = recorded.states.get(revision)
        stretch = audits.take(rows)
        if state is None:
            found.append(Finding.at(Fault.UNKNOWN_REVISION, stretch.partitions, stretch.offsets))
            continue
        found += _of_state(stretch, state)
        found += _of_requests(stretch, accounts.audits[rows], recorded.requests, RoutingTable.compile(state))
    return found


def wanted_attributes(states: Mapping[int, State]) -> tuple[str, ...]:
    """The attributes that any of these states routes by."""
    return tuple(sorted({name for state in states.values() for name in RoutingTable.compile(state).attributes}))


def _of_state(audits: RecordedAudits, state: State) -> Iterator[Finding]:
    """What the state alone demands: its rollout's name, and the model of each of its arms."""
    yield _at(Fault.WRONG_ROLLOUT, audits, ~audits.rollouts.equals(state.name))
    right = audits.served_by.equals(None) & audits.models.equals(None)
    for arm in state.arms:
        right |= audits.served_by.equals(arm.name) & audits.models.equals(chain_label(arm.chain))
    yield _at(Fault.WRONG_MODEL, audits, ~right)


def _of_requests(
    audits: RecordedAudits, rows: NDArray[np.int64], requests: RecordedRequests, table: RoutingTable
) -> Iterator[Finding]:
    """What the request's bytes demand under this state."""
    decoded = requests.columns.rows
    at = np.searchsorted(decoded, rows)
    at[at == len(decoded)] = 0
    known = (rows >= 0) & (decoded[at] == rows) if len(decoded) else np.zeros(len(rows), np.bool_)
    yield _at(Fault.UNDERIVABLE, audits, (rows >= 0) & ~known)
    audits, rows, at = audits.take(known), rows[known], at[known]
    if not len(audits):
        return
    columns = requests.columns
    routing = route(
        table,
        RequestColumns(
            rows=np.arange(len(at)),
            ids=columns.ids.at(at),
            times=columns.times[at],
            attributes={name: columns.attributes[name].at(at) for name in table.attributes},
            inputs={},
        ),
        requests.keys.at(rows),
    )
    yield _at(Fault.WRONG_UNIT, audits, fingerprints(routing.units) != audits.units)
    yield _at(Fault.WRONG_BUCKET, audits, routing.buckets != audits.buckets)
    yield _at(Fault.WRONG_RULE, audits, routing.rules != audits.rules)
    yield _at(Fault.WRONG_ARM, audits, ~audits.arms.same(Words(routing.arms.astype(np.int32), table.arms)))
    yield from mirrors.findings(audits, routing, table.arms)


def _backwards(audits: RecordedAudits) -> Finding:
    """A partition never goes back to an older state."""
    order = np.lexsort((audits.offsets, audits.partitions))
    partitions, revisions = audits.partitions[order], audits.revisions[order]
    back = np.zeros(len(audits), np.bool_)
    back[order[1:]] = (partitions[1:] == partitions[:-1]) & (revisions[1:] < revisions[:-1])
    return _at(Fault.REVISION_BACK, audits, back)


def _impossible_servers(audits: RecordedAudits) -> Finding:
    """`ok` is the assigned arm's answer, `fallback_*` control's in a candidate's place, a dead letter nobody's."""
    by_control = np.isin(audits.outcomes.codes, [audits.outcomes.code(label) for label in _BY_CONTROL])
    right = audits.outcomes.equals(Outcome.OK.label) & audits.served_by.same(audits.arms)
    right |= audits.outcomes.equals(Outcome.DEAD_LETTER.label) & audits.served_by.equals(None)
    right |= by_control & audits.served_by.equals("control") & ~audits.arms.equals("control")
    return _at(Fault.WRONG_SERVER, audits, ~right)


def _at(fault: Fault, audits: RecordedAudits, mask: Mask) -> Finding:
    return Finding.at(fault, audits.partitions[mask], audits.offsets[mask])
