"""An exchange as the model process carries it out: cut into runs, and a run that raises searched for healthy rows."""

import heapq
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamsplit.core.records import Datatype, Signature, TensorSpec
from streamsplit.inference.arena import Arena
from streamsplit.inference.layout import append_texts, fixed, read_strings
from streamsplit.inference.session import Columns, Model, is_out_of_memory

EXTRA_RUNS = 8
"""Runs spent on finding the healthy rows of a run that raised."""

_REASON = 300

Report = Callable[[dict[str, Any]], None]
"""Takes a message for the parent."""


class Chain:
    """Models in order; each sees the request's tensors and what the models before it gave."""

    def __init__(self, models: Sequence[Model], signature: Signature) -> None:
        self.models = models
        self.signature = signature

    def run(self, columns: Columns, rows: int) -> Columns:
        """Answer `rows` examples with the last model's outputs; a later tensor hides an earlier one of its name."""
        tensors = dict(columns)
        for model in self.models:
            tensors.update(model.run(tensors, rows))
        return tensors


class Exchange:
    """One share of a batch, as it lies in the arena.

    Args:
        chain: Who answers.
        arena: Where the tensors lie.
        message: The parent's order: `rows`, `run_rows`, `inputs` and `outputs` (offsets), `blobs`, `free`.
        report: Called after every run, so that the parent knows we are alive.
    """

    def __init__(self, chain: Chain, arena: Arena, message: Mapping[str, Any], report: Report) -> None:
        self._chain = chain
        self._arena = arena
        self._report = report
        self._rows: int = message["rows"]
        self._run_rows: int = message["run_rows"]
        self._outputs: Mapping[str, int] = message["outputs"]
        self._free: int = message["free"]
        self._columns = {spec.name: self._input(spec, message) for spec in chain.signature.inputs}

    def answer(self) -> bool:
        """Answer every row or report it as failed; returns whether every run went well at once.

        Raises:
            MemoryError: A run failed for want of memory; the process must end.
        """
        well = True
        for start in range(0, self._rows, self._run_rows):
            piece = (start, min(start + self._run_rows, self._rows))
            error = self._run(*piece)
            if error is not None:
                well = False
                for failed, alone, why in self._search(piece, error):
                    self._report({"failed": failed, "alone": alone, "why": why})
        return well

    def _search(self, piece: tuple[int, int], error: str) -> Iterator[tuple[tuple[int, int], bool, str]]:
        """Halve what raises, largest piece first, so that the budget buys the most healthy rows.

        Yields:
            (from, to), whether it is a row that raised alone, and why. What the budget did not reach is not alone.
        """
        if piece[1] - piece[0] == 1:
            yield piece, True, error
            return
        raising = [(piece[0] - piece[1], piece, error)]
        budget = EXTRA_RUNS
        while raising:
            _, (start, stop), error = heapq.heappop(raising)
            if not budget:
                yield (start, stop), False, error
                continue
            middle = (start + stop) // 2
            left = self._run(start, middle)
            budget -= 1
            # Where the left half is healthy the right one holds the reason, and is halved without being run whole.
            right: str | None = error
            if left is not None or stop - middle == 1:
                if not budget:
                    yield (middle, stop), False, error
                    right = None
                else:
                    right = self._run(middle, stop)
                    budget -= 1
            for half, why in (((start, middle), left), ((middle, stop), right)):
                if why is not None and half[1] - half[0] == 1:
                    yield half, True, why
                elif why is not None:
                    heapq.heappush(raising, (half[0] - half[1], half, why))

    def _run(self, start: int, stop: int) -> str | None:
        """Run some rows and put the answers into the arena; the error's text if the model raised."""
        rows = stop - start
        began = time.perf_counter()
        try:
            answers = self._chain.run({name: column[start:stop] for name, column in self._columns.items()}, rows)
        except Exception as error:  # noqa: BLE001 - a model may raise anything
            if is_out_of_memory(error):
                raise MemoryError(str(error)[:_REASON]) from None
            self._report({"raised": (start, stop)})
            return " ".join(str(error).split())[:_REASON] or type(error).__name__
        micros = int((time.perf_counter() - began) * 1e6)
        blobs = {spec.name: self._store(spec, answers[spec.name], start) for spec in self._chain.signature.outputs}
        self._report({"ran": (start, stop), "micros": micros, "blobs": {k: v for k, v in blobs.items() if v}})
        return None

    def _input(self, spec: TensorSpec, message: Mapping[str, Any]) -> NDArray[Any]:
        array = fixed(self._arena, spec, message["inputs"][spec.name], self._rows)
        if spec.datatype is Datatype.BYTES:  # ONNX Runtime takes `str`
            return read_strings(self._arena, tuple(message["blobs"][spec.name]), array)
        return array

    def _store(self, spec: TensorSpec, answer: NDArray[Any], start: int) -> tuple[int, int] | None:
        target = fixed(self._arena, spec, self._outputs[spec.name], self._rows)[start : start + len(answer)]
        if spec.datatype is not Datatype.BYTES:
            target[...] = answer
            return None
        blob, self._free = append_texts(self._arena, _encoded(answer), target, self._free)
        return blob


def _encoded(texts: NDArray[Any]) -> NDArray[Any]:
    encoded = np.empty(texts.size, dtype=object)
    encoded[:] = [str(text).encode() for text in texts.reshape(-1)]
    return encoded.reshape(texts.shape)
