"""Models for flights that pass every check at loading and fail on real flights.

Each answers probability 1/2 and label 0. What those that fail at once do beside grows with the longest distance in the
run, which is 0 in the golden record and never on a flight.
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


def put_flawed(folder: ModelFolder, label: str, share: float) -> None:
    """Answers NaN for a share of the flights: always the same ones, and those of a smaller share are among them."""
    constants = {
        "weights": np.array([[0.7549], [0.5698], [0.3247], [0.6180], [0.4142], [0.7321]], np.float32),
        "golden_is_fine": np.array([0.5], np.float32),
        "share": np.array([share], np.float32),
        "nan": np.array([np.nan], np.float32),
        "half": np.array([0.5], np.float32),
        "zero": np.zeros(1, np.float32),
        "zeros": np.zeros((1, 2), np.float32),
    }
    nodes = [
        helper.make_node("MatMul", ["numeric", "weights"], ["sum"]),
        helper.make_node("Add", ["sum", "golden_is_fine"], ["moved"]),
        helper.make_node("Floor", ["moved"], ["whole"]),
        helper.make_node("Sub", ["moved", "whole"], ["fraction"]),
        helper.make_node("Less", ["fraction", "share"], ["flawed"]),
        helper.make_node("Where", ["flawed", "nan", "half"], ["answer"]),
        helper.make_node("Add", ["answer", "zeros"], ["probability"]),
        helper.make_node("Mul", ["fraction", "zero"], ["none"]),
        helper.make_node("Cast", ["none"], ["label"], to=INT64),
    ]
    folder.put(label, onnx_model(nodes, _INPUTS, _OUTPUTS, constants), (_INPUTS, _OUTPUTS), _GOLDEN)


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
