"""From columns to a report: nothing is read here, and nothing is left to trust."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from streamsplit.core.records import Outcome
from streamsplit.offline import accounting, derivation, digests
from streamsplit.offline.mirrors import shown
from streamsplit.offline.recorded import Recorded
from streamsplit.offline.replayed import ReplayedDecisions
from streamsplit.offline.report import Fault, Finding, Gap, Report, Span, merged
from streamsplit.offline.shares import cuts, mirror_shares, shares
from streamsplit.offline.universe import inside


def verify(
    recorded: Recorded,
    spans: Sequence[Span],
    unread: Sequence[Gap] = (),
    decisions: ReplayedDecisions | None = None,
) -> Report:
    """Account for every request of the universe and derive its arm again.

    Args:
        recorded: What the topics hold; answers and audits outside of the universe are left out here.
        spans: The universe.
        unread: Ranges that retention removed before they were read, and that nobody has accepted.
        decisions: What a replay of the judge came to; None: it was not replayed.
    """
    audits, outputs, letters = recorded.audits, recorded.outputs, recorded.dead_letters
    recorded = replace(
        recorded,
        audits=audits.take(inside(spans, audits.partitions, audits.offsets)),
        outputs=outputs.take(inside(spans, outputs.partitions, outputs.offsets)),
        dead_letters=letters.take(inside(spans, letters.partitions, letters.offsets)),
    )
    accounts = accounting.account(recorded)
    accepted = accounting.accepted_gaps(recorded, accounts)
    removed = [Finding(Fault.REMOVED_UNREAD, gap.end - gap.start, ((gap.partition, gap.start),)) for gap in unread]
    found = [
        *removed,
        *accounting.findings(recorded, accounts, accepted),
        *derivation.findings(recorded, accounts),
        *digests.findings(recorded.digested, spans),
    ]
    routed = np.isin(
        recorded.dead_letters.places, recorded.audits.places[recorded.audits.outcomes.equals(Outcome.DEAD_LETTER.label)]
    )
    return Report(
        spans=tuple(spans),
        requests=len(recorded.requests),
        outputs=len(recorded.outputs),
        audits=len(recorded.audits),
        routed=int(routed.sum()),
        unrouted=int((~routed).sum()),
        findings=merged(found),
        shares=shares(recorded.audits, recorded.states),
        mirrors=mirror_shares(recorded.audits, recorded.states),
        mirrored=shown(recorded.audits),
        cuts=cuts(recorded.audits, recorded.states, recorded.kinds),
        outcomes=recorded.audits.outcomes.counts(),
        gaps=(*accepted, *unread),
        digests=digests.counted(recorded.digested, spans, recorded.audits),
        decisions=decisions,
    )
