"""Flights, with candidates that raise: one on every flight, made here, and one on a third of them."""

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from onnx import ModelProto, TensorProto

from benchmarks.loads import Load, flights
from models.catalogue import NAME, Version, write_version
from models.flight_table import FEATURES, load_flights
from models.graphs import Graph

FAILING: Mapping[str, str] = {"every request": "delay@raising", "a third": "delay@4"}
"""What fails → the candidate that does it. `delay@4` is harder to be sure of."""

_FROM_REPOSITORY = ("1", "4")


def failing(folder: Path) -> Load:
    """Flights, whose models, control's too, are written below `folder`; the candidate raises on every flight."""
    given, label = flights(), FAILING["every request"]
    for number in _FROM_REPOSITORY:
        shutil.copytree(given.models / NAME / number, folder / NAME / number, dirs_exist_ok=True)
    version = Version(label.removeprefix(f"{NAME}@"), "It raises on every flight.", _raising())
    # Its golden record is a flight of no distance: a model that raises on that as well would never be loaded.
    nowhere = replace(load_flights().take(slice(1)), numeric=np.zeros((1, len(FEATURES)), np.float32))
    write_version(folder, version, nowhere)
    return replace(given, models=folder, candidate=label)


def _raising() -> ModelProto:
    """1/2 for a flight of no distance; for any other it looks in a table of one row for the second."""
    graph = Graph()
    flies = graph.above(graph.features(["distance"]), 0.0)
    row = graph.node("Cast", [flies], to=TensorProto.INT64)
    late = graph.node("Gather", [graph.constant(np.array([0.5], np.float32)), row], axis=0)
    return graph.finish(graph.both(late), "raising")
