"""How a model process came down, and whose fault that can be."""

import enum
import signal
from dataclasses import dataclass
from pathlib import Path

from streamsplit.core.records import Outcome


class FallKind(enum.Enum):
    """Why a process no longer answers."""

    HANG = "no run finished in time"
    CRASH = "crashed"
    MEMORY = "ran out of memory"
    KILLED = "was killed from outside"
    SUSPENDED = "was suspended from outside"
    STOPPED = "was stopped"


OUTCOME_OF_FALL = {
    FallKind.HANG: Outcome.FALLBACK_TIMEOUT,
    FallKind.CRASH: Outcome.FALLBACK_ERROR,
    FallKind.MEMORY: Outcome.FALLBACK_ERROR,
    FallKind.KILLED: Outcome.FALLBACK_ERROR,
    FallKind.SUSPENDED: Outcome.FALLBACK_TIMEOUT,
    FallKind.STOPPED: Outcome.FALLBACK_LOADING,  # we did it: not counted against the candidate
}
"""How the rows end that a candidate was at when it fell."""


@dataclass(frozen=True, slots=True)
class Fall:
    """The end of a process.

    Attributes:
        kind: Why.
        reason: One sentence for a person.
    """

    kind: FallKind
    reason: str

    @property
    def blamed(self) -> bool:
        """Whether the rows it was working on may be the reason; never where somebody killed or stopped it."""
        return self.kind in {FallKind.HANG, FallKind.CRASH, FallKind.MEMORY}


_FROM_OUTSIDE = {signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT}


def of_exit(code: int, *, ran_out_of_memory: bool) -> Fall:
    """The fall of a process that ended by itself or by a signal that was not ours.

    Args:
        code: Exit code, or the negative number of the signal.
        ran_out_of_memory: Whether the process said so, or the kernel killed somebody for memory meanwhile.
    """
    how = f"exit code {code}" if code >= 0 else f"signal {_signal_name(-code)}"
    if ran_out_of_memory:
        return Fall(FallKind.MEMORY, f"its process ran out of memory ({how})")
    if -code in _FROM_OUTSIDE:
        return Fall(FallKind.KILLED, f"its process was killed from outside ({how})")
    return Fall(FallKind.CRASH, f"its process crashed ({how})")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


def memory_kills() -> int:
    """How many processes the kernel has killed for want of memory since the machine started."""
    try:
        lines = Path("/proc/vmstat").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)
