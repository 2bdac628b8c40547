"""The command line as a person runs it: a process, a real broker, exit codes, data on stdout and talk on stderr."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from streamsplit.core.commands import Command
from streamsplit.core.rollout import Phase
from streamsplit.kafka.clients import Connection
from streamsplit.kafka.control_follower import ControlFollower
from streamsplit.kafka.control_log import submit
from streamsplit.kafka.topics import Topics
from tests.acceptance.conftest import ROLLOUT, Run

pytestmark = pytest.mark.broker


def test_topics_are_created_once_and_checked(run: Run, deployment: str) -> None:
    missing = run("topics", "check", code=1)
    assert f"{deployment}.requests" in missing.stdout
    assert "streamsplit topics create" in missing.stdout
    created = json.loads(run("topics", "create", "--partitions", "3", "-o", "json").stdout)
    assert f"{deployment}.control" in created["created"]
    assert run("topics", "create").stdout == ""
    assert json.loads(run("topics", "check", "-o", "json").stdout) == {"ok": True, "problems": []}
    refused = run("topics", "create", "--partitions", "5", code=2)
    assert "3 partitions" in refused.stderr


def test_outside_of_development_a_single_replica_is_a_problem_with_its_cure(ready: Run) -> None:
    checked = json.loads(ready("topics", "check", "-o", "json", code=1, DEVELOPMENT="false").stdout)
    assert not checked["ok"]
    assert all(problem["cure"] for problem in checked["problems"])


def test_verbs_on_a_deployment_without_topics_name_the_cure(run: Run) -> None:
    for words in (["get"], ["history"], ["abort"], ["verify"]):
        assert "streamsplit topics create" in run(*words, code=1).stderr


def test_apply_without_workers_stays_preparing_and_the_same_file_is_unchanged(ready: Run) -> None:
    applied = json.loads(ready("apply", "-f", "rollout.yaml", "-o", "json").stdout)
    assert (applied["phase"], applied["rollout"], applied["revision"]) == ("Preparing", "delay-v2", 0)
    again = ready("apply", "-f", "rollout.yaml")
    assert "unchanged" in again.stderr
    assert len(json.loads(ready("history", "-o", "json").stdout)) == 1
    waited = ready("apply", "-f", "rollout.yaml", "--wait", "--timeout", "1", code=1)
    assert "no worker has reported" in waited.stderr


def test_apply_that_waits_says_of_a_rollout_that_is_over_who_took_it_back_and_why(
    ready: Run, connection: Connection, deployment: str
) -> None:
    topics = Topics(deployment)
    taken_back = Command(
        command_id="judge-1-abort", kind="abort", rollout="delay-v2", actor="judge", reason="canary error limit: 90 %"
    )
    with ThreadPoolExecutor(1) as beside, ControlFollower(connection, topics.control) as follower:
        waiting = beside.submit(ready, "apply", "-f", "rollout.yaml", "--wait", "--timeout", "150", code=1)
        assert follower.wait(lambda view: view.state.phase is Phase.PREPARING, 120.0) is not None
        assert submit(connection, topics, Command(command_id="b", kind="begin", rollout="delay-v2")).accepted
        assert submit(connection, topics, taken_back).accepted
        told = waiting.result().stderr
    assert "delay-v2 began (revision 1) and was rolled back by judge (revision 2): canary error limit: 90 %" in told
    assert "streamsplit explain judge-1-abort" in told


def test_apply_refuses_a_broken_file_and_an_unknown_model_as_wrong_use(ready: Run, tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text(ROLLOUT.replace("weight: 10", "wieght: 10"))
    assert "did you mean `weight`?" in ready("apply", "-f", "broken.yaml", code=2).stderr
    (tmp_path / "unknown.yaml").write_text(ROLLOUT.replace("delay@2", "delay@9"))
    assert "delay/9" in ready("apply", "-f", "unknown.yaml", code=2).stderr
    assert json.loads(ready("history", "-o", "json").stdout) == []


def test_a_rollout_is_walked_and_each_command_is_in_the_history(ready: Run) -> None:
    assert "Refused" in ready("set", "weight", "canary=25", code=1).stderr
    ready("apply", "-f", "rollout.yaml", "--reason", "first try")
    assert "canary=10" in ready("promote").stdout
    assert json.loads(ready("set", "weight", "canary=25", "-o", "json").stdout)["weights"] == {"canary": 25.0}
    assert "did you mean `canary`?" in ready("set", "weight", "canry=25", code=1).stderr
    assert "canary=75" in ready("resume").stdout
    ready("pause")
    picture = json.loads(ready("get", "-o", "json").stdout)
    assert (picture["phase"], picture["revision"]) == ("Paused", 4)
    assert {arm["name"]: arm["set"] for arm in picture["arms"]} == {"control": 25.0, "canary": 75.0}
    assert "RolledBack" in ready("abort", "-r", "wrong features").stdout
    assert "nothing to abort" in ready("abort", code=1).stderr
    assert "--retry" in ready("apply", "-f", "rollout.yaml", code=1).stderr
    assert json.loads(ready("apply", "-f", "rollout.yaml", "--retry", "-o", "json").stdout)["revision"] == 6
    history = json.loads(ready("history", "-o", "json").stdout)
    assert [entry["kind"] for entry in history] == [
        "apply", "begin", "set_weight", "resume", "pause", "abort", "apply"
    ]  # fmt: skip
    assert all(entry["accepted"] and "@" in entry["actor"] for entry in history)
    assert (history[0]["reason"], history[5]["reason"]) == ("first try", "wrong features")


def test_replace_aborts_the_rollout_that_is_under_way(ready: Run, tmp_path: Path) -> None:
    ready("apply", "-f", "rollout.yaml")
    (tmp_path / "other.yaml").write_text(ROLLOUT.replace("delay-v2", "delay-v3"))
    assert "--replace" in ready("apply", "-f", "other.yaml", code=1).stderr
    assert "delay-v3: Preparing" in ready("apply", "-f", "other.yaml", "--replace").stdout
    assert [entry["kind"] for entry in json.loads(ready("history", "-o", "json").stdout)] == ["apply", "abort", "apply"]


def test_accept_loss_is_recorded(ready: Run) -> None:
    ready("accept-loss", "1", "--to", "500", "--reason", "retention was too short")
    assert "accept-loss 1 --to 500" in ready("history").stdout
    assert "already accepted" in ready("accept-loss", "1", "--to", "400", code=1).stderr


def test_status_and_verify_say_no_when_there_is_nothing(ready: Run) -> None:
    assert "No worker has reported" in ready("status", code=1).stderr
    assert "no worker has reported" in ready("status", "--wait", "--timeout", "1", code=1).stderr
    empty = ready("verify", "-o", "json", code=1)
    assert json.loads(empty.stdout)["empty"] is True
    assert "Nothing to verify" in empty.stderr


def test_doctor_has_a_line_for_each_thing_and_a_cure_for_each_problem(ready: Run, tmp_path: Path) -> None:
    ready("apply", "-f", "rollout.yaml")
    checkup = json.loads(ready("doctor", "-o", "json", code=1).stdout)
    lines = {line["what"]: line for line in checkup["lines"]}
    assert {what for what, line in lines.items() if line["ok"]} == {
        "settings", "models folder", "broker", "topics", "rights", "control log"
    }  # fmt: skip
    assert lines["workers"]["cure"] == "start one with `streamsplit run`"
    elsewhere = json.loads(ready("doctor", "-o", "json", code=1, MODELS=str(tmp_path)).stdout)
    assert {"applied model", "models folder"} <= {line["what"] for line in elsewhere["lines"] if not line["ok"]}


def test_doctor_without_a_broker_says_so_and_still_looks_at_the_rest(run: Run) -> None:
    lines = json.loads(run("doctor", "-o", "json", code=1, BROKERS="127.0.0.1:1").stdout)["lines"]
    assert {line["what"]: line["ok"] for line in lines} == {"settings": True, "models folder": True, "broker": False}
