"""What the command line makes of workers' statuses: who is waited for, what is reached, who disagrees."""

from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest

from streamsplit.cli.following import laggards, present
from streamsplit.cli.traffic import golden_requests
from streamsplit.cli.tree import actual_shares, total_lag
from streamsplit.cli.views import disagreements
from streamsplit.core.byte_strings import ByteStrings
from streamsplit.core.records import RawBatch
from streamsplit.core.status import Status
from streamsplit.inference.repository import Repository
from streamsplit.kafka.status_reader import GONE_SECONDS, Arrival

READY = Status(
    slot="a",
    incarnation="1",
    started_ms=0,
    written_ms=0,
    version="0",
    revision=7,
    digest="d",
    phase="Progressing",
    ready=True,
    prepared=True,
)
SINCE, NOW = 100.0, 101.0


@pytest.mark.parametrize(
    ("arrivals", "said"),
    [
        ([], ["no worker has reported within the last 5 s"]),
        ([Arrival(READY, NOW)], []),
        ([Arrival(replace(READY, revision=6), NOW)], ["a: still at revision 6"]),
        ([Arrival(READY, NOW), Arrival(replace(READY, slot="b", ready=False, revision=6), NOW)], []),
        ([Arrival(replace(READY, ready=False, reasons=("no model",)), NOW)], ["a: not ready: no model"]),
        ([Arrival(READY, None)], ["a: has not been heard yet"]),
        ([Arrival(READY, NOW), Arrival(replace(READY, slot="b", stopping=True, revision=1), NOW)], []),
        ([Arrival(READY, NOW), Arrival(replace(READY, slot="b", revision=1), NOW - GONE_SECONDS)], []),
    ],
    ids=[
        "nobody",
        "one who follows",
        "one who does not",
        "one not ready is not waited for beside one ready",
        "nobody ready",
        "one of whom nobody knows",
        "one who left",
        "one who fell silent",
    ],
)
def test_every_ready_worker_is_waited_for_and_no_other(arrivals: list[Arrival], said: list[str]) -> None:
    latest = {arrival.status.slot: arrival for arrival in arrivals}
    assert list(laggards(latest, 7, now=NOW, since=SINCE)) == said


def test_a_status_from_before_is_given_up_when_its_worker_stays_silent() -> None:
    latest = {"a": Arrival(READY, None)}
    assert present(latest, now=SINCE + GONE_SECONDS - 0.1, since=SINCE) == ({}, ("a",))
    assert present(latest, now=SINCE + GONE_SECONDS, since=SINCE) == ({}, ())


def test_actual_shares_are_of_all_workers_together() -> None:
    one = replace(READY, rates={"requests": 100.0, "control": 90.0, "canary": 10.0})
    other = replace(READY, rates={"requests": 300.0, "control": 210.0, "canary": 90.0})
    assert actual_shares({"a": one, "b": other}) == {"control": 0.75, "canary": 0.25}
    assert actual_shares({"a": READY}) == {}


def test_a_lag_that_one_partition_does_not_know_is_not_summed() -> None:
    assert total_lag(replace(READY, lag={0: 5, 1: 7})) == "12"
    assert total_lag(replace(READY, lag={0: 5, 1: -1})) == "?"


def test_two_digests_at_one_revision_are_an_alarm() -> None:
    other = replace(READY, slot="b", digest="e")
    assert disagreements({"a": READY, "b": replace(other, revision=8)}) == ()
    (alarm,) = disagreements({"a": READY, "b": other})
    assert "a against b" in alarm


def test_golden_traffic_is_made_of_requests_that_the_model_takes() -> None:
    import numpy as np

    from streamsplit.wire.decoder import RequestDecoder
    from streamsplit.wire.request import Wanted
    from streamsplit.wire.schemas import SchemaStore

    manifest = Repository(Path(__file__).parents[2] / "models").manifest("delay@1")
    requests = list(islice(golden_requests(manifest), 50))
    n = len(requests)
    batch = RawBatch(
        1, ByteStrings.of([value for _, value in requests]), ByteStrings.of([key for key, _ in requests]),
        ByteStrings.repeated(None, n),
        np.zeros(n, np.int32), np.arange(n, dtype=np.int64), np.zeros(n, np.int64),
    )  # fmt: skip
    columns, letters = RequestDecoder(SchemaStore()).decode(batch, Wanted(manifest.signature.inputs, ("unit",)))
    assert not letters
    assert list(columns.attributes["unit"]) == [key for key, _ in requests]
