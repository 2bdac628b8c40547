"""The broker's jars are the pinned bytes or none at all."""

import hashlib
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from streamsplit.core.errors import ServiceError
from streamsplit.kafka.jars import MIRROR_VARIABLE, Jar, cache_folder, classpath, manifest

CONTENTS = {"org/a/1/a-1.jar": b"a" * 1000, "org/b/2/b-2.jar": b"b" * 2000}
JARS = tuple(Jar(hashlib.sha256(content).hexdigest(), path) for path, content in CONTENTS.items())


class Mirror(ThreadingHTTPServer):
    """A Maven repository on the loopback interface that notes what it was asked for."""

    def __init__(self, root: Path) -> None:
        self.asked: list[str] = []
        self.root = root
        super().__init__(("127.0.0.1", 0), partial(_Handler, self.asked, directory=str(root)))


class _Handler(SimpleHTTPRequestHandler):
    def __init__(self, asked: list[str], *args: object, **kwargs: object) -> None:
        self._asked = asked
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]

    def log_message(self, *_: object) -> None:
        self._asked.append(self.path.lstrip("/"))


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    for path, content in CONTENTS.items():
        file = tmp_path / "mirror" / path
        file.parent.mkdir(parents=True)
        file.write_bytes(content)
    with Mirror(tmp_path / "mirror") as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        monkeypatch.setenv(MIRROR_VARIABLE, f"http://127.0.0.1:{server.server_port}/")
        yield server
        server.shutdown()
        thread.join()


def test_missing_jars_are_fetched_once(mirror: Mirror, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "cache"
    first = classpath(folder, JARS)
    assert [Path(file).read_bytes() for file in first.split(os.pathsep)] == list(CONTENTS.values())
    assert "Fetching Apache Kafka" in capsys.readouterr().err
    assert classpath(folder, JARS) == first
    assert sorted(mirror.asked) == sorted(CONTENTS)
    assert capsys.readouterr().err == ""


def test_a_damaged_jar_is_fetched_again(mirror: Mirror, tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    classpath(folder, JARS)
    (folder / "a-1.jar").write_bytes(b"damaged")
    classpath(folder, JARS)
    assert (folder / "a-1.jar").read_bytes() == CONTENTS["org/a/1/a-1.jar"]
    assert mirror.asked.count("org/a/1/a-1.jar") == 2


def test_other_bytes_than_the_pinned_ones_are_never_kept(mirror: Mirror, tmp_path: Path) -> None:
    (mirror.root / "org/b/2/b-2.jar").write_bytes(b"something else")
    with pytest.raises(ServiceError, match=f"b-2.jar: its sha256 is .*expected {JARS[1].sha256}"):
        classpath(tmp_path / "cache", JARS)
    assert not list((tmp_path / "cache").glob("b-2*"))


def test_two_at_once_fetch_each_jar_once(mirror: Mirror, tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        paths = set(pool.map(lambda _: classpath(tmp_path / "cache", JARS), range(4)))
    assert len(paths) == 1
    assert sorted(mirror.asked) == sorted(CONTENTS)


def test_without_a_repository_the_error_names_the_cure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MIRROR_VARIABLE, "http://127.0.0.1:9")
    with pytest.raises(ServiceError, match=f"cannot fetch .*internet.*{MIRROR_VARIABLE}"):
        classpath(tmp_path / "cache", JARS)


def test_the_cache_is_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder().parent == tmp_path / "streamsplit"


def test_the_manifest_pins_every_jar_by_its_own_name() -> None:
    jars = manifest()
    assert len({jar.name for jar in jars}) == len(jars) == 46
    assert all(len(jar.sha256) == 64 and jar.path.endswith(".jar") for jar in jars)
    assert "kafka_2.13-4.3.1.jar" in {jar.name for jar in jars}
