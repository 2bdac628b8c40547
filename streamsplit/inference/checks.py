"""Conditions on outputs. A row that fails one is its arm's error, like a row that raises."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from streamsplit.core.errors import UsageError
from streamsplit.core.records import Datatype, Signature, TensorSpec
from streamsplit.core.rollout import Check

_FLOATING = "f"
_NO_CHECK = Check()


def require_checkable(checks: Mapping[str, Check], signature: Signature) -> None:
    """Refuse checks that name no output, or one of text.

    Raises:
        UsageError: With the name and what there is.
    """
    numeric = [spec.name for spec in signature.outputs if spec.datatype is not Datatype.BYTES]
    if unknown := sorted(set(checks) - set(numeric)):
        listed = ", ".join(numeric) or "none"
        raise UsageError(f"checks.{unknown[0]}: expected one of the numeric outputs ({listed}). Correct the name.")


def failed_checks(
    outputs: Mapping[str, NDArray[np.generic]], signature: Signature, checks: Mapping[str, Check]
) -> dict[int, str]:
    """The rows of some answers that fail a check.

    Args:
        outputs: For each output an array (k, *shape).
        signature: The arm's; outputs that it calls finite must be.
        checks: Output name → condition.

    Returns:
        Row → why, for a person. Empty for nearly every batch.
    """
    failures: dict[int, str] = {}
    for spec in signature.outputs:
        check = checks.get(spec.name, _NO_CHECK)
        values = outputs[spec.name]
        if values.dtype == object or not values.size:
            continue
        wrong = _wrong(values, spec, check)
        if wrong is not None and wrong.any():
            flat, bad = values.reshape(len(values), -1), wrong.reshape(len(values), -1)
            for row in np.flatnonzero(bad.any(axis=1)).tolist():
                value = flat[row, int(bad[row].argmax())]
                failures.setdefault(row, f"output {spec.name} is {value}, expected {_expected(spec, check)}")
    return failures


def _wrong(values: NDArray[np.generic], spec: TensorSpec, check: Check) -> NDArray[np.bool_] | None:
    """Elements that fail; None where nothing is asked. NaN is within no bounds."""
    numbers = values
    wrong: NDArray[np.bool_] | None = None
    if (spec.finite or check.finite) and values.dtype.kind == _FLOATING:
        wrong = ~np.isfinite(numbers)
    if check.minimum is not None:
        below = ~(numbers >= check.minimum)  # type: ignore[operator]
        wrong = below if wrong is None else wrong | below
    if check.maximum is not None:
        above = ~(numbers <= check.maximum)  # type: ignore[operator]
        wrong = above if wrong is None else wrong | above
    return wrong


def _expected(spec: TensorSpec, check: Check) -> str:
    parts = ["a finite number"] if spec.finite or check.finite else []
    if check.minimum is not None:
        parts.append(f"at least {check.minimum:g}")
    if check.maximum is not None:
        parts.append(f"at most {check.maximum:g}")
    return ", ".join(parts)
