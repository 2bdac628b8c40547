"""`dev`: a broker, topics, a model, traffic and a worker on this machine, all gone at the end."""

import os
import subprocess
import threading
import time
from itertools import islice
from pathlib import Path

import typer

from streamsplit.cli.commanding import Commander
from streamsplit.cli.console import say, show
from streamsplit.cli.environment import Environment
from streamsplit.cli.exits import DONE
from streamsplit.cli.local_worker import first_model, local_worker
from streamsplit.cli.traffic import golden_requests
from streamsplit.core.commands import Kind
from streamsplit.core.errors import ServiceError
from streamsplit.inference.manifest import Manifest
from streamsplit.kafka.broker import DevelopmentCluster
from streamsplit.kafka.topic_creation import create_topics

_TURN_SECONDS = 0.1
_STOP_SECONDS = 25.0
_BEGIN_SECONDS = 60.0


def play(config: Path | None, rate: float, stop: threading.Event) -> None:
    """Run all of it until told to stop.

    Args:
        config: The settings' file; None for the usual places. Broker and `development` are this verb's own.
        rate: Requests a second.
        stop: Set when it is to end.

    Raises:
        UsageError: There is no model to serve.
        ServiceError: The broker or the worker ended.
    """
    manifest = first_model(Environment(config).settings.models)
    with DevelopmentCluster() as cluster:
        own = {"STREAMSPLIT_BROKERS": cluster.bootstrap, "STREAMSPLIT_DEVELOPMENT": "true"}
        os.environ.update(own)  # also for the worker, which is a child
        here = Environment(config)
        create_topics(here.connection, here.topics)
        with Commander.open(here, "streamsplit dev") as commander, local_worker(config) as worker:
            spec = {"rollout": "dev", "arms": {"control": manifest.label}}
            models = {manifest.label: manifest.sha256}
            commander.submit(Kind.APPLY, {"spec": spec, "models": models}, rollout="dev")
            commander.wait_begun(_BEGIN_SECONDS, lambda: _watch(worker, stop))
            show(cluster.bootstrap)
            say(
                _INVITATION.format(
                    model=manifest.label, rate=rate, settings=" ".join(f"{k}={v}" for k, v in own.items())
                )
            )
            _send(here, manifest, rate, worker, stop)


_INVITATION = """\
{model} answers {rate:g} requests a second, made from its golden records. In another terminal:
  export {settings}
  streamsplit get --watch
  streamsplit apply -f rollout.yaml --wait
  streamsplit set weight canary=25 --wait
  streamsplit verify
Ctrl-C ends all of it."""


def _watch(worker: subprocess.Popen[bytes], stop: threading.Event) -> None:
    """Look whether all goes on.

    Raises:
        ServiceError: The worker ended.
        typer.Exit: It is to end.
    """
    if stop.is_set():
        raise typer.Exit(DONE)
    if worker.poll() is not None:
        raise ServiceError(f"the worker ended with exit code {worker.returncode}; its last lines say why")


def _send(
    here: Environment, manifest: Manifest, rate: float, worker: subprocess.Popen[bytes], stop: threading.Event
) -> None:
    """Send requests at a steady rate until told to stop.

    Raises:
        ServiceError: The worker ended.
    """
    producer, requests = here.connection.producer("streamsplit-dev", linger_ms=5), golden_requests(manifest)
    began, sent = time.monotonic(), 0
    while not stop.wait(_TURN_SECONDS):
        _watch(worker, stop)
        due = int((time.monotonic() - began) * rate)
        for key, value in islice(requests, due - sent):
            producer.produce(here.topics.requests, value, key)
        sent = due
        producer.poll(0)
    producer.flush(_STOP_SECONDS)
