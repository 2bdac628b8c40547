"""The Faust application around a worker: the agents `split` and `judge` on in-memory channels, `fleet` on `workers`.

Batches reach `split` and `judge` over channels, because Faust's own way costs hundreds of microseconds a record. Its
group has the topic `workers` alone, so that its rebalancing never stops a lane; that topic is written without
transactions, whose markers Faust cannot pass. Its web server, which would listen on all addresses, is left out.

A channel's own queue belongs to Faust's flow control: each rebalance of Faust's group suspends and empties it. A batch
that vanishes there would be passed over by the next one's commit. So a channel of batches has a queue that only its
lane and its agent touch.
"""

import ssl
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import faust
from faust.app import BootStrategy
from faust.channels import Channel
from mode.utils.queues import FlowControlEvent, ThrowableQueue

from streamsplit.core.errors import UsageError
from streamsplit.core.records import RawBatch
from streamsplit.kafka.clients import Connection
from streamsplit.service.judging import Summaries

_SESSION_SECONDS = 10.0


class _WithoutWeb(BootStrategy):
    enable_web = False


class _Batches(Channel[Any]):
    """A channel that Faust's rebalances neither suspend nor empty."""

    @property
    def queue(self) -> ThrowableQueue[Any]:
        if self._queue is None:
            self._queue = ThrowableQueue(flow_control=FlowControlEvent(initially_suspended=False))
        return self._queue


def make_app(
    connection: Connection,
    deployment: str,
    workers_topic: str,
    *,
    serve: Callable[[RawBatch], Awaitable[None]],
    judge: Callable[[Summaries], Awaitable[None]],
    observe: Callable[[bytes, bytes], Awaitable[None]],
) -> tuple[faust.App, Any, Any]:
    """The application, its channel of batches of requests, and its channel of batches of summaries.

    Args:
        connection: The brokers.
        deployment: Name of Faust's group.
        workers_topic: Topic of the workers' statuses.
        serve: What `split` does with a batch.
        judge: What `judge` does with a batch of summaries.
        observe: What `fleet` does with a status, given key and value.

    Raises:
        UsageError: A security setting that Faust's client cannot use.
    """
    app = faust.App(
        deployment,
        broker=[f"kafka://{address.strip()}" for address in connection.brokers.split(",")],
        broker_credentials=_credentials(connection.security),
        broker_session_timeout=_SESSION_SECONDS,
        broker_heartbeat_interval=_SESSION_SECONDS / 5,
        consumer_auto_offset_reset="latest",
        topic_disable_leader=True,
        topic_allow_declare=False,
        store="memory://",
        datadir=tempfile.gettempdir(),
        autodiscover=False,
        boot_strategy=_WithoutWeb,
        web_enabled=False,
    )
    channel, summaries = _Batches(app), _Batches(app)

    @app.agent(channel, name="split")
    async def split(batches: Any) -> None:
        async for batch in batches:
            await serve(batch)

    @app.agent(summaries, name="judge")
    async def judging(batches: Any) -> None:
        async for batch in batches:
            await judge(batch)

    statuses = app.topic(workers_topic, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")

    @app.agent(statuses, name="fleet")
    async def fleet(stream: Any) -> None:
        async for event in stream.events():
            if event.key is not None and event.value is not None:
                await observe(event.key, event.value)

    return app, channel, summaries


def _credentials(security: Mapping[str, str]) -> Any:
    """Faust's form of librdkafka's security settings."""
    protocol = security.get("security.protocol", "PLAINTEXT").upper()
    if protocol == "PLAINTEXT":
        return None
    context = None
    if protocol in {"SSL", "SASL_SSL"}:
        context = ssl.create_default_context(cafile=security.get("ssl.ca.location"))
        if "ssl.certificate.location" in security:
            context.load_cert_chain(
                security["ssl.certificate.location"],
                security.get("ssl.key.location"),
                security.get("ssl.key.password"),
            )
    if protocol == "SSL":
        return faust.SSLCredentials(context)
    mechanism = security.get("sasl.mechanism", security.get("sasl.mechanisms", "")).upper()
    if mechanism not in {"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"}:
        raise UsageError(
            f"security: expected sasl.mechanism PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512, found {mechanism or 'none'!r}"
        )
    return faust.SASLCredentials(
        username=security.get("sasl.username", ""),
        password=security.get("sasl.password", ""),
        mechanism=mechanism,
        ssl_context=context,
    )
