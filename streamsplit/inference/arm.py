"""An arm at work: a model process that is loaded, watched and started again, whatever happens to it."""

import enum
import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from streamsplit.core.records import Signature
from streamsplit.core.rollout import Chain, chain_label
from streamsplit.inference.cargo import Cargo
from streamsplit.inference.chain import chain_signature, require_same_signature
from streamsplit.inference.fall import Fall, FallKind
from streamsplit.inference.manifest import ModelRefused
from streamsplit.inference.process import ModelProcess, wait_readable
from streamsplit.inference.repository import Repository

log = logging.getLogger(__name__)

_WATCH_SECONDS = 0.1
_LOOK_SECONDS = 1.0
_STOPPED = Fall(FallKind.STOPPED, "the arm was stopped")


class ArmPhase(enum.StrEnum):
    """Where an arm stands."""

    LOADING = "loading"
    READY = "ready"
    RESTARTING = "restarting"
    FAILED = "failed"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class ArmStatus:
    """An arm as others see it.

    Attributes:
        phase: Where it stands. STOPPED is for good, FAILED until somebody changes the models' files.
        reason: Why it is not ready, for a person; empty where it is.
        restarts: How often its process had to be started again.
        signature: What it takes and gives; None until its models have been read.
        pid: Its process; None where there is none.
    """

    phase: ArmPhase
    reason: str = ""
    restarts: int = 0
    signature: Signature | None = None
    pid: int | None = None

    @property
    def ready(self) -> bool:
        """Whether it can answer."""
        return self.phase is ArmPhase.READY

    @property
    def final(self) -> bool:
        """Whether waiting is in vain unless somebody does something."""
        return self.phase in {ArmPhase.FAILED, ArmPhase.STOPPED}


@dataclass(frozen=True, slots=True)
class ArmOptions:
    """How an arm's process runs.

    Attributes:
        providers: ONNX Runtime's execution providers, most wanted first.
        threads: Threads of one run.
        memory_bytes: Memory beyond the process's start; None: unlimited. With the CPU alone it is address space;
            with other providers, which reserve more than they use, resident memory watched from outside.
        run_rows: Most rows in one run.
        load_seconds: Longest time from the start of a process to ready.
        backoff_seconds: Wait before the first restart; doubles up to `backoff_limit`.
        backoff_limit: Longest wait before a restart.
        healthy_seconds: After this time without a fall, or after a batch answered, the next wait is the first again.
    """

    providers: tuple[str, ...] = ("CPUExecutionProvider",)
    threads: int = 1
    memory_bytes: int | None = None
    run_rows: int = 256
    load_seconds: float = 60.0
    backoff_seconds: float = 0.1
    backoff_limit: float = 10.0
    healthy_seconds: float = 10.0

    @property
    def address_space_limited(self) -> bool:
        """Whether the limit is on address space."""
        return set(self.providers) <= {"CPUExecutionProvider"}


class Arm:
    """A supervised chain of models.

    Args:
        name: `control`, or the candidate's name; for messages.
        chain: Its models, pinned.
        repository: Where they are read, once.
        options: How the process runs.
        expected: Control's signature, which a candidate must equal; None for control itself.
    """

    def __init__(
        self,
        name: str,
        chain: Chain,
        repository: Repository,
        options: ArmOptions | None = None,
        expected: Signature | None = None,
    ) -> None:
        self.name = name
        self.chain = chain
        self.label = chain_label(chain)
        self.options = options or ArmOptions()
        self._repository = repository
        self._expected = expected
        self._status = ArmStatus(ArmPhase.LOADING, "not started")
        self._changed = threading.Condition()
        self._process: ModelProcess | None = None
        self._answered = False
        self._vetted = False
        self._stopping = threading.Event()
        self._wake = -1
        self._thread: threading.Thread | None = None

    @property
    def status(self) -> ArmStatus:
        """Where it stands now: not ready any more when a share of it tells that its process fell."""
        return self._status

    @property
    def process(self) -> ModelProcess | None:
        """The process that answers; None while there is none that is ready."""
        return self._process

    def start(self) -> None:
        """Begin to load; returns at once. Starting twice is the same as once."""
        if self._thread is None:
            self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            # The thread starts every process itself: they are killed by the kernel when it ends, not before.
            self._thread = threading.Thread(target=self._supervise, name=f"arm-{self.name}", daemon=True)
            self._thread.start()

    def stop(self, seconds: float = 10.0) -> None:
        """End the process and the supervision; returns when both are gone, or after `seconds`."""
        with self._changed:
            self._stopping.set()
            thread = self._thread
            if thread is None:
                self._become(ArmPhase.STOPPED)
                return
            if self._wake >= 0:
                os.eventfd_write(self._wake, 1)
        thread.join(seconds)

    def wait(self, condition: Callable[[ArmStatus], bool], seconds: float) -> ArmStatus:
        """Wait until the status fulfils a condition, or `seconds` have passed; returns the status then."""
        with self._changed:
            self._changed.wait_for(lambda: condition(self._status), seconds)
            return self._status

    def answered(self) -> None:
        """Note that the process has finished a share: it is healthy."""
        self._answered = True

    def _supervise(self) -> None:
        while not self._stopping.is_set():
            stamp = self._repository.stamp(self.chain)
            try:
                self._serve()
            except ModelRefused as refusal:
                log.error("arm %s (%s) cannot serve: %s", self.name, self.label, refusal)  # noqa: TRY400 - not our bug
                self._become(ArmPhase.FAILED, str(refusal))
                self._wait_for_change(stamp)
            except OSError as error:
                self._go_down(f"its models cannot be held in memory: {error}")
                self._rest(self.options.backoff_limit)
        with self._changed:
            os.close(self._wake)
            self._wake = -1
            self._become(ArmPhase.STOPPED)

    def _wait_for_change(self, stamp: object) -> None:
        """Refused once is refused for good, until somebody has changed the files."""
        while not self._stopping.is_set() and self._repository.stamp(self.chain) == stamp:
            wait_readable([self._wake], _LOOK_SECONDS)

    def _serve(self) -> None:
        """Read the models once, and keep a process that runs them until the arm is to stop."""
        self._become(ArmPhase.LOADING, "loading")
        models = [self._repository.fetch(ref) for ref in self.chain]
        signature = chain_signature([manifest for manifest, _ in models])
        if self._expected is not None:
            require_same_signature(signature, self._expected, f"{self.name} ({self.label})")
        options = self.options
        limit = options.memory_bytes if options.address_space_limited else None
        cargo_fd = Cargo(models, options.providers, options.threads, limit, options.run_rows).seal()
        del models
        self._become(ArmPhase.LOADING, "loading", signature=signature)
        try:
            self._keep_running(cargo_fd, signature)
        finally:
            os.close(cargo_fd)

    def _keep_running(self, cargo_fd: int, signature: Signature) -> None:
        pause = self.options.backoff_seconds
        while not self._stopping.is_set():
            began = time.monotonic()
            self._answered = False
            self._live(cargo_fd, signature)
            if self._stopping.is_set():
                return
            if self._answered or time.monotonic() - began > self.options.healthy_seconds:
                pause = self.options.backoff_seconds
            self._rest(pause)
            pause = min(2 * pause, self.options.backoff_limit)

    def _live(self, cargo_fd: int, signature: Signature) -> None:
        """One process from its start to its end.

        Raises:
            ModelRefused: The models must not serve; never after a process was ready once.
        """
        try:
            process = ModelProcess(cargo_fd, signature, vetted=self._vetted)
        except OSError as error:
            self._go_down(f"its process cannot be started: {error}")
            return
        refusal: str | None = None
        try:
            refusal = self._load(process)
            if refusal is None:
                self._watch(process)
        finally:
            self._process = None
            if self._stopping.is_set():
                process.kill(_STOPPED)
            fall = process.reap()
            refused = None if self._vetted else refusal
            if refused is None and not self._stopping.is_set():
                self._go_down(refusal or fall.reason)
            # Last: whoever learns of the fall must not find the arm ready with a process that is gone.
            process.announce()
        if refused is not None:
            raise ModelRefused(refused)

    def _go_down(self, reason: str) -> None:
        phase = ArmPhase.RESTARTING if self._vetted else ArmPhase.LOADING
        self._become(phase, reason, restarts=self._status.restarts + 1)

    def _rest(self, pause: float) -> None:
        reason = self._status.reason
        log.warning("arm %s (%s): %s; starting again in %.1f s", self.name, self.label, reason, pause)
        wait_readable([self._wake], pause)

    def _load(self, process: ModelProcess) -> str | None:
        """Wait until a process is ready; the reason if it refuses. A process that falls instead is left to `reap`."""
        deadline = time.monotonic() + self.options.load_seconds
        while not self._stopping.is_set():
            messages, alive = process.receive()
            for message in messages:
                if "refused" in message:
                    return str(message["refused"])
                if "ready" in message:
                    self._vetted = True
                    self._process = process
                    self._become(ArmPhase.READY, pid=process.pid)
                    return None
            if not alive:
                return None
            if (left := deadline - time.monotonic()) <= 0:
                process.kill(Fall(FallKind.HANG, f"it was not ready within {self.options.load_seconds:g} s"))
                return None
            wait_readable([process.fileno(), self._wake], left)
        return None

    def _watch(self, process: ModelProcess) -> None:
        """Return when the process has ended or the arm is to stop."""
        limit = None if self.options.address_space_limited else self.options.memory_bytes
        start = process.resident_bytes()
        while not self._stopping.is_set():
            ready = wait_readable([process.pidfd, self._wake], None if limit is None else _WATCH_SECONDS)
            if process.pidfd in ready:
                return
            if limit is not None and process.resident_bytes() - start > limit:
                process.kill(Fall(FallKind.MEMORY, f"it used more than {limit} bytes of memory"))

    def _become(self, phase: ArmPhase, reason: str = "", **changes: object) -> None:
        with self._changed:
            pid = changes.pop("pid", None)
            self._status = replace(self._status, phase=phase, reason=reason, pid=pid, **changes)  # type: ignore[arg-type]
            self._changed.notify_all()
