"""What workers say of themselves, and who may begin a rollout by it."""

import json
from dataclasses import replace

import pytest

from streamsplit.core.status import ArmStatus, Status, unprepared

STATUS = Status(
    slot="worker-0",
    incarnation="a1",
    started_ms=1,
    written_ms=2,
    version="0.1.0",
    revision=7,
    digest="d",
    phase="Preparing",
    ready=True,
    prepared=True,
    reasons=("one",),
    reading={0: 10, 1: 20},
    lag={0: 0, 1: -1},
    waiting={2: "no partner"},
    arms=(ArmStatus("control", "delay@1", "ready", pid=17), ArmStatus("canary", "delay@2", "failed", "sha256")),
    rates={"requests": 5.0},
    mirrored={"canary": 2.5},
    mirror_failed={"canary": 0.5},
    totals={"requests": 9},
)


def test_a_status_comes_back_from_json_as_it_was() -> None:
    assert Status.from_dict(json.loads(json.dumps(STATUS.to_dict()))) == STATUS


def test_a_newer_programs_fields_are_left_out_and_a_missing_one_is_an_error() -> None:
    plain = STATUS.to_dict()
    arms = [{**arm, "temperature": 3} for arm in plain["arms"]]
    assert Status.from_dict({**plain, "mood": "good", "arms": arms}) == STATUS
    del plain["digest"]
    with pytest.raises(ValueError, match="not a worker's status"):
        Status.from_dict(plain)


@pytest.mark.parametrize("plain", [[], 7, {}, {"slot": "a"}, {**STATUS.to_dict(), "reading": 7}])
def test_other_json_is_no_status(plain: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        Status.from_dict(plain)  # type: ignore[arg-type] # that is the point


OTHER = replace(STATUS, slot="worker-1", reading={2: 0}, waiting={}, reasons=())


@pytest.mark.parametrize(
    ("statuses", "words"),
    [
        ([], "no worker has reported"),
        ([STATUS], "no ready worker has partitions 2"),
        ([STATUS, replace(OTHER, revision=6)], "worker-1: has not reached revision 7"),
        ([STATUS, replace(OTHER, prepared=False, reasons=("sha256 differs",))], "worker-1: sha256 differs"),
        ([STATUS, replace(OTHER, ready=False, reasons=("loading",))], "worker-1: loading"),
        ([STATUS, replace(OTHER, stopping=True)], "no ready worker has partitions 2"),
        ([replace(STATUS, stopping=True)], "no ready worker has partitions 0, 1, 2"),
    ],
)
def test_a_rollout_does_not_begin_while_something_is_missing(statuses: list[Status], words: str) -> None:
    assert any(words in reason for reason in unprepared({each.slot: each for each in statuses}, 7, 3))


def test_a_rollout_begins_when_every_partition_has_a_ready_worker() -> None:
    assert unprepared({"worker-0": STATUS, "worker-1": OTHER}, 7, 3) == ()
