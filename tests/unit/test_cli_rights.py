"""What a broker's answer about rights means."""

from types import SimpleNamespace

import pytest
from confluent_kafka.admin import AclOperation

from streamsplit.cli.rights import _lacking


@pytest.mark.parametrize(
    ("allowed", "lacking"),
    [
        (None, ()),
        ([], ()),
        ([AclOperation.READ, AclOperation.DESCRIBE], ("WRITE",)),
        ([AclOperation.DESCRIBE], ("READ", "WRITE")),
        ([AclOperation.ALL], ()),
        ([AclOperation.READ, AclOperation.WRITE], ()),
    ],
)
def test_only_what_the_broker_denies_is_missing(allowed: list[AclOperation] | None, lacking: tuple[str, ...]) -> None:
    assert _lacking(SimpleNamespace(authorized_operations=allowed), ("READ", "WRITE")) == lacking
