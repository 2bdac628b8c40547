"""The Confluent Schema Registry: writers' schemas by id, and ids for what we write."""

from collections.abc import Callable, Mapping
from typing import Any

from streamsplit.core.errors import DataError, ServiceError, UsageError
from streamsplit.wire.framing import confluent_header
from streamsplit.wire.schemas import Schema, parse_schema

UNKNOWN_FOR_SECONDS = 30.0
"""How long an id that the registry did not know is not asked for again."""

_NOT_FOUND = 404


class SchemaRegistry:
    """Asks a registry, and remembers its answers."""

    def __init__(self, client: Any, clock: Callable[[], float], unknown_for: float = UNKNOWN_FOR_SECONDS) -> None:
        """Wrap a client.

        Args:
            client: A `confluent_kafka.schema_registry.SchemaRegistryClient`.
            clock: Seconds that only grow, such as `time.monotonic`.
            unknown_for: Seconds during which an unknown id is not asked for again.
        """
        self._client = client
        self._clock = clock
        self._unknown_for = unknown_for
        self._schemas: dict[int, Schema] = {}
        self._unknown: dict[int, tuple[float, str]] = {}

    def schema(self, schema_id: int) -> Schema:
        """The schema of this id.

        Raises:
            DataError: The registry knows no such schema, or it is not a self-contained Avro one.
            ServiceError: The registry cannot be asked now.
        """
        if schema_id in self._schemas:
            return self._schemas[schema_id]
        until, reason = self._unknown.get(schema_id, (0.0, ""))
        if reason and self._clock() < until:
            raise DataError("decode", reason)
        try:
            found = self._schemas[schema_id] = self._ask(schema_id)
        except DataError as error:
            self._unknown[schema_id] = (self._clock() + self._unknown_for, error.reason)
            raise
        return found

    def _ask(self, schema_id: int) -> Schema:
        from confluent_kafka.schema_registry.error import SchemaRegistryError  # noqa: PLC0415 - an optional extra

        try:
            answer = self._client.get_schema(schema_id)
        except SchemaRegistryError as error:
            if error.http_status_code == _NOT_FOUND:
                raise DataError("decode", f"schema id {schema_id} is not known to the schema registry") from error
            raise ServiceError(f"the schema registry did not give schema id {schema_id}: {error}") from error
        except Exception as error:  # the client lets its HTTP library's errors through, whichever that is
            raise _unreachable(error) from error
        if answer.schema_type != "AVRO" or answer.references:
            got = f"with references to {len(answer.references)} others" if answer.references else answer.schema_type
            raise DataError("decode", f"schema id {schema_id}: expected one Avro schema, got {got}")
        try:
            return parse_schema(answer.schema_str)
        except UsageError as error:
            raise DataError("decode", f"schema id {schema_id}: {error}") from error

    def register(self, topic: str, schema: Schema) -> bytes:
        """Register the schema of a topic's values, under `<topic>-value`.

        Returns:
            The header of values written with it.

        Raises:
            UsageError: The registry refuses the schema, or us.
            ServiceError: The registry cannot be asked now.
        """
        from confluent_kafka.schema_registry import Schema as Registered  # noqa: PLC0415 - an optional extra
        from confluent_kafka.schema_registry.error import SchemaRegistryError  # noqa: PLC0415

        subject = f"{topic}-value"
        try:
            return confluent_header(self._client.register_schema(subject, Registered(schema.text, "AVRO")))
        except SchemaRegistryError as error:
            if 400 <= error.http_status_code < 500:  # noqa: PLR2004 - HTTP's range of "yours is the fault"
                raise UsageError(f"the schema registry refuses {subject}: {error}") from error
            raise ServiceError(f"the schema registry did not register {subject}: {error}") from error
        except Exception as error:
            raise _unreachable(error) from error


def connect_registry(settings: Mapping[str, Any], clock: Callable[[], float]) -> SchemaRegistry:
    """Connect to a registry; nothing is sent yet.

    Args:
        settings: As of confluent-kafka's `SchemaRegistryClient`: `url`, `basic.auth.user.info`, `ssl.ca.location` ...
        clock: Seconds that only grow.

    Raises:
        UsageError: The extra is not installed, or the settings are wrong.
    """
    try:
        from confluent_kafka.schema_registry import SchemaRegistryClient  # noqa: PLC0415 - an optional extra
    except ImportError as error:
        raise UsageError(
            f"a schema registry needs more packages ({error.name} is missing): pip install 'streamsplit[registry]'"
        ) from error
    try:
        client = SchemaRegistryClient({"timeout": 5, "max.retries": 1, **settings})
    except (ValueError, TypeError) as error:
        raise UsageError(f"the schema registry's settings: {error}") from error
    return SchemaRegistry(client, clock)


def _unreachable(error: Exception) -> ServiceError:
    return ServiceError(f"the schema registry cannot be reached: {type(error).__name__}: {str(error)[:200]}")
