"""Requests written out field by field, in Avro and in JSON."""

import json
import struct

from examples.hostile_requests import avro_value
from models.flight_table import FEATURES

NUMBERS = (2.0, 5.0, 1400.0, 184.0, 1.0, 1.0)
UNITED = {"carrier": "UA", "origin": "EWR"}


def avro_request(identity: str, *, numbers: tuple[float, ...] = NUMBERS, attributes: dict[str, str] = UNITED) -> bytes:
    """A request that every model of `models/delay` takes."""
    carrier = struct.pack("<I", 2) + b"UA"
    numeric = struct.pack(f"<{len(numbers)}f", *numbers)
    return avro_value(
        {
            "id": identity,
            "attributes": attributes,
            "time": None,
            "inputs": [
                {"name": "numeric", "datatype": "FP32", "shape": [len(FEATURES)], "data": numeric},
                {"name": "carrier", "datatype": "BYTES", "shape": [1], "data": carrier},
            ],
        }
    )


def json_request(identity: str) -> bytes:
    """The same in JSON."""
    inputs = [
        {"name": "numeric", "datatype": "FP32", "shape": [len(FEATURES)], "data": NUMBERS},
        {"name": "carrier", "datatype": "BYTES", "shape": [1], "data": ["UA"]},
    ]
    return json.dumps({"id": identity, "attributes": UNITED, "inputs": inputs}).encode()
