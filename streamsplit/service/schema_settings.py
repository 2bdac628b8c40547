"""The schemas of a deployment: a registry and a folder, as the settings name them."""

import time

from streamsplit.service.settings import RegistrySettings, Settings
from streamsplit.wire.registry import SchemaRegistry, connect_registry
from streamsplit.wire.schemas import SchemaStore, load_folder, packaged


def registry_of(settings: RegistrySettings | None) -> SchemaRegistry | None:
    """The schema registry; None where none is configured. Nothing is sent yet.

    Raises:
        UsageError: The extra is not installed, or the settings are wrong.
    """
    if settings is None:
        return None
    options: dict[str, str] = {"url": settings.url}
    if settings.user is not None:
        password = settings.password.get_secret_value() if settings.password is not None else ""
        options["basic.auth.user.info"] = f"{settings.user}:{password}"
    return connect_registry(options, time.monotonic)


def written_header(registry: SchemaRegistry | None, topic: str, name: str) -> bytes:
    """What stands before each value of a topic that is written with one of our own schemas.

    Args:
        registry: Where the schema is registered; None: it is named by its fingerprint.
        topic: Written to.
        name: Of the packaged schema.

    Raises:
        UsageError: The registry refuses the schema, or us.
        ServiceError: The registry cannot be asked now.
    """
    schema = packaged(name)
    return schema.header if registry is None else registry.register(topic, schema)


def schema_store(settings: Settings, registry: SchemaRegistry | None) -> SchemaStore:
    """The schemas that requests may be written with.

    Raises:
        UsageError: A file in the folder of schemas is none.
    """
    return SchemaStore(load_folder(settings.schemas) if settings.schemas else (), registry)
