"""The folder of models: `<root>/<name>/<version>/{model.onnx, model.yaml}`."""

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from streamsplit.core.rollout import Chain, ModelRef
from streamsplit.inference.manifest import Manifest, ModelRefused, parse, refuse, split_label

DEFAULT_MAX_BYTES = 1 << 30
"""Largest model file that is read, unless the repository or the manifest says less."""

_MANIFEST_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Listing:
    """One folder of the repository.

    Attributes:
        label: `name@version`.
        manifest: What its `model.yaml` says; None where that was refused.
        refusal: Why; None where it was not.
    """

    label: str
    manifest: Manifest | None
    refusal: str | None


class Repository:
    """Models by name and version.

    Args:
        root: The models folder.
        max_bytes: Largest model file that is read.
    """

    def __init__(self, root: Path | str, *, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
        self.root = Path(root)
        self._max_bytes = max_bytes

    def list(self) -> tuple[Listing, ...]:
        """Every folder that has a `model.yaml`, by name and version; broken ones with their refusal.

        Raises:
            ModelRefused: The models folder is not there.
        """
        if not self.root.is_dir():
            raise refuse(
                str(self.root), "models folder", "nothing", "a folder", "Set the models folder to where it is."
            )
        found = sorted(path.parent for path in self.root.glob("*/*/model.yaml"))
        return tuple(self._listing(f"{folder.parent.name}@{folder.name}") for folder in found)

    def manifest(self, label: str) -> Manifest:
        """What the `model.yaml` of `name@version` says.

        Raises:
            ModelRefused: It is missing or broken, or names another model.
        """
        name, version = split_label(label)
        path = self.root / name / version / "model.yaml"
        raw = _read(path, _MANIFEST_BYTES, f"Known models: {self._known()}.")
        try:
            plain = YAML(typ="safe", pure=True).load(raw)
        except (YAMLError, UnicodeDecodeError, ValueError) as error:
            raise refuse(str(path), "(whole file)", error, "YAML", "Mend the line that is named.") from None
        manifest = parse(plain, str(path))
        if manifest.name != name:
            raise refuse(str(path), "name", manifest.name, name, "The name is that of the folder.")
        if manifest.version != version:
            raise refuse(str(path), "version", manifest.version, version, "The version is that of the folder.")
        return manifest

    def pin(self, label: str) -> ModelRef:
        """Name a model by the bytes its file has now.

        Raises:
            ModelRefused: The model is missing or broken, or the file is not the one its `model.yaml` speaks of.
        """
        manifest = self.manifest(label)
        _, digest = self._bytes(manifest)
        return ModelRef(manifest.name, manifest.version, digest)

    def read(self, ref: ModelRef) -> bytes:
        """The ONNX file's bytes, read once and checked against its `model.yaml` and against `ref`.

        Raises:
            ModelRefused: It is missing, too large, or has another digest.
        """
        return self.fetch(ref)[1]

    def fetch(self, ref: ModelRef) -> tuple[Manifest, bytes]:
        """The manifest and the bytes of a pinned model, checked as by `read`."""
        manifest = self.manifest(ref.label)
        raw, digest = self._bytes(manifest)
        if digest != ref.sha256:
            cure = "Put back the file that was applied, or apply the rollout again to serve this one."
            raise refuse(str(self._onnx(manifest)), "sha256", digest, f"{ref.sha256} as applied", cure)
        return manifest, raw

    def stamp(self, chain: Chain) -> tuple[tuple[int, int] | None, ...]:
        """Time and size of the chain's files, to be compared: another stamp means that somebody changed them."""
        names = [self.root / ref.name / ref.version / file for ref in chain for file in ("model.yaml", "model.onnx")]
        return tuple(_time_and_size(path) for path in names)

    def _bytes(self, manifest: Manifest) -> tuple[bytes, str]:
        path = self._onnx(manifest)
        limit = min(self._max_bytes, manifest.max_bytes or self._max_bytes)
        raw = _read(path, limit, "Put the model's file beside its model.yaml.")
        digest = hashlib.sha256(raw).hexdigest()
        if digest != manifest.sha256:
            cure = "Restore the file, or write its digest into model.yaml if it was changed on purpose."
            raise refuse(str(path), "sha256", digest, f"{manifest.sha256} as in model.yaml", cure)
        return raw, digest

    def _onnx(self, manifest: Manifest) -> Path:
        return self.root / manifest.name / manifest.version / "model.onnx"

    def _listing(self, label: str) -> Listing:
        try:
            return Listing(label, self.manifest(label), None)
        except ModelRefused as refusal:
            return Listing(label, None, str(refusal))

    def _known(self) -> str:
        paths = sorted(self.root.glob("*/*/model.yaml"))
        return ", ".join(f"{path.parts[-3]}@{path.parts[-2]}" for path in paths) or f"none in {self.root}"


def _time_and_size(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


def _read(path: Path, limit: int, cure: str) -> bytes:
    """A regular file of at most `limit` bytes."""
    try:
        # O_NONBLOCK: a named pipe in the place of a file must not hold us up.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise refuse(str(path), "kind", "something else", "a regular file", cure)
            return _at_most(file, limit, path)
    except OSError as error:
        raise refuse(str(path), "file", error.strerror, "a readable file", cure) from None


def _at_most(file: IO[bytes], limit: int, path: Path) -> bytes:
    size = os.fstat(file.fileno()).st_size
    raw = file.read(limit + 1) if size <= limit else b""
    if size > limit or len(raw) > limit:
        cure = "Raise max_bytes in model.yaml, or the repository's limit, if it is meant to be that large."
        raise refuse(str(path), "size", f"{size} bytes", f"at most {limit} bytes", cure)
    return raw
