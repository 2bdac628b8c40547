"""A plain Faust agent that takes batches: at least once, for Faust's transactions leave what agents send outside.

    python -m benchmarks.peers.faust_agent '{"brokers": "127.0.0.1:9092", ...}'

What its documentation names for throughput: `take`, raw serializers, uvloop, larger batches of the producer. A batch is
acknowledged when all that it sent has been.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Sequence
from typing import Any

import faust
import uvloop  # type: ignore[import-not-found] # in the peers' environment only
from faust.app import BootStrategy

from benchmarks.peers.plan import Plan
from benchmarks.peers.records import Source
from benchmarks.peers.scorer import Scorer

_FILL_SECONDS = 0.1
_BATCH_BYTES = 1_000_000


class _WithoutWeb(BootStrategy):
    """Faust's web server listens on all addresses unless it is left out."""

    enable_web = False


def application(plan: Plan) -> faust.App:
    """The application, with its agent."""
    scorer = Scorer(plan)
    app = faust.App(
        plan.targets,
        broker=[f"kafka://{address}" for address in plan.brokers.split(",")],
        consumer_auto_offset_reset="earliest",
        broker_commit_every=plan.batch,
        stream_buffer_maxsize=max(4096, 2 * plan.batch),
        producer_linger=plan.linger_ms / 1000,
        producer_max_batch_size=_BATCH_BYTES,
        producer_compression_type=None if plan.compression == "none" else plan.compression,
        topic_disable_leader=True,
        topic_allow_declare=False,
        datadir=plan.folder,
        autodiscover=False,
        boot_strategy=_WithoutWeb,
        web_enabled=False,
    )
    raw: dict[str, Any] = {
        "key_type": bytes,
        "value_type": bytes,
        "key_serializer": "raw",
        "value_serializer": "raw",
    }
    requests, outputs, audit = (app.topic(name, **raw) for name in (plan.source, plan.outputs, plan.audit))

    @app.agent(requests, name="split")
    async def split(stream: Any) -> None:
        async for events in stream.take_events(plan.batch, within=_FILL_SECONDS):
            try:
                await asyncio.gather(*[sent async for sent in answer(events)])
            except Exception as error:
                # Faust acknowledges a batch that its agent failed on, and goes on behind it.
                await app.crash(error)
                raise

    async def answer(events: Sequence[Any]) -> AsyncIterator[Awaitable[Any]]:
        messages = [event.message for event in events]
        sources = [Source(each.partition, each.offset, int(each.timestamp * 1000)) for each in messages]
        encoded = scorer.many([event.value for event in events], sources)
        for message, (output, record) in zip(messages, encoded, strict=True):
            target = {"key": message.key, "partition": message.partition}
            yield await outputs.send(value=output, **target)
            yield await audit.send(value=record, **target)

    return app


if __name__ == "__main__":
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    faust.Worker(
        application(Plan.parse(sys.argv[1])), loop=loop, loglevel="WARN", quiet=True
    ).execute_from_commandline()
