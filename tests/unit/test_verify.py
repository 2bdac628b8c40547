"""Each kind of fault that a tampered or broken deployment could show is found, and a sound one shows none."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import numpy as np
import pytest

from streamsplit.core.byte_strings import ByteStrings
from streamsplit.core.commands import Command
from streamsplit.core.fold import apply
from streamsplit.core.records import RequestColumns
from streamsplit.core.rollout import State, chain_label
from streamsplit.core.routing import RoutingTable, route
from streamsplit.offline.digested import Digested, Stretch
from streamsplit.offline.recorded import (
    Recorded,
    RecordedAudits,
    RecordedDeadLetters,
    RecordedOutputs,
    RecordedRequests,
    Words,
    fingerprints,
    head_fingerprint,
)
from streamsplit.offline.report import Fault, Gap, Span
from streamsplit.offline.verification import verify

Records = TypeVar("Records", RecordedAudits, RecordedOutputs, RecordedDeadLetters)

PARTITIONS, EACH = 3, 400
UNDECODABLE = (1, 7)
DEAD = (2, 250)
"""A routed request that control could not serve."""

SPEC = {
    "rollout": "delay-v2",
    "arms": {"control": "delay@1", "canary": "delay@2"},
    "unit": "id",
    "routes": [
        {"when": {"carrier": ["UA"]}, "weights": {"canary": 50}, "mirror": {"canary": 100}},
        {"mirror": {"canary": 30}},
    ],
    "steps": [{"weight": 10, "for": "60s"}, {"weight": 75, "for": "60s"}],
}
MODELS = {"delay@1": "a" * 64, "delay@2": "b" * 64}
LOG = [
    ("apply", {"spec": SPEC, "models": MODELS}),
    ("begin", {}),
    ("set_weight", {"weights": {"canary": 25}}),
    ("abort", {}),
]
MIRRORED = ("ok True", "ok False", "fallback_timeout None")
"""How mirrored requests fare, in turns."""

CUTS = {0: 0, 1: 50, 2: 200, 3: 350}
"""Revision → the first offset served under it, in every partition."""


def folded() -> tuple[dict[int, State], dict[int, str]]:
    state, states = State(), {}
    for offset, (kind, payload) in enumerate(LOG):
        command = Command(command_id=str(offset), kind=kind, rollout="delay-v2", payload=json.dumps(payload))
        after = apply(state, offset, command)
        assert isinstance(after, State), after
        states[offset] = state = after
    return states, {offset: kind for offset, (kind, _) in enumerate(LOG)}


def sound() -> Recorded:
    """What a deployment without a fault leaves behind: routed by the real routes, under four revisions."""
    states, kinds = folded()
    partitions = np.repeat(np.arange(PARTITIONS, dtype=np.int32), EACH)
    offsets = np.tile(np.arange(EACH, dtype=np.int64), PARTITIONS)
    n = len(offsets)
    keys = [f"N{row % 97}".encode() for row in range(n)]
    heads = np.array([head_fingerprint(key, [("trace", b"1")]) for key in keys], np.uint64)
    rows = np.flatnonzero(~((partitions == UNDECODABLE[0]) & (offsets == UNDECODABLE[1])))
    ids = [f"request-{row}".encode() for row in rows]
    carriers = [(b"UA", b"B6", None)[row % 3] for row in rows]
    columns = RequestColumns(
        rows, ByteStrings.of(ids), np.zeros(len(rows), np.int64), {"carrier": ByteStrings.of(carriers)}, {}
    )
    revisions = np.array([max(rev for rev, cut in CUTS.items() if offset >= cut) for offset in offsets[rows]])
    rules, buckets = np.zeros(len(rows), np.int32), np.zeros(len(rows), np.int32)
    arms, models = [""] * len(rows), [""] * len(rows)
    units = [b""] * len(rows)
    mirrored: list[str | None] = [None] * len(rows)
    for revision, state in states.items():
        of = np.flatnonzero(revisions == revision)
        part = RequestColumns(
            np.arange(len(of)),
            columns.ids.at(of),
            np.zeros(len(of)),
            {"carrier": columns.attributes["carrier"].at(of)},
            {},
        )
        routing = route(RoutingTable.compile(state), part, ByteStrings.of([keys[rows[i]] for i in of]))
        rules[of], buckets[of] = routing.rules, routing.buckets
        for at, unit, arm in zip(of, routing.units, routing.arms, strict=True):
            units[at], arms[at] = unit, state.arms[arm].name
            models[at] = chain_label(state.arms[arm].chain)
        for candidate, chosen in (routing.mirrors or {}).items():
            for row in of[chosen]:
                mirrored[row] = f"{state.arms[candidate].name} {MIRRORED[row % 3]}"
    dead = (partitions[rows] == DEAD[0]) & (offsets[rows] == DEAD[1])
    lettered = np.flatnonzero(
        ((partitions == UNDECODABLE[0]) & (offsets == UNDECODABLE[1]))
        | ((partitions == DEAD[0]) & (offsets == DEAD[1]))
    )
    audits = RecordedAudits(
        partitions=partitions[rows],
        offsets=offsets[rows],
        own_partitions=partitions[rows],
        revisions=revisions,
        rules=rules,
        buckets=buckets,
        ids=fingerprints(ids),
        units=fingerprints(units),
        rollouts=Words.of(["delay-v2"] * len(rows)),
        arms=Words.of(arms),
        served_by=Words.of([None if gone else arm for arm, gone in zip(arms, dead, strict=True)]),
        models=Words.of([None if gone else model for model, gone in zip(models, dead, strict=True)]),
        outcomes=Words.of(["dead_letter" if gone else "ok" for gone in dead]),
        mirrored=Words.of(mirrored),
    )
    live = audits.take(~dead)
    return Recorded(
        requests=RecordedRequests(partitions, offsets, heads, ByteStrings.of(keys), columns),
        audits=audits,
        outputs=RecordedOutputs(
            partitions=live.partitions,
            offsets=live.offsets,
            own_partitions=live.partitions,
            heads=heads[rows[~dead]],
            revisions=live.revisions,
            ids=live.ids,
            rollouts=live.rollouts,
            arms=live.served_by,
            models=live.models,
            outcomes=live.outcomes,
        ),
        dead_letters=RecordedDeadLetters(
            partitions[lettered],
            offsets[lettered],
            partitions[lettered],
            heads[lettered],
            partitions[lettered] == DEAD[0],
        ),
        states=states,
        kinds=kinds,
    )


SPANS = tuple(Span(partition, 0, EACH) for partition in range(PARTITIONS))


def counts(recorded: Recorded, spans: tuple[Span, ...] = SPANS) -> dict[Fault, int]:
    return {finding.fault: finding.count for finding in verify(recorded, spans).findings if finding.count}


def at(columns: RecordedAudits | RecordedOutputs, partition: int, offset: int) -> int:
    return int(np.flatnonzero((columns.partitions == partition) & (columns.offsets == offset))[0])


def without(columns: Records, row: int) -> Records:
    return columns.take(np.arange(len(columns)) != row)


def twice(columns: Records, row: int) -> Records:
    return columns.take(np.sort(np.append(np.arange(len(columns)), row)))


def changed(columns: Records, row: int, **values: object) -> Records:
    """One row with other values."""
    for name, value in values.items():
        column = getattr(columns, name)
        if isinstance(column, Words):
            texts = [column.text(index) for index in range(len(column))]
            texts[row] = value
            columns = replace(columns, **{name: Words.of(texts)})
        else:
            column = column.copy()
            column[row] = value
            columns = replace(columns, **{name: column})
    return columns


def test_a_sound_deployment_shows_no_fault_and_accounts_for_every_request() -> None:
    report = verify(sound(), SPANS)
    assert report.sound, [finding for finding in report.findings if finding.count]
    assert (report.requests, report.outputs, report.audits) == (1200, 1198, 1199)
    assert (report.routed, report.unrouted) == (1, 1)
    assert report.to_json()["ok"] is True
    json.dumps(report.to_json())


def test_the_cut_of_each_revision_is_its_first_offset_in_each_partition() -> None:
    cuts = {cut.revision: cut for cut in verify(sound(), SPANS).cuts}
    assert {revision: cut.first for revision, cut in cuts.items()} == {
        revision: dict.fromkeys(range(PARTITIONS), offset) for revision, offset in CUTS.items()
    }
    assert [cuts[revision].kind for revision in range(4)] == ["apply", "begin", "set_weight", "abort"]
    assert cuts[2].weights == {"canary": 2500}


def test_shares_are_reported_for_every_route_that_candidates_stood_on() -> None:
    shares = {(share.revision, share.rule): share for share in verify(sound(), SPANS).shares}
    assert {key: share.set for key, share in shares.items()} == {
        (1, -1): 1000,
        (1, 0): 5000,
        (2, -1): 2500,
        (2, 0): 5000,
    }
    assert all(share.within for share in shares.values())
    assert shares[2, -1].requests == 300
    assert 0 < shares[2, -1].taken < 300


def test_mirrored_shares_are_of_what_control_was_assigned_and_say_how_candidates_fared() -> None:
    recorded = sound()
    report = verify(recorded, SPANS)
    shares = {(share.revision, share.rule): share for share in report.mirrors}
    assert {key: share.set for key, share in shares.items()} == {
        (1, -1): 3000,
        (1, 0): 10_000,
        (2, -1): 3000,
        (2, 0): 10_000,
    }
    assert all(share.within for share in shares.values())
    assert shares[1, 0].taken == shares[1, 0].requests < 150
    (fared,) = report.mirrored
    assert (fared.arm, fared.requests) == ("canary", sum(share.taken for share in shares.values()))
    assert fared.outcomes == {
        "ok": fared.agree + fared.differ,
        "fallback_timeout": fared.requests - fared.agree - fared.differ,
    }
    assert min(fared.agree, fared.differ) > 0
    assert report.to_json()["mirrored"]["canary"]["requests"] == fared.requests  # type: ignore[index]


AUDITED = (0, 260)
"""A request of the second weight, on the default route."""

Tamper = Callable[[Recorded, int, int], Recorded]
"""What is done to the records; the rows are those of AUDITED among audits and outputs."""


def audit(**values: object) -> Tamper:
    return lambda recorded, row, _: replace(recorded, audits=changed(recorded.audits, row, **values))


def output(**values: object) -> Tamper:
    return lambda recorded, _, row: replace(recorded, outputs=changed(recorded.outputs, row, **values))


def both(**values: object) -> Tamper:
    """The same lie in both topics, so that they agree."""
    shared = {("arms" if name == "served_by" else name): value for name, value in values.items()}
    return lambda recorded, audit_row, output_row: output(**shared)(
        audit(**values)(recorded, audit_row, output_row), audit_row, output_row
    )


def reflected(word: str | None, *, mirrored: bool) -> Tamper:
    """Another word for the mirror of the first request of control that is mirrored, or is not."""

    def tamper(recorded: Recorded, _audit: int, _output: int) -> Recorded:
        audits = recorded.audits
        row = int(np.flatnonzero((audits.mirrored.codes >= 0) == mirrored)[0])
        return replace(recorded, audits=changed(audits, row, mirrored=word))

    return tamper


def swapped(recorded: Recorded, _audit: int, row: int) -> Recorded:
    order = np.arange(len(recorded.outputs))
    order[[row, row + 1]] = row + 1, row
    return replace(recorded, outputs=recorded.outputs.take(order))


def reserved(recorded: Recorded, _audit: int, _output: int) -> Recorded:
    """A dead letter that was served as well, and says so nowhere."""
    letters = recorded.dead_letters
    extra = RecordedDeadLetters(
        *(
            np.append(getattr(letters, name), value)
            for name, value in (
                ("partitions", np.int32(AUDITED[0])),
                ("offsets", np.int64(AUDITED[1])),
                ("own_partitions", np.int32(AUDITED[0])),
                ("heads", recorded.requests.heads[AUDITED[1]]),
                ("routed", True),
            )
        )
    )
    return replace(recorded, dead_letters=extra)


def undecodable(recorded: Recorded, row: int, _output: int) -> Recorded:
    columns = recorded.requests.columns
    keep = np.arange(len(columns)) != row
    kept = replace(
        columns,
        rows=columns.rows[keep],
        ids=columns.ids.at(np.flatnonzero(keep)),
        times=columns.times[keep],
        attributes={"carrier": columns.attributes["carrier"].at(np.flatnonzero(keep))},
    )
    return replace(recorded, requests=replace(recorded.requests, columns=kept))


OTHER_ARM = {"control": ("canary", "delay@2"), "canary": ("control", "delay@1")}


def other_arm(recorded: Recorded, row: int, output_row: int) -> Recorded:
    arm, model = OTHER_ARM[str(recorded.audits.arms.text(row))]
    tampered = both(served_by=arm, models=model)(recorded, row, output_row)
    return replace(tampered, audits=changed(tampered.audits, row, arms=arm))


CASES: list[tuple[str, Tamper, set[Fault]]] = [
    ("output gone", lambda r, _, row: replace(r, outputs=without(r.outputs, row)), {Fault.LOST}),
    (
        "output and audit gone",
        lambda r, a, o: replace(r, outputs=without(r.outputs, o), audits=without(r.audits, a)),
        {Fault.LOST},
    ),
    (
        "dead letters gone",
        lambda r, _a, _o: replace(r, dead_letters=without(r.dead_letters, 1)),
        {Fault.LOST, Fault.CONTRADICTION},
    ),
    ("output twice", lambda r, _, row: replace(r, outputs=twice(r.outputs, row)), {Fault.DOUBLED}),
    ("output and dead letter", reserved, {Fault.DOUBLED, Fault.CONTRADICTION}),
    ("audit twice", lambda r, row, _: replace(r, audits=twice(r.audits, row)), {Fault.AUDIT_DOUBLED}),
    ("audit gone", lambda r, row, _: replace(r, audits=without(r.audits, row)), {Fault.UNAUDITED}),
    (
        "served without a request",
        lambda r, _a, _o: replace(
            r,
            requests=replace(
                r.requests,
                partitions=r.requests.partitions[:-1],
                offsets=r.requests.offsets[:-1],
                heads=r.requests.heads[:-1],
                keys=r.requests.keys[:-1],
                columns=undecodable(r, len(r.requests.columns) - 1, 0).requests.columns,
            ),
        ),
        {Fault.STRAY},
    ),
    ("dead letter that names no request", lambda r, _a, _o: replace(r, unsourced=((0, 3),)), {Fault.STRAY}),
    ("request that cannot be decoded", undecodable, {Fault.UNDERIVABLE}),
    (
        "routed dead letter without audit",
        lambda r, _a, _o: replace(r, audits=without(r.audits, at(r.audits, *DEAD))),
        {Fault.UNAUDITED},
    ),
    (
        "audited dead letter that says it was never routed",
        lambda r, _a, _o: replace(r, dead_letters=changed(r.dead_letters, 1, routed=False)),
        {Fault.CONTRADICTION},
    ),
    (
        "dead letter with another key",
        lambda r, _a, _o: replace(r, dead_letters=changed(r.dead_letters, 1, heads=5)),
        {Fault.CHANGED},
    ),
    ("another id in the output", output(ids=1), {Fault.CONTRADICTION}),
    ("another id in both", both(ids=1), {Fault.WRONG_ID}),
    ("another revision in the output", output(revisions=1), {Fault.CONTRADICTION}),
    ("unknown revision", both(revisions=77), {Fault.UNKNOWN_REVISION, Fault.REVISION_BACK}),
    ("another rollout", both(rollouts="other"), {Fault.WRONG_ROLLOUT}),
    ("another unit", audit(units=5), {Fault.WRONG_UNIT}),
    ("another bucket", audit(buckets=10_001), {Fault.WRONG_BUCKET}),
    ("another rule", audit(rules=3), {Fault.WRONG_RULE}),
    ("another arm, consistently", other_arm, {Fault.WRONG_ARM}),
    ("not mirrored although the log derives it", reflected(None, mirrored=True), {Fault.WRONG_MIRROR}),
    ("mirrored although the log does not", reflected("canary ok True", mirrored=False), {Fault.WRONG_MIRROR}),
    ("mirrored to another arm", reflected("other ok True", mirrored=True), {Fault.WRONG_MIRROR}),
    ("mirrored twice", reflected("canary ok True\ncanary ok True", mirrored=True), {Fault.WRONG_MIRROR}),
    ("a name in two lines", reflected("can\nary ok True", mirrored=True), {Fault.WRONG_MIRROR}),
    ("no name at all", reflected(" ok True", mirrored=True), {Fault.WRONG_MIRROR}),
    ("an outcome no mirror has", reflected("canary dead_letter None", mirrored=True), {Fault.WRONG_MIRROR}),
    ("agrees without an answer", reflected("canary fallback_error True", mirrored=True), {Fault.WRONG_MIRROR}),
    ("ok, but by another arm", both(served_by="nobody", models="delay@1"), {Fault.WRONG_SERVER, Fault.WRONG_MODEL}),
    ("an unknown outcome", both(outcomes="fine"), {Fault.WRONG_SERVER}),
    ("another model in both", both(models="delay@9"), {Fault.WRONG_MODEL}),
    ("another model in the output", output(models="delay@9"), {Fault.CONTRADICTION}),
    ("another outcome in the output", output(outcomes="fallback_error"), {Fault.CONTRADICTION}),
    ("output in another partition", output(own_partitions=2), {Fault.MISPLACED}),
    ("audit in another partition", audit(own_partitions=2), {Fault.MISPLACED}),
    ("another key or header", output(heads=1), {Fault.CHANGED}),
    ("outputs out of order", swapped, {Fault.OUT_OF_ORDER}),
    (
        "a stretch with other bytes",
        lambda r, _a, _o: replace(r, digested=Digested((Stretch(0, 200, 300, b"committed", b"found"),))),
        {Fault.DIGEST_MISMATCH},
    ),
    ("a summary removed", lambda r, _a, _o: replace(r, digested=Digested(broken=(7,))), {Fault.CHAIN_BROKEN}),
]


@pytest.mark.parametrize(("tamper", "faults"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_every_kind_of_fault_is_found_and_no_other(tamper: Tamper, faults: set[Fault]) -> None:
    recorded = sound()
    tampered = tamper(recorded, at(recorded.audits, *AUDITED), at(recorded.outputs, *AUDITED))
    report = verify(tampered, SPANS)
    assert {finding.fault for finding in report.findings if finding.count} == faults
    assert not report.sound


def test_every_fault_that_can_be_found_has_a_case() -> None:
    assert set(Fault) - {fault for _, _, faults in CASES for fault in faults} == {Fault.REMOVED_UNREAD}


def test_a_finding_names_the_offending_request() -> None:
    recorded = sound()
    tampered = replace(recorded, outputs=without(recorded.outputs, at(recorded.outputs, *AUDITED)))
    (lost,) = [finding for finding in verify(tampered, SPANS).findings if finding.count]
    assert (lost.fault, lost.count, lost.first) == (Fault.LOST, 1, (AUDITED,))


def test_a_partition_that_went_back_is_found_where_it_did() -> None:
    recorded = sound()
    rows = [at(recorded.audits, 0, offset) for offset in range(100, 110)]
    audits = recorded.audits
    for row in rows:
        audits = changed(audits, row, revisions=0)
    (back,) = [f for f in verify(replace(recorded, audits=audits), SPANS).findings if f.fault is Fault.REVISION_BACK]
    assert (back.count, back.first) == (1, ((0, 100),))


def test_a_fallback_is_sound_only_as_controls_answer_in_a_candidates_place() -> None:
    recorded = sound()
    canary = int(np.flatnonzero(recorded.audits.arms.equals("canary"))[0])
    place = int(recorded.audits.partitions[canary]), int(recorded.audits.offsets[canary])
    fallen = both(served_by="control", models="delay@1", outcomes="fallback_timeout")
    assert counts(fallen(recorded, canary, at(recorded.outputs, *place))) == {}
    control = int(np.flatnonzero(recorded.audits.arms.equals("control"))[0])
    place = int(recorded.audits.partitions[control]), int(recorded.audits.offsets[control])
    assert counts(fallen(recorded, control, at(recorded.outputs, *place))) == {Fault.WRONG_SERVER: 1}


def test_requests_outside_of_the_universe_are_not_judged() -> None:
    recorded = sound()
    spans = (Span(0, 0, 100), Span(1, 8, EACH), Span(2, 0, EACH))
    requests = recorded.requests
    keep = np.flatnonzero(
        ((requests.partitions == 0) & (requests.offsets < 100))
        | ((requests.partitions == 1) & (requests.offsets >= 8))
        | (requests.partitions == 2)
    )
    decoded = np.isin(requests.columns.rows, keep)
    columns = requests.columns
    narrow = RecordedRequests(
        requests.partitions[keep],
        requests.offsets[keep],
        requests.heads[keep],
        requests.keys.at(keep),
        replace(
            columns,
            rows=np.searchsorted(keep, columns.rows[decoded]),
            ids=columns.ids.at(np.flatnonzero(decoded)),
            times=columns.times[decoded],
            attributes={"carrier": columns.attributes["carrier"].at(np.flatnonzero(decoded))},
        ),
    )
    report = verify(replace(recorded, requests=narrow), spans)
    assert report.sound, [finding for finding in report.findings if finding.count]
    assert report.requests == 100 + 392 + 400


def test_a_loss_an_operator_accepted_is_reported_and_is_no_fault() -> None:
    recorded = sound()
    gone = (recorded.outputs.partitions == 1) & (recorded.outputs.offsets >= 20) & (recorded.outputs.offsets < 30)
    gone_audits = (recorded.audits.partitions == 1) & (recorded.audits.offsets >= 20) & (recorded.audits.offsets < 30)
    states = dict(recorded.states)
    states[3] = replace(states[3], accepted_losses={1: 30})
    lossy = replace(recorded, outputs=recorded.outputs.take(~gone), audits=recorded.audits.take(~gone_audits))
    assert counts(lossy) == {Fault.LOST: 10}
    report = verify(replace(lossy, states=states), SPANS)
    assert report.sound
    assert report.gaps == (Gap(1, 20, 30, accepted=True),)


def test_a_range_that_retention_removed_unread_counts_as_lost() -> None:
    report = verify(sound(), SPANS, [Gap(2, 400, 450, accepted=False)])
    assert report.total("lost") == 50
    assert not report.sound


def test_an_empty_universe_is_said_and_proves_nothing() -> None:
    recorded = sound()
    nobody = np.zeros(0, np.int64)
    empty = replace(
        recorded,
        requests=RecordedRequests(
            nobody.astype(np.int32),
            nobody,
            nobody.astype(np.uint64),
            ByteStrings.of([]),
            RequestColumns(nobody, ByteStrings.of([]), nobody, {"carrier": ByteStrings.of([])}, {}),
        ),
    )
    report = verify(empty, ())
    assert report.empty
    assert report.sound
    assert report.to_json()["ok"] is False
