"""Settings of a worker: the file, the variables over it, and what is said of a wrong one."""

from pathlib import Path

import pytest

from streamsplit.core.errors import UsageError
from streamsplit.service.settings import load_settings


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory and no variable of ours."""
    import os

    for name in os.environ:
        if name.startswith("STREAMSPLIT_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _write(folder: Path, text: str) -> Path:
    path = folder / "streamsplit.yaml"
    path.write_text(text)
    return path


def test_a_variable_wins_over_the_file_and_the_file_over_the_default(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(folder, "brokers: file:9092\nbatch: {records: 500, wait: 20ms}\n")
    monkeypatch.setenv("STREAMSPLIT_BATCH__RECORDS", "300")
    settings = load_settings()
    assert (settings.brokers, settings.deployment) == ("file:9092", "streamsplit")
    assert (settings.batch.records, settings.batch.wait, settings.batch.bytes) == (300, 0.02, 8 * 2**20)


@pytest.mark.parametrize(
    ("text", "seconds"), [("5ms", 0.005), ("2s", 2.0), ("1.5s", 1.5), ("1m", 60.0), ("1h", 3600.0), ("0.25", 0.25)]
)
def test_durations_are_written_as_people_write_them(folder: Path, text: str, seconds: float) -> None:
    assert load_settings(_write(folder, f"batch: {{wait: {text}}}")).batch.wait == pytest.approx(seconds)


@pytest.mark.parametrize(("text", "size"), [("64KiB", 65_536), ("2MiB", 2**21), ("100B", 100), ("7", 7)])
def test_sizes_are_written_as_people_write_them(folder: Path, text: str, size: int) -> None:
    assert load_settings(_write(folder, f"batch: {{bytes: {text}}}")).batch.bytes == size


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("broker: a:1", ("streamsplit.yaml", "broker: no such setting", "did you mean brokers?")),
        ("batch: {record: 5}", ("batch.record: no such setting", "did you mean records?")),
        ("batch: {records: 0}", ("batch.records", "greater than or equal to 1", "0")),
        ("batch: {wait: soon}", ("batch.wait", "soon")),
        ("deployment: 'my flights'", ("deployment", "A-Z a-z 0-9", "my flights")),
        ("group: {protocol: kip848}", ("group.protocol", "'classic' or 'consumer'", "kip848")),
        ("xyz: 1", ("there are", "brokers", "deployment")),
        ("- a\n- b", ("name: value", "list")),
        ("a: [", ("not YAML",)),
    ],
)
def test_a_wrong_setting_in_the_file_is_named_with_what_was_expected(
    folder: Path, text: str, words: tuple[str, ...]
) -> None:
    with pytest.raises(UsageError) as refused:
        load_settings(_write(folder, text))
    assert all(word in str(refused.value) for word in words), refused.value


def test_an_unknown_variable_is_named_with_the_nearest_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(folder, "broker: a:1")
    monkeypatch.setenv("STREAMSPLIT_BROKER", "a:1")
    with pytest.raises(UsageError) as refused:
        load_settings()
    assert "STREAMSPLIT_BROKER: no such setting; did you mean STREAMSPLIT_BROKERS?" in str(refused.value)
    assert "broker: no such setting; did you mean brokers?" in str(refused.value), "all of them at once"


@pytest.mark.usefixtures("folder")
def test_an_unknown_part_of_a_section_is_refused_from_a_variable_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMSPLIT_BATCH__RECORD", "5")
    with pytest.raises(UsageError, match="did you mean records"):
        load_settings()


def test_a_file_that_was_named_must_be_there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().slot
    monkeypatch.setenv("STREAMSPLIT_CONFIG", str(folder / "none.yaml"))
    with pytest.raises(UsageError, match=r"none\.yaml: cannot read"):
        load_settings()


@pytest.mark.usefixtures("folder")
def test_the_health_address_can_be_switched_off_by_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMSPLIT_HEALTH", "null")
    assert load_settings().health is None


def test_secrets_print_masked(folder: Path) -> None:
    text = """\
security:
  security.protocol: SASL_SSL
  sasl.username: ann
  sasl.password: hunter2
  ssl.key.password: hunter2
  ssl.key.pem: hunter2
  sasl.oauthbearer.client.secret: hunter2
  sasl.oauthbearer.config: hunter2
registry: {url: "http://127.0.0.1:1", user: ann, password: hunter2}
"""
    settings = load_settings(_write(folder, text))
    shown = settings.masked()
    assert "hunter2" not in repr(shown)
    assert shown["security"]["sasl.username"] == "ann"  # type: ignore[index] # a mapping
    assert settings.security["sasl.password"] == "hunter2"
    assert "hunter2" not in repr(settings.registry)
