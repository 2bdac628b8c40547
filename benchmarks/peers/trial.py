"""Runs peers on a broker of their own and checks every answer.

    python -m benchmarks.peers.trial kstreams quix
    python -m benchmarks.peers.trial --kind digits --requests 50000

A peer passes when each request has one output and one audit record, by the arm that its id belongs to and with what
that arm's model says, and when its program leaves in order.
"""

import argparse
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np

from benchmarks.digits import digit_requests, write_models
from benchmarks.ground import PARTITIONS, make, remove
from benchmarks.loads import ROOT
from benchmarks.peers import PEERS, Peer, Plan, named, tell_stderr
from benchmarks.peers.records import Record, Schema, Source
from benchmarks.peers.scorer import Scorer
from examples.flight_requests import Request, flight_requests
from examples.flights import produce
from streamsplit.core.errors import ServiceError
from streamsplit.core.routing import bucket_of
from streamsplit.kafka.broker import DevelopmentCluster
from streamsplit.kafka.clients import Connection
from streamsplit.offline.ranges import committed_offsets, extents, read_range

KINDS = ("flights", "digits")

_SALT = "delay-v2"
_WEIGHT_PERCENT = 10
_CANARY_BUCKETS = 1000
_OUTPUT_BYTES, _AUDIT_BYTES = 250.0, 220.0
"""Asked for; more than the values come to by themselves."""

_END_SECONDS = 300.0
_STOP_SECONDS = 40.0
_LOOK_SECONDS = 0.05
_TOLERANCE = 1e-4
_CHUNK = 1000


@dataclass(frozen=True, slots=True)
class Work:
    """Requests and who answers them.

    Attributes:
        kind: `flights` or `digits`.
        requests: In order.
        models: The ONNX files of control and of the candidate.
    """

    kind: str
    requests: tuple[Request, ...]
    models: tuple[str, str]

    @classmethod
    def of(cls, kind: str, count: int, folder: Path) -> "Work":
        """So many requests of a kind; the models of digits are written to `folder`."""
        if kind == "digits":
            control, candidate = write_models(folder)
            return cls(kind, tuple(digit_requests(count)), (str(control), str(candidate)))
        control, candidate = (ROOT / "models" / "delay" / version / "model.onnx" for version in ("1", "2"))
        return cls(kind, tuple(flight_requests(count)), (str(control), str(candidate)))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a peer did: each request answered once, and rightly.

    Attributes:
        seconds: From the start of its program to the last commit.
        output_bytes: Mean length of an output value.
        audit_bytes: Mean length of an audit value.
        same_partition: Share of outputs in their request's partition.
    """

    seconds: float
    output_bytes: float
    audit_bytes: float
    same_partition: float


def trial(
    connection: Connection, peer: Peer, work: Work, folder: Path, *, exactly_once: bool = True, batch: int = 1000
) -> Verdict:
    """Have a prepared peer answer requests, and check all that it wrote.

    Args:
        connection: The brokers.
        peer: Who answers.
        work: What is asked.
        folder: Where the peer may write; what it leaves there is the caller's to remove.
        exactly_once: What the plan says of it.
        batch: Requests of a transaction or commit.

    Raises:
        ServiceError: It did not end in order or in time, or an answer is missing, twice there or wrong.
    """
    name = f"trial-{peer.name.replace('_', '-')}-{uuid.uuid4().hex[:8]}"
    plan = Plan(
        brokers=connection.brokers,
        source=f"{name}.requests",
        targets=name,
        batch=batch,
        models=work.models,
        kind=work.kind,
        salt=_SALT,
        weight_percent=_WEIGHT_PERCENT,
        output_bytes=_OUTPUT_BYTES,
        audit_bytes=_AUDIT_BYTES,
        folder=str(folder),
        exactly_once=exactly_once,
    )
    make(connection, dict.fromkeys((plan.source, plan.outputs, plan.audit), PARTITIONS))
    try:
        result = produce(connection.brokers, plan.source, rate=None, requests=work.requests)
        if result.failed:
            raise ServiceError(f"{result.failed} requests could not be written: {result.error}")
        seconds = _serve(connection, peer, plan, len(work.requests))
        return _check(connection, plan, work, seconds)
    finally:
        remove(connection, f"{name}.")


def _serve(connection: Connection, peer: Peer, plan: Plan, count: int) -> float:
    """Run the program until all requests are committed; the seconds it took."""
    with tempfile.TemporaryFile() as log:
        begun = time.monotonic()
        process = subprocess.Popen(peer.command(plan), cwd=ROOT, stdout=log, stderr=log)
        try:
            done = 0
            while done < count and process.poll() is None and time.monotonic() < begun + _END_SECONDS:
                time.sleep(_LOOK_SECONDS)
                done = sum(committed_offsets(connection, plan.targets, plan.source, range(PARTITIONS)).values())
            seconds = time.monotonic() - begun
        finally:
            code = _end(process)
        log.seek(0)
        said = log.read().decode("utf-8", "replace")[-4000:]
    if done < count:
        raise ServiceError(f"{peer.name} came to {done} of {count} requests within {seconds:.0f} s:\n{said}")
    if code:
        raise ServiceError(f"{peer.name} ended with code {code} at SIGTERM, expected 0:\n{said}")
    return seconds


def _end(process: subprocess.Popen[bytes]) -> int:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        return process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _check(connection: Connection, plan: Plan, work: Work, seconds: float) -> Verdict:
    """Compare all that was written with what StreamSplit's routing and the models say."""
    outputs, audit = (_written(connection, topic) for topic in (plan.outputs, plan.audit))
    decode_output, decode_audit = Schema("output").decode, Schema("audit").decode
    answers = [decode_output(value) for _, value in outputs]
    wanted = _wanted(plan, work.requests)
    _compare(plan.outputs, answers, wanted)
    _compare(plan.audit, [decode_audit(value) for _, value in audit], wanted)
    return Verdict(
        seconds=seconds,
        output_bytes=fmean(len(value) for _, value in outputs),
        audit_bytes=fmean(len(value) for _, value in audit),
        same_partition=fmean(
            partition == answer["source_partition"] for (partition, _), answer in zip(outputs, answers, strict=True)
        ),
    )


def _written(connection: Connection, topic: str) -> list[tuple[int, bytes]]:
    """Partition and value of every committed record."""
    chunks = read_range(connection, topic, extents(connection, topic))
    return [(message.partition() or 0, message.value() or b"") for chunk in chunks for message in chunk]


def _wanted(plan: Plan, requests: Sequence[Request]) -> dict[str, Record]:
    """The right output of each request, by its id; its place is left out."""
    scorer, decode = Scorer(plan), Schema("output").decode
    nowhere = Source(0, 0, 0)
    found = {}
    for start in range(0, len(requests), _CHUNK):
        values = [request.value or b"" for request in requests[start : start + _CHUNK]]
        for output, _ in scorer.many(values, [nowhere] * len(values)):
            record = decode(output)
            found[record["id"]] = record
    return found


def _compare(topic: str, records: Sequence[Record], wanted: Mapping[str, Record]) -> None:
    """Raise an error unless each request has one record, with the right arm, model and tensors."""
    places = {(record["source_partition"], record["source_offset"]) for record in records}
    ids = {record["id"] for record in records}
    if not len(records) == len(places) == len(ids) == len(wanted):
        raise ServiceError(
            f"{topic} has {len(records)} records of {len(places)} places and {len(ids)} ids, expected {len(wanted)}"
        )
    for record in records:
        right = wanted[record["id"]]
        arm = "canary" if bucket_of(_SALT, record["id"].encode()) < _CANARY_BUCKETS else "control"
        if not record["arm"] == right["arm"] == arm or record["model"] != right["model"] or not _agrees(record, right):
            raise ServiceError(f"{topic}: expected {arm} to answer {right}, found {record}")


def _agrees(record: Record, right: Record) -> bool:
    """Whether an output has the right tensors; an audit record has none."""
    if "outputs" not in record:
        return True
    return all(_same(*pair) for pair in zip(record["outputs"], right["outputs"], strict=True))


def _same(found: Record, expected: Record) -> bool:
    if any(found[field] != expected[field] for field in ("name", "datatype", "shape")):
        return False
    kind = "<f4" if found["datatype"] == "FP32" else "<i8"
    close = np.isclose(np.frombuffer(found["data"], kind), np.frombuffer(expected["data"], kind), atol=_TOLERANCE)
    return bool(close.all())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [peer.name for peer in PEERS]
    parser.add_argument("peers", nargs="*", metavar="PEER", help=f"any of {', '.join(names)} (all)")
    parser.add_argument("--kind", choices=KINDS, default="flights", help="what is asked (flights)")
    parser.add_argument("--requests", type=int, default=20_000, help="how many (20000)")
    parser.add_argument("--batch", type=int, default=1000, help="requests of a transaction or commit (1000)")
    parser.add_argument("--at-least-once", action="store_true", help="without transactions")
    chosen = parser.parse_args(arguments)
    if unknown := [name for name in chosen.peers if name not in names]:
        parser.error(f"expected peers of {', '.join(names)}, found {', '.join(unknown)}")
    try:
        for line in _trials(chosen):
            print(line, flush=True)
    except ServiceError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _trials(chosen: argparse.Namespace) -> Iterator[str]:
    """A line for each peer."""
    with DevelopmentCluster() as cluster, tempfile.TemporaryDirectory(prefix="streamsplit-trial-") as folder:
        work = Work.of(chosen.kind, chosen.requests, Path(folder))
        for peer in map(named, chosen.peers) if chosen.peers else PEERS:
            if reason := peer.available():
                yield f"{peer.name}: not here: {reason}"
                continue
            peer.prepare(tell_stderr)
            own = Path(folder) / peer.name
            own.mkdir()
            verdict = trial(
                Connection(cluster.bootstrap),
                peer,
                work,
                own,
                exactly_once=not chosen.at_least_once,
                batch=chosen.batch,
            )
            yield (
                f"{peer.name}: {len(work.requests)} {work.kind} answered once and rightly in {verdict.seconds:.1f} s, "
                f"output {verdict.output_bytes:.1f} and audit record {verdict.audit_bytes:.1f} bytes, "
                f"{verdict.same_partition:.1%} in the request's partition"
            )


if __name__ == "__main__":
    sys.exit(main())
