"""Memory that a worker and one model process both see. It has no name: it is gone with its last owner."""

import fcntl
import math
import mmap
import os
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

ALIGNMENT = 64
"""Every tensor starts at a multiple of this many bytes."""

_GRAIN = 1 << 16


class Arena:
    """A mapped `memfd` that grows and never shrinks.

    Args:
        fd: The descriptor; the arena owns it from now on.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.size = os.fstat(fd).st_size
        self._lock = threading.Lock()  # one thread may close it while another grows it
        self._map = mmap.mmap(fd, self.size)

    @classmethod
    def create(cls, size: int = _GRAIN) -> "Arena":
        """A new one of at least `size` bytes; its descriptor is not inherited unless passed."""
        fd = os.memfd_create("streamsplit-arena", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(fd, max(size, _GRAIN))
            # Were it cut by the other side, reading behind the cut would kill us.
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
            return cls(fd)
        except OSError:
            os.close(fd)
            raise

    def ensure(self, size: int) -> None:
        """Grow to at least `size` bytes, doubling; arrays made before stay valid.

        Raises:
            OSError: There is no more memory, or the arena is closed.
        """
        if size > self.size:
            grown = -(-max(size, 2 * self.size) // _GRAIN) * _GRAIN
            with self._lock:
                if os.fstat(self.fd).st_size < grown:
                    os.ftruncate(self.fd, grown)
                self._remap()

    def follow(self) -> None:
        """Map what the other side has added."""
        with self._lock:
            if self.fd >= 0:
                self._remap()

    def _remap(self) -> None:
        size = os.fstat(self.fd).st_size
        if size > self.size:
            # The old mapping goes when the last array on it goes.
            self._map = mmap.mmap(self.fd, size)
            self.size = size

    def array(self, offset: int, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
        """An array on the memory itself, from a byte offset."""
        return np.frombuffer(self._map, dtype=dtype, count=math.prod(shape), offset=offset).reshape(shape)

    def read(self, offset: int, size: int) -> bytes:
        """A copy of `size` bytes from `offset`."""
        return self._map[offset : offset + size]

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Put bytes at `offset`; there must be room."""
        self._map[offset : offset + len(data)] = data

    def close(self) -> None:
        """Give the descriptor back; what is mapped stays readable and goes with the last array on it."""
        with self._lock:
            if self.fd >= 0:
                self._remap()
                os.close(self.fd)
                self.fd = -1


def aligned(offset: int) -> int:
    """The next offset where a tensor may start."""
    return -(-offset // ALIGNMENT) * ALIGNMENT
