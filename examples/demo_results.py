"""What the demonstration measured: what each rollout cost until the judge decided, from the logs alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from streamsplit.cli.figures import number
from streamsplit.core.decision import Decision, Verdict
from streamsplit.kafka.clients import Connection
from streamsplit.offline.fields import Fields
from streamsplit.offline.ranges import extents, read_range
from streamsplit.wire.schemas import SchemaStore

_ALL = 100
"""Percent."""


@dataclass(frozen=True, slots=True)
class Served:
    """The audit of all requests, as columns.

    Attributes:
        revisions: int64 (n,), what each was served under.
        times: int64 (n,), when, in milliseconds since the epoch.
        assigned: bool (n,), whether it was assigned to the canary.
        answered: bool (n,), whether the canary answered it.
    """

    revisions: NDArray[np.int64]
    times: NDArray[np.int64]
    assigned: NDArray[np.bool_]
    answered: NDArray[np.bool_]

    @classmethod
    def read(cls, connection: Connection, topic: str) -> Self:
        """Read the whole topic, committed records alone."""
        fields = Fields(SchemaStore(), "audit", ("revision", "processed_time", "arm", "served_by"))
        rows = [
            (
                int(record["revision"]),
                _milliseconds(record["processed_time"]),
                record["arm"] == "canary",
                record["served_by"] == "canary",
            )
            for messages in read_range(connection, topic, extents(connection, topic))
            for message in messages
            if (record := fields.read(message.value())) is not None
        ]
        table = np.array(rows, np.int64).reshape(-1, 4)
        return cls(table[:, 0], table[:, 1], table[:, 2].astype(np.bool_), table[:, 3].astype(np.bool_))


@dataclass(frozen=True, slots=True)
class Outcome:
    """One rollout, from its first step to the judge's decision.

    Attributes:
        rollout: Its name.
        phase: What the judge brought it to.
        guard: The guard that decided; empty where all agreed.
        why: The decisive reason, in a few words.
        requests: Requests served from the first step until the command of the decision was written.
        seconds: How long that was.
        assigned: Requests assigned to the candidate, also after the command.
        answered: Those of them that it answered.
        last_ms: From the command to the candidate's last answer; 0 where there was none after it.
        proven: Requests of the rollout whose arm `verify` derived again.
        shares: The share set and the share reached of each step, in percent.
    """

    rollout: str
    phase: str
    guard: str
    why: str
    requests: int
    seconds: float
    assigned: int
    answered: int
    last_ms: int
    proven: int
    shares: tuple[tuple[float, float], ...]


def outcome(
    history: Sequence[Mapping[str, Any]],
    decision: Decision,
    proof: Mapping[str, Any],
    served: Served,
) -> Outcome:
    """What one rollout came to.

    Args:
        history: The rollout's accepted commands, of `streamsplit history -o json`; the judge's is the last.
        decision: That caused the last one.
        proof: Of `streamsplit verify -o json`.
        served: The audit of all requests.
    """
    begin = next(row for row in history if row["kind"] == "begin")
    end = history[-1]
    mine = (served.revisions >= begin["revision"]) & (served.revisions < end["revision"])
    given_ms, begun_ms = (round(1000 * _seconds(row)) for row in (end, begin))
    answered = mine & served.answered
    shares = [share for share in proof["shares"] if begin["revision"] <= share["revision"] < end["revision"]]
    guard, why = _why(decision, [share["set"] for share in shares])
    return Outcome(
        rollout=end["rollout"],
        phase=end["result"],
        guard=guard,
        why=why,
        requests=int((mine & (served.times <= given_ms)).sum()),
        seconds=(given_ms - begun_ms) / 1000,
        assigned=int((mine & served.assigned).sum()),
        answered=int(answered.sum()),
        last_ms=int(served.times[answered].max(initial=given_ms)) - given_ms,
        proven=sum(share["requests"] for share in shares),
        shares=tuple((share["set"], share["reached"]) for share in shares),
    )


def _why(decision: Decision, weights: Sequence[float]) -> tuple[str, str]:
    """The guard that decided, and the reason in a few words."""
    bad = [reading for reading in decision.readings if reading.verdict is Verdict.BAD]
    if not bad:
        # Beside 100 % there is no control to be as good as.
        return "", f"good enough at {'/'.join(f'{weight:g}' for weight in weights if weight < _ALL)} %"
    # The weightiest reason names the guard that decided; others may have objected too.
    reading = next((each for each in bad if each.guard in decision.reasons[0]), bad[0])
    beside = "limit" if reading.guard.endswith("limit") else "control"
    candidate, other = (number(figure, reading.unit) for figure in (reading.candidate, reading.control))
    return reading.guard, f"{reading.guard}: {candidate}, {beside} {other}"


def _seconds(row: Mapping[str, Any]) -> float:
    return datetime.fromisoformat(row["time"]).timestamp()


def _milliseconds(value: Any) -> int:
    return round(value.timestamp() * 1000) if isinstance(value, datetime) else int(value)
