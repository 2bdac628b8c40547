"""What a worker says of itself once a second, on the topic `workers`."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class ArmStatus:
    """One arm in one worker.

    Attributes:
        name: `control`, a candidate's name, or `previous` for what a rollback returns to.
        model: Label of its chain.
        phase: `loading`, `ready`, `restarting`, `failed` or `stopped`.
        reason: Why it is not ready; empty where it is.
        restarts: How often its process was started again.
        pid: Its process; None where it has none.
        breaker_open: Whether it failed so often in a row that it is no longer asked.
    """

    name: str
    model: str
    phase: str
    reason: str = ""
    restarts: int = 0
    pid: int | None = None
    breaker_open: bool = False


@dataclass(frozen=True, slots=True)
class UnitStatus:
    """Units that one worker remembers, where a unit has many requests (`seen_units.py`).

    Attributes:
        stay: Revision that began the stay.
        partitions: How many it remembers units of.
        counting: Those of them whose first requests count; in the others it does not know yet whom earlier owners met.
        fullest: The share of places that are set in the fullest bitmap, 0 to 1.
    """

    stay: int
    partitions: int
    counting: int
    fullest: float


@dataclass(frozen=True, slots=True)
class Status:
    """One worker.

    Attributes:
        slot: Its static name.
        incarnation: A new one for each process.
        started_ms: When the process started, milliseconds since the epoch.
        written_ms: When this was written, milliseconds since the epoch, by the worker's clock.
        version: Of the program.
        revision: Of the state it serves under; -1 for Empty.
        digest: Of that state; two digests at one revision are an alarm.
        phase: Of the deployment, as this worker folded it.
        ready: Whether it serves.
        prepared: Whether every arm of the state is loaded and warm here.
        reasons: Why it is not ready or not prepared, and what else an operator should know.
        reading: Request partition → the next offset to commit.
        lag: Request partition → records behind the end; -1 when not known.
        waiting: Request partition → why it is held back.
        arms: The arms, control first.
        rates: Requests a second over the last seconds: `requests`, and by the name of the arm that was assigned.
        failed: Arm → requests a second that it was assigned and did not answer itself.
        mirrored: Candidate → requests a second that were mirrored to it.
        mirror_failed: Candidate → those of them, a second, that it did not answer in time and well.
        totals: Since the start: `requests`, `dead_letters`, `batches`, `dropped_batches`, `commits`;
            `cpu:<stage>` is the CPU time of a stage in microseconds; of a judge also `summaries`, `decisions`, and
            `unreadable_summaries`, which were passed over.
        judging: Whether it is the judge: at most one worker is, the others stand in.
        units: Of sticky units, while a rollout has them; None else.
        stopping: True in the last status of a worker that leaves.
    """

    slot: str
    incarnation: str
    started_ms: int
    written_ms: int
    version: str
    revision: int
    digest: str
    phase: str
    ready: bool
    prepared: bool
    reasons: tuple[str, ...] = ()
    reading: Mapping[int, int] = field(default_factory=dict)
    lag: Mapping[int, int] = field(default_factory=dict)
    waiting: Mapping[int, str] = field(default_factory=dict)
    arms: tuple[ArmStatus, ...] = ()
    rates: Mapping[str, float] = field(default_factory=dict)
    failed: Mapping[str, float] = field(default_factory=dict)
    mirrored: Mapping[str, float] = field(default_factory=dict)
    mirror_failed: Mapping[str, float] = field(default_factory=dict)
    totals: Mapping[str, int] = field(default_factory=dict)
    judging: bool = False
    units: UnitStatus | None = None
    stopping: bool = False

    def to_dict(self) -> dict[str, Any]:
        """As plain values; partition numbers become strings, as JSON demands."""
        plain = asdict(self)
        for name in _BY_PARTITION:
            plain[name] = {str(number): value for number, value in plain[name].items()}
        return plain

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> "Status":
        """The reverse of `to_dict`; fields of a newer program are left out.

        Raises:
            ValueError: A field is missing or of a wrong kind.
        """
        try:
            known = {name: plain[name] for name in cls.__slots__ if name in plain}
            for name in _BY_PARTITION:
                known[name] = {int(number): value for number, value in known.get(name, {}).items()}
            arms = tuple(
                ArmStatus(**{name: arm[name] for name in ArmStatus.__slots__ if name in arm})
                for arm in known.get("arms", ())
            )
            told = known.get("units")
            units = UnitStatus(**{name: told[name] for name in UnitStatus.__slots__}) if told is not None else None
            return cls(**{**known, "arms": arms, "reasons": tuple(known.get("reasons", ())), "units": units})
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a worker's status: {error}") from error


_BY_PARTITION = ("reading", "lag", "waiting")


def unprepared(statuses: Mapping[str, Status], revision: int, partitions: int) -> tuple[str, ...]:
    """Why a rollout in Preparing cannot begin yet; empty when it can (docs/design.md section 6).

    Args:
        statuses: Slot → status, those alone that arrived within the last 5 s.
        revision: Of the apply.
        partitions: Number of request partitions.

    Returns:
        Reasons for a person, one for each partition or worker that is missing.
    """
    if not statuses:
        return ("no worker has reported within the last 5 s",)
    live = [status for status in statuses.values() if not status.stopping]
    reasons = [
        f"{status.slot}: {'; '.join(status.reasons) or f'has not reached revision {revision}'}"
        for status in live
        if status.revision != revision or not (status.prepared and status.ready)
    ]
    claimed = {
        number
        for status in live
        if status.revision == revision and status.prepared and status.ready
        for number in status.reading
    }
    missing = sorted(set(range(partitions)) - claimed)
    if missing:
        reasons.append(f"no ready worker has partitions {', '.join(map(str, missing))}")
    return tuple(reasons)
