"""An exchange as the model process carries it out: cut into runs, and a run that raises searched for healthy rows."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamsplit.core.records import Datatype, Signature, TensorSpec
from streamsplit.inference.arena import Arena
from streamsplit.inference.layout import append_texts, fixed, read_strings
from streamsplit.inference.search import Search
from streamsplit.inference.session import Columns, Model, is_out_of_memory

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
        message: The parent's order: `rows`, `run_rows`, `search` (seconds) and `thorough`, `inputs` and `outputs`
            (offsets), `blobs`, `free`.
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
        self._search = Search(self._run, message["search"], thorough=message["thorough"])
        self._columns = {spec.name: self._input(spec, message) for spec in chain.signature.inputs}

    def answer(self) -> bool:
        """Answer every row or report it as failed; returns whether every run went well at once.

        Where the time for the search is over the rest is left, unless the order is to be thorough.

        Raises:
            MemoryError: A run failed for want of memory; the process must end.
        """
        well = True
        for start in range(0, self._rows, self._run_rows):
            stop = min(start + self._run_rows, self._rows)
            error = self._run(start, stop)
            if error is None:
                continue
            well = False
            for row, why in self._search.culprits(start, stop, error):
                self._report({"failed": row, "why": why, "searched": self._search.spent})
            if self._search.given_up:
                break
        if self._search.late:
            self._report({"late": True})
        return well

    def _run(self, start: int, stop: int) -> str | None:
        """Run some rows and put the answers into the arena; the error's text if the model raised."""
        rows = stop - start
        began = time.perf_counter()
        try:
            answers = self._chain.run({name: column[start:stop] for name, column in self._columns.items()}, rows)
        except Exception as error:  # noqa: BLE001 - a model may raise anything
            if is_out_of_memory(error):
                raise MemoryError(str(error)[:_REASON]) from None
            if rows > 1:  # a single row is reported by who asked
                self._report({"raised": (start, stop), "searched": self._search.spent})
            return " ".join(str(error).split())[:_REASON] or type(error).__name__
        micros = int((time.perf_counter() - began) * 1e6)
        blobs = {spec.name: self._store(spec, answers[spec.name], start) for spec in self._chain.signature.outputs}
        texts = {name: blob for name, blob in blobs.items() if blob}
        self._report({"ran": (start, stop), "micros": micros, "blobs": texts, "searched": self._search.spent})
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
