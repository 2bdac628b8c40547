"""Runs in parallel, with random numbers that depend on the name of the simulation and on nothing else."""

import os
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_CHUNK = 100
"""Runs at once: what fits into a cache makes them fast, and memory small."""


@dataclass(frozen=True, slots=True)
class Job:
    """A simulation of many runs.

    Attributes:
        name: Says which random numbers it gets; unique.
        simulate: (random numbers, runs) → (runs,) of what is found in each.
        runs: How many.
    """

    name: str
    simulate: Callable[[np.random.Generator, int], NDArray[Any]]
    runs: int


def run(jobs: Sequence[Job], *, seed: int = 0, processes: int | None = None) -> list[NDArray[Any]]:
    """Simulate.

    Args:
        jobs: What; functions that another process can import.
        seed: Another one gives other random numbers.
        processes: How many at once; None: one a core. With 1 it is this process alone.

    Returns:
        Of each job, (runs,).
    """
    pieces = [
        (place, job.simulate, _seed(job.name, seed, start), min(_CHUNK, job.runs - start))
        for place, job in enumerate(jobs)
        for start in range(0, job.runs, _CHUNK)
    ]
    count = processes or os.cpu_count() or 1
    if count == 1:
        results = [_piece(*piece[1:]) for piece in pieces]
    else:
        with ProcessPoolExecutor(count) as pool:
            results = [future.result() for future in [pool.submit(_piece, *piece[1:]) for piece in pieces]]
    return [
        np.concatenate([result for piece, result in zip(pieces, results, strict=True) if piece[0] == place])
        for place in range(len(jobs))
    ]


def _seed(name: str, seed: int, start: int) -> np.random.SeedSequence:
    return np.random.SeedSequence([seed, zlib.crc32(name.encode()), start])


def _piece(
    simulate: Callable[[np.random.Generator, int], NDArray[Any]], seed: np.random.SeedSequence, runs: int
) -> NDArray[Any]:
    return simulate(np.random.default_rng(seed), runs)
