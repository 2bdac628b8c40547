"""A decision as a person reads it: what and why, the guards, the windows behind it, and what came of it."""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from streamsplit.cli.console import plain_table, printable
from streamsplit.cli.figures import clock, e_value, number, of_needed
from streamsplit.cli.sparkline import Sparkline
from streamsplit.core.decision import Decision, DecisionKind, Reading, Verdict, WindowPoint
from streamsplit.core.judging.baseline import CONTROL
from streamsplit.core.judging.risk import acts_alone, told
from streamsplit.core.quantities import moment_text
from streamsplit.offline.history import Entry

SHORT = 12
"""Digits of a decision's id that tell it from all others; `explain` takes them."""

KIND_MARKS = {
    DecisionKind.ADVANCE: ("▶", "cyan"),
    DecisionKind.PROMOTE: ("✔", "green"),
    DecisionKind.HOLD: ("॥", "yellow"),
    DecisionKind.ROLLBACK: ("✖", "red"),
}
_VERDICT_STYLES = {
    Verdict.GOOD: "green",
    Verdict.BAD: "bold red",
    Verdict.HELD: "yellow",
    Verdict.SHOWN: "cyan",
    Verdict.OPEN: "",
}
_BESIDE = {"split": "expected", "shift": "limit", "capacity": "limit", "interference": ""}
"""What some guards have in the place of control's figure."""

_BY_HAND = {"advance": "streamsplit promote", "promote": "streamsplit promote", "abort": "streamsplit abort"}


def render(decision: Decision, entry: Entry | None = None, steps: int = 0) -> Iterator[RenderableType]:
    """The parts of the page.

    Args:
        decision: The decision.
        entry: What came of the command it caused; None where there is none in the log.
        steps: How many the rollout has; 0 when not known.
    """
    mark, style = KIND_MARKS[decision.kind]
    yield Text(f"{mark} {decision.kind}  {printable(decision.rollout)}", style=f"bold {style}")
    yield _facts(decision, entry, steps)
    most = number(told(decision.readings).total, "%")
    yield Text(f"\nWhy (of healthy rollouts at most {most} are taken back or held for nothing)", style="italic")
    yield _reasons(decision.reasons)
    for arm in arms(decision):
        yield Text(f"\nGuards of {printable(arm) or 'candidate'}", style="italic")
        yield _guards((CONTROL, arm), [reading for reading in decision.readings if reading.arm == arm])
    alone = [reading for reading in decision.readings if reading.arm == CONTROL]
    if alone:
        yield Text("\nControl by itself", style="italic")
        yield _guards(("before the rollout", "of late"), alone)
    if not decision.readings:
        yield Text("\nNo guard has looked at a candidate yet.")
    if decision.windows:
        yield ""
        yield from _windows(decision)


def arms(decision: Decision) -> tuple[str, ...]:
    """The candidates it is about, in the order of its readings."""
    return tuple(dict.fromkeys(reading.arm for reading in decision.readings if reading.arm != CONTROL))


def mean_log_e(decision: Decision) -> tuple[float | None, float | None]:
    """The mean e-value against the candidate of the windows and what it must reach to roll back, as logarithms.

    Of the M guards that enter the mean of all candidates each needs M / alpha where the others say nothing; so the mean
    of the m guards of one candidate needs M / (m alpha). None: not known.
    """
    deciding = [
        (each.arm, each.log_needed)
        for each in decision.readings
        if each.log_needed is not None and not each.dry_run and not acts_alone(each)
    ]
    mean = decision.windows[-1].log_e if decision.windows else None
    if not deciding:
        return mean, None
    candidates = {arm for arm, _ in deciding}
    return mean, deciding[0][1] - math.log(len(deciding) / len(candidates))


def caused(decision: Decision, entry: Entry | None = None) -> str:
    """The command that it caused, and what came of it."""
    if not decision.command:
        return "no command"
    command = printable(decision.command)
    if decision.advice:
        by_hand = _BY_HAND.get(decision.command)
        return f"advises {command}; the rollout's mode is `advise`" + (f": type `{by_hand}`" if by_hand else "")
    if entry is None:
        return f"{command}; not in the control log: not yet, or overtaken by another command"
    if entry.refusal is not None:
        return f"{command}, refused: {printable(entry.refusal)}"
    return f"{command}, revision {entry.offset}: {entry.state.phase}"


def _facts(decision: Decision, entry: Entry | None, steps: int) -> Table:
    table = _grid()
    start, end = decision.window_start, decision.window_end
    begun = moment_text(start)
    window = f"{begun} to {clock(end)}" if end > start else f"{begun}, still open: a limit acted"
    step = f"{decision.step + 1}" + (f" of {steps}" if steps else "") if decision.step >= 0 else "none"
    for name, value in (
        ("decision", printable(decision.decision_id)),
        ("window", window),
        ("decided", f"{moment_text(decision.log_time)}, by the log's clock"),
        ("step", f"{step}, at revision {decision.revision} (applied at {decision.apply_revision})"),
        ("caused", caused(decision, entry)),
        ("read", f"summaries below offset {decision.summaries_to}, control below {decision.control_to}"),
    ):
        table.add_row(Text(name, style="dim"), Text(value, overflow="fold"))
    return table


def _reasons(reasons: Sequence[str]) -> Table:
    table = _grid()
    for place, reason in enumerate(reasons, 1):
        table.add_row(f"{place}.", Text(printable(reason), overflow="fold"))
    if not reasons:
        table.add_row("-", "no reason was written down")
    return table


def _guards(sides: tuple[str, str], readings: Sequence[Reading]) -> Table:
    control, candidate = sides
    shown = printable(candidate) or "candidate"
    table = plain_table()
    for header in ("guard", "verdict", control, shown, "ratio or difference", "e against it alone", "e for it"):
        table.add_column(Text(header), overflow="fold")
    for each in readings:
        verdict = f"{each.verdict} (dry run)" if each.dry_run else str(each.verdict)
        cells = (
            printable(each.guard),
            Text(verdict, style=_VERDICT_STYLES[each.verdict]),
            _beside(each),
            number(each.candidate, each.unit),
            _effect(each),
            of_needed(each.log_e, each.log_needed),
            of_needed(each.log_e_good, each.log_needed_good),
        )
        table.add_row(*(cell if isinstance(cell, Text) else Text(cell) for cell in cells))
    return table


def _beside(reading: Reading) -> str:
    """Control's figure, or what stands in its place."""
    figure = number(reading.control, reading.unit)
    word = "limit" if reading.guard.endswith("limit") else _BESIDE.get(reading.guard, "")
    return f"{word} {figure}".strip() if figure else ""


def _effect(reading: Reading) -> str:
    """The effect, with its interval where there is one."""
    low, high = number(reading.low), number(reading.high)
    interval = f"{low or '-∞'} to {high or '∞'}" if low or high else ""
    if reading.effect is None:
        return interval
    return f"{number(reading.effect)} ({interval})" if interval else number(reading.effect)


def _windows(decision: Decision) -> Iterator[RenderableType]:
    points = decision.windows
    (candidate,) = arms(decision) if len(arms(decision)) == 1 else ("candidate",)
    lines = (
        ("errors", "control", [(each.control_errors, each.control_requests) for each in points]),
        ("", printable(candidate), [(each.candidate_errors, each.candidate_requests) for each in points]),
    )
    highest = max((errors / requests for *_, rows in lines for errors, requests in rows if requests), default=0.0)
    yield Text(_span(decision), style="italic")
    table = _grid()
    for label, arm, rows in lines:
        table.add_row(label, Text(arm, overflow="fold"), _rates(rows, highest), Text(_total(rows)))
    _, needed = mean_log_e(decision)
    reached = f"rolls back at {e_value(needed)}" if needed is not None else ""
    latest = ", ".join(filter(None, (f"now {e_value(points[-1].log_e)}", reached)))
    table.add_row("mean e", "log scale", _logs(points, needed), Text(latest))
    yield table


def _rates(rows: Sequence[tuple[int, int]], highest: float) -> Sparkline:
    def rate(start: int, end: int) -> float | None:
        requests = sum(each for _, each in rows[start:end])
        return sum(errors for errors, _ in rows[start:end]) / requests if requests else None

    return Sparkline(len(rows), rate, 0.0, highest)


def _logs(points: Sequence[WindowPoint], needed: float | None) -> Sparkline:
    logs = [each.log_e for each in points]
    marks = [0.0, *(log for log in [*logs, needed or 0.0] if math.isfinite(log))]
    return Sparkline(len(logs), lambda _, end: logs[end - 1], min(marks), max(marks))


def _total(rows: Sequence[tuple[int, int]]) -> str:
    errors, requests = (sum(column) for column in zip(*rows, strict=True))
    return f"{number(errors / requests, '%')} of {requests} requests" if requests else "no requests"


def _span(decision: Decision) -> str:
    points = decision.windows
    gaps = [after.start - before.start for before, after in pairwise(points)]
    length = min(filter(None, (*gaps, decision.window_end - decision.window_start)), default=0)
    first, behind = moment_text(points[0].start), clock(points[-1].start + length)
    return f"Windows  {len(points)}, from {first} to {behind}"


def _grid() -> Table:
    return Table(box=None, show_header=False, pad_edge=False)
