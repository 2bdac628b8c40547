"""`dev` and `dev broker`: everything from one verb, and nothing left when it ends."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

pytestmark = [pytest.mark.broker, pytest.mark.timeout(900)]

MODELS = Path(__file__).parents[2] / "models"
PROGRAM = Path(sys.executable).parent / "streamsplit"


class Running:
    """A verb that runs until it is told to stop."""

    def __init__(self, folder: Path, *words: str, health: str = "null") -> None:
        self.environment = {**os.environ, "STREAMSPLIT_MODELS": str(MODELS)}
        (folder / "streamsplit.yaml").write_text(f"health: {health}\n")
        self._talk = (folder / "stderr").open("w+")
        self.process = subprocess.Popen(
            [PROGRAM, *words], cwd=folder, env=self.environment, stdout=subprocess.PIPE, stderr=self._talk, text=True
        )

    def address(self) -> str:
        """What it prints when it is ready."""
        assert self.process.stdout is not None
        address = self.process.stdout.readline().strip()
        assert address.startswith("127.0.0.1:"), self.talk()
        return address

    def talk(self) -> str:
        self._talk.seek(0)
        return self._talk.read()

    def verb(self, *words: str, brokers: str) -> subprocess.CompletedProcess[str]:
        environment = {**self.environment, "STREAMSPLIT_BROKERS": brokers, "STREAMSPLIT_DEVELOPMENT": "true"}
        return subprocess.run(
            [PROGRAM, *words], env=environment, capture_output=True, text=True, timeout=180, check=False
        )

    def stop(self, number: signal.Signals) -> int:
        children = psutil.Process(self.process.pid).children(recursive=True)
        assert children
        self.process.send_signal(number)
        code = self.process.wait(120)
        _, alive = psutil.wait_procs(children, 60)
        assert not alive
        return code


@pytest.fixture
def started() -> Iterator[list[Running]]:
    running: list[Running] = []
    yield running
    for each in running:
        if each.process.poll() is None:
            each.process.kill()
            each.process.wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_dev_broker_is_a_kafka_until_it_is_told_to_stop(
    started: list[Running], tmp_path: Path, number: signal.Signals
) -> None:
    started.append(Running(tmp_path, "dev", "broker"))
    address = started[0].address()
    assert started[0].verb("topics", "create", brokers=address).returncode == 0
    assert started[0].stop(number) == 0


def test_dev_ends_with_the_worker_and_says_why(started: list[Running], tmp_path: Path) -> None:
    started.append(Running(tmp_path, "dev", health="not an address"))
    assert started[0].process.wait(120) == 1
    assert "the worker ended with exit code 2" in started[0].talk()
    assert "expected host:port" in started[0].talk()


def test_dev_serves_traffic_that_can_be_split_and_verified(started: list[Running], tmp_path: Path) -> None:
    started.append(Running(tmp_path, "dev", "--rate", "300"))
    here = started[0]
    address = here.address()
    rollout = tmp_path / "rollout.yaml"
    rollout.write_text(
        "rollout: two\narms: {control: delay@1, canary: delay@2}\nunit: attributes.unit\nsteps: [{weight: 10}]\n"
        "mode: advise\n"
    )
    for words in (
        ("apply", "-f", str(rollout), "--wait", "--timeout", "150"),
        ("set", "weight", "canary=25", "--wait", "--timeout", "150"),
        ("status", "--wait", "--timeout", "150"),
    ):
        result = here.verb(*words, brokers=address)
        assert result.returncode == 0, result.stderr + here.talk()
    deadline = time.monotonic() + 300
    report = {"shares": []}
    while not any(share["set"] == 25.0 and share["requests"] > 300 for share in report["shares"]):
        assert time.monotonic() < deadline, report
        result = here.verb("verify", "-o", "json", brokers=address)
        assert result.returncode == 0, result.stdout
        report = json.loads(result.stdout)
    assert all(share["within"] for share in report["shares"])
    assert here.stop(signal.SIGINT) == 0
