"""A verification's report as a person reads it: one line each, with what it means."""

from collections.abc import Iterator

from rich.console import RenderableType
from rich.table import Table

from streamsplit.cli.console import plain_table
from streamsplit.core.judge import DECIDES
from streamsplit.offline.replayed import ReplayedDecisions
from streamsplit.offline.report import Cut, Digests, MirroredArm, Report, Share

_OUTCOMES = {
    "ok": "answered by the arm it was assigned to",
    "fallback_error": "answered by control: the candidate raised or crashed",
    "fallback_timeout": "answered by control: the candidate did not finish in time",
    "fallback_invalid": "answered by control: the candidate's answer failed a check",
    "fallback_open": "answered by control: the candidate's breaker was open",
    "fallback_loading": "answered by control: the candidate was not loaded",
    "fallback_stale": "answered by control: the control log was out of reach",
}
"""What an outcome means; a dead letter has a line of its own."""


def render(report: Report) -> Iterator[RenderableType]:
    """The parts of the page, from the universe to the verdict."""
    yield _universe(report)
    yield ""
    if report.empty:
        yield verdict(report)
        return
    yield _faults(report)
    if report.decisions is not None:
        yield ""
        yield _decisions(report.decisions)
    if report.gaps:
        yield ""
        yield _gaps(report)
    if report.shares:
        yield ""
        yield _shares(report.shares, "Shares")
    if report.mirrors:
        yield ""
        yield _shares(report.mirrors, "Mirrored, of what control was assigned")
    if report.mirrored:
        yield ""
        yield _mirrored(report.mirrored)
    if report.cuts:
        yield ""
        yield _cuts(report.cuts)
    yield ""
    yield verdict(report)


def verdict(report: Report) -> str:
    """The report in one sentence."""
    if report.empty:
        return "Nothing to verify: the workers have committed nothing that is still there."
    lost, doubled, wrong = (report.total(word) for word in ("lost", "doubled", "wrong"))
    sums = f"{report.requests} requests, {lost} lost, {doubled} doubled, {wrong} wrong"
    judged = report.decisions
    if judged is not None and not judged.sound:
        faults = f"{judged.missing} missing, {judged.different} different, {judged.extra} extra"
        sums += f"; {judged.decided} decisions, {faults}"
    if report.sound:
        alike = f" {judged.decided} decisions were decided again, all alike." if judged and judged.decided else ""
        others = sum(judged.versions.values()) if judged else 0
        alike += f" {others} by another version of the judge were not." if others else ""
        return f"Verified: {sums}. Every arm was derived again from the control log.{alike}"
    return f"NOT verified: {sums}."


def _universe(report: Report) -> Table:
    table = plain_table("partition", "from", "to", "not judged (retention)", title="Universe")
    for span in report.spans:
        table.add_row(str(span.partition), str(span.start), str(span.end), str(span.unjudged))
    return table


def _faults(report: Report) -> Table:
    table = plain_table("", "count", "what it means", "first (partition, offset)", title="Accounts")
    table.add_row("requests", str(report.requests), "committed requests of the universe", "")
    table.add_row("outputs", str(report.outputs), "", "")
    table.add_row("audits", str(report.audits), "", "")
    for outcome, count in sorted(report.outcomes.items()):
        table.add_row(f"  {outcome}", str(count), _OUTCOMES.get(outcome, ""), "")
    table.add_row("dead letters, routed", str(report.routed), "routed, then not servable by control either", "")
    table.add_row("dead letters, unrouted", str(report.unrouted), "not decodable", "")
    for word, count, meaning in _digests(report.digests):
        table.add_row(word, str(count), meaning, "")
    for finding in report.findings:
        first = " ".join(f"({partition}, {offset})" for partition, offset in finding.first)
        style = "bold red" if finding.count else None
        table.add_row(finding.fault.word, str(finding.count), finding.fault.meaning, first, style=style)
    return table


def _decisions(judged: ReplayedDecisions) -> Table:
    """What a replay of the judge found."""
    table = plain_table("", "count", "what it means", "first", title="Decisions of the judge, decided again")
    table.add_row("decisions", str(judged.decided), "about the summaries that the judge has read", "")
    if judged.unjudged:
        why = "their rollout's first summaries are gone or unread, or another version of the judge had begun"
        table.add_row("not compared", str(judged.unjudged), why, "")
    for version, count in sorted(judged.versions.items()):
        why = f"decided by version {version} of the judge, this is {DECIDES}: not decided again"
        table.add_row(f"of version {version}", str(count), why, "")
    if judged.again:
        times = "once" if judged.resets == 1 else f"{judged.resets} times"
        why = f"the judge's offset was reset {times}: decided again, byte for byte the same"
        table.add_row("written again", str(judged.again), why, "")
    faults = {
        "missing": (judged.missing, "a replay decides it, and the topic does not have it"),
        "different": (judged.different, "a replay decides otherwise, by the same id"),
        "extra": (judged.extra, "no decision of a replay's, or one that is there already"),
    }
    for word, (count, meaning) in faults.items():
        table.add_row(word, str(count), meaning, "", style="bold red" if count else None)
    if judged.first:
        table.add_row("", "", "", " ".join(judged.first))
    return table


def _digests(digests: Digests) -> Iterator[tuple[str, int, str]]:
    yield "stretches verified", digests.verified, "audit and dead letters are byte for byte what was committed"
    rare = (
        ("  partly removed", digests.removed, "stretches that retention has cut: nobody can say"),
        ("  without digest", digests.without, "audited requests that no digest covers"),
        ("  chain_restarted", digests.restarted, "processes that were started again"),
        ("  served again", digests.served_again, "stretches behind a reset of offsets"),
    )
    yield from (row for row in rare if row[1])


def _gaps(report: Report) -> Table:
    table = plain_table("partition", "from", "to", "", title="Lost to retention")
    for gap in report.gaps:
        cure = f"not accepted: streamsplit accept-loss {gap.partition} --to {gap.end}"
        table.add_row(str(gap.partition), str(gap.start), str(gap.end), "accepted" if gap.accepted else cure)
    return table


def _mirrored(mirrored: tuple[MirroredArm, ...]) -> Table:
    table = plain_table("arm", "requests", "agree", "differ", "outcomes", title="How mirrored requests fared, unseen")
    for each in mirrored:
        outcomes = " ".join(f"{outcome}={count}" for outcome, count in sorted(each.outcomes.items()))
        table.add_row(each.arm, str(each.requests), str(each.agree), str(each.differ), outcomes)
    return table


def _shares(shares: tuple[Share, ...], title: str) -> Table:
    table = plain_table(
        "revision", "route", "arm", "set", "reached", "requests", "units", "expected units", "", title=title
    )
    for share in shares:
        reached = f"{100 * share.taken / share.requests:.2f} %"
        table.add_row(
            str(share.revision),
            "default" if share.rule < 0 else f"routes[{share.rule}]",
            share.arm,
            f"{share.set / 100:g} %",
            reached,
            f"{share.taken} of {share.requests}",
            f"{share.units_taken} of {share.units}",
            f"{share.lowest} to {share.highest}",
            "" if share.within else "outside what chance explains: the units are unusual, the routing is not",
        )
    return table


def _cuts(cuts: tuple[Cut, ...]) -> Table:
    table = plain_table(
        "revision", "command", "phase", "weights", "partition:offset", title="First offset under each change"
    )
    for cut in cuts:
        weights = " ".join(f"{arm}={weight / 100:g}" for arm, weight in cut.weights.items())
        firsts = " ".join(f"{partition}:{offset}" for partition, offset in sorted(cut.first.items()))
        table.add_row(str(cut.revision), cut.kind, cut.phase, weights, firsts)
    return table
