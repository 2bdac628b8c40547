"""Percentages, relative weights, durations and sizes as people write them, read without loss, and said to people."""

import math
import re
from datetime import UTC, datetime
from fractions import Fraction

from streamsplit.core.findings import show
from streamsplit.core.rollout import WHOLE

PERCENT = "a percentage from 0 to 100, such as `25`, `0.01` or `12.5%`"
SHARE = "a percentage with its sign, such as `0.1%` or `20%`"
DURATION = "a duration such as `200ms`, `60s`, `5m` or `2h`"
SIZE = "a size such as `512MiB` or `1GiB`"

_PERCENT = re.compile(r"[0-9]{1,20}(\.[0-9]{1,20})? ?%?", re.ASCII)
_SHARE = re.compile(r"([0-9]{1,20}(?:\.[0-9]{1,20})?) ?%", re.ASCII)
_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?(ms|s|m|h|d)", re.ASCII)
_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?) ?(B|kB|KB|KiB|MB|MiB|GB|GiB|TB|TiB)", re.ASCII)
_RELATIVE = re.compile(r"[0-9]{1,6}( ?: ?[0-9]{1,6})+", re.ASCII)

_SECONDS = {"ms": Fraction(1, 1000), "s": Fraction(1), "m": Fraction(60), "h": Fraction(3600), "d": Fraction(86400)}
_DAY = 86_400.0
_SPOKEN = ((90.0, "s", 1.0), (5_400.0, "min", 60.0), (2 * _DAY, "h", 3600.0))
"""Below so many seconds a duration is said in that unit, which has so many seconds."""
_BYTES = {
    "B": 1,
    "kB": 10**3,
    "KB": 10**3,
    "KiB": 2**10,
    "MB": 10**6,
    "MiB": 2**20,
    "GB": 10**9,
    "GiB": 2**30,
    "TB": 10**12,
    "TiB": 2**40,
}


class QuantityError(ValueError):
    """A value that is no quantity of the wanted kind.

    Attributes:
        message: What is wrong.
        expected: What would be right.
    """

    def __init__(self, message: str, expected: str) -> None:
        super().__init__(f"{message}; expected {expected}")
        self.message = message
        self.expected = expected


def percent(value: object) -> int:
    """Reads a percentage.

    Args:
        value: A number of percent, or text such as `25` or `12.5%`.

    Returns:
        Basis points, 0..10000.

    Raises:
        QuantityError: Not a percentage, outside 0..100, or finer than 0.01 %.
    """
    share = _percent_fraction(value)
    if not 0 <= share <= 100:  # noqa: PLR2004 - the ends of a percentage
        raise QuantityError(f"{show(value)} is outside 0 to 100 %", PERCENT)
    points = share * (WHOLE // 100)
    if points.denominator != 1:
        raise QuantityError(
            f"{show(value)} is finer than 0.01 %, the smallest share",
            f"a multiple of 0.01, such as `{max(round(points), 1) / 100:g}`",
        )
    return int(points)


def _percent_fraction(value: object) -> Fraction:
    if isinstance(value, str) and _PERCENT.fullmatch(value):
        return Fraction(value.rstrip("% "))
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise QuantityError(f"{show(value)} is no percentage", PERCENT)
    # The shortest text of a float is what was written: 0.07 means 7 basis points, not 0.070000000000000007 %.
    return Fraction(repr(value)) if isinstance(value, float) else Fraction(value)


def share(value: object) -> float:
    """Reads a percentage with its sign as a share: `0.1%` is 0.001, however fine.

    The sign is asked for because 0.1 without it could be either.

    Raises:
        QuantityError: Not a percentage with a sign, or outside 0..100.
    """
    found = _SHARE.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise QuantityError(f"{show(value)} is no percentage with its sign", SHARE)
    part = Fraction(found[1]) / 100
    if part > 1:
        raise QuantityError(f"{show(value)} is outside 0 to 100 %", SHARE)
    return float(part)


def percent_text(points: int) -> str:
    """Basis points as people read them: `25 %`, `0.01 %`."""
    whole, rest = divmod(points, 100)
    return f"{whole}{f'.{rest:02d}'.rstrip('0') if rest else ''} %"


def is_relative(value: object) -> bool:
    """Whether a value is relative weights such as `1:2`."""
    return isinstance(value, str) and _RELATIVE.fullmatch(value) is not None


def relative(value: str, arms: int) -> tuple[int, ...]:
    """Normalises relative weights by largest remainder; ties go to the earlier arm.

    Args:
        value: One number for each arm, control first, such as `1:2`.
        arms: How many arms there are.

    Returns:
        Basis points of each arm, control first; they sum to 10000.

    Raises:
        QuantityError: Another number of parts than arms, or nothing but zeros.
    """
    parts = [int(part) for part in value.split(":")]
    if len(parts) != arms:
        raise QuantityError(
            f"{show(value)} has {len(parts)} parts for {arms} arms", "one number for each arm, control first"
        )
    total = sum(parts)
    if total == 0:
        raise QuantityError(f"{show(value)} gives nothing to anybody", "at least one number above 0")
    floors = [part * WHOLE // total for part in parts]
    by_remainder = sorted(range(arms), key=lambda arm: (-(parts[arm] * WHOLE % total), arm))
    for arm in by_remainder[: WHOLE - sum(floors)]:
        floors[arm] += 1
    return tuple(floors)


def duration(value: object) -> float:
    """Reads a duration such as `60s`, in seconds; raises QuantityError where it is none."""
    found = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise QuantityError(f"{show(value)} is no duration", DURATION)
    return float(Fraction(found[1]) * _SECONDS[found[2]])


def duration_text(seconds: float) -> str:
    """Seconds as people say them, to two digits: `45 s`, `12 min`, `3.4 h`, `5 days`."""
    for longest, unit, length in _SPOKEN:
        if seconds < longest:
            return f"{float(f'{seconds / length:.2g}'):g} {unit}"
    return f"{float(f'{seconds / _DAY:.2g}'):,.0f} days" if math.isfinite(seconds) else "for ever"


def moment_text(milliseconds: int) -> str:
    """Milliseconds since the epoch as ISO 8601 in UTC; the number where no calendar has it."""
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):
        return f"{milliseconds} ms"


def size(value: object) -> int:
    """Reads a size such as `1GiB`, in bytes; raises QuantityError where it is none."""
    found = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise QuantityError(f"{show(value)} is no size", SIZE)
    return int(Fraction(found[1]) * _BYTES[found[2]])
