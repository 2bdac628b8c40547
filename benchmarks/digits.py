"""Handwritten digits as a data set of the benchmark: a tensor of 64 floats, two models, requests.

The images are scikit-learn's (UCI, 1 797 of 8 x 8 pixels). Control is a logistic regression, the candidate a network of
one hidden layer; both are written as StreamSplit's model folders. Everything is seeded.
"""

import functools
import hashlib
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import fastavro
import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, checker, helper, numpy_helper
from ruamel.yaml.comments import CommentedSeq
from ruamel.yaml.scalarstring import DoubleQuotedScalarString
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped] # it ships no types

from examples.flight_requests import Request
from models.catalogue import write_yaml
from models.scoring import open_model
from streamsplit.wire.schemas import packaged

NAME = "digits"
CONTROL, CANDIDATE = f"{NAME}@1", f"{NAME}@2"

PIXELS, DIGITS = 64, 10
WRITERS = 9973
"""Keys: so many writers send digits in turn."""

_SEED = 20130101
_TRAINED = 1200
_OPSET, _IR_VERSION = 17, 8
_TOLERANCE = 1e-5

_Layer = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Weights (in, out) and biases (out,)."""


@functools.cache
def images() -> NDArray[np.float32]:
    """float32 (1797, 64): the pixels, 0 to 1."""
    return _data()[0]


def digit_requests(count: int) -> Iterator[Request]:
    """Requests with an image each, again and again from the first; ids never repeat.

    Args:
        count: How many.
    """
    schema = packaged("request")
    parsed = fastavro.parse_schema(schema.definition)
    pixels = [row.astype("<f4").tobytes() for row in images()]
    for number in range(count):
        name = f"digit-{number:08d}"
        stream = io.BytesIO()
        stream.write(schema.header)
        tensor = {"name": "pixels", "datatype": "FP32", "shape": [PIXELS], "data": pixels[number % len(pixels)]}
        record = {"id": name, "attributes": {"source": "scanner"}, "time": None, "inputs": [tensor]}
        fastavro.schemaless_writer(stream, parsed, record)
        yield Request(f"writer-{number % WRITERS}".encode(), stream.getvalue(), name)


def write_models(folder: Path) -> tuple[Path, Path]:
    """Train both models and write `digits/1` and `digits/2` below `folder`.

    Args:
        folder: A models folder, as the setting `models` names it.

    Returns:
        The ONNX files of control and of the candidate.
    """
    pixels, labels = _data()
    pixels, labels = pixels[:_TRAINED], labels[:_TRAINED]
    with threadpool_limits(1):  # on few cores the threads of the algebra wait for each other for minutes
        regression = LogisticRegression(C=0.1).fit(pixels, labels)
        network = MLPClassifier((64,), solver="lbfgs", alpha=0.01, random_state=_SEED).fit(pixels, labels)
    dense = list(zip(network.coefs_, network.intercepts_, strict=True))
    return (
        _write(folder, "1", "Logistic regression on the pixels.", [_layer(regression.coef_.T, regression.intercept_)]),
        _write(folder, "2", "One hidden layer of 64 on the pixels.", [_layer(*each) for each in dense]),
    )


@functools.cache
def _data() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    pixels, labels = load_digits(return_X_y=True)
    return (pixels / 16).astype(np.float32), labels.astype(np.int64)


def _layer(weights: NDArray[np.float64], biases: NDArray[np.float64]) -> _Layer:
    return weights.astype(np.float32), biases.astype(np.float32)


def _model(layers: Sequence[_Layer]) -> ModelProto:
    """Dense layers with ReLU between them, softmax behind the last, and the likeliest digit."""
    nodes: list[NodeProto] = []
    constants: list[TensorProto] = []
    flow = "pixels"
    for number, (weights, biases) in enumerate(layers):
        constants += [numpy_helper.from_array(weights, f"w{number}"), numpy_helper.from_array(biases, f"b{number}")]
        nodes.append(helper.make_node("Gemm", [flow, f"w{number}", f"b{number}"], [f"dense{number}"]))
        flow = f"dense{number}"
        if number + 1 < len(layers):
            nodes.append(helper.make_node("Relu", [flow], [f"relu{number}"]))
            flow = f"relu{number}"
    nodes.append(helper.make_node("Softmax", [flow], ["probabilities"], axis=1))
    nodes.append(helper.make_node("ArgMax", ["probabilities"], ["label"], axis=1, keepdims=1))
    graph = helper.make_graph(
        nodes,
        NAME,
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["rows", PIXELS])],
        [
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["rows", DIGITS]),
            helper.make_tensor_value_info("label", TensorProto.INT64, ["rows", 1]),
        ],
        constants,
    )
    opset = [helper.make_opsetid("", _OPSET)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=_IR_VERSION, producer_name="streamsplit")
    checker.check_model(model, full_check=True)
    return model


def _write(folder: Path, version: str, description: str, layers: Sequence[_Layer]) -> Path:
    onnx_bytes = _model(layers).SerializeToString(deterministic=True)
    examples = images()[_TRAINED : _TRAINED + 2]
    probabilities, labels = open_model(onnx_bytes).run(["probabilities", "label"], {"pixels": examples})
    card = {
        "name": NAME,
        "version": DoubleQuotedScalarString(version),
        "description": description,
        "sha256": hashlib.sha256(onnx_bytes).hexdigest(),
        "inputs": [{"name": "pixels", "datatype": "FP32", "shape": _line([PIXELS]), "finite": True}],
        "outputs": [
            {"name": "probabilities", "datatype": "FP32", "shape": _line([DIGITS]), "finite": True},
            {"name": "label", "datatype": "INT64", "shape": _line([1])},
        ],
        "golden": [
            {
                "inputs": {"pixels": _line(pixels.tolist())},
                "outputs": {"probabilities": _line(chances.tolist()), "label": _line(label.tolist())},
            }
            for pixels, chances, label in zip(examples, probabilities, labels, strict=True)
        ],
        "tolerance": _TOLERANCE,
    }
    target = folder / NAME / version
    target.mkdir(parents=True, exist_ok=True)
    (target / "model.onnx").write_bytes(onnx_bytes)
    write_yaml(target / "model.yaml", card)
    return target / "model.onnx"


def _line(values: list[float] | list[int]) -> CommentedSeq:
    """A list that YAML writes in one line."""
    sequence = CommentedSeq(values)
    sequence.fa.set_flow_style()
    return sequence
