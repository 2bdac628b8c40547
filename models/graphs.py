"""ONNX graphs of the flight models: all take `numeric` and `carrier`, all give `probability` and `label`.

`numeric` is FP32 (n, 6), `carrier` a string (n, 1), `probability` FP32 (n, 2) of in time and late,
`label` INT64 (n, 1).
Opset 17 and ai.onnx.ml 3, which every ONNX Runtime since 1.14 reads.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, checker, helper, numpy_helper
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from models.flight_table import FEATURES

OPSETS = {"": 17, "ai.onnx.ml": 3}
IR_VERSION = 8


@dataclass(frozen=True, slots=True)
class Kernel:
    """The flights that a kernel average remembers.

    Attributes:
        remembered: int16 (m, k), their features less `center`; whole numbers keep the file small.
        late: bool (m,), whether each was late.
        center: int16 (k,), subtracted from the features, so that float32 sums stay exact near it.
        scale: float32 (k,), factor of each feature.
        certainty: Probabilities stay this far from 0 and 1.
    """

    remembered: NDArray[np.int16]
    late: NDArray[np.bool_]
    center: NDArray[np.int16]
    scale: NDArray[np.float32]
    certainty: float


class Graph:
    """A model under construction: nodes and constants in order."""

    def __init__(self) -> None:
        self._nodes: list[NodeProto] = []
        self._constants: list[TensorProto] = []

    def node(self, kind: str, inputs: Sequence[str], *, domain: str = "", **attributes: Any) -> str:
        """Add a node with one output, called `name` if that is given; returns the output's name."""
        name = attributes.pop("name", "") or f"{kind.lower()}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, list(inputs), [name], domain=domain, **attributes))
        return name

    def constant(self, values: NDArray[np.generic]) -> str:
        """Add a constant; returns its name."""
        name = f"constant_{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(values, name))
        return name

    def features(self, names: Sequence[str]) -> str:
        """FP32 (n, k): these columns of `numeric`."""
        columns = self.constant(np.array([FEATURES.index(name) for name in names], dtype=np.int64))
        return self.node("Gather", ["numeric", columns], axis=1)

    def above(self, values: str, bound: float) -> str:
        """FP32 of the same shape: 1 where a value is above `bound`, else 0."""
        return self.node("Cast", [self.node("Greater", [values, self._scalar(bound)])], to=TensorProto.FLOAT)

    def concatenate(self, parts: Sequence[str]) -> str:
        """Columns side by side."""
        return self.node("Concat", parts, axis=1)

    def carrier_rate(self, rates: Mapping[str, float], otherwise: float) -> str:
        """FP32 (n, 1): each carrier's share of late flights; `otherwise` for carriers never seen."""
        return self.node(
            "LabelEncoder",
            ["carrier"],
            domain="ai.onnx.ml",
            keys_strings=list(rates),
            values_floats=list(rates.values()),
            default_float=otherwise,
        )

    def one_hot(self, carriers: Sequence[str]) -> str:
        """FP32 (n, len(carriers)); raises at run time on a carrier that is not listed."""
        encoded = self.node("OneHotEncoder", ["carrier"], domain="ai.onnx.ml", cats_strings=list(carriers), zeros=0)
        return self.node("Reshape", [encoded, self.constant(np.array([-1, len(carriers)], dtype=np.int64))])

    def boosting(self, features: str, classifier: GradientBoostingClassifier) -> str:
        """FP32 (n, 2): the probabilities of boosted trees over `features`."""
        prior = float(classifier.init_.class_prior_[1])
        trees = [stage[0].tree_ for stage in classifier.estimators_]
        total = self.node(
            "TreeEnsembleRegressor",
            [features],
            domain="ai.onnx.ml",
            n_targets=1,
            base_values=[float(np.log(prior / (1 - prior)))],
            **_tree_attributes(trees, float(classifier.learning_rate)),
        )
        return self.both(self.node("Sigmoid", [total]))

    def logistic(self, features: str, classifier: LogisticRegression) -> str:
        """FP32 (n, 2): the probabilities of a logistic regression over `features`."""
        weights = self.constant(classifier.coef_.T.astype(np.float32))
        logit = self.node("Add", [self.node("MatMul", [features, weights]), self._scalar(classifier.intercept_[0])])
        return self.both(self.node("Sigmoid", [logit]))

    def both(self, late: str) -> str:
        """FP32 (n, 2) of in time and late, from FP32 (n, 1) of late."""
        return self.concatenate([self.node("Sub", [self._scalar(1.0), late]), late])

    def kernel_average(self, features: str, kernel: "Kernel") -> str:
        """FP32 (n, 1): the average lateness of remembered flights, weighted by nearness to `features`.

        The weight of a flight is exp(-d), d its squared distance; every row is compared with every remembered flight.
        """
        center, scale = self.constant(kernel.center.astype(np.float32)), self.constant(kernel.scale)
        seen = self.node("Mul", [self._floats(kernel.remembered), scale])
        asked = self.node("Mul", [self.node("Sub", [features, center]), scale])
        # exp(-|a - b|^2) over its sum = softmax(2ab - |b|^2): |a|^2 is the same for all remembered flights
        doubled = self.node("Add", [asked, asked])
        products = self.node("MatMul", [doubled, self.node("Transpose", [seen], perm=[1, 0])])
        norms = self.node("ReduceSumSquare", [seen], axes=[1], keepdims=0)
        weights = self.node("Softmax", [self.node("Sub", [products, norms])], axis=1)
        average = self.node("MatMul", [weights, self._floats(kernel.late[:, None])])
        low, high = (np.array(bound, dtype=np.float32) for bound in (kernel.certainty, 1 - kernel.certainty))
        return self.node("Clip", [average, self.constant(low), self.constant(high)])

    def finish(self, probability: str, name: str) -> ModelProto:
        """The checked model whose outputs are `probability` and the likelier class."""
        self.node("Identity", [probability], name="probability")
        self.node("ArgMax", ["probability"], name="label", axis=1, keepdims=1)
        graph = helper.make_graph(
            self._nodes,
            name,
            [
                helper.make_tensor_value_info("numeric", TensorProto.FLOAT, ["rows", len(FEATURES)]),
                helper.make_tensor_value_info("carrier", TensorProto.STRING, ["rows", 1]),
            ],
            [
                helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["rows", 2]),
                helper.make_tensor_value_info("label", TensorProto.INT64, ["rows", 1]),
            ],
            self._constants,
        )
        opsets = [helper.make_opsetid(domain, version) for domain, version in OPSETS.items()]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="streamsplit")
        checker.check_model(model, full_check=True)
        return model

    def _scalar(self, value: float) -> str:
        return self.constant(np.array([[value]], dtype=np.float32))

    def _floats(self, values: NDArray[np.generic]) -> str:
        return self.node("Cast", [self.constant(values)], to=TensorProto.FLOAT)


def _tree_attributes(trees: Sequence[Any], rate: float) -> dict[str, list[Any]]:
    """Regression trees of scikit-learn as attributes of a TreeEnsembleRegressor; leaves are scaled by `rate`."""
    columns: dict[str, list[Any]] = {
        "nodes_treeids": [],
        "nodes_nodeids": [],
        "nodes_featureids": [],
        "nodes_modes": [],
        "nodes_values": [],
        "nodes_truenodeids": [],
        "nodes_falsenodeids": [],
        "target_treeids": [],
        "target_nodeids": [],
        "target_ids": [],
        "target_weights": [],
    }
    for number, tree in enumerate(trees):
        leaf = tree.children_left < 0
        columns["nodes_treeids"] += [number] * tree.node_count
        columns["nodes_nodeids"] += range(tree.node_count)
        columns["nodes_featureids"] += np.where(leaf, 0, tree.feature).tolist()
        columns["nodes_modes"] += np.where(leaf, "LEAF", "BRANCH_LEQ").tolist()
        columns["nodes_values"] += np.where(leaf, 0, _rounded_down(tree.threshold)).tolist()
        columns["nodes_truenodeids"] += np.where(leaf, 0, tree.children_left).tolist()
        columns["nodes_falsenodeids"] += np.where(leaf, 0, tree.children_right).tolist()
        leaves = np.flatnonzero(leaf).tolist()
        columns["target_treeids"] += [number] * len(leaves)
        columns["target_nodeids"] += leaves
        columns["target_ids"] += [0] * len(leaves)
        columns["target_weights"] += (tree.value[leaf, 0, 0] * rate).tolist()
    return columns


def _rounded_down(thresholds: NDArray[np.float64]) -> NDArray[np.float32]:
    """The largest float32 not above each threshold, so that `x <= threshold` stays the same for every float32 x."""
    nearest = thresholds.astype(np.float32)
    return np.where(nearest > thresholds, np.nextafter(nearest, np.float32(-np.inf)), nearest)
