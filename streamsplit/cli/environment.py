"""What a verb works with: settings, and a broker that answers."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import typer
from confluent_kafka import KafkaException

from streamsplit.core.errors import ServiceError
from streamsplit.kafka.clients import Connection
from streamsplit.kafka.control_follower import ControlFollower
from streamsplit.kafka.topics import Topics
from streamsplit.service.schema_settings import registry_of, schema_store
from streamsplit.service.settings import Settings, load_settings
from streamsplit.wire.schemas import SchemaStore

REACH_SECONDS = 5.0
_FOLD_SECONDS = 10.0


@dataclass
class Environment:
    """Settings and connection, read when a verb first asks for them.

    Attributes:
        config: The file named by `--config`; None for the usual places.
    """

    config: Path | None = None

    @cached_property
    def settings(self) -> Settings:
        """The settings.

        Raises:
            UsageError: For a missing, broken or wrong file, or wrong variables.
        """
        return load_settings(self.config)

    @cached_property
    def connection(self) -> Connection:
        """The way to the broker, once it has answered.

        Raises:
            ServiceError: When no broker answers within 5 s.
        """
        connection = Connection(self.settings.brokers, self.settings.security)
        reach(connection, REACH_SECONDS)
        return connection

    @cached_property
    def topics(self) -> Topics:
        """The names of the deployment's topics.

        Raises:
            UsageError: For a topic renamed that is none.
        """
        return Topics(self.settings.deployment, self.settings.topics)

    @cached_property
    def schemas(self) -> SchemaStore:
        """The schemas that requests may be written with.

        Raises:
            UsageError: For a file in the schemas folder that is none, or a registry that cannot be asked.
        """
        return schema_store(self.settings, registry_of(self.settings.registry))

    @contextmanager
    def control(self) -> Iterator[ControlFollower]:
        """The control log, folded to its end and followed from there.

        Raises:
            ServiceError: When it cannot be read to its end within 10 s.
        """
        with ControlFollower(self.connection, self.topics.control) as follower:
            view = follower.wait(lambda view: view.fresh or view.problem is not None, _FOLD_SECONDS)
            if view is None or not view.fresh:
                problem = view.problem if view else None
                raise ServiceError(problem or f"{self.topics.control} could not be read within {_FOLD_SECONDS:.0f} s")
            yield follower


def reach(connection: Connection, seconds: float) -> None:
    """Return when a broker has answered.

    Raises:
        ServiceError: When none does in time, with address and cure.
    """
    try:
        connection.admin("streamsplit-cli").list_topics(timeout=seconds)
    except KafkaException as error:
        raise ServiceError(
            f"No Kafka broker answers at {connection.brokers} within {seconds:.0f} s ({error.args[0].str()}). "
            "Check `brokers` and `security` in streamsplit.yaml (or STREAMSPLIT_BROKERS), "
            "or start a development broker with `streamsplit dev broker`."
        ) from error


def environment(ctx: typer.Context) -> Environment:
    """The environment that the main callback made."""
    made = ctx.obj
    assert isinstance(made, Environment)
    return made
