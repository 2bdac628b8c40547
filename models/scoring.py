"""How well a model predicts flights it was not trained on."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

from models.flight_table import FlightTable

RUN_ROWS = 256


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of one model; all but `answered` over the flights it answered.

    Attributes:
        log_loss: Mean negative log-likelihood in nats; lower is better.
        brier: Mean squared error of the probability; lower is better.
        auc: Share of pairs of a late and a timely flight that are ranked rightly; 0.5 is a coin.
        mean_probability: Mean of the probability of being late.
        answered: Share of flights for which the model did not raise.
    """

    log_loss: float
    brier: float
    auc: float
    mean_probability: float
    answered: float

    def as_mapping(self) -> dict[str, float]:
        """Name → value, rounded to what repeats from machine to machine."""
        return {name: round(value, 5) for name, value in asdict(self).items()}


def open_model(onnx_bytes: bytes) -> onnxruntime.InferenceSession:
    """A session on one thread of the CPU; errors are raised and not logged."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(onnx_bytes, options, providers=["CPUExecutionProvider"])


def feed(flights: FlightTable) -> dict[str, NDArray[np.generic]]:
    """The models' inputs for these flights."""
    return {"numeric": flights.numeric, "carrier": flights.carriers[:, None]}


def predict(session: onnxruntime.InferenceSession, flights: FlightTable) -> NDArray[np.float64]:
    """float64 (n,): the probability of being late; NaN for carriers on which the model raises."""
    late = np.full(len(flights), np.nan)
    for carrier in sorted(set(flights.carriers)):
        rows = np.flatnonzero(flights.carriers == carrier)
        for start in range(0, len(rows), RUN_ROWS):
            run = rows[start : start + RUN_ROWS]
            try:
                (probability,) = session.run(["probability"], feed(flights.take(run)))
            except onnxruntime.capi.onnxruntime_pybind11_state.Fail:
                break
            late[run] = probability[:, 1]
    return late


def score(session: onnxruntime.InferenceSession, flights: FlightTable) -> Scores:
    """Score a model on flights that have arrived."""
    late = predict(session, flights)
    answered = ~np.isnan(late)
    truth, probability = flights.late[answered], late[answered]
    return Scores(
        log_loss=float(log_loss(truth, probability)),
        brier=float(brier_score_loss(truth, probability)),
        auc=float(roc_auc_score(truth, probability)),
        mean_probability=float(probability.mean()),
        answered=float(answered.mean()),
    )


def score_table(scores: Mapping[str, Mapping[str, float]]) -> str:
    """The scores as a Markdown table, a row for each version."""
    names = list(next(iter(scores.values())))
    lines = ["| model | " + " | ".join(name.replace("_", " ") for name in names) + " |"]
    lines.append("|---" * (len(names) + 1) + "|")
    lines += [
        f"| delay@{version} | " + " | ".join(f"{row[name]:.4f}" for name in names) + " |"
        for version, row in scores.items()
    ]
    return "\n".join(lines)
