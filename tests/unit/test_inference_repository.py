"""The models folder and its `model.yaml` files."""

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from streamsplit.core.errors import UsageError
from streamsplit.core.records import Datatype, TensorSpec
from streamsplit.core.rollout import ModelRef
from streamsplit.inference.manifest import ModelRefused, parse, to_plain
from streamsplit.inference.repository import Repository

RAW = b"the bytes of a model"


def plain(**changes: Any) -> dict[str, Any]:
    """A `model.yaml` that is as it should be, but for some fields; None removes one."""
    whole = {
        "name": "delay",
        "version": "2",
        "sha256": hashlib.sha256(RAW).hexdigest(),
        "description": "chance of arriving late",
        "inputs": [
            {"name": "x", "datatype": "FP32", "shape": [2], "finite": True},
            {"name": "carrier", "datatype": "BYTES", "shape": []},
        ],
        "outputs": [{"name": "p", "datatype": "FP32", "shape": [2]}],
        "golden": [{"inputs": {"x": [1, 2.5], "carrier": ["UA"]}, "outputs": {"p": [0.25, 0.75]}}],
        **changes,
    }
    return {key: value for key, value in whole.items() if value is not None}


def put(root: Path, **changes: Any) -> Repository:
    folder = root / "delay" / "2"
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(RAW)
    with (folder / "model.yaml").open("w") as file:
        YAML().dump(plain(**changes), file)
    return Repository(root)


def test_a_model_is_read_pinned_and_listed(tmp_path: Path) -> None:
    repository = put(tmp_path)
    manifest = repository.manifest("delay@2")
    assert manifest.signature.inputs == (
        TensorSpec("x", Datatype.FP32, (2,), finite=True),
        TensorSpec("carrier", Datatype.BYTES, ()),
    )
    assert manifest.signature.outputs == (TensorSpec("p", Datatype.FP32, (2,), finite=True),)
    assert manifest.golden[0].outputs == {"p": (0.25, 0.75)}
    assert manifest.tolerance == 1e-5
    ref = repository.pin("delay@2")
    assert ref == ModelRef("delay", "2", hashlib.sha256(RAW).hexdigest())
    assert repository.read(ref) == RAW
    assert [(entry.label, entry.manifest) for entry in repository.list()] == [("delay@2", manifest)]


def test_a_manifest_survives_its_way_to_the_process() -> None:
    manifest = parse(plain(max_bytes=1000, tolerance=0.01), "model.yaml")
    assert parse(to_plain(manifest), "model.yaml") == manifest


BAD = [
    ({"name": "late"}, "name: found late, expected delay"),
    ({"version": 2}, "version: found 2, expected a version as text.*quotes"),
    ({"sha256": "abc"}, "sha256: found 'abc', expected 64 hexadecimal digits"),
    ({"sha": "abc"}, "sha: found an unknown field, expected one of .*sha256"),
    ({"inputs": None}, "inputs: .*expected a list"),
    ({"inputs": [{"name": "x", "datatype": "FLOAT", "shape": []}]}, r"inputs\[0\]: datatype: found 'FLOAT'.*FP32"),
    ({"inputs": [{"name": "x", "datatype": "FP32", "shape": [-1]}]}, r"inputs\[0\]: shape: found \[-1\]"),
    ({"inputs": [{"name": "x", "datatype": "FP32", "shape": [True]}]}, "positive whole numbers"),
    ({"outputs": [{"name": "p", "datatype": "FP32", "shape": []}] * 2}, "outputs: name: found p twice"),
    ({"outputs": [{"name": "p", "datatype": "FP32", "shape": [], "finite": 1}]}, "finite: found 1, expected true or"),
    ({"golden": []}, r"golden: found \[\], expected a list of at least one"),
    ({"golden": [{"inputs": {"x": [1, 2]}, "outputs": {"p": [0, 1]}}]}, r"golden\[0\]\.inputs: .*carrier, x"),
    (
        {"golden": [{"inputs": {"x": [1], "carrier": ["UA"]}, "outputs": {"p": [0, 1]}}]},
        "x: .*flat list of 2 numbers",
    ),
    (
        {"golden": [{"inputs": {"x": [1, 2], "carrier": [1]}, "outputs": {"p": [0, 1]}}]},
        "carrier: .*flat list of 1 texts",
    ),
    ({"tolerance": "small"}, "tolerance: found 'small'"),
    ({"max_bytes": 0}, "max_bytes: found 0"),
]


@pytest.mark.parametrize(("changes", "says"), BAD)
def test_a_broken_manifest_is_refused_with_file_field_and_cure(
    tmp_path: Path, changes: dict[str, Any], says: str
) -> None:
    repository = put(tmp_path, **changes)
    with pytest.raises(UsageError, match=says) as caught:
        repository.manifest("delay@2")
    assert str(tmp_path / "delay" / "2" / "model.yaml") in str(caught.value)
    (listing,) = repository.list()
    assert listing.manifest is None
    assert listing.refusal == str(caught.value)


def test_yaml_that_does_not_parse_is_refused_with_its_line(tmp_path: Path) -> None:
    repository = put(tmp_path)
    (tmp_path / "delay" / "2" / "model.yaml").write_text("name: delay\nversion: [\n")
    with pytest.raises(ModelRefused, match=r"model\.yaml.*line"):
        repository.manifest("delay@2")


@pytest.mark.parametrize("label", ["delay", "../delay@2", "delay@..", "delay@", "@2", "a/b@2", ".x@2", "delay@2@3"])
def test_a_label_that_would_leave_the_folder_is_refused(tmp_path: Path, label: str) -> None:
    with pytest.raises(ModelRefused, match="expected name@version"):
        put(tmp_path).manifest(label)


def test_an_unknown_model_is_refused_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(ModelRefused, match="Known models: delay@2"):
        put(tmp_path).pin("delay@3")


def test_a_file_that_is_not_the_one_of_its_manifest_is_refused(tmp_path: Path) -> None:
    repository = put(tmp_path)
    (tmp_path / "delay" / "2" / "model.onnx").write_bytes(RAW + b"!")
    with pytest.raises(ModelRefused, match=r"sha256: found .* as in model\.yaml"):
        repository.pin("delay@2")


def test_a_file_that_is_not_the_one_that_was_applied_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelRefused, match="as applied"):
        put(tmp_path).read(ModelRef("delay", "2", "0" * 64))


@pytest.mark.parametrize(("repository_limit", "own_limit"), [(len(RAW) - 1, None), (1000, len(RAW) - 1)])
def test_a_file_beyond_either_size_cap_is_refused(tmp_path: Path, repository_limit: int, own_limit: int | None) -> None:
    put(tmp_path, max_bytes=own_limit)
    with pytest.raises(ModelRefused, match=f"size: found {len(RAW)} bytes, expected at most {len(RAW) - 1}"):
        Repository(tmp_path, max_bytes=repository_limit).pin("delay@2")


def test_a_named_pipe_in_the_place_of_a_model_does_not_hold_us_up(tmp_path: Path) -> None:
    repository = put(tmp_path)
    (tmp_path / "delay" / "2" / "model.onnx").unlink()
    os.mkfifo(tmp_path / "delay" / "2" / "model.onnx")
    with pytest.raises(ModelRefused, match="expected a regular file"):
        repository.pin("delay@2")


def test_a_models_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelRefused, match="models folder"):
        Repository(tmp_path / "nowhere").list()
