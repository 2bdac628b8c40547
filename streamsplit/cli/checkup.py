"""The lines of `doctor`: each looks at one thing and says what it found, and the cure where that is wrong."""

import base64
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass

from streamsplit.cli.environment import Environment
from streamsplit.cli.rights import missing_rights
from streamsplit.core.errors import StreamSplitError, UsageError
from streamsplit.core.rollout import State
from streamsplit.inference.repository import Repository
from streamsplit.kafka.status_reader import StatusReader
from streamsplit.kafka.topic_check import check_topics
from streamsplit.offline.history import read_history
from streamsplit.service.settings import RegistrySettings

_LISTEN_SECONDS = 2.5
_SKEW_SECONDS = 2.0
_REGISTRY_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that was looked at.

    Attributes:
        what: The thing.
        ok: Whether it is as it should be.
        found: What was found.
        cure: What to do; empty where nothing is.
    """

    what: str
    ok: bool
    found: str
    cure: str = ""


def checkup(here: Environment) -> Iterator[Line]:
    """All lines, in the order in which problems should be mended.

    Raises:
        UsageError: For settings that cannot be read: nothing can be looked at then.
    """
    settings = here.settings
    yield Line("settings", ok=True, found=f"deployment {settings.deployment}, slot {settings.slot}")
    yield from _models(here)
    if settings.registry is not None:
        yield _registry(settings.registry)
    try:
        connection = here.connection
    except StreamSplitError as error:
        yield Line("broker", ok=False, found=str(error), cure="the lines below need it and were left out")
        return
    cluster = connection.admin().list_topics(timeout=5)
    yield Line(
        "broker", ok=True, found=f"{settings.brokers}: cluster {cluster.cluster_id}, {len(cluster.brokers)} brokers"
    )
    for look in (_topics, _rights, _control, _workers):
        yield from _guarded(look, here)


def _guarded(look: Callable[[Environment], Iterator[Line]], here: Environment) -> Iterator[Line]:
    """The lines of one look; what keeps it from looking is a line, too."""
    try:
        yield from look(here)
    except StreamSplitError as error:
        yield Line(look.__name__.strip("_"), ok=False, found=str(error), cure="mend the lines above first")


def _models(here: Environment) -> Iterator[Line]:
    try:
        listings = Repository(here.settings.models).list()
    except UsageError as error:
        yield Line("models folder", ok=False, found=str(error), cure="set `models` in streamsplit.yaml")
        return
    if not listings:
        cure = "put models there as <name>/<version>/{model.onnx, model.yaml}"
        yield Line("models folder", ok=False, found=f"{here.settings.models} holds no model", cure=cure)
    refused = [listing for listing in listings if listing.refusal]
    for listing in refused:
        yield Line(
            "model", ok=False, found=f"{listing.label}: {listing.refusal}", cure="see `streamsplit models check`"
        )
    if listings and not refused:
        yield Line("models folder", ok=True, found=f"{len(listings)} models in {here.settings.models}")


def _registry(registry: RegistrySettings) -> Line:
    request = urllib.request.Request(f"{registry.url.rstrip('/')}/subjects")  # noqa: S310 # the user's own setting
    if registry.user and registry.password:
        login = f"{registry.user}:{registry.password.get_secret_value()}".encode()
        request.add_header("Authorization", f"Basic {base64.b64encode(login).decode()}")
    try:
        with urllib.request.urlopen(request, timeout=_REGISTRY_SECONDS):  # noqa: S310 # as above
            return Line("schema registry", ok=True, found=registry.url)
    except (urllib.error.URLError, TimeoutError, ValueError) as error:
        cure = "check `registry` in streamsplit.yaml, its address, user and password"
        return Line("schema registry", ok=False, found=f"{registry.url}: {error}", cure=cure)


def _topics(here: Environment) -> Iterator[Line]:
    problems = check_topics(here.connection, here.topics, development=here.settings.development)
    for problem in problems:
        yield Line(f"topic {problem.topic}", ok=False, found=problem.message, cure=problem.cure)
    if not problems:
        yield Line("topics", ok=True, found=f"all of {here.settings.deployment} are as they should be")


def _rights(here: Environment) -> Iterator[Line]:
    missing = missing_rights(here.connection, here.topics)
    for subject, operations in missing.items():
        cure = "`kafka-acls.sh --add` it for the user of `security`"
        yield Line("rights", ok=False, found=f"{subject}: {' and '.join(operations)} missing", cure=cure)
    if not missing:
        yield Line("rights", ok=True, found="all that the broker tells of (it does not tell of transactional ids)")


def _control(here: Environment) -> Iterator[Line]:
    entries = read_history(here.connection, here.topics.control)
    if not entries:
        yield Line("control log", ok=True, found="empty: nothing was applied yet")
        return
    state = entries[-1].state
    if state.newer_format:
        found = f"it holds commands of format {state.newer_format}, newer than this program"
        yield Line("control log", ok=False, found=found, cure="upgrade streamsplit")
        return
    refused = sum(entry.refusal is not None for entry in entries)
    found = f"{len(entries)} commands, {refused} refused; revision {state.revision}, {state.name} is {state.phase}"
    yield Line("control log", ok=True, found=found)
    yield from _pinned(here, state)


def _pinned(here: Environment, state: State) -> Iterator[Line]:
    """The models that the log names must lie here with the very bytes."""
    repository = Repository(here.settings.models)
    for model in {model for chain in state.warm for model in chain}:
        try:
            repository.read(model)
        except UsageError as error:
            yield Line(
                "applied model", ok=False, found=str(error), cure="workers with this models folder cannot serve it"
            )


def _workers(here: Environment) -> Iterator[Line]:
    with closing(StatusReader(here.connection, here.topics.workers)) as reader:
        reader.listen(_LISTEN_SECONDS)
        now_ms, statuses = time.time() * 1000, reader.alive()
    if not statuses:
        yield Line("workers", ok=False, found="none has reported", cure="start one with `streamsplit run`")
    for slot, status in sorted(statuses.items()):
        found = "ready" if status.ready else "; ".join(status.reasons) or "not ready"
        cure = "" if status.ready else "see `streamsplit status`"
        yield Line(f"worker {slot}", status.ready, f"{found}, revision {status.revision}, {status.version}", cure)
        skew = (status.written_ms - now_ms) / 1000
        if abs(skew) > _SKEW_SECONDS + _LISTEN_SECONDS:
            found = f"the clock of {slot} is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} this machine's"
            yield Line("clocks", ok=False, found=found, cure="let NTP run on both")
