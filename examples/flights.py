"""Sends real flights as inference requests at a steady rate.

    python examples/flights.py --brokers 127.0.0.1:9092 --topic requests --rate 2000 --count 50000

Without --count it goes on until it is stopped (Ctrl-C), and says then how many records were delivered.
"""

import argparse
import signal
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from examples.flight_requests import Pace, Request, Timing, flight_requests
from examples.hostile_requests import Hostile, hostile_requests
from streamsplit.core.errors import UsageError

__all__ = ["Hostile", "Pace", "Produced", "Request", "Timing", "flight_requests", "hostile_requests", "produce"]

TICK_SECONDS = 0.005
BURST_SECONDS = 0.1
"""A sender that was held up catches up with at most this much of its rate; so a pause is not followed by a flood."""

FLUSH_SECONDS = 60.0
METADATA_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Produced:
    """What became of the records.

    Attributes:
        delivered: Records that the brokers acknowledged.
        failed: Records that they did not.
        seconds: From the first record to the last acknowledgement.
        error: The first failure's reason; None without failures.
    """

    delivered: int
    failed: int
    seconds: float
    error: str | None = None


def produce(
    brokers: str,
    topic: str,
    *,
    rate: float | None,
    total: int | None = None,
    requests: Iterable[Request] | None = None,
    stop: threading.Event | None = None,
    timing: Timing | Pace = "now",
    config: Mapping[str, str | int | float | bool] | None = None,
) -> Produced:
    """Send requests; blocks until all are acknowledged or given up.

    The partition follows from the key by the Java clients' hash; a record without a key goes to any partition.

    Args:
        brokers: Bootstrap servers.
        topic: The topic of requests.
        rate: Records a second; None: as fast as the brokers take them.
        total: How many of the flights; None: until `stop`.
        requests: What to send instead of the flights from January on.
        stop: Set it from another thread to end early.
        timing: What the flights' requests say about their time.
        config: More settings of librdkafka, such as security.

    Raises:
        UsageError: No broker answers, or the topic is not there.
    """
    producer = Producer(
        {
            "bootstrap.servers": brokers,
            "enable.idempotence": True,
            "partitioner": "murmur2_random",
            "linger.ms": 5,
            "delivery.timeout.ms": 30_000,
            "log_level": 2,  # a broker that is away would fill the terminal; the first failure is told at the end
            **(config or {}),
        }
    )
    _refuse_missing(producer, brokers, topic)
    sender = _Sender(producer, topic)
    stop = stop or threading.Event()
    began = time.monotonic()
    bucket = TokenBucket(rate, began)
    for request in flight_requests(total, timing=timing) if requests is None else requests:
        while not bucket.take(time.monotonic()) and not stop.is_set():
            producer.poll(TICK_SECONDS)
        if stop.is_set():
            break
        sender.send(request)
    return sender.finish(began)


def _refuse_missing(producer: Producer, brokers: str, topic: str) -> None:
    try:
        topics = producer.list_topics(timeout=METADATA_SECONDS).topics
    except KafkaException as error:
        reason = error.args[0].str()
        raise UsageError(f"no broker answers at {brokers} ({reason}): start one, or correct --brokers") from None
    if topic not in topics:
        raise UsageError(f"there is no topic {topic!r} at {brokers}: make it with `streamsplit topics create`")


class TokenBucket:
    """Lets through `rate` records a second; holds at most what `BURST_SECONDS` bring, and a token at least."""

    def __init__(self, rate: float | None, now: float) -> None:
        self._rate = rate
        self._tokens = 1.0
        self._filled = now

    def take(self, now: float) -> bool:
        """Take a token, if there is one at `now` (seconds of a monotonic clock)."""
        if self._rate is None:
            return True
        if self._tokens < 1:
            limit = max(1.0, self._rate * BURST_SECONDS)
            self._tokens = min(limit, self._tokens + (now - self._filled) * self._rate)
            self._filled = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class _Sender:
    """Hands records to librdkafka and counts what becomes of them."""

    def __init__(self, producer: Producer, topic: str) -> None:
        self._producer = producer
        self._topic = topic
        self._sent = 0
        self._delivered = 0
        self._error: str | None = None

    def send(self, request: Request) -> None:
        """Queue a record; waits while the queue is full."""
        while True:
            try:
                self._producer.produce(self._topic, request.value, request.key, on_delivery=self._report)
            except BufferError:
                self._producer.poll(0.1)
                continue
            self._sent += 1
            if self._sent % 256 == 0:
                self._producer.poll(0)
            return

    def finish(self, began: float) -> Produced:
        """Wait for the acknowledgements of all that was sent."""
        unsettled = self._producer.flush(FLUSH_SECONDS)
        if unsettled and self._error is None:
            self._error = f"{unsettled} records were not acknowledged within {FLUSH_SECONDS:.0f} s"
        return Produced(self._delivered, self._sent - self._delivered, time.monotonic() - began, self._error)

    def _report(self, error: KafkaError | None, _message: Message) -> None:
        if error is None:
            self._delivered += 1
        elif self._error is None:
            self._error = error.str()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--brokers", required=True, help="bootstrap servers, such as 127.0.0.1:9092")
    parser.add_argument("--topic", required=True, help="the topic of requests")
    parser.add_argument("--rate", type=float, default=2000.0, help="records a second; 0: as fast as it goes (2000)")
    parser.add_argument("--count", type=int, help="how many; without it until stopped")
    parser.add_argument("--start", type=int, default=0, help="index of the first flight; 0 is 1 January (0)")
    parser.add_argument("--timing", choices=("now", "schedule"), default="now", help="what requests say of their time")
    parser.add_argument("--hostile", action="store_true", help="send the records that cannot be served instead")
    chosen = parser.parse_args(arguments)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    flights = flight_requests(chosen.count, chosen.start, chosen.timing)
    try:
        result = produce(
            chosen.brokers,
            chosen.topic,
            rate=chosen.rate or None,
            requests=[hostile.request for hostile in hostile_requests()] if chosen.hostile else flights,
            stop=stop,
        )
    except UsageError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"delivered {result.delivered}, failed {result.failed}, in {result.seconds:.1f} s")
    if result.error:
        print(f"first failure: {result.error}", file=sys.stderr)
    return 1 if result.failed else 0


if __name__ == "__main__":
    sys.exit(main())
