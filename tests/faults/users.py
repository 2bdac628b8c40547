"""Users whose requests hang together: a few have many, and many ask the same thing again and again."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from examples.flight_requests import Pace, Request, flights, requests_of

USERS = 40_000
SPREAD = 1.5
"""Standard deviation of the logarithm of how much a user asks: one in a hundred has a fifth of all requests."""

FAITHFUL = 0.5
"""Share of the users who always ask for the same flight; the others for any."""

_CHUNK = 4096


def user_requests(pace: Pace, seed: int = 0) -> Iterator[Request]:
    """Flights that users ask for, without end; the key of a request is its user.

    Args:
        pace: What the requests say of their time.
        seed: Of everything that is drawn.
    """
    dice = np.random.default_rng(seed)
    table = flights()
    activity = dice.lognormal(0.0, SPREAD, USERS)
    own = dice.integers(len(table), size=USERS)
    faithful = dice.random(USERS) < FAITHFUL
    names = np.array([f"user-{number}" for number in range(USERS)], object)
    position = 0
    while True:
        users = dice.choice(USERS, _CHUNK, p=activity / activity.sum())
        asked = np.where(faithful[users], own[users], dice.integers(len(table), size=_CHUNK))
        numbers = np.arange(position, position + _CHUNK)
        times = pace.begin_ms + 1000 / pace.per_second * numbers
        yield from requests_of(
            replace(table.take(asked), rows=numbers, tails=names[users], scheduled=times.astype(np.int64))
        )
        position += _CHUNK
