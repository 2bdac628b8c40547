"""Two drawings for the docs: where StreamSplit stands among others, and how its costs grow. SVG, written by hand."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from benchmarks.rows import PASS_THROUGH, STREAMSPLIT, Row, Spread

_FONT = "font-family='system-ui,sans-serif'"
_INK, _PALE, _LINE = "#1f2933", "#7b8794", "#d9dee4"
_OURS, _LIMIT, _OTHERS = "#2563eb", "#9aa5b1", "#d97706"
_WIDTH, _LANE, _LABEL, _VALUE = 780, 22, 240, 150
_PANEL_WIDTH, _PANEL_HEIGHT, _COLUMNS = 370, 220, 2
_MOST_MARKS = 6
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 16, 40, 34

_PANELS: tuple[tuple[str, str, str], ...] = (
    ("workers", "cpu_micros", "CPU µs/request by workers"),
    ("workers", "rate", "requests/s by workers"),
    ("partitions", "cpu_micros", "CPU µs/request by partitions"),
    ("arms", "cpu_micros", "CPU µs/request by arms"),
    ("batch", "cpu_micros", "CPU µs/request by batch.records"),
    ("batch", "summary_bytes_request", "summary bytes/request by batch.records"),
    ("tensor bytes", "cpu_micros", "CPU µs by tensor bytes (grey: pass-through)"),
    ("requests served", "rss_mb", "RSS of a worker, MB, by requests served"),
)


def standing(rows: Sequence[Row]) -> str:
    """CPU time of a request on a logarithmic axis, a point for each row of throughput; empty without rows."""
    chosen = [row for row in rows if row.source == "throughput" and "cpu_micros" in row.figures]
    if not chosen:
        return ""
    values = [value for row in chosen for value in row.figures["cpu_micros"]]
    axis = _Axis(max(0.1, min(values)), max(values))
    body, y = [], 52
    for load in dict.fromkeys(str(row.case["load"]) for row in chosen):
        body.append(_text(0, y + 15, load, size=12, weight=600, fill=_PALE))
        y += _LANE
        for row in (row for row in chosen if row.case["load"] == load):
            body += _point(row, y + _LANE / 2, axis)
            y += _LANE
    parts = [_text(0, 14, "CPU time of a request, µs (median, least to greatest)", size=14, weight=600)]
    for tick in axis.ticks:
        parts.append(_stroke(axis.x(tick), 46, axis.x(tick), y, _LINE))
        parts.append(_text(axis.x(tick), 40, f"{tick:g}", anchor="middle", fill=_PALE))
    return _svg(_WIDTH, y + 4, [*parts, *body])


@dataclass(frozen=True, slots=True)
class _Axis:
    """A logarithmic axis, from a tick below the least value to one above the greatest."""

    least: float
    most: float

    @property
    def ticks(self) -> list[float]:
        every = [digit * 10.0**power for power in range(-1, 5) for digit in (1, 2, 5)]
        below = max(tick for tick in every if tick <= self.least)
        above = min((tick for tick in every if tick >= self.most), default=every[-1])
        return [tick for tick in every if below <= tick <= above]

    def x(self, value: float) -> float:
        begin, end = self.ticks[0], self.ticks[-1]
        share = math.log(max(value, begin) / begin) / (math.log(end / begin) or 1)
        return _LABEL + share * (_WIDTH - _LABEL - _VALUE)


def growth(rows: Sequence[Row]) -> str:
    """A panel for each axis on which something was measured at two places at least; empty without one."""
    panels = []
    for axis, name, title in _PANELS:
        points = _points(rows, axis, name)
        if len(points) > 1:
            panels.append((title, points, _points(rows, f"{PASS_THROUGH}, {axis}", name)))
    if not panels:
        return ""
    parts = []
    for number, (title, points, limit) in enumerate(panels):
        line, column = divmod(number, _COLUMNS)
        moved = "".join(_panel(title, points, limit))
        parts.append(f"<g transform='translate({column * (_PANEL_WIDTH + 20)},{line * _PANEL_HEIGHT})'>{moved}</g>")
    lines = math.ceil(len(panels) / _COLUMNS)
    return _svg(_COLUMNS * (_PANEL_WIDTH + 20), lines * _PANEL_HEIGHT + 8, parts)


_Point = tuple[int, Spread]


def _points(rows: Sequence[Row], axis: str, name: str) -> list[_Point]:
    found = [
        (int(row.case["at"]), Spread.of(row.figures[name]))
        for row in rows
        if row.source == "scale" and row.case.get("axis") == axis and name in row.figures
    ]
    return sorted(found, key=lambda point: point[0])


def _point(row: Row, y: float, axis: _Axis) -> list[str]:
    subject, spread = str(row.case["subject"]), Spread.of(row.figures["cpu_micros"])
    colour = _OURS if subject.startswith(STREAMSPLIT) else _LIMIT if subject.startswith(PASS_THROUGH) else _OTHERS
    low, middle, high = (axis.x(value) for value in (spread.low, spread.median, spread.high))
    return [
        _text(_LABEL - 14, y + 4, f"{subject} ({row.case['batch']})", anchor="end"),
        _stroke(low, y, high, y, colour, width=3),
        f"<circle cx='{middle:.1f}' cy='{y:.1f}' r='5' fill='{colour}'/>",
        _text(high + 12, y + 4, spread.text(1)),
    ]


def _panel(title: str, points: Sequence[_Point], limit: Sequence[_Point]) -> list[str]:
    """Points from zero upwards over a logarithmic axis, a linear one where they are many; the pass-through in grey."""
    everything = [*points, *limit]
    least, most = min(at for at, _ in everything), max(at for at, _ in everything)
    top = max(spread.high for _, spread in everything) * 1.1 or 1.0
    wide = len(points) <= _MOST_MARKS and most / max(1, least) > 3

    def x(at: int) -> float:
        scale: Callable[[float], float] = math.log if wide else float
        share = (scale(at) - scale(least)) / ((scale(most) - scale(least)) or 1)
        return _LEFT + share * (_PANEL_WIDTH - _LEFT - _RIGHT)

    def y(value: float) -> float:
        return _PANEL_HEIGHT - _BOTTOM - value / top * (_PANEL_HEIGHT - _TOP - _BOTTOM)

    parts = [_text(0, 20, title, size=13, weight=600)]
    for share in (0.0, 0.5, 1.0):
        value = top / 1.1 * share
        parts.append(_stroke(_LEFT, y(value), _PANEL_WIDTH - _RIGHT, y(value), _LINE))
        parts.append(_text(_LEFT - 6, y(value) + 4, _short(value), anchor="end", fill=_PALE))
    shown = points if len(points) <= _MOST_MARKS else [points[0], points[len(points) // 2], points[-1]]
    parts += [_text(x(at), _PANEL_HEIGHT - _BOTTOM + 18, _short(at), anchor="middle", fill=_PALE) for at, _ in shown]
    return [*parts, *_series(limit, x, y, _LIMIT), *_series(points, x, y, _OURS)]


def _series(points: Sequence[_Point], x: Callable[[int], float], y: Callable[[float], float], colour: str) -> list[str]:
    path = " ".join(f"{x(at):.1f},{y(spread.median):.1f}" for at, spread in points)
    parts = [f"<polyline points='{path}' fill='none' stroke='{colour}' stroke-width='2'/>"] if len(points) > 1 else []
    for at, spread in points if len(points) <= _MOST_MARKS else ():
        parts.append(_stroke(x(at), y(spread.low), x(at), y(spread.high), colour))
        parts.append(f"<circle cx='{x(at):.1f}' cy='{y(spread.median):.1f}' r='3' fill='{colour}'/>")
    return parts


def _short(value: float) -> str:
    """A number in few characters."""
    for factor, letter in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= factor:
            return f"{value / factor:.3g}{letter}"
    return f"{value:.3g}"


def _stroke(x1: float, y1: float, x2: float, y2: float, colour: str, *, width: int = 1) -> str:
    where = f"x1='{x1:.1f}' y1='{y1:.1f}' x2='{x2:.1f}' y2='{y2:.1f}'"
    return f"<line {where} stroke='{colour}' stroke-width='{width}'/>"


def _text(
    x: float, y: float, text: str, *, size: int = 11, weight: int = 400, anchor: str = "start", fill: str = _INK
) -> str:
    style = f"font-size='{size}' font-weight='{weight}' text-anchor='{anchor}' fill='{fill}'"
    return f"<text x='{x:.1f}' y='{y:.1f}' {_FONT} {style}>{escape(text)}</text>"


def _svg(width: float, height: float, parts: Sequence[str]) -> str:
    edge = 14
    box = f"{-edge} {-edge} {width + 2 * edge} {height + 2 * edge}"
    ground = f"<rect x='{-edge}' y='{-edge}' width='100%' height='100%' fill='#ffffff'/>"
    body = "\n".join([ground, *parts])
    return f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='{box}' width='{width + 2 * edge:.0f}'>\n{body}\n</svg>\n"
