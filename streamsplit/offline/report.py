"""What a verification found."""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from streamsplit.offline.replayed import ReplayedDecisions

SHOWN = 5
"""How many offending requests of each fault are shown."""


class Fault(enum.Enum):
    """Each kind of fault: its word in JSON, the sum it counts to, and what it means."""

    LOST = ("lost", "lost", "a request without output or dead letter")
    REMOVED_UNREAD = ("removed_unread", "lost", "offsets that retention removed before a worker read them")
    DOUBLED = ("doubled", "doubled", "a request answered more than once")
    AUDIT_DOUBLED = ("audit_doubled", "doubled", "a request audited more than once")
    STRAY = ("stray", "wrong", "an answer or audit of a request that does not exist")
    UNAUDITED = ("unaudited", "wrong", "an output without its audit record")
    CONTRADICTION = ("contradiction", "wrong", "an audit record that disagrees with the answer it belongs to")
    UNDERIVABLE = ("underivable", "wrong", "an audited request that cannot be decoded, so that its arm is unproven")
    WRONG_ID = ("wrong_id", "wrong", "an audit record with another request's id")
    UNKNOWN_REVISION = ("unknown_revision", "wrong", "served under a revision that no accepted command made")
    REVISION_BACK = ("revision_back", "wrong", "served under an older revision than the request before it")
    WRONG_ROLLOUT = ("wrong_rollout", "wrong", "another rollout than the revision's")
    WRONG_UNIT = ("wrong_unit", "wrong", "another unit than the request's")
    WRONG_BUCKET = ("wrong_bucket", "wrong", "another bucket than the unit's hash")
    WRONG_RULE = ("wrong_rule", "wrong", "another route than the first that matches")
    WRONG_ARM = ("wrong_arm", "wrong", "another arm than the bucket and the weights demand")
    WRONG_MIRROR = ("wrong_mirror", "wrong", "mirrored otherwise than the unit's hash and the shares demand")
    WRONG_SERVER = ("wrong_server", "wrong", "answered by an arm that the outcome does not allow")
    WRONG_MODEL = ("wrong_model", "wrong", "answered by another model than the arm's at that revision")
    MISPLACED = ("misplaced", "wrong", "an answer or audit in another partition than its request")
    CHANGED = ("changed", "wrong", "an answer with another key or other headers than its request")
    OUT_OF_ORDER = ("out_of_order", "wrong", "an answer that stands before that of an earlier request")
    DIGEST_MISMATCH = ("digest_mismatch", "wrong", "a stretch whose audit or dead letters are not what was committed")
    CHAIN_BROKEN = ("chain_broken", "wrong", "a summary (its offset) that does not follow its slot's last one")

    def __init__(self, word: str, total: str, meaning: str) -> None:
        self.word = word
        self.total = total
        self.meaning = meaning


Place = tuple[int, int]
"""Partition and offset of a request."""


@dataclass(frozen=True, slots=True)
class Finding:
    """How often one fault was found.

    Attributes:
        fault: Its kind.
        count: How many requests.
        first: The first few, as (partition, offset).
    """

    fault: Fault
    count: int
    first: tuple[Place, ...]

    @classmethod
    def at(cls, fault: Fault, partitions: NDArray[np.int32], offsets: NDArray[np.int64]) -> "Finding":
        """The finding of a fault at these requests."""
        shown = zip(partitions[:SHOWN].tolist(), offsets[:SHOWN].tolist(), strict=True)
        return cls(fault, len(offsets), tuple(shown))


def merged(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """One finding for every kind of fault, in the order of `Fault`; those without a case count 0."""
    return tuple(
        Finding(
            fault,
            sum(finding.count for finding in findings if finding.fault is fault),
            tuple(place for finding in findings if finding.fault is fault for place in finding.first)[:SHOWN],
        )
        for fault in Fault
    )


@dataclass(frozen=True, slots=True)
class Span:
    """The universe in one partition.

    Attributes:
        partition: Of the requests topic.
        start: First offset judged.
        end: The group's committed offset; not judged itself.
        unjudged: Offsets before `start` that were served, but of which retention has removed a part.
    """

    partition: int
    start: int
    end: int
    unjudged: int = 0


@dataclass(frozen=True, slots=True)
class Gap:
    """Requests that retention removed before they were read.

    Attributes:
        partition: Of the requests topic.
        start: First offset of the gap.
        end: Where it ends; not part of it.
        accepted: Whether an operator accepted the loss (`accept-loss`).
    """

    partition: int
    start: int
    end: int
    accepted: bool


@dataclass(frozen=True, slots=True)
class Share:
    """What a route's weight set, and what it reached while one revision held.

    The units, not the requests, were drawn by the hash, so the bound is the binomial's over distinct units.

    Attributes:
        revision: Of the state.
        rule: Index of the route; -1 is the default.
        arm: The candidate.
        set: Basis points.
        requests: Requests on this route under this revision.
        taken: Those of them assigned to the arm.
        units: Distinct units among the requests.
        units_taken: Distinct units assigned to the arm.
        lowest: Fewest units that chance leaves (one in a million falls outside).
        highest: Most units that chance leaves.
    """

    revision: int
    rule: int
    arm: str
    set: int
    requests: int
    taken: int
    units: int
    units_taken: int
    lowest: int
    highest: int

    @property
    def within(self) -> bool:
        """Whether the units reached are what the weight leads one to expect."""
        return self.lowest <= self.units_taken <= self.highest


@dataclass(frozen=True, slots=True)
class MirroredArm:
    """How a candidate fared with the requests that were mirrored to it.

    Attributes:
        arm: The candidate.
        requests: Mirrored to it.
        outcomes: Its outcome → requests.
        agree: Requests where every label that it gave was control's.
        differ: Requests where one was not.
    """

    arm: str
    requests: int
    outcomes: Mapping[str, int]
    agree: int
    differ: int


@dataclass(frozen=True, slots=True)
class Digests:
    """What became of the digests of audit and dead letters.

    Attributes:
        verified: Stretches whose records are those that were committed.
        removed: Stretches of which retention has removed a part, so that nobody can say.
        without: Audited requests of the universe that no digest covers.
        restarted: Chains of summaries begun anew by a slot: its process was started again.
        served_again: Stretches that begin before the end of an earlier one: an operator reset the offsets.
    """

    verified: int = 0
    removed: int = 0
    without: int = 0
    restarted: int = 0
    served_again: int = 0


@dataclass(frozen=True, slots=True)
class Cut:
    """Where a change of the state came into force.

    Attributes:
        revision: Of the new state.
        kind: The command that made it.
        phase: Of the new state.
        weights: Candidate → basis points on the default route.
        first: Partition → offset of the first request served under it, where there is one.
    """

    revision: int
    kind: str
    phase: str
    weights: Mapping[str, int]
    first: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Report:
    """The result of a verification.

    Attributes:
        spans: The universe, by partition.
        requests: Requests in it.
        outputs: Outputs of them.
        audits: Audit records of them.
        routed: Dead letters that were routed (they have an audit record).
        unrouted: Dead letters that failed before routing.
        findings: One of each kind of fault.
        shares: By revision, route and candidate.
        cuts: Of every revision that served a request.
        gaps: Ranges lost to retention.
        outcomes: How the audited requests ended: outcome → requests.
        mirrors: By revision, route and candidate: of the requests that control was assigned, those that were mirrored.
        mirrored: How each candidate fared with them.
        digests: Of audit and dead letters.
        decisions: The judge's, against those of a replay; None where they were not looked at.
    """

    spans: tuple[Span, ...]
    requests: int
    outputs: int
    audits: int
    routed: int
    unrouted: int
    findings: tuple[Finding, ...]
    shares: tuple[Share, ...]
    cuts: tuple[Cut, ...]
    gaps: tuple[Gap, ...]
    outcomes: Mapping[str, int] = field(default_factory=dict)
    mirrors: tuple[Share, ...] = ()
    mirrored: tuple[MirroredArm, ...] = ()
    digests: Digests = Digests()
    decisions: ReplayedDecisions | None = None

    def total(self, word: str) -> int:
        """The sum of all findings that count to `lost`, `doubled` or `wrong`."""
        return sum(finding.count for finding in self.findings if finding.fault.total == word)

    @property
    def empty(self) -> bool:
        """Whether the universe holds no request: nothing is proven then."""
        return self.requests == 0

    @property
    def sound(self) -> bool:
        """Whether there is no fault."""
        judged = self.decisions is None or self.decisions.sound
        return judged and not any(finding.count for finding in self.findings)

    def to_json(self) -> dict[str, object]:
        """The report as plain values, for scripts."""
        return {
            "ok": self.sound and not self.empty,
            "empty": self.empty,
            "universe": [
                {"partition": span.partition, "from": span.start, "to": span.end, "unjudged": span.unjudged}
                for span in self.spans
            ],
            "requests": self.requests,
            "outputs": self.outputs,
            "audits": self.audits,
            "dead_letters": {"routed": self.routed, "unrouted": self.unrouted},
            "outcomes": dict(self.outcomes),
            **{word: self.total(word) for word in ("lost", "doubled", "wrong")},
            "faults": {
                finding.fault.word: {
                    "count": finding.count,
                    "meaning": finding.fault.meaning,
                    "first": [list(place) for place in finding.first],
                }
                for finding in self.findings
            },
            "shares": [_share_json(share) for share in self.shares],
            "mirrors": [_share_json(share) for share in self.mirrors],
            "mirrored": {each.arm: _mirrored_json(each) for each in self.mirrored},
            "cuts": [
                {
                    "revision": cut.revision,
                    "kind": cut.kind,
                    "phase": cut.phase,
                    "weights": {arm: weight / 100 for arm, weight in cut.weights.items()},
                    "first": {str(partition): offset for partition, offset in cut.first.items()},
                }
                for cut in self.cuts
            ],
            "digests": {
                "verified": self.digests.verified,
                "partly_removed": self.digests.removed,
                "requests_without": self.digests.without,
                "chain_restarted": self.digests.restarted,
                "served_again": self.digests.served_again,
            },
            "decisions": self.decisions.to_json() if self.decisions is not None else None,
            "retention": [
                {"partition": gap.partition, "from": gap.start, "to": gap.end, "accepted": gap.accepted}
                for gap in self.gaps
            ],
        }


def _mirrored_json(mirrored: MirroredArm) -> dict[str, object]:
    return {
        "requests": mirrored.requests,
        "outcomes": dict(mirrored.outcomes),
        "agree": mirrored.agree,
        "differ": mirrored.differ,
    }


def _share_json(share: Share) -> dict[str, object]:
    return {
        "revision": share.revision,
        "rule": share.rule,
        "arm": share.arm,
        "set": share.set / 100,
        "reached": 100 * share.taken / share.requests if share.requests else None,
        "requests": share.requests,
        "taken": share.taken,
        "units": share.units,
        "units_taken": share.units_taken,
        "bound": [share.lowest, share.highest],
        "within": share.within,
    }
