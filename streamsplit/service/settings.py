"""The settings of a worker: `streamsplit.yaml`, then `STREAMSPLIT_*` variables on top.

Nested settings are reached with two underscores: `STREAMSPLIT_BATCH__RECORDS=500`. An unknown setting is an error that
names the nearest known one. Secrets print masked.
"""

import difflib
import os
import re
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, cast

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from streamsplit.core.errors import UsageError

PREFIX = "STREAMSPLIT_"
DEFAULT_FILE = Path("streamsplit.yaml")
_NOT_SETTINGS = {"STREAMSPLIT_CONFIG", "STREAMSPLIT_MAVEN_URL", "STREAMSPLIT_TEST_BROKERS"}
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_BYTES = {"": 1, "B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_SECRET_WORDS = ("password", "secret", "token", ".key", "key.pem", "jaas", "oauthbearer.config")


def _seconds(value: object) -> object:
    """`5ms`, `2s`, `1m`, `1h`, or a number of seconds."""
    if isinstance(value, str) and (match := re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h)\s*", value)):
        return float(match[1]) * _SECONDS[match[2]]
    return value


def _bytes(value: object) -> object:
    """`8MiB`, `64KiB`, or a number of bytes."""
    if isinstance(value, str) and (match := re.fullmatch(r"\s*(\d+)\s*(B|KiB|MiB|GiB|)\s*", value)):
        return int(match[1]) * _BYTES[match[2]]
    return value


Seconds = Annotated[float, BeforeValidator(_seconds), Field(gt=0)]
Bytes = Annotated[int, BeforeValidator(_bytes), Field(gt=0)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class BatchSettings(_Section):
    """When a batch is closed: whichever comes first."""

    records: int = Field(4000, ge=1, le=100_000, description="Most records in a batch.")
    bytes: Bytes = Field(8 * 2**20, description="Most bytes of values in a batch; one larger record is a batch alone.")
    wait: Seconds = Field(
        0.005, description="Longest wait for more records after the first, under load; a lone request never waits."
    )


class GroupSettings(_Section):
    """How workers share the partitions of `requests`."""

    protocol: Literal["classic", "consumer"] = Field("classic", description="`consumer` is KIP-848.")
    static: bool = Field(
        default=True,
        description="Classic protocol: the slot is the group.instance.id, so that a restarted worker gets its "
        "partitions back at once; false gives a leaving worker's partitions away at once instead.",
    )
    session_timeout: Seconds = Field(10.0, description="Classic protocol: silence after which a worker is given up.")
    transaction_timeout: Seconds = Field(8.0, description="Below the session time-out.")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.protocol == "classic" and self.transaction_timeout >= self.session_timeout:
            raise ValueError(
                f"transaction_timeout ({self.transaction_timeout:g} s) must be below session_timeout "
                f"({self.session_timeout:g} s): a worker that is given up must leave no open transaction behind"
            )
        return self


class InferenceSettings(_Section):
    """How models are run."""

    providers: tuple[str, ...] = Field(("CPUExecutionProvider",), description="ONNX Runtime execution providers.")
    threads: int = Field(1, ge=1, description="Threads of each model process.")
    watchdog: Seconds = Field(30.0, description="Longest silence of control's process.")


class RegistrySettings(_Section):
    """A schema registry with Confluent's API."""

    url: str
    user: str | None = None
    password: SecretStr | None = None


_SECTIONS: dict[str, type[_Section]] = {
    "batch": BatchSettings,
    "group": GroupSettings,
    "inference": InferenceSettings,
    "registry": RegistrySettings,
}


class Settings(BaseSettings):
    """All settings of a worker and of the command line."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        env_parse_none_str="null",
        extra="forbid",
        frozen=True,
        nested_model_default_partial_update=True,
    )

    brokers: str = Field("127.0.0.1:9092", description="Bootstrap servers, host:port, comma-separated.")
    deployment: str = Field("streamsplit", description="Prefix of topics, groups and transactional ids.")
    topics: dict[str, str] = Field(default_factory=dict, description="Other names for topics: `requests: orders`.")
    models: Path = Field(Path("models"), description="Folder of models: <name>/<version>/{model.onnx, model.yaml}.")
    schemas: Path | None = Field(None, description="Folder of further writer schemas (*.avsc) of requests.")
    registry: RegistrySettings | None = None
    security: dict[str, str] = Field(default_factory=dict, description="librdkafka's own security settings, by name.")
    slot: str = Field(default_factory=socket.gethostname, description="Static name of this worker; the host's name.")
    start: str = Field("latest", description="Where a new group starts: latest, earliest or an ISO 8601 time.")
    batch: BatchSettings = BatchSettings()
    group: GroupSettings = GroupSettings()
    inference: InferenceSettings = InferenceSettings()
    health: str | None = Field("127.0.0.1:8085", description="Address of /live, /ready and /status; null for none.")
    development: bool = Field(default=False, description="Allow replication below 3 and min ISR below 2.")

    @field_validator("deployment", "slot")
    @classmethod
    def _legal_name(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9._-]{1,120}", value):
            raise ValueError("1 to 120 of the characters A-Z a-z 0-9 . _ - (Kafka's rule for topic names)")
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 # the signature is pydantic's
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 # the signature is pydantic's
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 # the signature is pydantic's
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Variables win over the file."""
        return env_settings, init_settings

    def masked(self) -> dict[str, object]:
        """All settings as plain values, secrets replaced by `***`."""
        plain = self.model_dump(mode="json")
        for name in plain["security"]:
            if any(word in name for word in _SECRET_WORDS):
                plain["security"][name] = "***"
        if self.registry and self.registry.password:
            plain["registry"]["password"] = "***"  # noqa: S105 # this is the mask
        return cast("dict[str, object]", plain)


def load_settings(path: Path | None = None) -> Settings:
    """Read the settings.

    Args:
        path: The file; None means `STREAMSPLIT_CONFIG`, else `streamsplit.yaml` where it exists.

    Raises:
        UsageError: For a missing or broken file, and for unknown or wrong settings, all of them at once.
    """
    named = path or (Path(os.environ["STREAMSPLIT_CONFIG"]) if "STREAMSPLIT_CONFIG" in os.environ else None)
    source = named or DEFAULT_FILE
    values = _read(source) if named or source.exists() else {}
    complaints = [
        f"{name}: no such setting{_nearest(name.removeprefix(PREFIX).lower(), Settings.model_fields, PREFIX, up=True)}"
        for name in sorted(os.environ)
        if name.startswith(PREFIX) and name not in _NOT_SETTINGS and not _known_variable(name)
    ]
    try:
        settings = Settings(**values)
    except ValidationError as error:
        complaints += list(_complaints(error, source))
    if complaints:
        raise UsageError("\n".join(complaints))
    return settings


def _read(path: Path) -> dict[str, Any]:
    try:
        values = YAML(typ="safe").load(path)
    except OSError as error:
        raise UsageError(f"{path}: cannot read the settings: {error.strerror}") from error
    except YAMLError as error:
        raise UsageError(f"{path}: not YAML: {error}") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise UsageError(f"{path}: expected settings as `name: value`, found {type(values).__name__}")
    return {str(name): value for name, value in values.items()}


def _known_variable(name: str) -> bool:
    return name.removeprefix(PREFIX).lower().split("__")[0] in Settings.model_fields


def _complaints(error: ValidationError, source: Path) -> Iterator[str]:
    for problem in error.errors():
        location = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            known = _fields_at(problem["loc"][:-1])
            yield f"{source}: {location}: no such setting{_nearest(str(problem['loc'][-1]), known)}"
        else:
            yield f"{source} or {PREFIX}*: {location}: {problem['msg']} (found {problem.get('input')!r})"


def _fields_at(location: tuple[int | str, ...]) -> Mapping[str, object]:
    fields: Mapping[str, object] = Settings.model_fields
    for part in location:
        fields = _SECTIONS[str(part)].model_fields
    return fields


def _nearest(word: str, known: Mapping[str, object], prefix: str = "", *, up: bool = False) -> str:
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    if not near:
        return f"; there are {', '.join(sorted(known))}"
    return f"; did you mean {prefix}{near[0].upper() if up else near[0]}?"
