"""The bare loop that StreamSplit is compared with does the same work: every request answered once, by its own arm."""

from pathlib import Path

import pytest

from benchmarks.peers import named
from benchmarks.peers.trial import Work, trial
from streamsplit.kafka.clients import Connection

pytestmark = pytest.mark.broker

REQUESTS = 20_000


@pytest.mark.parametrize(
    ("kind", "exactly_once"), [("flights", True), ("digits", False)], ids=["exactly-once", "at-least-once"]
)
def test_the_bare_loop_answers_every_request_once_and_rightly(
    connection: Connection,
    tmp_path: Path,
    kind: str,
    exactly_once: bool,  # noqa: FBT001 # a case
) -> None:
    work = Work.of(kind, REQUESTS, tmp_path)
    verdict = trial(connection, named("plain"), work, tmp_path, exactly_once=exactly_once)
    assert verdict.same_partition == 1
    assert verdict.output_bytes == pytest.approx(250, abs=1)
    assert verdict.audit_bytes == pytest.approx(220, abs=1)
