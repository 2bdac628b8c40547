"""Deployments for tests that run workers; their topics are left to the session's broker, which goes with it."""

import re
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.service.deployed import Deployed

Deploy = Callable[..., Deployed]


@pytest.fixture(scope="module")
def deploy(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deploy]:
    """Makes deployments: `deploy(partitions=2, brokers=..., **settings)`, on the session's broker by default."""
    word = re.sub(r"[^a-z0-9]+", "-", Path(request.node.name).stem.removeprefix("test_"))
    made: list[Deployed] = []

    def make(partitions: int | None = 2, brokers: str | None = None, **settings: str) -> Deployed:
        name = f"{word}-{uuid.uuid4().hex[:8]}"
        where = brokers or request.getfixturevalue("brokers")
        deployed = Deployed(where, name, tmp_path_factory.mktemp(name), **settings)
        made.append(deployed)
        if partitions is not None:
            deployed.do("topics", "create", "--partitions", str(partitions))
        return deployed

    yield make
    for deployed in made:
        deployed.close()
