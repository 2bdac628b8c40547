"""Made-up traffic: counts of windows with base rates, shares and rules that change."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamsplit.core.evidence.errors import CountColumns

RAMP = (0.1, 0.25, 0.75)
"""Shares of the steps, each as long as the others."""

Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of the routes.

    Attributes:
        requests: A window's, on average.
        rate: Share of them that control fails, on average.
        shares: The candidate's, of each step.
    """

    requests: float
    rate: float
    shares: tuple[float, ...] = RAMP


DEFAULT = (Rule(700, 0.01), Rule(300, 0.002, (0.5,)))
"""A default route that follows the ramp, and a healthier segment with a fixed share."""


@dataclass(frozen=True, slots=True)
class Doses:
    """Counts of many runs; each int64 (runs, windows, rules).

    Attributes:
        control: Requests assigned to control.
        control_errors: Errors among them.
        candidate: Requests assigned to the candidate.
        candidate_errors: Errors among them.
    """

    control: Counts
    control_errors: Counts
    candidate: Counts
    candidate_errors: Counts

    @property
    def requests(self) -> Counts:
        """Requests of each window: int64 (runs, windows)."""
        return np.asarray((self.control + self.candidate).sum(axis=2))

    def columns(self) -> CountColumns:
        """All doses, one after another."""
        return CountColumns(
            self.control.ravel(), self.control_errors.ravel(), self.candidate.ravel(), self.candidate_errors.ravel()
        )

    def by_window(self, increments: NDArray[np.float64]) -> NDArray[np.float64]:
        """Increments of `columns`, float64 (doses, J), as those of windows: float64 (runs, windows, J)."""
        runs, windows, rules = self.control.shape
        return np.asarray(increments.reshape(runs, windows, rules, -1).sum(axis=2))

    def then(self, later: "Doses") -> "Doses":
        """These windows, and other ones of the same runs after them."""
        return Doses(
            *(
                np.concatenate(pair, axis=1)
                for pair in (
                    (self.control, later.control),
                    (self.control_errors, later.control_errors),
                    (self.candidate, later.candidate),
                    (self.candidate_errors, later.candidate_errors),
                )
            )
        )

    def pooled(self) -> "Doses":
        """Rules thrown together, which nobody should do."""
        return Doses(
            *(
                counts.sum(axis=2, keepdims=True)
                for counts in (self.control, self.control_errors, self.candidate, self.candidate_errors)
            )
        )


def doses(
    generator: np.random.Generator,
    runs: int,
    windows: int,
    rules: tuple[Rule, ...] = DEFAULT,
    *,
    ratio: float = 1.0,
    floor: float = 0.0,
    steady: bool = False,
) -> Doses:
    """Counts of a candidate whose error rate is `ratio` times control's, plus `floor`, at every moment.

    Args:
        generator: Random numbers.
        runs: How many runs.
        windows: Windows of each.
        rules: The rules.
        ratio: Not negative.
        floor: A share of requests.
        steady: Whether control's rate stays where it is; else it drifts by a half up and down, and in a tenth of the
            windows it is four times as high.
    """
    shape = (runs, windows, len(rules))
    rate = np.array([rule.rate for rule in rules]) * np.ones(shape)
    if not steady:
        drift = np.sin(2 * np.pi * (np.arange(windows)[:, None] / 90 + generator.random((runs, 1, len(rules)))))
        rate *= np.exp(0.5 * drift) * np.where(generator.random((runs, windows, 1)) < 0.1, 4.0, 1.0)
    share = np.stack([_shares(rule, windows) for rule in rules], axis=1)
    requests = generator.poisson([rule.requests for rule in rules], shape)
    candidate = generator.binomial(requests, share)
    control = requests - candidate
    return Doses(
        control,
        generator.binomial(control, rate),
        candidate,
        generator.binomial(candidate, np.minimum(1.0, ratio * rate + floor)),
    )


def _shares(rule: Rule, windows: int) -> NDArray[np.float64]:
    step = np.arange(windows) * len(rule.shares) // max(windows, 1)
    return np.array(rule.shares)[step]
