"""What a worker has done."""

from streamsplit.service.tally import Tally


def test_totals_add_up_and_rates_forget() -> None:
    tally = Tally()
    for second in range(10):
        tally.add(float(second), {"requests": 100, "arm:canary": 10})
    assert tally.totals() == {"requests": 1000, "arm:canary": 100}
    assert tally.rates(9.5, {"requests": "requests", "arm:canary": "canary"}) == {"requests": 100.0, "canary": 10.0}
    assert tally.rates(100.0, {"requests": "requests"}) == {"requests": 0.0}
    assert tally.totals()["requests"] == 1000


def test_what_was_never_counted_is_zero() -> None:
    assert Tally().rates(0.0, {"requests": "requests"}) == {"requests": 0.0}
    assert Tally().totals() == {}
