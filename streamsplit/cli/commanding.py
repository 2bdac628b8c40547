"""One command on its way: built from what its sender saw, tried on the state, written, and its verdict read."""

import getpass
import os
import socket
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import NoReturn, Self

from streamsplit.cli import exits
from streamsplit.cli.console import say, show, show_json
from streamsplit.cli.environment import Environment
from streamsplit.cli.fate import fate
from streamsplit.cli.following import laggards, wait_followed, wait_until
from streamsplit.cli.options import Format
from streamsplit.cli.tree import weights_text
from streamsplit.core.commands import Command, Kind, Refusal
from streamsplit.core.errors import ServiceError
from streamsplit.core.fold import apply
from streamsplit.core.rollout import Phase, State
from streamsplit.core.status import unprepared
from streamsplit.kafka.control_follower import ControlFollower
from streamsplit.kafka.control_log import ControlWriter
from streamsplit.kafka.status_reader import StatusReader
from streamsplit.offline.history import read_history

_VERDICT_SECONDS = 10.0


class Commander:
    """Sends commands and says what came of them.

    Args:
        here: Settings and connection.
        control: The control log, folded to its end.
        reason: Why, for the history.

    Attributes:
        state: The state behind the last command, or the newest one known.
    """

    def __init__(self, here: Environment, control: ControlFollower, reason: str) -> None:
        self.state: State = control.view.state
        self._here = here
        self._control = control
        self._reason = reason
        self._writer = ControlWriter(here.connection, here.topics.control)

    @classmethod
    @contextmanager
    def open(cls, here: Environment, reason: str) -> Iterator[Self]:
        """A commander who has seen the newest state."""
        with here.control() as control:
            yield cls(here, control, reason)

    def submit(self, kind: Kind, payload: Mapping[str, object] | None = None, rollout: str | None = None) -> None:
        """Give a command. One that the present state refuses is not even written.

        Args:
            kind: What it does.
            payload: Its arguments.
            rollout: The rollout it means; the present one unless named.

        Raises:
            typer.Exit: It was refused; the reason is said.
            ServiceError: It could not be written, or not be read back.
        """
        command = self._command(kind, payload or {}, rollout)
        tried = apply(self.state, self._control.view.position, command)
        if isinstance(tried, Refusal):
            refuse(tried)
        verdict = self._control.verdict(self._writer.write(command), _VERDICT_SECONDS)
        if verdict.refusal is not None:
            refuse(verdict.refusal)
        self.state = verdict.state

    def wait_followed(self, seconds: float) -> None:
        """Return when every ready worker serves under the command's revision.

        Raises:
            ServiceError: When one does not in time, or there is none.
        """
        with self._statuses() as reader:
            wait_followed(reader, self.state.revision, seconds)

    def wait_begun(self, seconds: float, watch: Callable[[], None] = lambda: None) -> None:
        """Return when the rollout has left Preparing and every ready worker follows, or when it was promoted already.

        Args:
            seconds: How long that may take.
            watch: Called at each look; what it raises ends the waiting.

        Raises:
            ServiceError: When it has not in time, or was taken back meanwhile; it says by whom and why.
        """
        own = self.state.apply_revision
        known = self._here.connection.admin().list_topics(self._here.topics.requests, timeout=_VERDICT_SECONDS)
        partitions = len(known.topics[self._here.topics.requests].partitions)
        with self._statuses() as reader:
            wait_until(reader, lambda since: self._unbegun(reader, own, partitions, watch, since), seconds)
        self._tell_end(own)

    def report(self, output: Format) -> None:
        """Say what the command came to."""
        state = self.state
        weights = weights_text(state)
        if output is Format.JSON:
            names = (arm.name for arm in state.arms[1:])
            shares = {name: weight / 100 for name, weight in zip(names, state.weights, strict=False)}
            phase = str(state.phase)
            show_json({"revision": state.revision, "rollout": state.name, "phase": phase, "weights": shares})
        else:
            show(f"{state.name}: {state.phase}{f', {weights}' if weights else ''} (revision {state.revision})")
        if state.phase is Phase.PREPARING:
            say("The workers load and warm its models; it begins when all are ready (`streamsplit get --watch`).")

    def _unbegun(
        self, reader: StatusReader, own: int, partitions: int, watch: Callable[[], None], since: float
    ) -> tuple[str, ...]:
        """What keeps a rollout from being served everywhere; nothing keeps one that is over already."""
        watch()
        state = self.state = self._control.view.state
        if state.apply_revision != own or state.phase in {Phase.FAILED, Phase.ROLLED_BACK}:
            return ()
        if state.phase is not Phase.PREPARING:
            return laggards(reader.latest, state.revision, now=time.monotonic(), since=since)
        reasons = unprepared(reader.alive(), state.revision, partitions)
        return reasons or ("all workers are ready; the fleet has not begun it yet",)

    def _tell_end(self, own: int) -> None:
        """Say what became of a rollout that is over: the judge may need less time than those who wait for it."""
        if self.state.apply_revision == own and self.state.phase in {Phase.PROGRESSING, Phase.PAUSED, Phase.SERVING}:
            return
        ended = fate(read_history(self._here.connection, self._here.topics.control), own)
        if ended is not None and not ended.good:
            raise ServiceError(ended.sentence)
        if ended is not None:
            say(f"{ended.sentence}.")

    @contextmanager
    def _statuses(self) -> Iterator[StatusReader]:
        with closing(StatusReader(self._here.connection, self._here.topics.workers)) as reader:
            yield reader

    def _command(self, kind: Kind, payload: Mapping[str, object], rollout: str | None) -> Command:
        state = self.state
        pinned = kind not in {Kind.APPLY, Kind.ACCEPT_LOSS} and state.apply_revision >= 0
        return Command(
            command_id=uuid.uuid4().hex,
            kind=kind,
            rollout=state.name if rollout is None else rollout,
            payload=payload,
            apply_revision=state.apply_revision if pinned else None,
            expected_revision=state.revision,
            actor=actor(),
            reason=self._reason,
            issued_at_ms=int(time.time() * 1000),
        )


def refuse(refusal: Refusal) -> NoReturn:
    """Ends the verb with the reason of a refusal.

    Raises:
        typer.Exit: Always.
    """
    exits.refuse(f"Refused: {refusal.reason}", exits.NO)


def actor() -> str:
    """Who asks: user@host."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        user = f"uid-{os.getuid()}"
    return f"{user}@{socket.gethostname()}"
