"""Deployments whose workers, model processes and brokers are killed and stopped, under load."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from streamsplit.kafka.clients import Connection
from tests.faults.deployment import Deployment


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
