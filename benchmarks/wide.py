"""Requests of one large tensor, and models that do little with it: what remains is the cost of carrying it."""

import hashlib
import io
import json
from collections.abc import Iterator
from pathlib import Path

import fastavro
import numpy as np
from onnx import TensorProto, checker, helper

from benchmarks.loads import Load, Record
from streamsplit.wire.schemas import packaged

_OPSET, _IR_VERSION = 17, 8
_DISTINCT = 64
_WIDTH = 8
"""Bytes of an element: FP64, as the golden records in `model.yaml` list every element."""


def wide(folder: Path, size: int) -> Load:
    """A load whose tensors have so many bytes; its models are written below `folder`."""
    elements = size // _WIDTH
    name = f"wide-{size}"
    _write(folder, name, "1", elements, "ReduceMean")
    _write(folder, name, "2", elements, "ReduceMax")
    return Load(name, folder, f"{name}@1", f"{name}@2", lambda most: list(_records(elements, min(most, _DISTINCT))))


def _records(elements: int, count: int) -> Iterator[Record]:
    schema = packaged("request")
    parsed = fastavro.parse_schema(schema.definition)
    chance = np.random.default_rng(1)
    for number in range(count):
        tensor = {
            "name": "x",
            "datatype": "FP64",
            "shape": [elements],
            "data": chance.random(elements).astype("<f8").tobytes(),
        }
        stream = io.BytesIO()
        stream.write(schema.header)
        record: dict[str, object] = {"id": f"wide-{number}", "attributes": {}, "time": None, "inputs": [tensor]}
        fastavro.schemaless_writer(stream, parsed, record)
        yield f"key-{number}".encode(), stream.getvalue()


def _write(folder: Path, name: str, version: str, elements: int, reduction: str) -> None:
    graph = helper.make_graph(
        [helper.make_node(reduction, ["x"], ["y"], axes=[1], keepdims=1)],
        name,
        [helper.make_tensor_value_info("x", TensorProto.DOUBLE, ["rows", elements])],
        [helper.make_tensor_value_info("y", TensorProto.DOUBLE, ["rows", 1])],
    )
    opset = [helper.make_opsetid("", _OPSET)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=_IR_VERSION, producer_name="streamsplit")
    checker.check_model(model, full_check=True)
    onnx = model.SerializeToString(deterministic=True)
    card = {
        "name": name,
        "version": version,
        "sha256": hashlib.sha256(onnx).hexdigest(),
        "inputs": [{"name": "x", "datatype": "FP64", "shape": [elements]}],
        "outputs": [{"name": "y", "datatype": "FP64", "shape": [1]}],
        "golden": [{"inputs": {"x": [0] * elements}, "outputs": {"y": [0.0]}}],
    }
    target = folder / name / version
    target.mkdir(parents=True, exist_ok=True)
    (target / "model.onnx").write_bytes(onnx)
    (target / "model.yaml").write_text(json.dumps(card), "utf-8")  # JSON is YAML, too
