"""Breakers are values that change with committed batches only."""

import pytest

from streamsplit.inference.breakers import Breakers, BreakerUpdate


def after(*batches: bool | None, threshold: int = 3) -> Breakers:
    """The breakers after batches on which the canary fell (True), finished (False) or was not asked (None)."""
    breakers = Breakers()
    for fell in batches:
        asked = {} if fell is None else {"canary": fell}
        breakers = breakers.after(BreakerUpdate(7, threshold, asked, {"canary": "crashed"}))
    return breakers


@pytest.mark.parametrize(
    ("batches", "opens"),
    [
        ((True, True), False),
        ((True, True, True), True),
        ((True, True, False, True, True), False),
        ((True, None, True, None, True), True),
        ((True, True, True, False, False), True),
    ],
)
def test_a_breaker_opens_after_failed_batches_in_a_row_and_stays_open(
    batches: tuple[bool | None, ...], *, opens: bool
) -> None:
    assert after(*batches).is_open(7, "canary") is opens


def test_an_open_breaker_says_why() -> None:
    assert after(True, True, True).open["canary"] == "3 batches in a row failed: crashed"


def test_another_rollout_begins_with_closed_breakers() -> None:
    breakers = after(True, True, True)
    assert not breakers.is_open(8, "canary")
    assert breakers.after(BreakerUpdate(8, 3, {"canary": True})).failures == {"canary": 1}
    assert not breakers.after(BreakerUpdate(8, 3, {"canary": True})).open
