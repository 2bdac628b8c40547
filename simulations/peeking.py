"""What looking again and again does to a test that is meant for one look, by numerical integration.

Sums of k standard normal numbers are compared with c sqrt(k) at looks k = 1, 2, ... The density of the sums that have
not crossed yet is carried from look to look (Armitage, McPherson, Rowe 1969, J. R. Stat. Soc. A 132, 235-244).
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

PUBLISHED = {5: 0.1417, 10: 0.1934, 100: 0.3736, 1000: 0.5299}
"""Looks → chance that a two-sided test at 5 % has ever fired."""

TWO_SIDED_5 = 1.959963984540054


def inflation(looks: Sequence[int], critical: float = TWO_SIDED_5) -> dict[int, float]:
    """The chance that a two-sided z-test has fired at one of so many looks at equal amounts of new data.

    Args:
        looks: Numbers of looks; positive.
        critical: In standard errors, of each look; positive.

    Returns:
        Looks → chance.
    """
    nodes, weights = _rule(critical)
    density = np.exp(-(nodes**2) / 2) / math.sqrt(2 * math.pi)
    fired = {}
    for look in range(1, max(looks) + 1):
        if look in looks:
            fired[look] = 1 - float(density @ weights)
        wider, wider_weights = _rule(critical * math.sqrt(look + 1))
        density = _normal(wider[:, None] - nodes[None, :]) @ (density * weights)
        nodes, weights = wider, wider_weights
    return fired


def _rule(half: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Gauss-Legendre on [-half, half], with nodes much closer than the width of one look's normal density."""
    places, weights = _legendre(32 * math.ceil((16 + 2.5 * half) / 32))
    return places * half, weights * half


@lru_cache
def _legendre(count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    places, weights = np.polynomial.legendre.leggauss(count)
    return places, weights


def _normal(values: NDArray[np.float64]) -> NDArray[np.float64]:
    density: NDArray[np.float64] = np.exp(-(values**2) / 2) / math.sqrt(2 * math.pi)
    return density
