"""Writes a model where StreamSplit finds it: `<name>/<version>/model.onnx` and `model.yaml`."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedSeq
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from models.flight_table import FEATURES, FlightTable
from models.scoring import feed, open_model

NAME = "delay"

GOLDEN_CARRIERS = ("DL", "AA", "EV", "9E")
"""Carriers of the golden flights; every version knows them."""

INPUTS = (
    {"name": "numeric", "datatype": "FP32", "shape": [len(FEATURES)], "finite": True},
    {"name": "carrier", "datatype": "BYTES", "shape": [1]},
)
OUTPUTS = (
    {"name": "probability", "datatype": "FP32", "shape": [2], "finite": True},
    {"name": "label", "datatype": "INT64", "shape": [1]},
)


@dataclass(frozen=True, slots=True)
class Version:
    """One version of the model, ready to be written.

    Attributes:
        version: Its folder.
        description: One sentence for people.
        model: The ONNX model.
        tolerance: Largest absolute difference at which a golden record counts as reproduced.
    """

    version: str
    description: str
    model: ModelProto
    tolerance: float = 1e-5


def golden_flights(flights: FlightTable) -> FlightTable:
    """A flight of each golden carrier, in turn one in time and one late, whose delay leaves little doubt."""
    delays = flights.numeric[:, FEATURES.index("dep_delay")]
    wanted = [
        (flights.carriers == carrier) & ((delays > 60) & (delays < 120) if turn % 2 else (delays < 0))
        for turn, carrier in enumerate(GOLDEN_CARRIERS)
    ]
    return flights.take(np.array([int(np.argmax(mask)) for mask in wanted], dtype=np.int64))


def write_version(folder: Path, version: Version, golden: FlightTable) -> None:
    """Write `model.onnx` and `model.yaml` of one version below `folder`."""
    onnx_bytes = version.model.SerializeToString(deterministic=True)
    probability, label = open_model(onnx_bytes).run(["probability", "label"], feed(golden))
    card = {
        "name": NAME,
        "version": DoubleQuotedScalarString(version.version),
        "description": version.description,
        "sha256": hashlib.sha256(onnx_bytes).hexdigest(),
        "inputs": [_in_a_line(tensor) for tensor in INPUTS],
        "outputs": [_in_a_line(tensor) for tensor in OUTPUTS],
        "golden": [
            {
                "inputs": {
                    "numeric": _sequence(golden.numeric[row].tolist()),
                    "carrier": _sequence([golden.carriers[row]]),
                },
                "outputs": {
                    "probability": _sequence([round(float(value), 7) for value in probability[row]]),
                    "label": _sequence(label[row].tolist()),
                },
            }
            for row in range(len(golden))
        ],
        "tolerance": version.tolerance,
    }
    target = folder / NAME / version.version
    target.mkdir(parents=True, exist_ok=True)
    (target / "model.onnx").write_bytes(onnx_bytes)
    write_yaml(target / "model.yaml", card)


def write_yaml(path: Path, contents: Any) -> None:
    """Write YAML of the same layout every time."""
    yaml = YAML()
    yaml.width = 120
    yaml.indent(mapping=2, sequence=4, offset=2)
    with path.open("w", encoding="utf-8") as stream:
        yaml.dump(contents, stream)


def _sequence(values: list[Any]) -> CommentedSeq:
    """A list that YAML writes in one line; words are quoted, so that `NO` and `9E` stay words."""
    sequence = CommentedSeq([DoubleQuotedScalarString(value) if isinstance(value, str) else value for value in values])
    sequence.fa.set_flow_style()
    return sequence


def _in_a_line(tensor: dict[str, Any]) -> dict[str, Any]:
    return {key: _sequence(value) if isinstance(value, list) else value for key, value in tensor.items()}
