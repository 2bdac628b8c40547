"""What a `model.yaml` says: the model's signature, its digest and the records it must reproduce."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from streamsplit.core.errors import UsageError
from streamsplit.core.records import Datatype, Signature, TensorSpec

DEFAULT_TOLERANCE = 1e-5
"""Largest difference between a golden output and the model's, absolute plus relative."""

_FIELDS = {"name", "version", "sha256", "description", "inputs", "outputs", "golden", "tolerance", "max_bytes"}
_TENSOR_FIELDS = {"name", "datatype", "shape", "finite"}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FLOATING = {Datatype.FP16, Datatype.FP32, Datatype.FP64}
_SHOWN = 200


class ModelRefused(UsageError):
    """A model cannot be used as it is; the message names the file, the field, what was expected and the cure.

    A `UsageError`: what a person handed us is wrong, and trying again without a change cannot help.
    """


@dataclass(frozen=True, slots=True)
class Golden:
    """One example and what the model answers to it.

    Attributes:
        inputs: Input name → flat values of one example, row-major; text for BYTES.
        outputs: Output name → flat values of one example.
    """

    inputs: Mapping[str, tuple[Any, ...]]
    outputs: Mapping[str, tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Manifest:
    """A `model.yaml`.

    Attributes:
        name: Name of the model, also its folder.
        version: Version, also its folder.
        sha256: Hex digest of `model.onnx`.
        signature: Inputs and outputs, per example. Outputs of floating point are finite unless the file says
            `finite: false`; inputs may hold NaN unless it says `finite: true`.
        golden: At least one example that the model must reproduce.
        tolerance: Largest difference from a golden output, absolute plus relative.
        max_bytes: The model's own size cap; None: the repository's.
        description: For a person.
    """

    name: str
    version: str
    sha256: str
    signature: Signature
    golden: tuple[Golden, ...]
    tolerance: float = DEFAULT_TOLERANCE
    max_bytes: int | None = None
    description: str = ""

    @property
    def label(self) -> str:
        """`name@version`."""
        return f"{self.name}@{self.version}"


def refuse(where: str, field: str, found: object, expected: str, cure: str) -> ModelRefused:
    """The refusal of a model, in one form.

    Args:
        where: The file, or the model's label.
        field: What in it is wrong.
        found: What stands there.
        expected: What should.
        cure: What to do, a sentence.
    """
    shown = " ".join(str(found).split())
    shown = shown if len(shown) <= _SHOWN else shown[:_SHOWN] + "…"
    return ModelRefused(f"{where}: {field}: found {shown}, expected {expected}. {cure}")


def split_label(label: str) -> tuple[str, str]:
    """Name and version of `name@version`.

    Raises:
        ModelRefused: It is not of that form, or would leave the models folder.
    """
    name, _, version = label.partition("@")
    if not (_NAME.fullmatch(name) and _NAME.fullmatch(version)):
        raise refuse(
            "model",
            "label",
            repr(label),
            "name@version of letters, digits, '.', '_' and '-', each beginning with a letter or digit",
            "Write for example delay@2.",
        )
    return name, version


def parse(plain: object, where: str) -> Manifest:
    """Make a manifest of the contents of a `model.yaml`.

    Args:
        plain: What the YAML holds.
        where: The file's name, for refusals.

    Raises:
        ModelRefused: Something is missing, unknown or of the wrong kind.
    """
    if not isinstance(plain, Mapping):
        raise refuse(where, "(whole file)", type(plain).__name__, "a mapping", "See docs for a complete model.yaml.")
    if unknown := sorted(str(key) for key in set(plain) - _FIELDS):
        raise refuse(where, unknown[0], "an unknown field", "one of " + ", ".join(sorted(_FIELDS)), "Remove it.")
    inputs = _specs(plain.get("inputs"), f"{where}: inputs", output=False)
    outputs = _specs(plain.get("outputs"), f"{where}: outputs", output=True)
    sha256 = _text(
        plain,
        "sha256",
        where,
        form=_SHA256,
        expected="64 hexadecimal digits in lower case",
        cure="Use sha256sum model.onnx.",
    )
    return Manifest(
        name=_text(
            plain, "name", where, form=_NAME, expected="a model's name as text", cure="It is the folder's name."
        ),
        version=_text(
            plain, "version", where, form=_NAME, expected="a version as text", cure='Put it in quotes: version: "1".'
        ),
        sha256=sha256,
        signature=Signature(inputs, outputs),
        golden=_golden(plain.get("golden"), inputs, outputs, where),
        tolerance=_tolerance(plain.get("tolerance", DEFAULT_TOLERANCE), where),
        max_bytes=_max_bytes(plain.get("max_bytes"), where),
        description=str(plain.get("description") or ""),
    )


def to_plain(manifest: Manifest) -> dict[str, Any]:
    """The mapping that `parse` makes the same manifest of; JSON can carry it."""
    return {
        "name": manifest.name,
        "version": manifest.version,
        "sha256": manifest.sha256,
        "inputs": [_plain_spec(spec) for spec in manifest.signature.inputs],
        "outputs": [_plain_spec(spec) for spec in manifest.signature.outputs],
        "golden": [
            {"inputs": {k: list(v) for k, v in g.inputs.items()}, "outputs": {k: list(v) for k, v in g.outputs.items()}}
            for g in manifest.golden
        ],
        "tolerance": manifest.tolerance,
        "max_bytes": manifest.max_bytes,
        "description": manifest.description,
    }


def _plain_spec(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": spec.datatype.value, "shape": list(spec.shape), "finite": spec.finite}


def _text(plain: Mapping[Any, Any], field: str, where: str, *, form: re.Pattern[str], expected: str, cure: str) -> str:
    value = plain.get(field)
    if not isinstance(value, str) or not form.fullmatch(value):
        raise refuse(where, field, repr(value), expected, cure)
    return value


def _tolerance(value: object, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise refuse(where, "tolerance", repr(value), "a number from 0 to below 1", "Leave it out for 1e-5.")
    return float(value)


def _max_bytes(value: object, where: str) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value <= 0):
        raise refuse(where, "max_bytes", repr(value), "a positive number of bytes", "Leave it out for the default.")
    return value


def _specs(value: object, where: str, *, output: bool) -> tuple[TensorSpec, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        raise refuse(where, "(list)", repr(value), "a list of {name, datatype, shape}", "Name every tensor used.")
    specs = tuple(_spec(entry, f"{where}[{index}]", output=output) for index, entry in enumerate(value))
    names = [spec.name for spec in specs]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise refuse(where, "name", f"{twice[0]} twice", "each name once", "Remove one of them.")
    return specs


def _spec(entry: object, where: str, *, output: bool) -> TensorSpec:
    if not isinstance(entry, Mapping):
        raise refuse(where, "(entry)", repr(entry), "{name, datatype, shape}", "Write a mapping.")
    if unknown := sorted(str(key) for key in set(entry) - _TENSOR_FIELDS):
        raise refuse(where, unknown[0], "an unknown field", "one of " + ", ".join(sorted(_TENSOR_FIELDS)), "Remove it.")
    name = entry.get("name")
    if not isinstance(name, str) or not name:
        raise refuse(where, "name", repr(name), "the tensor's name in the ONNX graph", "Write it as text.")
    try:
        datatype = Datatype(str(entry.get("datatype")))
    except ValueError:
        expected = "one of " + ", ".join(Datatype)
        raise refuse(where, "datatype", repr(entry.get("datatype")), expected, "Use that word.") from None
    finite = entry.get("finite", output and datatype in _FLOATING)
    if not isinstance(finite, bool):
        raise refuse(where, "finite", repr(finite), "true or false", "Write one of them.")
    return TensorSpec(name, datatype, _shape(entry.get("shape"), where), finite)


def _shape(value: object, where: str) -> tuple[int, ...]:
    if isinstance(value, Sequence) and not isinstance(value, str):
        entries = tuple(value)
        if all(isinstance(size, int) and not isinstance(size, bool) and size > 0 for size in entries):
            return entries
    expected = "a list of positive whole numbers, the shape of one example without the batch"
    raise refuse(where, "shape", repr(value), expected, "[] is one number an example.")


def _golden(
    value: object, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...], where: str
) -> tuple[Golden, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        cure = "Record what the model answers to an example or two when it is trained."
        raise refuse(where, "golden", repr(value), "a list of at least one {inputs, outputs}", cure)
    records = []
    for index, entry in enumerate(value):
        here = f"{where}: golden[{index}]"
        if not isinstance(entry, Mapping) or set(entry) != {"inputs", "outputs"}:
            raise refuse(here, "(entry)", repr(entry), "{inputs, outputs}", "Write both.")
        records.append(
            Golden(
                _values(entry["inputs"], inputs, f"{here}.inputs"),
                _values(entry["outputs"], outputs, f"{here}.outputs"),
            )
        )
    return tuple(records)


def _values(value: object, specs: tuple[TensorSpec, ...], where: str) -> dict[str, tuple[Any, ...]]:
    names = {spec.name for spec in specs}
    if not isinstance(value, Mapping) or set(value) != names:
        found = sorted(map(str, value)) if isinstance(value, Mapping) else repr(value)
        raise refuse(where, "(names)", found, "values of " + ", ".join(sorted(names)), "Write each of them once.")
    return {spec.name: _flat(value[spec.name], spec, where) for spec in specs}


def _flat(value: object, spec: TensorSpec, where: str) -> tuple[Any, ...]:
    kinds = (str,) if spec.datatype is Datatype.BYTES else (int, float)
    fits = isinstance(value, Sequence) and not isinstance(value, str) and len(value) == spec.elements
    if not fits or not all(isinstance(item, kinds) for item in value):  # type: ignore[attr-defined]
        kind = "texts" if spec.datatype is Datatype.BYTES else "numbers"
        raise refuse(where, spec.name, repr(value), f"a flat list of {spec.elements} {kind}", "Flatten it row by row.")
    return tuple(value)  # type: ignore[arg-type]
