"""Requests for a model, made from its golden records: traffic for a deployment that has none."""

import io
import random
import struct
import time
from collections.abc import Iterator
from typing import Any

import fastavro
import numpy as np

from streamsplit.core.errors import UsageError
from streamsplit.core.records import Datatype, TensorSpec
from streamsplit.inference.manifest import Golden, Manifest
from streamsplit.wire.schemas import packaged

_UNITS = 10_000
_REGIONS = ("north", "east", "south", "west")


def golden_requests(manifest: Manifest, seed: int = 0) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of requests without end: each is one of the model's golden examples, from one of many units.

    Args:
        manifest: Of a model that has golden records.
        seed: Of the choice of units and regions.

    Raises:
        UsageError: The model has no golden records.
    """
    if not manifest.golden:
        raise UsageError(f"{manifest.label} has no golden records to make requests of")
    schema = fastavro.parse_schema(packaged("request").definition, _force=True)
    inputs = [_tensors(manifest, golden) for golden in manifest.golden]
    chance, number = random.Random(seed), 0  # noqa: S311 # which example comes next is no secret
    while True:
        unit = f"unit-{chance.randrange(_UNITS)}"
        request = {
            "id": f"dev-{seed}-{number}",
            "attributes": {"region": chance.choice(_REGIONS), "unit": unit},
            "time": time.time_ns() // 1_000_000,
            "inputs": inputs[number % len(inputs)],
        }
        body = io.BytesIO()
        fastavro.schemaless_writer(body, schema, request)
        yield unit.encode(), packaged("request").header + body.getvalue()
        number += 1


def _tensors(manifest: Manifest, golden: Golden) -> list[dict[str, Any]]:
    return [
        {
            "name": spec.name,
            "datatype": str(spec.datatype),
            "shape": list(spec.shape),
            "data": _data(spec, golden.inputs[spec.name]),
        }
        for spec in manifest.signature.inputs
    ]


def _data(spec: TensorSpec, values: tuple[Any, ...]) -> bytes:
    if spec.datatype is Datatype.BYTES:
        texts = [value.encode() if isinstance(value, str) else value for value in values]
        return b"".join(struct.pack("<I", len(text)) + text for text in texts)
    return np.array(values, spec.datatype.numpy).tobytes()
