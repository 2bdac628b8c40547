"""What a rollout file allows a candidate to use, and what it demands of outputs."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeVar

from streamsplit.core.findings import Findings, Path
from streamsplit.core.quantities import DURATION, SIZE, QuantityError, duration, size
from streamsplit.core.rollout import Check, Limits
from streamsplit.core.rollout_values import number

LIMITS = ("timeout", "memory", "breaker")
CHECKS = ("finite", "min", "max")

Quantity = TypeVar("Quantity", int, float)


def read_limits(found: Findings, value: object) -> Limits:
    """Reads `limits`; what is not given keeps its default."""
    fields = found.mapping(value, ("limits",), LIMITS, "`timeout`, `memory` and `breaker`")
    limits = Limits()
    timeout, memory, breaker = limits.timeout_seconds, limits.memory_bytes, limits.breaker
    if "timeout" in fields:
        timeout = _positive(found, fields["timeout"], ("limits", "timeout"), duration, DURATION)
    if "memory" in fields:
        memory = _positive(found, fields["memory"], ("limits", "memory"), size, SIZE)
    if "breaker" in fields:
        given = fields["breaker"]
        if isinstance(given, int) and not isinstance(given, bool) and 0 < given < 2**31:
            breaker = given
        else:
            found.wrong(("limits", "breaker"), given, "a number of failed batches in a row, at least 1")
    return Limits(timeout_seconds=timeout, memory_bytes=memory, breaker=breaker)


def _positive(
    found: Findings, value: object, path: Path, read: Callable[[object], Quantity], expected: str
) -> Quantity:
    try:
        quantity = read(value)
    except QuantityError as wrong:
        found.add(path, wrong.message, wrong.expected)
        return read("1s" if read is duration else "1B")
    if quantity <= 0:
        found.add(path, "nothing could ever be done within 0", f"{expected}, above 0")
    return quantity


def read_checks(found: Findings, value: object) -> Mapping[str, Check]:
    """Reads `checks`: output name → condition."""
    outputs = found.mapping(value, ("checks",), None, "output → `{finite: true, min: 0, max: 1}`")
    return MappingProxyType({name: _read_check(found, given, ("checks", name)) for name, given in outputs.items()})


def _read_check(found: Findings, value: object, path: Path) -> Check:
    fields = found.mapping(value, path, CHECKS, "`{finite: true, min: 0, max: 1}`")
    if isinstance(value, Mapping) and not value:
        found.add(path, "a check without condition never fails", "`finite`, `min` or `max`")
    finite = fields.get("finite", False)
    if not isinstance(finite, bool):
        found.wrong((*path, "finite"), finite, "`true` or `false`")
    low, high = (_read_bound(found, fields, name, path) for name in ("min", "max"))
    if low is not None and high is not None and low > high:
        found.add(path, "`min` is above `max`, so every answer would fail", "`min` at most `max`")
    return Check(finite=finite is True, minimum=low, maximum=high)


def _read_bound(found: Findings, fields: Mapping[str, object], name: str, path: Path) -> float | None:
    if name not in fields:
        return None
    try:
        return number(fields[name])
    except QuantityError as wrong:
        found.add((*path, name), "nothing is given" if fields[name] is None else wrong.message, wrong.expected)
        return None
