"""What canaries are judged by elsewhere: a test for one look that is looked at in each window, and Kayenta's.

Kayenta's rule is that of `NetflixACAJudge` with its defaults, as of Kayenta's source (github.com/spinnaker/kayenta:
`NetflixACAJudge.scala`, `MannWhitneyClassifier.scala`, `MannWhitney.scala`, `IQRDetector.scala`): a metric is a series
of points; points outside 3 interquartile ranges, and outside the 1st to 99th percentile, are left out; the metric is
"High" when the 98 % confidence interval of the Mann-Whitney U test (normal, with corrections for continuity and ties)
for the shift of the candidate's points lies above a quarter of the estimated shift, and the ratio of the means is at
least 1 (`allowedIncrease`). No points are "Nodata" and decide nothing; equal points pass. With one metric, "High" is
score 0, which ends the canary. It looks at all points so far at every interval of the analysis.
"""

import math

import numpy as np
from numpy.typing import NDArray

from simulations.traffic import Doses

ONE_SIDED_5 = 1.6448536269514722
_CONFIDENCE_98 = 2.3263478740408408
_TOLERANCE = 0.25
_FENCE = 3.0


def peeking(doses: Doses, critical: float = ONE_SIDED_5) -> NDArray[np.bool_]:
    """A one-sided z-test of two rates on all requests so far, looked at in each window.

    Args:
        doses: The counts; rules are thrown together.
        critical: In standard errors.

    Returns:
        bool (runs, windows): whether it fires.
    """
    pooled = doses.pooled()
    n_a, x_a, n_b, x_b = (
        np.cumsum(counts[:, :, 0], axis=1)
        for counts in (pooled.control, pooled.control_errors, pooled.candidate, pooled.candidate_errors)
    )
    both = (x_a + x_b) / np.maximum(1, n_a + n_b)
    variance = both * (1 - both) * (1 / np.maximum(1, n_a) + 1 / np.maximum(1, n_b))
    difference = x_b / np.maximum(1, n_b) - x_a / np.maximum(1, n_a)
    fires: NDArray[np.bool_] = (variance > 0) & (difference > critical * np.sqrt(variance))
    return fires


def kayenta(doses: Doses, every: int) -> NDArray[np.bool_]:
    """Kayenta's rule on the error rates of windows, looked at after every so many.

    Args:
        doses: The counts; rules are thrown together.
        every: Windows from one look to the next.

    Returns:
        bool (runs, windows): whether it fires; False in windows without a look.
    """
    pooled = doses.pooled()
    control = _rates(pooled.control_errors, pooled.control)
    candidate = _rates(pooled.candidate_errors, pooled.candidate)
    runs, windows = control.shape
    fires = np.zeros((runs, windows), np.bool_)
    for end in range(every, windows + 1, every):
        for run in range(runs):
            fires[run, end - 1] = kayenta_high(control[run, :end], candidate[run, :end])
    return fires


def kayenta_high(control: NDArray[np.float64], candidate: NDArray[np.float64]) -> bool:
    """Whether Kayenta calls a metric "High".

    Args:
        control: float64 (n,), control's points; NaN is none.
        candidate: float64 (m,), the candidate's.
    """
    y, x = _kept(control), _kept(candidate)
    if not len(x) or not len(y) or np.array_equal(np.sort(x), np.sort(y)) or len(np.union1d(x, y)) == 1:
        return False
    shift = float(np.median(np.subtract.outer(x, y)))  # Hodges-Lehmann
    above = _standardised(x - _TOLERANCE * abs(shift), y) > _CONFIDENCE_98
    return bool(above and x.mean() >= y.mean())


def _rates(errors: NDArray[np.int64], requests: NDArray[np.int64]) -> NDArray[np.float64]:
    counts = requests[:, :, 0]
    return np.where(counts > 0, errors[:, :, 0] / np.maximum(1, counts), np.nan)


def _kept(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Without NaN and outliers."""
    points = points[~np.isnan(points)]
    if not len(points):
        return points
    first, low, high, last = np.percentile(points, [1, 25, 75, 99])
    reach = _FENCE * (high - low)
    return np.asarray(points[(points >= min(first, low - reach)) & (points <= max(last, high + reach))])


def _standardised(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Mann-Whitney's U of x over y in standard errors, corrected for continuity and ties."""
    n, m = len(x), len(y)
    pool, inverse, ties = np.unique(np.concatenate((x, y)), return_inverse=True, return_counts=True)
    rank = np.cumsum(ties) - (ties - 1) / 2
    excess = float(rank[inverse[:n]].sum()) - n * (n + 1) / 2 - n * m / 2
    spread = n * m / 12 * (n + m + 1 - float((ties.astype(float) ** 3 - ties).sum()) / ((n + m) * (n + m - 1)))
    if len(pool) == 1 or spread <= 0:
        return 0.0
    return (excess - 0.5 * float(np.sign(excess))) / math.sqrt(spread)
