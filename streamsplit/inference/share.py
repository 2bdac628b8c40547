"""An arm's share of a batch, handed to its process and watched from the parent."""

import itertools
import math
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamsplit.core.records import Datatype
from streamsplit.core.text_tensor import Tensor
from streamsplit.inference.fall import Fall, FallKind
from streamsplit.inference.layout import fixed, read_texts, reserve, write_inputs
from streamsplit.inference.process import ModelProcess

OPEN, ANSWERED, RAISED = range(3)
"""States of a row: not decided, answered, raised when run alone."""

_QUIET_SECONDS = 0.01
_NUMBERS = itertools.count()


class Share:
    """Some rows of a batch in one process.

    Nothing blocks: `poll` takes what has come, `fileno` tells when there may be more, `deadline` when to lose patience.

    Args:
        process: Who answers.
        columns: The batch's inputs, m rows each.
        rows: int64 (k,), the rows of the share, at least one.
        run_rows: Most rows in one run.
        patience: Seconds in which one run must finish; the time spent on a search (below) is taken off it.
        search: Seconds, all in all, in which the rows that raise must be found where a run does.
        thorough: Whether they are looked for until all is decided; else the share ends where that time does.
        prove: Whether the process must reproduce its golden records first.
        confirm: Whether it must reproduce them afterwards, if a row raised: else the process, not the row, is to blame,
            and it falls.
        turn: Seconds in which a share that was given up must have left the process to this one.
        start: Where its tensors may lie in the arena, in bytes: behind those that are still to be read.

    Attributes:
        process: As given.
        rows: As given.
        states: int8 (k,), one of OPEN, ANSWERED, RAISED.
        micros: int64 (k,), wall time of the run that answered.
        reasons: Position in the share → why the row raised.
        late: Whether the time for the search was over before all was decided.
        proven: Whether the golden records have been reproduced for this share.
        fall: How the process came down before the share was done; None: it did not.
        end: The first byte of the arena behind its tensors.
    """

    def __init__(
        self,
        process: ModelProcess,
        columns: Mapping[str, Tensor],
        rows: NDArray[np.int64],
        *,
        run_rows: int,
        patience: float,
        search: float = 0.0,
        thorough: bool = False,
        prove: bool = False,
        confirm: bool = False,
        turn: float = math.inf,
        start: int = 0,
    ) -> None:
        self.process = process
        self.rows = rows
        self.states = np.zeros(len(rows), np.int8)
        self.micros = np.zeros(len(rows), np.int64)
        self.reasons: dict[int, str] = {}
        self.late = False
        self.proven = False
        self.fall: Fall | None = None
        self._columns = columns
        self._order: dict[str, Any] = {
            "id": next(_NUMBERS),
            "rows": len(rows),
            "run_rows": run_rows,
            "search": search,
            "thorough": thorough,
            "prove": prove,
            "confirm": confirm,
            "quiet": min(_QUIET_SECONDS, patience / 20),
        }
        self._patience = patience
        self._searched = 0.0
        self._turn = time.monotonic() + turn
        self._sent = False
        self._done = False
        self._outputs: dict[str, NDArray[Any]] = {}
        self._texts: dict[str, NDArray[Any]] = {}
        self.end = start
        # One that was given up has the time of a run, counted from the last that was heard of it.
        self._progress = process.sign_of_life if process.busy is not None else time.monotonic()
        self._take_turn() if process.busy is None else self.poll()

    @property
    def finished(self) -> bool:
        """Whether nothing more will come."""
        return self._done or self.fall is not None

    @property
    def deadline(self) -> float:
        """When the run under way must have finished, on the monotonic clock."""
        deadline = self._progress + self._left + float(self._order["quiet"])
        return deadline if self._sent else min(deadline, self._turn)

    @property
    def progress(self) -> float:
        """When a run last began or finished, as far as is known, on the monotonic clock."""
        return self._progress

    @property
    def sent(self) -> bool:
        """Whether the process has been given it."""
        return self._sent

    @property
    def first_run(self) -> tuple[int, int] | None:
        """Rows of the first run, and its wall time in microseconds; None where it raised or is not finished."""
        rows = min(len(self.rows), int(self._order["run_rows"]))
        return (rows, int(self.micros[0])) if (self.states[:rows] == ANSWERED).all() else None

    def output(self, name: str) -> NDArray[Any]:
        """The answers, (k, *shape), valid where `states` is ANSWERED; on the arena: copy what must stay."""
        return self._texts[name] if name in self._texts else self._outputs[name]

    def poll(self) -> None:
        """Take what has come; a process that has let the deadline pass is killed."""
        if self.finished:
            return
        messages, alive = self.process.receive()
        for message in messages:
            self._take(message)
        if messages:
            # If we were the slow ones, the process may have waited for us to read: give it time to go on.
            self._progress = max(self._progress, time.monotonic() - self._patience / 2)
        if self._done:
            return
        if not alive:
            self.fall = self.process.fall()
        elif not self._sent and self.process.busy is None:
            self._take_turn()
        elif time.monotonic() > self.deadline:
            self._lose_patience()

    @property
    def _left(self) -> float:
        """Seconds that the run under way may take: what raises first and then hangs costs one time-out in all."""
        return self._patience - min(self._searched, float(self._order["search"]))

    def _lose_patience(self) -> None:
        if self.process.suspended():
            fall = Fall(FallKind.SUSPENDED, "its process was suspended from outside")
        elif not self._sent and time.monotonic() <= self._progress + self._patience:
            fall = Fall(FallKind.HANG, "it was busy for too long with rows that were given up")
        else:
            fall = Fall(FallKind.HANG, f"no run finished within {self._left:.3g} s")
        self.process.kill(fall)
        self.fall = self.process.fall()

    def _take_turn(self) -> None:
        """Send the share to a process that is not busy with one that was given up."""
        signature, arena = self.process.signature, self.process.arena
        inputs, free = reserve(signature.inputs, len(self.rows), self.end)
        outputs, free = reserve(signature.outputs, len(self.rows), free)
        try:
            blobs, free = write_inputs(arena, signature.inputs, self._columns, self.rows, offsets=inputs, free=free)
        except OSError as error:
            self.process.kill(Fall(FallKind.STOPPED, f"no memory for its inputs: {error.strerror}"))
            self.fall = self.process.fall()
            return
        self._outputs = {
            spec.name: fixed(arena, spec, outputs[spec.name], len(self.rows)) for spec in signature.outputs
        }
        self._texts = {
            spec.name: np.full((len(self.rows), *spec.shape), b"", dtype=object)
            for spec in signature.outputs
            if spec.datatype is Datatype.BYTES
        }
        self.end = free
        self._sent = True
        self._progress = self.process.sign_of_life = time.monotonic()
        if self.process.send({**self._order, "inputs": inputs, "outputs": outputs, "blobs": blobs, "free": free}):
            self.process.busy = self._order["id"]
        else:
            self.process.kill(Fall(FallKind.CRASH, "its process does not take orders"))
            self.fall = self.process.fall()

    def _take(self, message: Mapping[str, Any]) -> None:
        self._progress = self.process.sign_of_life = max(self._progress, message["at"])
        if "done" in message:
            self.process.busy = None
        if message["id"] != self._order["id"] or not self._sent:
            return  # of a share that was given up
        self._searched = message.get("searched", self._searched)
        if "ran" in message:
            start, stop = message["ran"]
            self.states[start:stop] = ANSWERED
            self.micros[start:stop] = message["micros"]
            for name, blob in message["blobs"].items():
                self.process.arena.follow()
                lengths = self._outputs[name][start:stop]
                self._texts[name][start:stop] = read_texts(self.process.arena, blob, lengths)
        elif "failed" in message:
            self.states[message["failed"]] = RAISED
            self.reasons[message["failed"]] = message["why"]
        elif "late" in message:
            self.late = True
        elif "proven" in message:
            self.proven = True
        elif "done" in message:
            self._done = True
