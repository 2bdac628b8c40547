"""Readings in words."""

import math
from collections.abc import Iterator

from streamsplit.core.decision import Reading, Verdict
from streamsplit.core.rollout import WHOLE

UNITS = "units"
"""Name of the reading on what workers remember of units."""

HALF_FULL = 0.5
"""Share of the places of a bitmap that are set from which on it is told that new units are taken for known ones."""

_LARGEST = 20.0

MOST_CLIPPED = 0.001
"""Share of a candidate's values that may lie outside the range of a score."""


def e_value(log_e: float) -> str:
    """An e-value for people."""
    return f"{math.exp(log_e):.3g}" if log_e < _LARGEST else f"e^{log_e:.0f}"


def amount(value: float | None, unit: str) -> str:
    """A figure with its unit."""
    if value is None:
        return "unknown"
    return f"{100 * value:.3g} %" if unit == "%" else f"{value:.3g} {unit}".rstrip()


def process_reason(reading: Reading) -> str:
    """What a guard has against a candidate: "canary errors 2.1x control (1.7 % beside 0.8 %), e-value 1.3e+03 ...".

    Where the figures of the whole rollout do not show it, those of the latest stretch (`latest.py`) come first.
    """
    if reading.guard == "interference":
        return f"{reading.arm} itself {_of_itself(reading)}"
    text = f"{reading.arm} {reading.guard}"
    if reading.guard in _EXCEEDED:
        text += f": {_exceeded(reading)}"
    elif reading.verdict in {Verdict.HELD, Verdict.SHOWN}:
        text += f": {_held(reading)}"
    else:
        text += _late(reading) or _compared(reading)
    if reading.log_e is not None and reading.log_needed is not None:
        text += f", e-value {e_value(reading.log_e)} of {e_value(reading.log_needed)} needed alone"
    return text + _counted(reading)


def _of_itself(reading: Reading) -> str:
    counts = reading.counts
    found, before, most = (amount(rate, "%") for rate in (counts["found"], reading.control, counts["tolerated"]))
    told = f"failed {found} of its requests, before the rollout {before} (at most {most} is tolerated)"
    cure = "something starves it, or its requests have changed: look at the machines"
    return f"{told}: {cure}; held for {counts['windows_held']:.0f} windows more, `streamsplit promote` goes on at once"


def _compared(reading: Reading) -> str:
    """The figures of the whole rollout: "2.1x control (1.7 % beside 0.8 %), always-valid interval 1.4 to 3.2"."""
    text = _beside(reading.effect, reading.candidate, reading.control, reading.unit)
    if reading.low is not None and reading.high is not None:
        text += f", always-valid interval {reading.low:.3g} to {reading.high:.3g} over the whole rollout"
    return text


def _late(reading: Reading) -> str:
    """The latest stretch, then the whole: "10x control (10 % beside 1 %) in its latest 290 requests, 1.07x control"."""
    latest = _latest(reading)
    if not latest:
        return ""
    counts, unit = reading.counts, reading.unit
    if "latest_slower" in counts:
        text = f": slower than is tolerated in {counts['latest_slower']:,.0f} of its latest {latest}"
    else:
        candidate, control = counts["latest_candidate"], counts.get("latest_control")
        effect = candidate / control if control else None
        text = f"{_beside(effect, candidate, control, unit)} in its latest {latest}"
    if reading.effect is None:
        text += f", {amount(reading.candidate, unit)} beside {amount(reading.control, unit)} over the whole rollout"
    else:
        text += f", {reading.effect:.3g}x control over the whole rollout"
    if reading.low is not None and reading.high is not None:
        text += f" (always-valid interval {reading.low:.3g} to {reading.high:.3g})"
    return text


def _beside(effect: float | None, candidate: float | None, control: float | None, unit: str) -> str:
    text = "" if effect is None else f" {effect:.3g}x control"
    if candidate is None and control is None:
        return text
    return f"{text} ({amount(candidate, unit)} beside {amount(control, unit)})"


_COUNTED = {"requests": "requests", "units": "units", "batches": "batches", "probes": "probes", "scores": "values"}


def _latest(reading: Reading) -> str:
    """How long the latest stretch is, "100 requests"; empty where it is not told apart."""
    found = ((reading.counts.get(f"latest_{name}", 0), word) for name, word in _COUNTED.items())
    return next((f"{number:,.0f} {word}" for number, word in found if number), "")


_EXCEEDED = {
    "error limit": ("requests", "failed"),
    "run limit": ("batches", "fell whole, by a crash or a time-out"),
    "latency limit": ("requests", "took longer than"),
}


def _exceeded(reading: Reading) -> str:
    counted, what = _EXCEEDED[reading.guard]
    if "limit_ms" in reading.counts:
        what += f" {reading.counts['limit_ms']:g} ms"
    whole, most = amount(reading.candidate, reading.unit), amount(reading.control, reading.unit)
    latest = _latest(reading)
    if not latest:
        return f"{whole} of its {counted} {what}, at most {most} may"
    figure = amount(reading.counts["latest_candidate"], reading.unit)
    return f"{figure} of its latest {latest} {what} ({whole} of all), at most {most} may"


def _held(reading: Reading) -> str:
    found, expected = amount(reading.candidate, reading.unit), amount(reading.control, reading.unit)
    if reading.guard == "split":
        what = "units" if "units" in reading.counts else "requests"
        return f"{found} of the {what} where {expected} is expected; look for records that are lost or counted twice"
    if reading.guard == "shift":
        shown = f", told from {reading.counts['shown']:.3g}" if reading.verdict is Verdict.SHOWN else ""
        return f"its values are distributed otherwise than control's, stability index {found}{shown}, limit {expected}"
    if reading.guard == "capacity":
        rate, processes = reading.counts["requests_per_second"], reading.counts["processes"]
        return f"all {rate:,.0f} requests a second would take {found} of the time of its {processes:.0f} processes"
    clipped, values = reading.counts.get("clipped", 0), reading.counts.get("candidate_scores", 0)
    if clipped > MOST_CLIPPED * values:
        return f"{clipped:,.0f} of {values:,.0f} values lie outside its `range`; widen it"
    return f"its `margin` is too wide for control's mean of {expected} and its scatter; choose a smaller one"


def _counted(reading: Reading) -> str:
    """How much of a candidate it lives on: ", 213 canary units"."""
    names = {"candidate_requests": "requests", "candidate_units": "units", "requests": "requests"}
    for name, word in names.items():
        if name in reading.counts:
            return f", {reading.counts[name]:,.0f} {reading.arm} {'batches' if reading.guard == 'run limit' else word}"
    return ""


def promise_reason(reading: Reading) -> str:
    """What a guard still lacks for a candidate."""
    if reading.counts and not any(reading.counts.values()):
        name = next(iter(reading.counts)).replace("_", " ")
        cure = "; where none can come `latency: {dry_run: true}` waits for none" if name == "probes" else ""
        return f"{reading.arm} {reading.guard}: nothing to judge by yet (0 {name}){cure}"
    now = e_value(reading.log_e_good or 0.0)
    text = f"{reading.arm} {reading.guard}: evidence {now} of {e_value(reading.log_needed_good or 0.0)} for it"
    # A unit is compared once, so that people can see whether enough of them are left to wait for.
    return text + _counted(reading) if "candidate_units" in reading.counts else text


def memory_reasons(reading: Reading) -> Iterator[str]:
    """Why units may be missing, given what workers remember of them (`units.py`)."""
    partitions, counting = reading.counts["partitions"], reading.counts["counting"]
    if counting < partitions:
        yield (
            f"units of {partitions - counting:.0f} of {partitions:.0f} partitions are not counted: their worker does "
            "not know yet whom those before it have met"
        )
    fullest = reading.counts["fullest"]
    if fullest > HALF_FULL:
        yield (
            f"a worker's memory of the units of a partition is {amount(fullest, '%')} full: new units are more and "
            "more taken for known ones, and no longer counted"
        )


def known_reason(arm: str, exposed: int) -> str:
    """Why evidence from units cannot come: those that a candidate answers have all met one at an earlier stay."""
    return (
        f"{arm}: every unit that it answers at this step has met a candidate before, so there is no evidence to wait "
        f"for; `streamsplit promote` goes on, and units that are new to it come above {amount(exposed / WHOLE, '%')}"
    )
