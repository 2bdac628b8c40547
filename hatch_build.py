"""Compiles `streamsplit/native/*.c` when StreamSplit is built or installed."""

import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_FLAGS = ("-std=c11", "-O2", "-Wall", "-Wextra", "-shared", "-fPIC")
_COMPILERS = ("cc", "gcc", "clang")
_COMPILER_FROM_PYPI = "ziglang"


class CompileNative(BuildHookInterface[Any]):
    """Builds the library that `streamsplit/native/library.py` loads; it needs neither Python's headers nor Kafka's."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """What an isolated build installs first: a compiler, where the machine has none."""
        return [] if _on_this_machine() else [_COMPILER_FROM_PYPI]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - hatchling's signature
        """Compile, and say that the wheel is one for this kind of machine and every Python."""
        native = Path(self.root, "streamsplit", "native")
        library = native / "columns.so"
        sources = sorted(map(str, native.glob("*.c")))
        subprocess.run([*_compiler(), *_FLAGS, "-o", str(library), *sources], check=True)
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"
        build_data["artifacts"].append(str(library.relative_to(self.root)))


def _on_this_machine() -> list[str]:
    if given := os.environ.get("CC"):
        return shlex.split(given)
    return next(([found] for name in _COMPILERS if (found := shutil.which(name))), [])


def _compiler() -> list[str]:
    if found := _on_this_machine():
        return found
    if importlib.util.find_spec(_COMPILER_FROM_PYPI):
        return [sys.executable, "-m", _COMPILER_FROM_PYPI, "cc"]
    cure = f"install one (Debian: gcc; macOS: xcode-select --install), or `pip install {_COMPILER_FROM_PYPI}`"
    raise SystemExit(f"StreamSplit has a part in C, and there is no compiler: {cure}")
