"""A parent that keeps N workers alive, and answers for all of them on one health address."""

import asyncio
import json
import logging
import os
import pickle
import signal
import sys
import time
from dataclasses import dataclass, field
from typing import Any

from streamsplit.service.health import Health, HealthServer
from streamsplit.service.settings import Settings

logger = logging.getLogger(__name__)

_FIRST_BACKOFF = 0.5
_LONGEST_BACKOFF = 30.0
_HEALTHY_SECONDS = 60.0
_SILENT_SECONDS = 10.0
_STOP_SECONDS = 20.0


def run_workers(settings: Settings, count: int) -> int:
    """Run workers with the slots `SLOT-0` to `SLOT-(count - 1)` until told to stop; one that ends is started again.

    Args:
        settings: Of each, but for slot and health address.
        count: How many.

    Returns:
        The exit code: 0 when every worker left in order.

    Raises:
        UsageError: The health address is taken.
    """
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)-7s parent: %(message)s")
    return asyncio.run(_Parent(settings, count).run())


@dataclass(slots=True)
class _Child:
    """One worker process and what it last said of its health."""

    slot: str
    health: Health = field(default_factory=lambda: Health(unready=["starting"]))
    heard_at: float = field(default_factory=time.monotonic)
    restarts: int = 0
    process: asyncio.subprocess.Process | None = None


class _Parent:
    def __init__(self, settings: Settings, count: int) -> None:
        self._settings = settings
        self._children = [_Child(f"{settings.slot}-{number}") for number in range(count)]
        self._stop = asyncio.Event()

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop.set)
        server = HealthServer(self._settings.health, self._health) if self._settings.health else None
        if server is not None:
            await server.start()
        try:
            codes = await asyncio.gather(*(self._keep(child) for child in self._children))
        finally:
            if server is not None:
                await server.stop()
        return int(any(codes))

    async def _keep(self, child: _Child) -> int:
        """Run one worker again and again; the exit code of its last process."""
        backoff = _FIRST_BACKOFF
        while True:
            started = time.monotonic()
            code = await self._run_once(child)
            if self._stop.is_set():
                return code
            backoff = _FIRST_BACKOFF if time.monotonic() - started > _HEALTHY_SECONDS else backoff
            child.restarts += 1
            child.health = Health(unready=[f"{child.slot} ended with code {code}; starting again in {backoff:.1f} s"])
            logger.error("%s", child.health.unready[0])
            try:
                await asyncio.wait_for(self._stop.wait(), backoff)
            except TimeoutError:
                backoff = min(2 * backoff, _LONGEST_BACKOFF)
            else:
                return 0

    async def _run_once(self, child: _Child) -> int:
        settings = self._settings.model_copy(update={"slot": child.slot, "health": None})
        reading, writing = os.pipe()
        child.process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "streamsplit.service.child",
            str(writing),
            stdin=asyncio.subprocess.PIPE,
            pass_fds=(writing,),
        )
        os.close(writing)
        reports = asyncio.create_task(self._read_reports(child, reading))
        stopping = asyncio.create_task(self._end_on_stop(child.process))
        assert child.process.stdin is not None
        try:
            child.process.stdin.write(pickle.dumps(settings))
            child.process.stdin.close()
            return await child.process.wait()
        finally:
            stopping.cancel()
            reports.cancel()

    async def _end_on_stop(self, process: asyncio.subprocess.Process) -> None:
        await self._stop.wait()
        process.terminate()
        await asyncio.sleep(_STOP_SECONDS)
        process.kill()

    async def _read_reports(self, child: _Child, reading: int) -> None:
        reader = asyncio.StreamReader(limit=2**24)
        pipe = os.fdopen(reading, "rb")
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), pipe
        )
        try:
            while line := await reader.readline():
                child.health = Health(**json.loads(line))
                child.heard_at = time.monotonic()
        finally:
            transport.close()

    def _health(self) -> Health:
        dead, unready = [], []
        status: dict[str, Any] = {}
        for child in self._children:
            silent = time.monotonic() - child.heard_at
            if silent > _SILENT_SECONDS:
                dead.append(f"{child.slot}: silent for {silent:.0f} s")
            dead += [f"{child.slot}: {reason}" for reason in child.health.dead]
            unready += [f"{child.slot}: {reason}" for reason in child.health.unready]
            status[child.slot] = {**child.health.status, "process_restarts": child.restarts}
        return Health(dead, unready, status)
