"""Judges two models on real flights, in memory: no Kafka, no worker, the guards that judge live rollouts.

    python examples/judge_offline.py --candidate 3

Each flight of September is given to one model, as a live split would, and what the two answered goes to the judge.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from models.flight_table import FlightTable, load_flights
from streamsplit.core import Judged, Probe, judge_arrays
from streamsplit.core.routing import bucket_of

MODELS = Path(__file__).parents[1] / "models" / "delay"
RUN_ROWS = 64
WEIGHT = 25
JUDGE = {
    "window": "1h",
    "guards": {"score": {"output": "probability", "index": 1, "range": [0, 1], "margin": "15%"}},
}


def judged(candidate: str = "3", *, month: int = 9) -> Judged:
    """What the judge says of a version of the model beside version 1, on the flights of a month."""
    table = load_flights()
    table = table.take(table.months == month)
    buckets = np.array([bucket_of("offline", str(row).encode()) for row in table.rows])
    arms = np.where(buckets < 100 * WEIGHT, "canary", "control")
    scores = np.full(len(table), np.nan)
    sessions = {"control": open_model("1"), "canary": open_model(candidate)}
    for arm, session in sessions.items():
        rows = np.flatnonzero(arms == arm)
        for start in range(0, len(rows), RUN_ROWS):
            some = rows[start : start + RUN_ROWS]
            scores[some] = answers(session, table.take(some))
    return judge_arrays(
        arms,
        table.scheduled,
        errors=np.isnan(scores),
        scores=scores,
        probes=probes(sessions, table),
        judge=JUDGE,
        weight=WEIGHT,
    )


def open_model(version: str) -> onnxruntime.InferenceSession:
    """A session on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    return onnxruntime.InferenceSession(
        (MODELS / version / "model.onnx").read_bytes(), options, providers=["CPUExecutionProvider"]
    )


def answers(session: onnxruntime.InferenceSession, flights: FlightTable) -> NDArray[np.float64]:
    """float64 (n,): the chance of being late; NaN where the model raises, flight by flight if need be."""
    late = run(session, flights)
    if late is None and len(flights) > 1:
        return np.concatenate([answers(session, flights.take(slice(row, row + 1))) for row in range(len(flights))])
    return np.full(len(flights), np.nan) if late is None else late


def run(session: onnxruntime.InferenceSession, flights: FlightTable) -> NDArray[np.float64] | None:
    """float64 (n,): the chance of being late; None where the model raises."""
    try:
        (probability,) = session.run(
            ["probability"], {"numeric": flights.numeric, "carrier": flights.carriers[:, None]}
        )
    except onnxruntime.capi.onnxruntime_pybind11_state.Fail:
        return None
    return np.asarray(probability[:, 1], np.float64)


def probes(sessions: dict[str, onnxruntime.InferenceSession], table: FlightTable) -> list[Probe]:
    """Some runs of the same flights through both models, control first and last, so that neither finds a warm cache."""
    timed = []
    for start in range(0, len(table) - RUN_ROWS, len(table) // 100):
        flights = table.take(slice(start, start + RUN_ROWS))
        micros = {"control": 0, "canary": 0}
        for arm in ("control", "canary", "canary", "control"):
            began = time.perf_counter()
            run(sessions[arm], flights)
            micros[arm] += round(5e5 * (time.perf_counter() - began))
        timed.append(Probe(int(table.scheduled[start]), "canary", RUN_ROWS, micros["control"], micros["canary"]))
    return timed


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--candidate", default="3", choices=["2", "3", "4", "5"], help="version of the model")
    print(judged(parser.parse_args().candidate))


if __name__ == "__main__":
    main()
