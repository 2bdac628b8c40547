"""Two arms in this process: routes requests by the hash of their id, runs ONNX Runtime, writes the answers."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
import xxhash

from benchmarks.peers.plan import Plan
from benchmarks.peers.records import Answers, Encoded, Record, Schema, Served, Source

_ARMS = ("control", "canary")
_BUCKETS = 10_000
_DATATYPES = {"tensor(float)": "FP32", "tensor(int64)": "INT64", "tensor(string)": "BYTES"}
_WIDTHS = {"FP32": 4, "INT64": 8}
_TEXT = 4
"""Where the text of a BYTES element begins, behind its length."""


class _Output(NamedTuple):
    name: str
    datatype: str


class _Arm:
    """A model in ONNX Runtime, on one thread."""

    def __init__(self, name: str, path: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.name = name
        self.model = f"{path.parts[-3]}@{path.parts[-2]}" if path.name == "model.onnx" else path.stem
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self._inputs = [(each.name, _DATATYPES[each.type]) for each in self._session.get_inputs()]
        self._outputs = [_Output(each.name, _DATATYPES[each.type]) for each in self._session.get_outputs()]

    def run(self, requests: Sequence[Record]) -> Iterator[tuple[Record, ...]]:
        """Answer at once; the output tensors of each request are made as they are asked for."""
        inputs = [{tensor["name"]: tensor["data"] for tensor in request["inputs"]} for request in requests]
        feed = {name: _column(datatype, [each[name] for each in inputs]) for name, datatype in self._inputs}
        arrays = self._session.run(None, feed)
        return zip(*map(_tensors, self._outputs, arrays), strict=True)


def _column(datatype: str, data: Sequence[bytes]) -> np.ndarray[Any, Any]:
    """Tensors of single examples, one below the other."""
    if datatype == "BYTES":
        return np.array([[each[_TEXT:].decode()] for each in data], dtype=object)
    kind = "<f4" if datatype == "FP32" else "<i8"
    return np.frombuffer(b"".join(data), dtype=kind).reshape(len(data), -1)


def _tensors(output: _Output, array: np.ndarray[Any, Any]) -> Iterator[Record]:
    """The rows of an output, each as a tensor of the wire."""
    shape, raw = list(array.shape[1:]), array.tobytes()
    width = array[0].size * _WIDTHS[output.datatype]
    name, datatype = output
    for start in range(0, len(raw), width):
        yield {"name": name, "datatype": datatype, "shape": shape, "data": raw[start : start + width]}


class Scorer:
    """Answers requests.

    Args:
        plan: Models, routing, and how long answers are.
    """

    def __init__(self, plan: Plan) -> None:
        self._requests = Schema("request")
        self._answers = Answers(plan.salt, plan.output_bytes, plan.audit_bytes)
        self._arms = [_Arm(name, Path(path)) for name, path in zip(_ARMS, plan.models, strict=True)]
        self._prefix = f"{plan.salt}:".encode()
        self._canary = plan.weight_percent * _BUCKETS / 100

    def many(self, values: Sequence[bytes], sources: Sequence[Source]) -> list[Encoded]:
        """Answer a batch: one run an arm.

        Args:
            values: The requests' values.
            sources: Where they came from.

        Returns:
            Their outputs and audit records, in their order.

        Raises:
            ValueError: A value is not a request.
        """
        requests = [self._requests.decode(value) for value in values]
        buckets = [self._bucket(request["id"]) for request in requests]
        encoded: list[Encoded] = [(b"", b"")] * len(requests)
        for number, arm in enumerate(self._arms):
            mine = [row for row, bucket in enumerate(buckets) if int(bucket < self._canary) == number]
            if mine:
                begun = time.perf_counter_ns()
                tensors = arm.run([requests[row] for row in mine])
                micros, finished = (time.perf_counter_ns() - begun) // 1000, time.time_ns() // 1_000_000
                for row, answer in zip(mine, tensors, strict=True):
                    served = Served(requests[row]["id"], buckets[row], arm.name, arm.model, answer, micros, finished)
                    encoded[row] = self._answers.encode(served, sources[row])
        return encoded

    def one(self, value: bytes, source: Source) -> Encoded:
        """Answer a request alone.

        Raises:
            ValueError: The value is not a request.
        """
        request = self._requests.decode(value)
        bucket = self._bucket(request["id"])
        arm = self._arms[int(bucket < self._canary)]
        begun = time.perf_counter_ns()
        (tensors,) = arm.run((request,))
        micros, finished = (time.perf_counter_ns() - begun) // 1000, time.time_ns() // 1_000_000
        served = Served(request["id"], bucket, arm.name, arm.model, tensors, micros, finished)
        return self._answers.encode(served, source)

    def _bucket(self, name: str) -> int:
        return xxhash.xxh64_intdigest(self._prefix + name.encode()) % _BUCKETS
