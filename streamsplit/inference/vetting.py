"""What a model must show before it may answer: its graph, its signature, its golden records, several batch sizes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamsplit.core.records import Datatype, TensorSpec
from streamsplit.inference.manifest import Golden, Manifest, refuse
from streamsplit.inference.session import Columns, Model, is_out_of_memory


def reproduce(model: Model, rows: int) -> None:
    """Let a model answer its golden records, repeated to a batch of `rows`.

    Raises:
        ModelRefused: It raises, or an answer is not within the manifest's tolerance.
    """
    manifest = model.manifest
    golden = [manifest.golden[index % len(manifest.golden)] for index in range(rows)]
    where = f"{manifest.label} in a batch of {rows}"
    try:
        answers = model.run(golden_inputs(manifest, golden), rows)
    except Exception as error:
        if is_out_of_memory(error):
            raise
        cure = "Correct model.yaml or train the model again."
        raise refuse(where, "golden", error, "answers to its golden records", cure) from None
    for spec in manifest.signature.outputs:
        _compare(spec, answers[spec.name], golden, manifest.tolerance, where)


def warm_up(model: Model, run_rows: int) -> None:
    """Run at the sizes that will be met, so that the first request waits for nothing; each must be right.

    Raises:
        ModelRefused: As `reproduce`.
    """
    for rows in sorted({1, len(model.manifest.golden), min(7, run_rows), run_rows}):
        reproduce(model, rows)


def golden_inputs(manifest: Manifest, golden: Sequence[Golden]) -> Columns:
    """The inputs of golden records as columns."""
    return {
        spec.name: _column(spec, [record.inputs[spec.name] for record in golden]) for spec in manifest.signature.inputs
    }


def _column(spec: TensorSpec, values: Sequence[tuple[Any, ...]]) -> NDArray[Any]:
    return np.array(values, dtype=spec.datatype.numpy).reshape(len(values), *spec.shape)


def _compare(spec: TensorSpec, answers: NDArray[Any], golden: Sequence[Golden], tolerance: float, where: str) -> None:
    expected = _column(spec, [record.outputs[spec.name] for record in golden])
    if spec.datatype in {Datatype.BYTES, Datatype.BOOL}:
        same = answers == expected
    else:
        found, wanted = answers.astype(np.float64), expected.astype(np.float64)
        same = np.isclose(found, wanted, rtol=tolerance, atol=tolerance, equal_nan=True)
    if not same.all():
        at = tuple(int(index) for index in np.argwhere(~same)[0])
        cure = "It is not the model that was recorded: restore the file, or record its answers again."
        raise refuse(
            where, f"golden output {spec.name}{list(at)}", answers[at], f"{expected[at]} within {tolerance:g}", cure
        )
