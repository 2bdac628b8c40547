"""Kafka Streams with ONNX Runtime's Java library: fetched, compiled and started, with a Java runtime alone."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers import cache
from benchmarks.peers.peer import Tell
from benchmarks.peers.plan import Plan
from streamsplit.core.errors import UsageError
from streamsplit.kafka.jars import Jar, classpath
from streamsplit.kafka.java import find_java

_HOME = Path(__file__).parent / "kstreams"
_SCHEMAS = Path(__file__).parents[2] / "schemas"
_JARS = _HOME / "jars.sha256"
"""Jars, as `sha256  path in a Maven repository`: what Maven resolves for the three libraries, and a compiler."""

_COMPILER = "ecj-"
_RELEASE = "17"
_CLASSES = "classes"
_DONE = ".compiled"


@dataclass(frozen=True, slots=True)
class KafkaStreams:
    """The application in `kstreams/`.

    Attributes:
        name: A word for the command line.
        title: What tables call it.
        exactly_once: It has transactions.
        named_partitions: It can write to the request's partition number.
    """

    name: str = "kstreams"
    title: str = "Kafka Streams + ONNX Runtime"
    exactly_once: bool = True
    named_partitions: bool = True

    def available(self) -> str | None:
        """There must be a Java runtime."""
        try:
            find_java()
        except UsageError as error:
            return f"{error}"
        return None

    def prepare(self, tell: Tell) -> None:
        """Fetch the jars and compile; Eclipse's compiler needs no JDK.

        Raises:
            ServiceError: A jar cannot be fetched, or it does not compile.
        """
        classes = _classes()
        if (classes / _DONE).exists():
            return
        tell(f"building the Kafka Streams application into {classes.parent} (150 MB of jars are fetched once)")
        libraries = classpath(_jar_folder(), _jars())
        compiler = next(each for each in libraries.split(os.pathsep) if Path(each).name.startswith(_COMPILER))
        shutil.rmtree(classes, ignore_errors=True)
        command = [str(find_java()), "-jar", compiler, "-source", _RELEASE, "-target", _RELEASE, "-nowarn"]
        command += ["-encoding", "UTF-8", "-classpath", libraries, "-d", str(classes)]
        cache.call([*command, *map(str, _sources())], "compiling the Kafka Streams application")
        (classes / _DONE).touch()

    def command(self, plan: Plan) -> list[str]:
        """Java with default settings, but for Avro's fast reader and where its libraries put their native code."""
        jars = [str(_jar_folder() / jar.name) for jar in _jars() if not jar.name.startswith(_COMPILER)]
        return [
            str(find_java()),
            "--enable-native-access=ALL-UNNAMED",
            f"-Djava.io.tmpdir={plan.folder}",
            "-Dorg.apache.avro.fastread=true",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=error",
            "-cp",
            os.pathsep.join([str(_classes()), *jars]),
            "splitting.Main",
            str(_SCHEMAS),
            plan.text(),
        ]


def _jars() -> tuple[Jar, ...]:
    return tuple(Jar(*line.split()) for line in _JARS.read_text("utf-8").splitlines() if line)


def _jar_folder() -> Path:
    return cache.folder("kstreams", [_JARS])


def _classes() -> Path:
    return cache.folder("kstreams-classes", [_JARS, *_sources()]) / _CLASSES


def _sources() -> list[Path]:
    return sorted(_HOME.rglob("*.java"))
