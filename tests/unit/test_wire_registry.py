"""The schema registry, asked by the real client over HTTP on loopback."""

import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from streamsplit.core.errors import DataError, ServiceError, UsageError
from streamsplit.wire.framing import confluent_header, read_frame
from streamsplit.wire.registry import SchemaRegistry, connect_registry
from streamsplit.wire.schemas import SchemaStore, packaged


class Handler(BaseHTTPRequestHandler):
    """The parts of a registry's API that are used."""

    def answer(self, status: int, document: Any) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.server.asked.append(path)  # type: ignore[attr-defined]
        self.answer(*self.server.answers.get(path, (404, {"error_code": 40403, "message": "not found"})))  # type: ignore[attr-defined]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.path.partition("?")[0], body))  # type: ignore[attr-defined]
        self.answer(*self.server.answers["POST"])  # type: ignore[attr-defined]

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        """Keep the test's output clean."""


@pytest.fixture
def server() -> Iterator[Any]:
    http: Any = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.answers, http.asked = {}, []
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield http
    http.shutdown()
    thread.join()
    http.server_close()


class Clock:
    """Seconds that the test moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def registry(server: Any, clock: Clock) -> SchemaRegistry:
    return connect_registry({"url": f"http://127.0.0.1:{server.server_port}", "max.retries": 0}, clock)


def test_a_schema_is_asked_for_once_and_then_remembered(server: Any, registry: SchemaRegistry) -> None:
    server.answers["/schemas/ids/7"] = (200, {"schema": packaged("request").text})
    store = SchemaStore(registry=registry)
    for _ in range(3):
        assert store.writer(read_frame(confluent_header(7))) == packaged("request")
    assert server.asked == ["/schemas/ids/7"]


def test_an_unknown_id_is_a_data_error_and_not_asked_for_again_for_a_while(
    server: Any, registry: SchemaRegistry, clock: Clock
) -> None:
    for _ in range(3):
        with pytest.raises(DataError, match="schema id 7 is not known to the schema registry"):
            registry.schema(7)
    assert len(server.asked) == 1
    server.answers["/schemas/ids/7"] = (200, {"schema": packaged("request").text})
    clock.now = 31
    assert registry.schema(7) == packaged("request")


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"schema": "message M {}", "schemaType": "PROTOBUF"}, "expected one Avro schema, got PROTOBUF"),
        ({"schema": '{"type": "nonsense"}'}, "schema id 7: not an Avro schema"),
        (
            {"schema": '"string"', "references": [{"name": "a", "subject": "b", "version": 1}]},
            "expected one Avro schema, got with references to 1 others",
        ),
    ],
)
def test_what_is_no_avro_schema_of_its_own_is_a_data_error(
    server: Any, registry: SchemaRegistry, document: Any, words: str
) -> None:
    server.answers["/schemas/ids/7"] = (200, document)
    with pytest.raises(DataError, match=words):
        registry.schema(7)


def test_a_registry_that_fails_or_cannot_be_reached_is_a_service_error(server: Any, registry: SchemaRegistry) -> None:
    server.answers["/schemas/ids/7"] = (500, {"error_code": 50001, "message": "no store"})
    with pytest.raises(ServiceError, match="no store"):
        registry.schema(7)
    nobody = connect_registry({"url": "http://127.0.0.1:1", "max.retries": 0}, Clock())
    with pytest.raises(ServiceError, match="cannot be reached"):
        nobody.schema(7)
    server.answers["/schemas/ids/7"] = (200, {"schema": packaged("request").text})
    assert registry.schema(7) == packaged("request")


def test_registering_gives_the_header_of_what_is_written(server: Any, registry: SchemaRegistry) -> None:
    server.answers["POST"] = (200, {"id": 300})
    assert registry.register("flights.outputs", packaged("output")) == b"\0\0\0\1\x2c"
    path, body = server.asked[0]
    assert path == "/subjects/flights.outputs-value/versions"
    assert json.loads(body["schema"]) == packaged("output").definition


def test_a_refused_registration_is_a_usage_error(server: Any, registry: SchemaRegistry) -> None:
    server.answers["POST"] = (409, {"error_code": 409, "message": "incompatible"})
    with pytest.raises(UsageError, match=r"refuses flights\.outputs-value: incompatible"):
        registry.register("flights.outputs", packaged("output"))


def test_a_missing_extra_names_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "confluent_kafka.schema_registry", None)
    with pytest.raises(UsageError, match=r"pip install 'streamsplit\[registry\]'"):
        connect_registry({"url": "http://127.0.0.1:1"}, Clock())


def test_wrong_settings_are_a_usage_error() -> None:
    with pytest.raises(UsageError, match="settings"):
        connect_registry({"url": "http://127.0.0.1:1", "colour": "red"}, Clock())
