"""Deployments whose workers, model processes and brokers are killed and stopped, under load."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from streamsplit.kafka.broker import DevelopmentCluster
from streamsplit.kafka.clients import Connection
from tests.faults.deployment import MODELS, Deployment
from tests.faults.failing_models import put_hanging, put_leaking
from tests.inference.conftest import ModelFolder


@dataclass(frozen=True)
class Tier:
    """How much of a fault.

    Attributes:
        requests: Served at least.
        rounds: How often each fault strikes.
    """

    requests: int
    rounds: int


@pytest.fixture(
    params=[
        pytest.param(Tier(10_000, 1), id="once"),
        pytest.param(Tier(50_000, 5), id="many", marks=[pytest.mark.faults, pytest.mark.timeout(1200)]),
    ]
)
def tier(request: pytest.FixtureRequest) -> Any:
    """Each fault once in `make test`, and in numbers in `make faults`."""
    return request.param


@pytest.fixture
def under_load(connection: Connection, deployment: str, tmp_path: Path) -> Iterator[Deployment]:
    """A deployment on the session's Kafka with its topics, and nothing applied yet."""
    made = Deployment(connection, deployment, tmp_path)
    yield made
    made.close()


@pytest.fixture
def on_its_own(own_cluster: Callable[..., DevelopmentCluster], tmp_path: Path) -> Iterator[Callable[..., Deployment]]:
    """Makes a deployment on brokers of its own, which may be hurt; given their properties."""
    made: list[Deployment] = []

    def make(nodes: int = 1, **properties: str) -> Deployment:
        cluster = own_cluster(nodes, {name.replace("_", "."): value for name, value in properties.items()})
        made.append(Deployment(Connection(cluster.bootstrap), "hurt", tmp_path, cluster=cluster))
        return made[-1]

    yield make
    for deployment in made:
        deployment.close()


@pytest.fixture
def failing_models(tmp_path: Path) -> ModelFolder:
    """A models folder with `delay@1`, and candidates that load and pass their golden records, then fail on flights."""
    root = tmp_path / "models"
    shutil.copytree(MODELS / "delay" / "1", root / "delay" / "1")
    folder = ModelFolder(root)
    put_hanging(folder, "hang@1")
    put_leaking(folder, "leak@1")
    shutil.copytree(MODELS / "delay" / "2", root / "delay" / "2")
    return folder
