"""What the demonstration measured: each change of the weight, from the audit topic and the control log."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from streamsplit.kafka.clients import Connection
from streamsplit.offline.fields import Fields
from streamsplit.offline.ranges import extents, read_range
from streamsplit.wire.schemas import SchemaStore

CONVERGENCE = (
    "In force after: from the command's timestamp in the control log to the processed_time of the last request that "
    "any partition still served by the weights before. Both are readings of this machine's clock."
)


@dataclass(frozen=True, slots=True)
class Served:
    """The audit of all requests, as columns.

    Attributes:
        revisions: int64 (n,), what each was served under.
        times: int64 (n,), when, in milliseconds since the epoch.
        canary: bool (n,), whether it was assigned to the canary.
    """

    revisions: NDArray[np.int64]
    times: NDArray[np.int64]
    canary: NDArray[np.bool_]

    @classmethod
    def read(cls, connection: Connection, topic: str) -> Self:
        """Read the whole topic, committed records alone."""
        fields = Fields(SchemaStore(), "audit", ("revision", "processed_time", "arm"))
        rows = [
            (int(record["revision"]), _milliseconds(record["processed_time"]), record["arm"] == "canary")
            for messages in read_range(connection, topic, extents(connection, topic))
            for message in messages
            if (record := fields.read(message.value())) is not None
        ]
        table = np.array(rows, np.int64).reshape(-1, 3)
        return cls(table[:, 0], table[:, 1], table[:, 2].astype(np.bool_))


@dataclass(frozen=True, slots=True)
class Change:
    """One change of the canary's weight.

    Attributes:
        command: As it was typed.
        set: The weight that it sets, in percent.
        requests: How many were served until the next change.
        reached: The canary's share of them, in percent.
        converged_ms: From the command to the last request served by the weights before.
    """

    command: str
    set: float
    requests: int
    reached: float
    converged_ms: int


def changes(
    history: Sequence[Mapping[str, Any]], cuts: Sequence[Mapping[str, Any]], served: Served
) -> tuple[Change, ...]:
    """The changes of the weight, in order.

    Args:
        history: Of `streamsplit history -o json`.
        cuts: Of `streamsplit verify -o json`; a change that served no request has none.
        served: The audit.
    """
    given = {entry["revision"]: entry for entry in history if entry["accepted"]}
    # What came before the canary had a weight is plain serving.
    first = min((cut["revision"] for cut in cuts if "canary" in cut["weights"]), default=0)
    turning = [cut for cut in cuts if cut["kind"] in {"begin", "set_weight", "abort"} and cut["revision"] >= first]
    return tuple(_change(given[cut["revision"]], cut, served) for cut in turning)


def _change(entry: Mapping[str, Any], cut: Mapping[str, Any], served: Served) -> Change:
    revision = int(entry["revision"])
    mine = served.revisions == revision
    given_ms = round(datetime.fromisoformat(entry["time"]).timestamp() * 1000)
    last_before = int(served.times[served.revisions < revision].max(initial=given_ms))
    return Change(
        command=f"{entry['command']} ({entry['rollout']})" if cut["kind"] == "begin" else entry["command"],
        set=float(cut["weights"].get("canary", 0)),
        requests=int(mine.sum()),
        reached=100 * float(served.canary[mine].mean()) if mine.any() else 0.0,
        converged_ms=last_before - given_ms,
    )


def _milliseconds(value: Any) -> int:
    return round(value.timestamp() * 1000) if isinstance(value, datetime) else int(value)


def table(title: str, measured: Sequence[Change], proof: Mapping[str, Any]) -> Table:
    """The last page of the demonstration.

    Args:
        title: What ran.
        measured: The changes.
        proof: Of `streamsplit verify -o json`.
    """
    page = Table(title=title, title_justify="left", caption=CONVERGENCE, caption_justify="left")
    for name in ("change of the canary's weight", "set", "reached", "requests", "in force after"):
        page.add_column(name, justify="left" if name.startswith("change") else "right")
    for change in measured:
        page.add_row(
            change.command,
            f"{change.set:g} %",
            f"{change.reached:.2f} %",
            f"{change.requests:,}",
            f"{change.converged_ms} ms",
        )
    page.add_section()
    sums = (f"{proof[word]} {word}" for word in ("lost", "doubled", "wrong"))
    page.add_row("verify", *sums, f"{proof['requests']:,} requests", style="green" if proof["ok"] else "bold red")
    return page
