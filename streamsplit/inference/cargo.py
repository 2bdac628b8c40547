"""What a model process is given to load: the models' bytes and how to run them, sealed in memory without a name.

The files are read once an arm: a process that is restarted loads the same bytes, whatever became of the folder.
"""

import fcntl
import json
import mmap
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from streamsplit.inference.manifest import Manifest, parse, to_plain

_HEAD = struct.Struct("<Q")


@dataclass(frozen=True, slots=True)
class Cargo:
    """An arm's models and how they are run.

    Attributes:
        models: Manifest and ONNX file of each, in the chain's order.
        providers: ONNX Runtime's execution providers, most wanted first.
        threads: Threads of one run.
        address_space: Bytes that may be mapped beyond the start; None: unlimited, or watched from outside.
        run_rows: Most rows in one run.
    """

    models: Sequence[tuple[Manifest, bytes]]
    providers: tuple[str, ...]
    threads: int
    address_space: int | None
    run_rows: int

    def seal(self) -> int:
        """Write it to a new `memfd` that nobody can change; returns the descriptor, which is the caller's.

        Raises:
            OSError: There is no memory for it.
        """
        header = json.dumps(
            {
                "models": [{"manifest": to_plain(manifest), "size": len(raw)} for manifest, raw in self.models],
                "providers": self.providers,
                "threads": self.threads,
                "address_space": self.address_space,
                "run_rows": self.run_rows,
            }
        ).encode()
        fd = os.memfd_create("streamsplit-models", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            with os.fdopen(fd, "wb", closefd=False) as file:
                file.write(_HEAD.pack(len(header)) + header)
                for _, raw in self.models:
                    file.write(raw)
            seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
        except OSError:
            os.close(fd)
            raise
        return fd

    @classmethod
    def open(cls, fd: int) -> "Cargo":
        """Read what was sealed."""
        with mmap.mmap(fd, 0, access=mmap.ACCESS_READ) as view:
            start = _HEAD.size + _HEAD.unpack_from(view)[0]
            header = json.loads(view[_HEAD.size : start])
            models = []
            for entry in header["models"]:
                models.append((parse(entry["manifest"], "model.yaml"), view[start : start + entry["size"]]))
                start += entry["size"]
        return cls(models, tuple(header["providers"]), header["threads"], header["address_space"], header["run_rows"])
