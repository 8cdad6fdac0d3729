"""Compile passes.c and norms.c with this machine's C compiler when they are first needed, and keep the library.

It takes seconds. Without a compiler, or with ATTNLAB_KERNELS=0, `library()` is None and every net stays plain. The
library is kept in the user's cache, in a folder that only the user can write to (mode 0700). Its name is a hash of the
sources, the compiler, its flags and the CPU; a library that cannot be loaded is built again.
"""

import ctypes
import hashlib
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from torch import Tensor

SOURCES = [Path(__file__).with_name(name) for name in ("passes.c", "norms.c")]
HEADER = Path(__file__).with_name("bf16.h")
FLAGS = ["-O3", "-march=native", "-fopenmp", "-shared", "-fPIC", "-fno-math-errno", "-fno-trapping-math", "-lm"]
FLAGS += ["-Wno-psabi"]  # vectors of 64 bytes are passed only between inlined functions


def _folder() -> Path:
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "attnlab" / "kernels"
    root.parent.mkdir(parents=True, exist_ok=True)
    root.mkdir(mode=0o700, exist_ok=True)
    state = root.stat()
    if state.st_uid != os.getuid() or state.st_mode & 0o022:
        raise OSError(f"{root} can be written by others")
    return root


def _cpu() -> str:
    """What -march=native means on this machine."""
    return next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags")), "")


def _build(compiler: str, target: Path) -> None:
    with tempfile.NamedTemporaryFile(dir=target.parent, suffix=".part", delete=False) as part:
        pass
    try:
        command = [compiler, *map(str, SOURCES), "-o", part.name, *FLAGS]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        os.replace(part.name, target)
    finally:
        Path(part.name).unlink(missing_ok=True)


@cache
def library() -> ctypes.CDLL | None:
    """The compiled functions, or None where they cannot be built."""
    compiler = shutil.which(os.environ.get("CC") or "cc") or shutil.which("gcc")
    if os.environ.get("ATTNLAB_KERNELS") == "0" or compiler is None:
        return None
    try:
        inputs = [*(source.read_text() for source in [*SOURCES, HEADER]), compiler, *FLAGS, _cpu()]
        key = hashlib.sha256("\0".join(inputs).encode()).hexdigest()[:16]
        target = _folder() / f"passes-{key}.so"
        if not target.exists():
            _build(compiler, target)
        try:
            return ctypes.CDLL(str(target))
        except OSError:  # damaged
            _build(compiler, target)
            return ctypes.CDLL(str(target))
    except (OSError, subprocess.SubprocessError):
        return None


def _as_c(value: Tensor | float | None) -> Any:
    if isinstance(value, int):
        return ctypes.c_long(value)
    if isinstance(value, float):
        return ctypes.c_double(value)
    return ctypes.c_void_p(None if value is None else value.data_ptr())


def call(name: str, *arguments: Tensor | float | None) -> None:
    """Call one of the C functions: tensors as pointers, integers as long, floats as double. It writes its results into
    tensors among the arguments."""
    found = library()
    assert found is not None
    getattr(found, name)(*map(_as_c, arguments))
