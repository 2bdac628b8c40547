"""Candidates for flights that pass every check at loading and fail on the first real flight.

Each answers probability 1/2 and label 0. What it does beside grows with the longest distance in the run, which is 0 in
the golden record and never on a flight.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper

from tests.inference.conftest import FLOAT, INT64, STRING, ModelFolder, onnx_model

_INPUTS = [("numeric", FLOAT, ["N", 6]), ("carrier", STRING, ["N", 1])]
_OUTPUTS = [("probability", FLOAT, ["N", 2]), ("label", INT64, ["N", 1])]
_GOLDEN = ({"numeric": [0.0] * 6, "carrier": ["UA"]}, {"probability": [0.5, 0.5], "label": [0]})
_CONSTANTS = {
    "distance": np.array([2]),
    "first": np.array([0]),
    "first_two": np.array([0, 1]),
    "zero": np.zeros(1, np.float32),
    "half": np.array([0.5], np.float32),
    "many": np.array([1e9], np.float32),
    "one": np.array([1]),
}


def put_hanging(folder: ModelFolder, label: str) -> None:
    """Turns round in a loop for ever."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["going"], ["goes_on"]), helper.make_node("Identity", ["before"], ["after"])],
        "body",
        [
            helper.make_tensor_value_info("turn", INT64, []),
            helper.make_tensor_value_info("going", TensorProto.BOOL, []),
            helper.make_tensor_value_info("before", FLOAT, [None, 6]),
        ],
        [
            helper.make_tensor_value_info("goes_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("after", FLOAT, [None, 6]),
        ],
    )
    _put(folder, label, [helper.make_node("Loop", ["turns", "", "numeric"], ["features"], body=body)])


def put_leaking(folder: ModelFolder, label: str) -> None:
    """Takes gigabytes of memory."""
    nodes = [
        helper.make_node("Reshape", ["turns", "one"], ["length"]),
        helper.make_node("Add", ["length", "one"], ["size"]),
        helper.make_node("ConstantOfShape", ["size"], ["block"]),
        helper.make_node("ReduceMax", ["block"], ["nothing"], keepdims=0),
        helper.make_node("Add", ["numeric", "nothing"], ["features"]),
    ]
    _put(folder, label, nodes)


def _put(folder: ModelFolder, label: str, failing: list[onnx.NodeProto]) -> None:
    nodes = [
        helper.make_node("Gather", ["numeric", "distance"], ["distances"], axis=1),
        helper.make_node("ReduceMax", ["distances"], ["farthest"], keepdims=0),
        helper.make_node("Mul", ["farthest", "many"], ["product"]),
        helper.make_node("Cast", ["product"], ["turns"], to=INT64),
        *failing,
        helper.make_node("Gather", ["features", "first_two"], ["pair"], axis=1),
        helper.make_node("Mul", ["pair", "zero"], ["zeros"]),
        helper.make_node("Add", ["zeros", "half"], ["probability"]),
        helper.make_node("Gather", ["features", "first"], ["single"], axis=1),
        helper.make_node("Mul", ["single", "zero"], ["none"]),
        helper.make_node("Cast", ["none"], ["label"], to=INT64),
    ]
    folder.put(label, onnx_model(nodes, _INPUTS, _OUTPUTS, _CONSTANTS), (_INPUTS, _OUTPUTS), _GOLDEN)
