"""A chain of models seen as one: what it needs from outside, what it gives, and whether it may stand beside control."""

from collections.abc import Sequence

from streamsplit.core.records import Signature, TensorSpec
from streamsplit.inference.manifest import Manifest, refuse


def chain_signature(manifests: Sequence[Manifest]) -> Signature:
    """The signature of models whose outputs feed the next ones' inputs by name.

    Inputs are those that no model before produces, in order of first use; they stay visible to all models. Outputs
    are the last model's.

    Raises:
        ModelRefused: An input does not fit what feeds it, or two models need different tensors of one name.
    """
    outside: dict[str, TensorSpec] = {}
    made: dict[str, tuple[str, TensorSpec]] = {}
    for manifest in manifests:
        for spec in manifest.signature.inputs:
            source, given = made.get(spec.name, ("the request", outside.get(spec.name, spec)))
            if not _alike(given, spec):
                cure = "Rename one of the tensors, or train both models on the same one."
                raise refuse(
                    manifest.label, f"input {spec.name}", describe(spec), f"{describe(given)} of {source}", cure
                )
            if spec.name not in made:
                known = outside.get(spec.name)
                finite = spec.finite or (known is not None and known.finite)
                outside[spec.name] = TensorSpec(spec.name, spec.datatype, spec.shape, finite)
        made.update({spec.name: (manifest.label, spec) for spec in manifest.signature.outputs})
    return Signature(tuple(outside.values()), manifests[-1].signature.outputs)


def require_same_signature(candidate: Signature, control: Signature, where: str) -> None:
    """Refuse a candidate that takes or gives something else than control; order does not matter.

    Raises:
        ModelRefused: With the first tensor that differs, both shown.
    """
    for kind, ours, theirs in (
        ("input", candidate.inputs, control.inputs),
        ("output", candidate.outputs, control.outputs),
    ):
        mine = {spec.name: spec for spec in ours}
        wanted = {spec.name: spec for spec in theirs}
        for name in sorted(mine.keys() | wanted.keys()):
            found, expected = mine.get(name), wanted.get(name)
            if found is None or expected is None or not _alike(found, expected):
                raise refuse(
                    where,
                    f"{kind} {name}",
                    describe(found) if found else "nothing",
                    f"{describe(expected) if expected else 'nothing'} as control has",
                    "All arms of a rollout take and give the same tensors: wrap the model to fit.",
                )


def describe(spec: TensorSpec) -> str:
    """Datatype and shape, for a person: `FP32[64]`."""
    return f"{spec.datatype}[{', '.join(map(str, spec.shape))}]"


def _alike(one: TensorSpec, other: TensorSpec) -> bool:
    return (one.name, one.datatype, one.shape) == (other.name, other.datatype, other.shape)
