"""A real schema registry with Confluent's API: Apicurio from Maven Central, its bytes pinned."""

import subprocess
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamsplit.kafka.broker_settings import free_ports
from streamsplit.kafka.jars import Jar, cache_folder, classpath
from streamsplit.kafka.java import find_java

_APICURIO = Jar(
    "8bc6751c76d963734224b01d5e7f84ccb3cb61c87d3bd77c36c35f10a5cbed63",
    "io/apicurio/apicurio-registry-app/3.3.3/apicurio-registry-app-3.3.3-all.tar.gz",
)
_START_SECONDS = 180.0


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a registry's Confluent API; it is empty, in memory, and compatible BACKWARD as Confluent's is."""
    archive = classpath(cache_folder().with_name("apicurio-3.3.3"), [_APICURIO])
    folder = tmp_path_factory.mktemp("apicurio")
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    port, management = free_ports(2)
    command = [
        str(find_java()),
        "-Xmx512m",
        "-Dquarkus.http.host=127.0.0.1",
        f"-Dquarkus.http.port={port}",
        "-Dquarkus.management.host=127.0.0.1",
        f"-Dquarkus.management.port={management}",
        "-Dapicurio.rules.global.compatibility=BACKWARD",
        "-jar",
        "quarkus-run.jar",
    ]
    log = folder / "registry.log"
    with log.open("w") as output, subprocess.Popen(command, cwd=folder, stdout=output, stderr=output) as process:
        url = f"http://127.0.0.1:{port}/apis/ccompat/v7"
        try:
            _await(url, process, log)
            yield url
        finally:
            process.kill()


def _await(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(f"{url}/subjects", timeout=20).close()  # noqa: S310 # the loopback interface
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
        else:
            return
    pytest.fail(f"the registry did not start:\n{log.read_text()[-3000:]}")
