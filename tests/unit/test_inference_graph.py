"""What a graph may hold, wherever it is hidden."""

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from streamsplit.inference.graph import inspect_graph
from streamsplit.inference.manifest import ModelRefused


def model(*nodes: onnx.NodeProto) -> onnx.ModelProto:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N"]) for name in ("x", "y"))
    return helper.make_model(helper.make_graph(list(nodes) or [helper.make_node("Relu", ["x"], ["y"])], "g", [x], [y]))


def outside(name: str = "weights") -> TensorProto:
    tensor = onnx.numpy_helper.from_array(np.ones(1, np.float32), name)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")
    return tensor


def in_initializer(m: onnx.ModelProto) -> None:
    m.graph.initializer.append(outside())


def in_attribute(m: onnx.ModelProto) -> None:
    m.graph.node.append(helper.make_node("Constant", [], ["weights"], value=outside()))


def in_list_of_tensors(m: onnx.ModelProto) -> None:
    m.graph.node[0].attribute.append(helper.make_attribute("many", [outside()]))


def in_sparse_values(m: onnx.ModelProto) -> None:
    m.graph.sparse_initializer.add().values.CopyFrom(outside())


def in_sparse_indices_of_an_attribute(m: onnx.ModelProto) -> None:
    attribute = m.graph.node[0].attribute.add(name="sparse", type=onnx.AttributeProto.SPARSE_TENSOR)
    attribute.sparse_tensor.indices.CopyFrom(outside())


def in_subgraph(m: onnx.ModelProto) -> None:
    body = helper.make_graph([], "body", [], [], [outside()])
    m.graph.node.append(helper.make_node("If", ["x"], ["z"], then_branch=body, else_branch=body))


def in_function(m: onnx.ModelProto) -> None:
    constant = helper.make_node("Constant", [], ["weights"], value=outside())
    m.functions.append(helper.make_function("local", "F", [], ["weights"], [constant], [helper.make_opsetid("", 17)]))


def in_training(m: onnx.ModelProto) -> None:
    m.training_info.add().initialization.initializer.append(outside())


def by_entries_alone(m: onnx.ModelProto) -> None:
    tensor = outside()
    tensor.ClearField("data_location")
    m.graph.initializer.append(tensor)


@pytest.mark.parametrize(
    "hide",
    [
        in_initializer,
        in_attribute,
        in_list_of_tensors,
        in_sparse_values,
        in_sparse_indices_of_an_attribute,
        in_subgraph,
        in_function,
        in_training,
        by_entries_alone,
    ],
)
def test_external_data_is_refused_wherever_it_is(hide: Callable[[onnx.ModelProto], None]) -> None:
    hostile = model()
    hide(hostile)
    with pytest.raises(ModelRefused, match=r"m@1: tensor weights: found external data.*save_as_external_data=False"):
        inspect_graph(hostile.SerializeToString(), "m@1")


@pytest.mark.parametrize(
    ("domain", "operator"),
    [
        ("com.example", "Steal"),
        ("ai.onnx.contrib", "PyOp"),
        ("com.microsoft", "EPContext"),
        ("org.pytorch.aten", "ATen"),
    ],
)
def test_an_operator_that_reaches_outside_is_refused_by_name_also_in_a_subgraph(domain: str, operator: str) -> None:
    node = helper.make_node(operator, ["x"], ["y"], domain=domain, name="hidden")
    nested = helper.make_node("If", ["x"], ["z"], then_branch=helper.make_graph([node], "body", [], []))
    for hostile in (model(node), model(nested)):
        with pytest.raises(ModelRefused, match=f"operator {operator} of node hidden"):
            inspect_graph(hostile.SerializeToString(), "m@1")


def test_a_models_own_functions_may_have_a_domain_of_their_own() -> None:
    relu = helper.make_node("Relu", ["a"], ["b"])
    function = helper.make_function("of.its.own", "F", ["a"], ["b"], [relu], [helper.make_opsetid("", 17)])
    fine = model(helper.make_node("F", ["x"], ["y"], domain="of.its.own"))
    fine.functions.append(function)
    inspect_graph(fine.SerializeToString(), "m@1")


@pytest.mark.parametrize("domain", ["", "ai.onnx", "ai.onnx.ml", "com.microsoft"])
def test_standard_operators_pass(domain: str) -> None:
    inspect_graph(model(helper.make_node("Anything", ["x"], ["y"], domain=domain)).SerializeToString(), "m@1")


@pytest.mark.parametrize("raw", [b"", b"not a model", b"\x08\x07"])
def test_what_is_no_model_is_refused(raw: bytes) -> None:
    with pytest.raises(ModelRefused, match="expected an ONNX model"):
        inspect_graph(raw, "m@1")
