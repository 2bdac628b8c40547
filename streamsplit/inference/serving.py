"""The model process's life: load, say so, answer exchanges until the parent is gone."""

import os
import resource
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from streamsplit.inference import wire
from streamsplit.inference.arena import Arena
from streamsplit.inference.cargo import Cargo
from streamsplit.inference.chain import chain_signature
from streamsplit.inference.manifest import ModelRefused
from streamsplit.inference.runs import Chain, Exchange
from streamsplit.inference.session import Model, is_out_of_memory
from streamsplit.inference.vetting import reproduce, warm_up

OUT_OF_MEMORY = 70
"""Exit code after a run that failed for want of memory."""

REFUSED = 71
"""Exit code after a model was refused."""

Inspect = Callable[[bytes, str], None]

_TEXT = 8000
_MOST_EVENTS = 32


def serve(socket_fd: int, arena_fd: int, cargo_fd: int, *, vetted: bool) -> int:
    """Serve the parent at the other end of a socket; returns the exit code.

    Args:
        socket_fd: Our end.
        arena_fd: Where tensors lie.
        cargo_fd: What to load.
        vetted: Whether the graphs in the cargo have been inspected by a process before.
    """
    parent = Parent(socket.socket(fileno=socket_fd))
    arena = Arena(arena_fd)
    cargo = Cargo.open(cargo_fd)
    os.close(cargo_fd)
    # Before the limit, within which an import may fail in any way: the parser's memory is no model's.
    inspect = None if vetted else parser()
    limit = AddressSpace(cargo.address_space)
    limit.leave_room(arena)
    try:
        chain = load(cargo, inspect)
        parent.tell({"ready": True})
        while (message := parent.hear()) is not None:
            arena.follow()
            limit.leave_room(arena)
            parent.begin(message["id"], message["quiet"])
            answer(chain, arena, message, parent)
    except ConnectionError:
        pass  # the parent is gone
    except MemoryError as error:
        parent.tell({"memory": str(error)[:_TEXT]})
        return OUT_OF_MEMORY
    except ModelRefused as refusal:
        parent.tell({"refused": str(refusal)[:_TEXT]})
        return REFUSED
    return 0


class Parent:
    """The other end of the socket.

    Attributes:
        exchange: The exchange under way; every message names it.
        quiet: Seconds that events may be held back, so that short runs do not wake the parent one by one.
    """

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._events: list[dict[str, Any]] = []
        self._sent = 0.0
        self.exchange = -1
        self.quiet = 0.0

    def hear(self) -> dict[str, Any] | None:
        """The next order; None when the parent is gone."""
        return wire.receive(self._end)

    def begin(self, exchange: int, quiet: float) -> None:
        """Speak of another exchange from now on."""
        self.exchange, self.quiet = exchange, quiet
        self._sent = time.monotonic()

    def note(self, event: dict[str, Any]) -> None:
        """Send an event soon: with the next ones, if they come at once."""
        self._events.append(event)
        if time.monotonic() - self._sent >= self.quiet or len(self._events) >= _MOST_EVENTS:
            self._flush()

    def tell(self, event: dict[str, Any]) -> None:
        """Send an event now."""
        self._events.append(event)
        self._flush()

    def _flush(self) -> None:
        # The clock is the same for all processes of a machine.
        self._sent = time.monotonic()
        events, self._events = self._events, []
        wire.send(self._end, {"id": self.exchange, "at": self._sent, "events": events})


class AddressSpace:
    """Bytes that this process may map beyond what it had at its start; the arena does not count.

    Args:
        allowance: How many; None: unlimited.
    """

    def __init__(self, allowance: int | None) -> None:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        self._allowed = None if allowance is None else pages * resource.getpagesize() + allowance

    def leave_room(self, arena: Arena) -> None:
        """Set the limit so that the arena, old and new mapping, comes on top."""
        if self._allowed is not None:
            _, hard = resource.getrlimit(resource.RLIMIT_AS)
            wanted = self._allowed + 2 * arena.size
            resource.setrlimit(
                resource.RLIMIT_AS, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard)
            )


def parser() -> Inspect:
    """What inspects a graph."""
    from streamsplit.inference.graph import inspect_graph  # noqa: PLC0415 - a restart need not load the parser

    return inspect_graph


def load(cargo: Cargo, inspect: Inspect | None) -> Chain:
    """Inspect, open, prove and warm up every model.

    Args:
        cargo: The models.
        inspect: Refuses a graph that must not be loaded, given its bytes and its model's name; None: all have been
            inspected.

    Raises:
        ModelRefused: One of them must not serve.
        MemoryError: There is too little memory.
    """
    if inspect is not None:
        for manifest, raw in cargo.models:
            inspect(raw, manifest.label)
    models = [Model(manifest, raw, cargo.providers, cargo.threads) for manifest, raw in cargo.models]
    try:
        for model in models:
            warm_up(model, cargo.run_rows)
    except Exception as error:
        if is_out_of_memory(error):
            raise MemoryError(str(error)) from None
        raise
    return Chain(models, chain_signature([manifest for manifest, _ in cargo.models]))


def answer(chain: Chain, arena: Arena, message: dict[str, Any], parent: Parent) -> None:
    """Carry out one exchange; with `prove` golden records come first, with `confirm` last if a row raised.

    Raises:
        MemoryError: A run failed for want of memory.
        ModelRefused: The golden records are not reproduced any more.
    """
    if message["prove"]:
        prove(chain)
        parent.tell({"proven": True})
    all_answered = Exchange(chain, arena, message, parent.note).answer()
    if message["confirm"] and not all_answered:
        prove(chain)
    parent.tell({"done": True})


def prove(chain: Chain) -> None:
    """Reproduce the golden records of every model.

    Raises:
        ModelRefused: They are not reproduced any more: this process is broken.
    """
    for model in chain.models:
        reproduce(model, len(model.manifest.golden))
