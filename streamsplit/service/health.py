"""Liveness, readiness and status over HTTP, for an orchestrator and for people.

`/live` is 200 while the process works at all, `/ready` is 200 while it serves, and both say why not. `/status` is the
whole of it.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from streamsplit.core.errors import UsageError


@dataclass(frozen=True, slots=True)
class Health:
    """How a process is.

    Attributes:
        dead: Why it should be restarted; empty while it works.
        unready: Why it does not serve; empty while it does.
        status: What `/status` shows.
    """

    dead: Sequence[str] = ()
    unready: Sequence[str] = ()
    status: dict[str, Any] = field(default_factory=dict)


class HealthServer:
    """Answers on one address.

    Args:
        address: `host:port`.
        health: Asked at each request.

    Raises:
        UsageError: From `start`, where the address is taken or no address.
    """

    def __init__(self, address: str, health: Callable[[], Health]) -> None:
        self._address = address
        self._health = health
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen."""
        host, _, port = self._address.rpartition(":")
        if not host or not port.isdigit():
            raise UsageError(f"health: expected host:port, such as 127.0.0.1:8085, found {self._address!r}")
        app = web.Application()
        app.add_routes(
            [
                web.get("/live", self._live),
                web.get("/ready", self._ready),
                web.get("/status", self._status),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, host, int(port)).start()
        except OSError as error:
            raise UsageError(
                f"health: cannot listen on {self._address}: {error.strerror}; choose another with "
                "STREAMSPLIT_HEALTH=host:port, or none with STREAMSPLIT_HEALTH=null"
            ) from error

    async def stop(self) -> None:
        """Listen no more."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _live(self, _: web.Request) -> web.Response:
        return _answer(self._health().dead)

    async def _ready(self, _: web.Request) -> web.Response:
        health = self._health()
        return _answer([*health.dead, *health.unready])

    async def _status(self, _: web.Request) -> web.Response:
        return web.json_response(self._health().status, dumps=lambda plain: json.dumps(plain, indent=2))


def _answer(reasons: Sequence[str]) -> web.Response:
    if reasons:
        return web.Response(status=503, text="\n".join(reasons) + "\n")
    return web.Response(text="ok\n")
