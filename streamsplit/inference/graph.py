"""What an ONNX file may hold, told from its graph before a session sees it."""

from collections.abc import Iterator
from typing import Any

import onnx
from google.protobuf.message import DecodeError, Message  # type: ignore[import-untyped]

from streamsplit.inference.manifest import ModelRefused, refuse

DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})
"""Operator domains that may be used."""

RISKY = frozenset(
    {
        "ATen",  # calls into another library by name
        "EPContext",  # loads a compiled context from a path
        "ExternalOp",
        "OpenVINO",
        "PythonOp",  # calls back into an interpreter
        "PythonOpGrad",
        "Snpe",
        "TritonOp",
    }
)
"""Operators of `com.microsoft` that reach outside the graph."""


def inspect_graph(raw: bytes, where: str) -> None:
    """Refuse what reaches outside the file: external data anywhere, foreign or risky operators, training parts.

    Args:
        raw: The ONNX file.
        where: The model's label, for refusals.

    Raises:
        ModelRefused: With the tensor, domain or operator that is the reason.
    """
    model = onnx.ModelProto()
    try:
        model.ParseFromString(raw)
    except DecodeError:
        raise refuse(where, "file", "bytes that do not parse", "an ONNX model", "Export the model again.") from None
    if not model.HasField("graph") or not model.ir_version:
        raise refuse(where, "file", "no graph", "an ONNX model", "Export the model again.")
    local = {(function.domain, function.name) for function in model.functions}
    for message in _messages(model):
        if isinstance(message, onnx.TensorProto):
            _inside(message, where)
        elif isinstance(message, onnx.NodeProto) and (refusal := _operator(message, local, where)) is not None:
            raise refusal


def _messages(message: Message) -> Iterator[Message]:
    """`message` and every message within it, whatever field holds it.

    By reflection, so that a field nobody thought of (subgraphs, functions, sparse tensors, training) is met too.
    """
    pending: list[Any] = [message]
    while pending:
        current = pending.pop()
        yield current
        for descriptor, value in current.ListFields():
            if descriptor.message_type is not None:
                pending.extend([value] if isinstance(value, Message) else value)


def _inside(tensor: onnx.TensorProto, where: str) -> None:
    if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
        raise refuse(
            where,
            f"tensor {tensor.name or '(unnamed)'}",
            "external data",
            "all data inside the file",
            "Save it with onnx.save_model(model, path, save_as_external_data=False).",
        )


def _operator(node: onnx.NodeProto, local: set[tuple[str, str]], where: str) -> ModelRefused | None:
    if (node.domain, node.op_type) in local:
        return None
    field = f"operator {node.op_type} of node {node.name or '(unnamed)'}"
    if node.domain not in DOMAINS:
        allowed = "one of " + ", ".join(repr(domain) for domain in sorted(DOMAINS))
        return refuse(where, field, f"domain {node.domain!r}", allowed, "Export the model with standard operators.")
    if node.domain == "com.microsoft" and node.op_type in RISKY:
        expected = "an operator that stays inside the graph"
        return refuse(where, field, "one that reaches outside", expected, "Export the model with standard operators.")
    return None
