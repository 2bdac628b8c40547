"""Chains seen as one model."""

import pytest

from streamsplit.core.records import Datatype, Signature, TensorSpec
from streamsplit.inference.chain import chain_signature, require_same_signature
from streamsplit.inference.manifest import Golden, Manifest, ModelRefused

FP32, INT64 = Datatype.FP32, Datatype.INT64


def tensor(name: str, datatype: Datatype = FP32, *, finite: bool = False) -> TensorSpec:
    return TensorSpec(name, datatype, (2,), finite)


def model(label: str, inputs: list[TensorSpec], outputs: list[TensorSpec]) -> Manifest:
    name, version = label.split("@")
    return Manifest(name, version, "0" * 64, Signature(tuple(inputs), tuple(outputs)), (Golden({}, {}),))


def test_a_chain_needs_what_nobody_in_it_makes_and_gives_what_the_last_makes() -> None:
    first = model("encode@1", [tensor("a"), tensor("b")], [tensor("c")])
    second = model("delay@1", [tensor("c"), tensor("a", finite=True)], [tensor("p")])
    signature = chain_signature([first, second])
    assert signature == Signature((tensor("a", finite=True), tensor("b")), (tensor("p"),))


def test_an_input_that_does_not_fit_what_feeds_it_is_refused() -> None:
    first = model("encode@1", [tensor("a")], [tensor("c", INT64)])
    second = model("delay@1", [tensor("c")], [tensor("p")])
    with pytest.raises(ModelRefused, match=r"delay@1: input c: found FP32\[2\], expected INT64\[2\] of encode@1"):
        chain_signature([first, second])


def test_two_models_that_need_different_tensors_of_one_name_are_refused() -> None:
    first = model("encode@1", [tensor("a", INT64)], [tensor("c")])
    second = model("delay@1", [tensor("a"), tensor("c")], [tensor("p")])
    with pytest.raises(ModelRefused, match=r"delay@1: input a: .*of the request"):
        chain_signature([first, second])


@pytest.mark.parametrize(
    ("candidate", "says"),
    [
        (Signature((tensor("x", INT64),), (tensor("y"),)), r"input x: found INT64\[2\], expected FP32\[2\] as control"),
        (Signature((), (tensor("y"),)), r"input x: found nothing, expected FP32\[2\]"),
        (Signature((tensor("x"), tensor("z")), (tensor("y"),)), r"input z: found FP32\[2\], expected nothing"),
        (Signature((tensor("x"),), (tensor("q"),)), "output q"),
    ],
)
def test_a_candidate_must_take_and_give_what_control_does(candidate: Signature, says: str) -> None:
    control = Signature((tensor("x"),), (tensor("y"),))
    with pytest.raises(ModelRefused, match=says):
        require_same_signature(candidate, control, "canary (delay@2)")


def test_the_order_of_tensors_and_their_finiteness_may_differ() -> None:
    control = Signature((tensor("x"), tensor("z")), (tensor("y"),))
    candidate = Signature((tensor("z", finite=True), tensor("x")), (tensor("y"),))
    require_same_signature(candidate, control, "canary (delay@2)")
