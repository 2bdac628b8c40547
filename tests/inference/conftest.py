"""Small models, made on the spot, in a repository on disk, and arms that run them."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from streamsplit.inference.arm import Arm, ArmOptions, ArmStatus
from streamsplit.inference.repository import Repository

FLOAT, INT64, STRING = TensorProto.FLOAT, TensorProto.INT64, TensorProto.STRING
_WORDS = {FLOAT: "FP32", INT64: "INT64", STRING: "BYTES"}
READY_SECONDS = 60.0

Tensor = tuple[str, int, Sequence[Any]]
"""Name, element type and shape with the batch dimension."""


def onnx_model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[Tensor],
    outputs: Sequence[Tensor],
    constants: dict[str, np.ndarray[Any, Any]] | None = None,
    domains: Sequence[str] = ("",),
) -> onnx.ModelProto:
    """A model of a few nodes."""
    graph = helper.make_graph(
        list(nodes),
        "graph",
        [helper.make_tensor_value_info(*tensor) for tensor in inputs],
        [helper.make_tensor_value_info(*tensor) for tensor in outputs],
        [onnx.numpy_helper.from_array(value, name) for name, value in (constants or {}).items()],
    )
    versions = {"": 17, "ai.onnx.ml": 3}
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid(d, versions.get(d, 1)) for d in domains])
    model.ir_version = 9
    return model


class ModelFolder:
    """A models folder that is filled by a test."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.repository = Repository(root)

    def put(
        self,
        label: str,
        model: onnx.ModelProto | bytes,
        signature: tuple[Sequence[Tensor], Sequence[Tensor]],
        golden: tuple[dict[str, list[Any]], dict[str, list[Any]]],
        **changes: Any,
    ) -> Path:
        """Write a model and its `model.yaml` (JSON is YAML); returns the folder."""
        name, version = label.split("@")
        folder = self.root / name / version
        folder.mkdir(parents=True)
        raw = model if isinstance(model, bytes) else model.SerializeToString()
        (folder / "model.onnx").write_bytes(raw)
        inputs, outputs = (
            [{"name": tensor, "datatype": _WORDS[kind], "shape": list(shape[1:])} for tensor, kind, shape in tensors]
            for tensors in signature
        )
        manifest = {
            "name": name,
            "version": version,
            "sha256": hashlib.sha256(raw).hexdigest(),
            "inputs": inputs,
            "outputs": outputs,
            "golden": [{"inputs": golden[0], "outputs": golden[1]}],
            **changes,
        }
        (folder / "model.yaml").write_text(json.dumps(manifest))
        return folder

    def put_scale(self, label: str, factor: float, *, width: int = 3, batch: int | str = "N") -> Path:
        """Answer y = x * factor, FP32[width] to FP32[width]."""
        x, y = ("x", FLOAT, [batch, width]), ("y", FLOAT, [batch, width])
        node = helper.make_node("Mul", ["x", "factor"], ["y"])
        model = onnx_model([node], [x], [y], {"factor": np.array([factor], np.float32)})
        return self.put(label, model, ([x], [y]), ({"x": [1.0] * width}, {"y": [factor] * width}))

    def put_gather(self, label: str, *, table: Sequence[float] = (10.0, 20.0, 30.0)) -> Path:
        """Answer y = table[x]: raises for rows whose x is outside of the table."""
        x, y = ("x", INT64, ["N"]), ("y", FLOAT, ["N"])
        node = helper.make_node("Gather", ["table", "x"], ["y"])
        model = onnx_model([node], [x], [y], {"table": np.array(table, np.float32)})
        return self.put(label, model, ([x], [y]), ({"x": [1]}, {"y": [table[1]]}))

    def put_constant(self, label: str, *, answer: float) -> Path:
        """Answer y = `answer`, for any x."""
        x, y = ("x", INT64, ["N"]), ("y", FLOAT, ["N"])
        nodes = [
            helper.make_node("Cast", ["x"], ["number"], to=FLOAT),
            helper.make_node("Mul", ["number", "zero"], ["zeros"]),
            helper.make_node("Add", ["zeros", "answer"], ["y"]),
        ]
        constants = {"zero": np.zeros(1, np.float32), "answer": np.array([answer], np.float32)}
        return self.put(label, onnx_model(nodes, [x], [y], constants), ([x], [y]), ({"x": [1]}, {"y": [answer]}))

    def put_sum(self, label: str, terms: tuple[str, str], total: str) -> Path:
        """Answer the sum of two numbers."""
        inputs, outputs = [(name, FLOAT, ["N"]) for name in terms], [(total, FLOAT, ["N"])]
        model = onnx_model([helper.make_node("Add", list(terms), [total])], inputs, outputs)
        return self.put(label, model, (inputs, outputs), ({name: [1.0] for name in terms}, {total: [2.0]}))

    def put_greedy(self, label: str) -> Path:
        """Answer y = x, by way of a block of max(x) * 4 bytes of memory."""
        x, y = ("x", INT64, ["N"]), ("y", FLOAT, ["N"])
        nodes = [
            helper.make_node("ReduceMax", ["x"], ["most"], keepdims=1, axes=[0]),
            helper.make_node("ConstantOfShape", ["most"], ["block"]),
            helper.make_node("ReduceMax", ["block"], ["zero"], keepdims=0),
            helper.make_node("Cast", ["x"], ["number"], to=FLOAT),
            helper.make_node("Add", ["number", "zero"], ["y"]),
        ]
        return self.put(label, onnx_model(nodes, [x], [y]), ([x], [y]), ({"x": [1]}, {"y": [1.0]}))

    def put_looper(self, label: str) -> Path:
        """Answer y = x after max(x) turns of a loop: a large x hangs."""
        x, y = ("x", INT64, ["N"]), ("y", FLOAT, ["N"])
        body = helper.make_graph(
            [
                helper.make_node("Identity", ["going"], ["goes_on"]),
                helper.make_node("Identity", ["before"], ["after"]),
            ],
            "body",
            [
                helper.make_tensor_value_info("turn", INT64, []),
                helper.make_tensor_value_info("going", TensorProto.BOOL, []),
                helper.make_tensor_value_info("before", INT64, [None]),
            ],
            [
                helper.make_tensor_value_info("goes_on", TensorProto.BOOL, []),
                helper.make_tensor_value_info("after", INT64, [None]),
            ],
        )
        nodes = [
            helper.make_node("ReduceMax", ["x"], ["most"], keepdims=0),
            helper.make_node("Loop", ["most", "", "x"], ["same"], body=body),
            helper.make_node("Cast", ["same"], ["y"], to=FLOAT),
        ]
        return self.put(label, onnx_model(nodes, [x], [y]), ([x], [y]), ({"x": [1]}, {"y": [1.0]}))

    def put_root(self, label: str, **changes: Any) -> Path:
        """Answer y = sqrt(x): NaN for rows below zero."""
        x, y = ("x", FLOAT, ["N", 3]), ("y", FLOAT, ["N", 3])
        model = onnx_model([helper.make_node("Sqrt", ["x"], ["y"])], [x], [y])
        return self.put(label, model, ([x], [y]), ({"x": [4.0, 9.0, 1.0]}, {"y": [2.0, 3.0, 1.0]}), **changes)

    def put_carrier(self, label: str) -> Path:
        """Answer `full`, the carrier's name in capitals, and `twice` = 2 * number."""
        tensors = (
            [("carrier", STRING, ["N"]), ("number", FLOAT, ["N"])],
            [("full", STRING, ["N"]), ("twice", FLOAT, ["N"])],
        )
        nodes = [
            helper.make_node(
                "LabelEncoder",
                ["carrier"],
                ["full"],
                domain="ai.onnx.ml",
                keys_strings=["ü", "UA", "B6"],
                values_strings=["Überland", "UNITED", "JETBLUE"],
                default_string="",
            ),
            helper.make_node("Add", ["number", "number"], ["twice"]),
        ]
        model = onnx_model(nodes, *tensors, domains=("", "ai.onnx.ml"))
        return self.put(
            label, model, tensors, ({"carrier": ["ü"], "number": [1.5]}, {"full": ["Überland"], "twice": [3.0]})
        )

    @contextmanager
    def running(self, *labels: str, name: str = "control", **options: Any) -> Iterator[Arm]:
        """An arm of a chain of models, ready; stopped at the end."""
        repository = self.repository
        chain = tuple(repository.pin(label) for label in labels)
        arm = Arm(name, chain, repository, ArmOptions(backoff_seconds=0.01, **options))
        arm.start()
        try:
            self.reached(arm, lambda status: status.ready)
            yield arm
        finally:
            arm.stop()

    @staticmethod
    def reached(arm: Arm, condition: Callable[[ArmStatus], bool]) -> ArmStatus:
        """The status of an arm once it fulfils a condition, which it must."""
        status = arm.wait(condition, READY_SECONDS)
        assert condition(status), status
        return status


@pytest.fixture
def models(tmp_path: Path) -> ModelFolder:
    """An empty models folder."""
    return ModelFolder(tmp_path)
