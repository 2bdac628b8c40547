"""Which units have been met in a stay: a bitmap for each request partition.

A unit's place in it comes from another hash than its bucket, so that which units are taken for one that was met before
(two units at one place) says nothing about their arm.
"""

from collections.abc import Sequence

import numpy as np
import xxhash
from numpy.typing import NDArray

PLACES = 1 << 20
"""Places of a bitmap."""

SEED = 2
"""Of the hash; the bucket's is 0, that of failing units 1."""

NOWHERE = -1
"""Place of a request without a unit."""


def places_of(stay: int, units: Sequence[bytes | None]) -> NDArray[np.int32]:
    """The place of each request's unit: int32 (m,), `xxh64(stay + ":" + unit, seed 2) % 2^20`; `NOWHERE` without one.

    Args:
        stay: Revision that began the stay: in each other units share a place.
        units: m units, None for none.
    """
    digest, prefix = xxhash.xxh64_digest, b"%d:" % stay
    hashes = [digest(prefix + unit, SEED) for unit in units if unit is not None]
    found = (np.frombuffer(b"".join(hashes), dtype=">u8") % PLACES).astype(np.int32)
    if len(found) == len(units):
        return found
    places = np.full(len(units), NOWHERE, np.int32)
    places[[unit is not None for unit in units]] = found
    return places


class SeenUnits:
    """The bitmap of one partition and stay.

    Attributes:
        met: Places that are set.
    """

    def __init__(self) -> None:
        self.met = 0
        self._bits = np.zeros(PLACES // 8, np.uint8)

    def unmet(self, places: NDArray[np.int32], besides: NDArray[np.int32] | None = None) -> NDArray[np.int64]:
        """Which requests are the first of their unit: int64, ascending indices. Nothing is noted.

        Args:
            places: int32 (m,), in the order of the requests; none is `NOWHERE`.
            besides: int32, ascending: places that count as met, too.
        """
        rows = self._unset(places)
        if besides is not None and len(besides):
            at = np.minimum(np.searchsorted(besides, places[rows]), len(besides) - 1)
            rows = rows[besides[at] != places[rows]]
        first = np.unique(places[rows], return_index=True)[1]
        return np.sort(rows[first])

    def add(self, places: NDArray[np.int32]) -> None:
        """Units at these places are met; int32 (k,), any of them more than once."""
        new = np.unique(places[self._unset(places)])
        np.bitwise_or.at(self._bits, new >> 3, np.left_shift(1, new & 7).astype(np.uint8))
        self.met += len(new)

    def join(self, other: "SeenUnits") -> None:
        """All that are met in another bitmap are met here."""
        np.bitwise_or(self._bits, other._bits, out=self._bits)  # noqa: SLF001 # of its own kind
        self.met = int(np.bitwise_count(self._bits).sum(dtype=np.int64))

    def _unset(self, places: NDArray[np.int32]) -> NDArray[np.int64]:
        """Indices of the places that are not set: int64, ascending."""
        return np.flatnonzero((self._bits[places >> 3] >> (places & 7)) & 1 == 0)


def packed(places: NDArray[np.int32]) -> bytes:
    """Places as a summary carries them: ascending, little-endian, 32 bits each."""
    return np.sort(places).astype("<u4").tobytes()


def unpacked(packed_places: bytes) -> NDArray[np.int32]:
    """The places of `packed`: int32 (k,).

    Raises:
        ValueError: It is nothing that `packed` gives.
    """
    places = np.frombuffer(packed_places, "<u4")
    if len(places) and int(places.max()) >= PLACES:
        raise ValueError(f"a place of {int(places.max())} where there are {PLACES}")
    return places.astype(np.int32)
