"""The five versions of the model: a first one, a better one, and three that go wrong as models do."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from models.catalogue import Version
from models.flight_table import FEATURES, LATE_MINUTES, FlightTable
from models.graphs import Graph, Kernel

SEED = 20130101
TRAINING_ROWS = 60_000
REMEMBERED_FLIGHTS = 24_000

USED = ("dep_delay", "hour", "distance", "scheduled_minutes", "weekday")
SWAPPED = ("hour", "dep_delay", "distance", "scheduled_minutes", "weekday")
UNSEEN = ("B6", "UA")
"""Carriers that were missing in the sample `delay@4` was trained on."""


def train(early: FlightTable) -> list[Version]:
    """Fit every version on flights that have arrived."""
    rates = _late_rates(early)
    boosted = _boosted(early, rates)
    return [
        Version("1", "Logistic regression on whether the flight left late, its hour and its distance.", _first(early)),
        Version("2", "Boosted trees on the delay at departure, the schedule and the carrier.", boosted(USED)),
        Version(
            "3",
            "delay@2 with the columns dep_delay and hour swapped: it runs, and predicts badly.",
            boosted(SWAPPED),
        ),
        Version(
            "4",
            "Boosted trees with a one-hot encoder that never saw the carriers B6 and UA: it raises on them.",
            _one_hot(early),
        ),
        Version(
            "5",
            "Kernel average over 24 000 remembered flights: nearly as good as delay@2, and many times slower.",
            _remembering(early),
        ),
    ]


def _columns(flights: FlightTable, names: Sequence[str]) -> NDArray[np.float32]:
    return flights.numeric[:, [FEATURES.index(name) for name in names]]


def _sample(flights: FlightTable, rows: int) -> FlightTable:
    """A seeded sample without repeats, in the table's order."""
    chosen = np.random.default_rng(SEED).choice(len(flights), size=rows, replace=False)
    return flights.take(np.sort(chosen))


def _late_rates(flights: FlightTable) -> dict[str, float]:
    """Each carrier's share of late flights, as float32 stores it."""
    return {
        carrier: float(np.float32(flights.late[flights.carriers == carrier].mean()))
        for carrier in sorted(set(flights.carriers))
    }


def _first(early: FlightTable) -> ModelProto:
    scale = np.array([1 / 24, 1 / 1000], dtype=np.float32)
    left_late = _columns(early, ["dep_delay"]) > LATE_MINUTES
    rows = np.concatenate([left_late.astype(np.float32), _columns(early, ["hour", "distance"]) * scale], axis=1)
    classifier = LogisticRegression().fit(rows, early.late)
    graph = Graph()
    schedule = graph.node("Mul", [graph.features(["hour", "distance"]), graph.constant(scale)])
    features = graph.concatenate([graph.above(graph.features(["dep_delay"]), LATE_MINUTES), schedule])
    return graph.finish(graph.logistic(features, classifier), "late_logistic")


def _trees() -> GradientBoostingClassifier:
    return GradientBoostingClassifier(n_estimators=80, max_leaf_nodes=15, max_depth=None, random_state=SEED)


def _boosted(early: FlightTable, rates: dict[str, float]) -> Callable[[Sequence[str]], ModelProto]:
    """Fit the trees once; the result makes a model that reads `numeric` in the given order of columns."""
    sample = _sample(early, TRAINING_ROWS)
    rate = np.array([[rates[carrier]] for carrier in sample.carriers], dtype=np.float32)
    classifier = _trees().fit(np.concatenate([_columns(sample, USED), rate], axis=1), sample.late)

    def model(order: Sequence[str]) -> ModelProto:
        graph = Graph()
        features = graph.concatenate([graph.features(order), graph.carrier_rate(rates, float(early.late.mean()))])
        return graph.finish(graph.boosting(features, classifier), "late_boosted")

    return model


def _one_hot(early: FlightTable) -> ModelProto:
    others = early.take(~np.isin(early.carriers, UNSEEN))
    known = sorted(set(others.carriers))
    sample = _sample(others, TRAINING_ROWS)
    hot = (sample.carriers[:, None] == np.array(known, dtype=object)).astype(np.float32)
    classifier = _trees().fit(np.concatenate([_columns(sample, USED), hot], axis=1), sample.late)
    graph = Graph()
    features = graph.concatenate([graph.features(USED), graph.one_hot(known)])
    return graph.finish(graph.boosting(features, classifier), "late_one_hot")


def _remembering(early: FlightTable) -> ModelProto:
    sample = _sample(early, REMEMBERED_FLIGHTS)
    center = np.array([0, 13, 1000, 180, 3], dtype=np.int16)
    kernel = Kernel(
        remembered=_columns(sample, USED).astype(np.int16) - center,
        late=sample.late == 1,
        center=center,
        scale=np.array([1 / 6, 1 / 4, 1 / 800, 1 / 40, 1 / 8], dtype=np.float32),
        certainty=0.005,
    )
    graph = Graph()
    return graph.finish(graph.both(graph.kernel_average(graph.features(USED), kernel)), "late_remembered")
