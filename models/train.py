"""Trains the flight models on January to August 2013 and scores them on September to December.

    python models/train.py            write models/delay/*, models/scores.yaml and print the table
    python models/train.py --check    train again in a temporary folder and compare the scores
    python models/train.py --time     print what a run of 256 flights takes with each committed version

Everything is seeded. The bytes of an ONNX file may differ from one machine to another, its scores do not.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ruamel.yaml import YAML

from models.catalogue import NAME, golden_flights, write_version, write_yaml
from models.flight_table import FlightTable, load_flights
from models.scoring import feed, open_model, score, score_table
from models.versions import train

HOME = Path(__file__).resolve().parent
LAST_MONTH_OF_TRAINING = 8
TOLERANCE = 0.003
"""Largest difference between a score and its committed value that counts as the same."""


def split() -> tuple[FlightTable, FlightTable]:
    """The flights to train on and the later ones to score on; all have arrived."""
    flights = load_flights()
    arrived = flights.take(flights.late >= 0)
    early = arrived.months <= LAST_MONTH_OF_TRAINING
    return arrived.take(early), arrived.take(~early)


def publish(folder: Path) -> dict[str, dict[str, float]]:
    """Train, write every version and the scores below `folder`; returns version → score → value."""
    early, later = split()
    golden = golden_flights(later)
    scores = {}
    for version in train(early):
        write_version(folder, version, golden)
        onnx_bytes = (folder / NAME / version.version / "model.onnx").read_bytes()
        scores[version.version] = score(open_model(onnx_bytes), later).as_mapping()
    write_yaml(folder / "scores.yaml", {"flights": len(later), "months": "9-12", "scores": scores})
    return scores


def differences(committed: dict[str, dict[str, float]], again: dict[str, dict[str, float]]) -> list[str]:
    """A line for each score that is not what was committed."""
    return [
        f"delay@{version} {name}: committed {value}, trained again {again[version][name]}"
        for version, row in committed.items()
        for name, value in row.items()
        if abs(value - again[version][name]) > TOLERANCE
    ]


def committed_scores() -> dict[str, dict[str, float]]:
    """Version → score → value of `models/scores.yaml`."""
    scores: dict[str, dict[str, float]] = YAML(typ="safe").load(HOME / "scores.yaml")["scores"]
    return scores


def run_times(runs: int = 50) -> dict[str, float]:
    """Version → median milliseconds of a run of 256 flights on one thread."""
    flights = load_flights()
    batch = feed(flights.take(flights.carriers == "DL").take(slice(0, 256)))
    times = {}
    for path in sorted((HOME / NAME).glob("*/model.onnx")):
        session = open_model(path.read_bytes())
        session.run(None, batch)
        taken = []
        for _ in range(runs):
            began = time.perf_counter()
            session.run(None, batch)
            taken.append(time.perf_counter() - began)
        times[path.parent.name] = float(np.median(taken)) * 1000
    return times


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="train again and compare with the committed scores")
    parser.add_argument("--time", action="store_true", help="time the committed versions")
    chosen = parser.parse_args(arguments)
    if chosen.time:
        for version, milliseconds in run_times().items():
            print(f"delay@{version}: {milliseconds:.2f} ms for 256 flights")
        return 0
    if not chosen.check:
        print(score_table(publish(HOME)))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        again = publish(Path(folder))
    print(score_table(again))
    wrong = differences(committed_scores(), again)
    print("\n".join(wrong) or f"all scores as committed (within {TOLERANCE})")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
