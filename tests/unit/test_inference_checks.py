"""Checks on outputs, row by row."""

from typing import Any

import numpy as np
import pytest

from streamsplit.core.errors import UsageError
from streamsplit.core.records import Datatype, Signature, TensorSpec
from streamsplit.core.rollout import Check
from streamsplit.inference.checks import failed_checks, require_checkable

NAN, INF = float("nan"), float("inf")


def signature(*, finite: bool = False, datatype: Datatype = Datatype.FP32) -> Signature:
    return Signature((), (TensorSpec("p", datatype, (2,), finite),))


@pytest.mark.parametrize(
    ("check", "finite", "values", "failing"),
    [
        (Check(), False, [[NAN, 0], [INF, 0]], []),
        (Check(), True, [[0, 0], [0, NAN], [INF, 0]], [1, 2]),
        (Check(finite=True), False, [[0, 0], [0, NAN], [-INF, 0]], [1, 2]),
        (Check(minimum=0.0), False, [[0, 0], [0, -0.1], [NAN, 0], [INF, 0]], [1, 2]),
        (Check(maximum=1.0), False, [[1, 0], [1.5, 0], [NAN, 0], [-INF, 0]], [1, 2]),
        (Check(minimum=0.0, maximum=1.0), False, [[0.5, 2], [0.5, -1], [0, 1]], [0, 1]),
    ],
)
def test_a_row_fails_when_any_of_its_elements_does(
    check: Check, *, finite: bool, values: list[Any], failing: list[int]
) -> None:
    failures = failed_checks({"p": np.array(values, np.float32)}, signature(finite=finite), {"p": check})
    assert sorted(failures) == failing


def test_the_reason_names_the_output_the_value_and_the_bounds() -> None:
    check = Check(finite=True, minimum=0.0, maximum=1.0)
    failures = failed_checks({"p": np.array([[0.5, 7.0]])}, signature(datatype=Datatype.FP64), {"p": check})
    assert failures == {0: "output p is 7.0, expected a finite number, at least 0, at most 1"}


def test_whole_numbers_and_texts_have_no_nan() -> None:
    whole = np.array([[1, 2]], np.int64)
    texts = np.array([[b"a", b"b"]], dtype=object)
    assert failed_checks({"p": whole}, signature(datatype=Datatype.INT64, finite=True), {"p": Check(finite=True)}) == {}
    assert failed_checks({"p": texts}, signature(datatype=Datatype.BYTES), {}) == {}


@pytest.mark.parametrize(("name", "datatype"), [("q", Datatype.FP32), ("p", Datatype.BYTES)])
def test_a_check_of_nothing_that_can_be_checked_is_refused(name: str, datatype: Datatype) -> None:
    with pytest.raises(UsageError, match=rf"checks\.{name}: expected one of the numeric outputs"):
        require_checkable({name: Check(finite=True)}, signature(datatype=datatype))
    require_checkable({"p": Check(finite=True)}, signature())
