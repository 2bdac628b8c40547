"""Numbers as people read them."""

import math

from streamsplit.core.quantities import moment_text

_MOST_DIGITS = 1e5
_LEAST_DIGITS = 1e-3
_PLAIN_LOG = math.log(_MOST_DIGITS)
_MOST_LOG = 1e6
"""Beyond, a number has no digits that say anything."""

_LOG_TEN = math.log(10)


def number(value: float | None, unit: str = "") -> str:
    """A figure to three digits, with its unit; empty for None. Of the unit `%` is a share, 0 to 1."""
    if value is None:
        return ""
    value = 100 * value if unit == "%" else value
    behind = f" {unit}" if unit else ""
    if math.isinf(value):
        return f"{'-' if value < 0 else ''}∞{behind}"
    small_or_large = value != 0 and not _LEAST_DIGITS <= abs(value) < _MOST_DIGITS
    if small_or_large:
        return f"{value:.1e}{behind}"
    return f"{value:.0f}{behind}" if abs(value) >= 999.5 else f"{value:.3g}{behind}"  # noqa: PLR2004 # three digits


def e_value(log_e: float | None) -> str:
    """An e-value from its natural logarithm, however large; empty for None."""
    if log_e is None:
        return ""
    if math.isinf(log_e):
        return "∞" if log_e > 0 else "0"
    if math.isnan(log_e) or abs(log_e) < _PLAIN_LOG:
        return number(math.exp(log_e))
    if abs(log_e) > _MOST_LOG:
        return f"10^{number(log_e / _LOG_TEN)}"
    exponent = math.floor(log_e / _LOG_TEN)
    mantissa = f"{math.exp(log_e - exponent * _LOG_TEN):.1f}"
    return f"1.0e{exponent + 1:+03d}" if mantissa == "10.0" else f"{mantissa}e{exponent:+03d}"


def of_needed(log_e: float | None, log_needed: float | None) -> str:
    """An e-value beside what it must reach; empty where there is none."""
    return e_value(log_e) if log_e is None or log_needed is None else f"{e_value(log_e)} of {e_value(log_needed)}"


def as_json(value: float | None) -> float | str | None:
    """A number as JSON can hold it: an infinity is a text."""
    if value is None or math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def clock(milliseconds: int) -> str:
    """Milliseconds since the epoch as a time of day in UTC, for what stands beside a date."""
    said = moment_text(milliseconds)
    return said[11:19] if "T" in said else said
