"""A tensor of BYTES of many examples, without an object for each element."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamsplit.core.byte_strings import ByteStrings


@dataclass(frozen=True, slots=True, eq=False)
class TextTensor:
    """The elements of m examples.

    Attributes:
        elements: The byte strings, example by example, row-major; none is null.
        example: The shape of one example.
    """

    elements: ByteStrings
    example: tuple[int, ...]

    @classmethod
    def of(cls, array: "NDArray[Any] | TextTensor") -> "TextTensor":
        """The tensor of an array (m, *shape) of `bytes` objects; a tensor itself where it is one."""
        if isinstance(array, TextTensor):
            return array
        return cls(ByteStrings.of(array.reshape(-1).tolist()), array.shape[1:])

    @classmethod
    def together(cls, parts: Sequence["TextTensor"]) -> "TextTensor":
        """Tensors one behind the other; there is one at least."""
        return cls(ByteStrings.together([each.elements for each in parts]), parts[0].example)

    def __len__(self) -> int:
        """Number of examples (m)."""
        return len(self.elements) // self._size

    def __getitem__(self, rows: NDArray[np.int64]) -> "TextTensor":
        """Some examples: int64 (k,)."""
        places = rows if self._size == 1 else (rows[:, np.newaxis] * self._size + np.arange(self._size)).reshape(-1)
        return TextTensor(self.elements.at(places), self.example)

    @property
    def shape(self) -> tuple[int, ...]:
        """(m, *example), as an array has it."""
        return (len(self), *self.example)

    def tolist(self) -> list[Any]:
        """The elements as nested lists, as an array gives them."""
        array = np.empty(len(self.elements), dtype=object)
        array[:] = list(self.elements)
        nested: list[Any] = array.reshape(self.shape).tolist()
        return nested

    @property
    def _size(self) -> int:
        return int(np.prod(self.example, dtype=np.int64))


Tensor = NDArray[Any] | TextTensor
"""A tensor of many examples: an array (m, *shape) of numbers, or BYTES."""
