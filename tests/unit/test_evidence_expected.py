"""How many requests evidence for a promotion is expected to take."""

import math

import pytest

from streamsplit.core.evidence.expected import mirrored_requests, split_requests

NEEDED = math.log(20)


@pytest.mark.parametrize(
    ("share", "floor", "error_rate", "thousands"),
    [
        (0.01, 0.002, 0.0, 201),
        (0.01, 0.002, 0.001, 271),
        (0.01, 0.002, 0.01, 216),
        (0.1, 0.002, 0.0, 21),
        (0.1, 0.002, 0.001, 30),
        (0.1, 0.002, 0.01, 24),
        (0.5, 0.002, 0.0, 5),
        (0.5, 0.002, 0.001, 10),
        (0.5, 0.002, 0.01, 11),
        (0.95, 0.002, 0.0, 3),
        (0.95, 0.002, 0.001, 17),
        (0.95, 0.002, 0.01, 55),
        (0.1, 0.001, 0.0, 41),
        (0.1, 0.001, 0.001, 68),
        (0.1, 0.001, 0.01, 33),
    ],
)
def test_a_split_takes_as_many_requests_as_other_simulations_say(
    share: float, floor: float, error_rate: float, thousands: float
) -> None:
    """Thousands of requests in windows of 1000, from simulations of 20 000 rollouts and more."""
    took = split_requests(1.5, floor, share=share, error_rate=error_rate, log_needed=NEEDED)
    assert took == pytest.approx(1000 * thousands, rel=0.15)


def test_an_error_free_split_takes_what_the_last_bet_takes() -> None:
    """Without errors nothing is random: with c = n_b f, log mean_j exp(c (1 - q_j)) = log 20 has the solution below."""
    share, growth, bets = 0.1, 4.12, []
    for factor in (1 / 1.25, 1 / 1.5, 1 / 2, 1 / 3, 1 / 10, 1e-6):
        q_a = (share * 1.5 + 1 - share) / (share * 1.5 * factor + 1 - share)
        bets.append(1 - factor * q_a)
    while math.log(sum(math.exp(growth * bet) for bet in bets) / 6) < NEEDED:
        growth += 0.001
    took = split_requests(1.5, 0.01, share=share, error_rate=0.0, log_needed=NEEDED, window_requests=1)
    assert share * took == pytest.approx(growth / 0.01, rel=0.1)


def test_the_same_question_has_the_same_answer() -> None:
    answers = []
    for _ in range(2):
        split_requests.cache_clear()
        answers.append(split_requests(1.5, 0.002, share=0.3, error_rate=0.004, log_needed=NEEDED, window_requests=77))
    assert answers[0] == answers[1]


def test_pairs_take_a_fraction_of_a_split_of_a_tenth() -> None:
    """1 400 to 5 000 mirrored requests; somewhat more where both arms fail 1 %, and never the same requests."""
    least, few, many = (
        mirrored_requests(1.5, 0.002, error_rate=rate, log_needed=NEEDED, window_requests=100)
        for rate in (0.0, 0.001, 0.01)
    )
    assert 1400 < least < few < 5000
    assert few < many < 6500
    assert 5 * few < split_requests(1.5, 0.002, share=0.1, error_rate=0.001, log_needed=NEEDED, window_requests=100)


def test_evidence_that_cannot_come_is_told_as_infinity() -> None:
    """A ratio close to 1 and next to no tolerance: every bet loses against two equal arms."""
    assert split_requests(1.0001, 1e-9, share=0.5, error_rate=0.3, log_needed=NEEDED) == math.inf
