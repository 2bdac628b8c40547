"""One model in ONNX Runtime: batches of any length in, arrays of the declared type and shape out."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from streamsplit.core.records import Datatype, TensorSpec
from streamsplit.inference.chain import describe
from streamsplit.inference.manifest import Manifest, refuse

Columns = Mapping[str, NDArray[Any]]

_TYPES = {
    "tensor(bool)": Datatype.BOOL,
    "tensor(uint8)": Datatype.UINT8,
    "tensor(uint16)": Datatype.UINT16,
    "tensor(uint32)": Datatype.UINT32,
    "tensor(uint64)": Datatype.UINT64,
    "tensor(int8)": Datatype.INT8,
    "tensor(int16)": Datatype.INT16,
    "tensor(int32)": Datatype.INT32,
    "tensor(int64)": Datatype.INT64,
    "tensor(float16)": Datatype.FP16,
    "tensor(float)": Datatype.FP32,
    "tensor(double)": Datatype.FP64,
    "tensor(string)": Datatype.BYTES,
}
_FATAL_ONLY = 4
_OUT_OF_MEMORY = re.compile(r"bad_alloc|bad allocation|failed to allocate|cannot allocate|out of memory", re.IGNORECASE)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a run failed for want of memory: the process's fault, not that of the rows alone."""
    return isinstance(error, MemoryError) or _OUT_OF_MEMORY.search(str(error)) is not None


class Model:
    """A session whose graph is what its `model.yaml` says.

    Args:
        manifest: The `model.yaml`.
        raw: The ONNX file.
        providers: ONNX Runtime's execution providers, most wanted first.
        threads: Threads of one run.

    Raises:
        ModelRefused: The graph does not load, or is not what the manifest says.
    """

    def __init__(self, manifest: Manifest, raw: bytes, providers: Sequence[str], threads: int) -> None:
        self.manifest = manifest
        self._session = _open(manifest.label, raw, providers, threads)
        self._outputs = [spec.name for spec in manifest.signature.outputs]
        self.batch = _Comparison(manifest).batch(self._session)

    def run(self, columns: Columns, rows: int) -> dict[str, NDArray[Any]]:
        """Answer `rows` examples.

        Args:
            columns: For each input an array (rows, *shape) of its dtype; BYTES are objects of `str`.
            rows: How many there are, at least 1.

        Returns:
            For each declared output an array (rows, *shape) of its dtype; BYTES are objects of `str`.

        Raises:
            Exception: Whatever the model raises, or an output that is not as declared.
        """
        feed = {spec.name: columns[spec.name] for spec in self.manifest.signature.inputs}
        if self.batch is None:
            return self._answers(feed, rows)
        parts = [
            self._padded({name: array[start : start + self.batch] for name, array in feed.items()}, self.batch)
            for start in range(0, rows, self.batch)
        ]
        return {name: np.concatenate([part[name] for part in parts])[:rows] for name in self._outputs}

    def _padded(self, feed: dict[str, NDArray[Any]], batch: int) -> dict[str, NDArray[Any]]:
        # The last row is repeated: a row of zeros or empty texts may be one that the model refuses.
        whole = {
            name: array
            if len(array) == batch
            else np.concatenate([array, np.repeat(array[-1:], batch - len(array), 0)])
            for name, array in feed.items()
        }
        return self._answers(whole, batch)

    def _answers(self, feed: dict[str, NDArray[Any]], rows: int) -> dict[str, NDArray[Any]]:
        arrays = self._session.run(self._outputs, feed)
        return {
            spec.name: _as_declared(array, spec, rows)
            for spec, array in zip(self.manifest.signature.outputs, arrays, strict=True)
        }


def _open(label: str, raw: bytes, providers: Sequence[str], threads: int) -> Any:
    available = ort.get_available_providers()
    if missing := [name for name in providers if name not in available]:
        expected = "one of " + ", ".join(available)
        raise refuse(
            label, "execution provider", missing[0], expected, "Install its ONNX Runtime or change the setting."
        )
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _FATAL_ONLY  # errors travel with the answers
    options.add_session_config_entry("session.load_model_format", "ONNX")  # the format that was inspected
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # an idle arm costs nothing
    try:
        return ort.InferenceSession(raw, options, providers=list(providers))
    except Exception as error:  # noqa: BLE001 - the errors of ONNX Runtime share no base
        if is_out_of_memory(error):
            raise refuse(label, "size", "too little memory to load", "a model within the limit", "Raise it.") from None
        cure = "Export the model for this version of ONNX Runtime."
        raise refuse(label, "file", error, "a model that ONNX Runtime loads", cure) from None


def _as_declared(array: Any, spec: TensorSpec, rows: int) -> NDArray[Any]:
    """An output with the declared type and shape."""
    if not isinstance(array, np.ndarray) or array.dtype != spec.datatype.numpy:
        found = getattr(array, "dtype", type(array).__name__)
        raise ValueError(f"output {spec.name} is of {found}, expected {spec.datatype}")
    if array.shape != (rows, *spec.shape):
        raise ValueError(f"output {spec.name} has shape {array.shape}, expected {(rows, *spec.shape)}")
    return array


class _Comparison:
    """The graph's own types and shapes against the manifest's."""

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self._batches: dict[str, int | None] = {}

    def batch(self, session: Any) -> int | None:
        """The number of rows that every run must have; None: any.

        Raises:
            ModelRefused: Names, types or shapes differ, or the tensors disagree about the batch.
        """
        signature = self._manifest.signature
        self._compare("input", signature.inputs, session.get_inputs(), exact=True)
        self._compare("output", signature.outputs, session.get_outputs(), exact=False)
        if len(set(self._batches.values())) > 1:
            found = ", ".join(f"{name}: {size or 'any'}" for name, size in self._batches.items())
            raise self._refuse("batch dimension", found, "the same for all tensors", "Export with one dynamic batch.")
        return next(iter(self._batches.values()), None)

    def _compare(self, kind: str, specs: Sequence[TensorSpec], nodes: Sequence[Any], *, exact: bool) -> None:
        graph = {node.name: node for node in nodes}
        names = {spec.name for spec in specs}
        if (missing := sorted(names - graph.keys())) or (exact and names != graph.keys()):
            culprit = (missing or sorted(graph.keys() - names))[0]
            listed = ", ".join(sorted(names))
            raise self._refuse(f"{kind} {culprit}", ", ".join(graph), listed, "Make model.yaml name the graph's own.")
        for spec in specs:
            self._fits(kind, spec, graph[spec.name])

    def _fits(self, kind: str, spec: TensorSpec, node: Any) -> None:
        found = f"{node.type}{node.shape}"
        expected = f"{describe(spec)} after a batch dimension"
        if _TYPES.get(node.type) is not spec.datatype:
            cure = "Correct model.yaml, or export without ZipMap and with plain tensors."
            raise self._refuse(f"{kind} {spec.name}", found, expected, cure)
        if not node.shape and kind == "output":
            return  # the graph does not say; the golden records and every run do
        if len(node.shape) != len(spec.shape) + 1:
            raise self._refuse(f"{kind} {spec.name}", found, expected, "Export with a leading batch dimension.")
        if any(isinstance(d, int) and d > 0 and d != s for d, s in zip(node.shape[1:], spec.shape, strict=True)):
            raise self._refuse(f"{kind} {spec.name}", found, expected, "Correct the shape in model.yaml.")
        first = node.shape[0]
        self._batches[spec.name] = first if isinstance(first, int) and first > 0 else None

    def _refuse(self, field: str, found: str, expected: str, cure: str) -> Exception:
        return refuse(self._manifest.label, field, found, expected, cure)
