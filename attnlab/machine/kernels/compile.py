"""passes.c and norms.c, compiled by this machine's C compiler when first needed (seconds), kept in the user's cache.

Without a compiler, or with ATTNLAB_KERNELS=0, `library` is None and passes.py computes the same in plain operations.
The file is named by a hash of the sources, the compiler, its flags and the CPU, and is made anew when it cannot be
loaded; its folder is the user's alone (mode 0700).
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

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

SOURCES = [Path(__file__).with_name(name) for name in ("passes.c", "norms.c")]
HEADER = Path(__file__).with_name("bf16.h")
FLAGS = ["-O3", "-march=native", "-fopenmp", "-shared", "-fPIC", "-fno-math-errno", "-fno-trapping-math", "-lm"]
FLAGS += ["-Wno-psabi"]  # vectors of 64 bytes are passed between inlined functions alone


def _folder() -> Path:
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "attnlab" / "kernels"
    root.parent.mkdir(parents=True, exist_ok=True)
    root.mkdir(mode=0o700, exist_ok=True)
    state = root.stat()
    if state.st_uid != os.getuid() or state.st_mode & 0o022:
        raise OSError(f"{root} can be written by others")
    return root


def _cpu() -> str:
    """What -march=native means here."""
    return next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags")), "")


def _build(compiler: str, target: Path) -> None:
    with tempfile.NamedTemporaryFile(dir=target.parent, suffix=".part", delete=False) as part:
        pass
    try:
        made = [compiler, *map(str, SOURCES), "-o", part.name, *FLAGS]
        subprocess.run(made, check=True, capture_output=True, timeout=120)
        os.replace(part.name, target)
    finally:
        Path(part.name).unlink(missing_ok=True)


@cache
def library() -> ctypes.CDLL | None:
    """The compiled functions, or None where they cannot be had."""
    compiler = shutil.which(os.environ.get("CC") or "cc") or shutil.which("gcc")
    if os.environ.get("ATTNLAB_KERNELS") == "0" or compiler is None:
        return None
    try:
        made_of = [*(source.read_text() for source in [*SOURCES, HEADER]), compiler, *FLAGS, _cpu()]
        key = hashlib.sha256("\0".join(made_of).encode()).hexdigest()[:16]
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


@torch.compiler.assume_constant_result
def available() -> bool:
    """Whether there is a library."""
    return library() is not None


def _as_c(value: Tensor | float | None) -> Any:
    if isinstance(value, int):
        return ctypes.c_long(value)
    if isinstance(value, float):
        return ctypes.c_double(value)
    return ctypes.c_void_p(None if value is None else value.data_ptr())


def call(name: str, *arguments: Tensor | float | None) -> None:
    """Call one of the C functions: tensors as pointers, integers as long, floats as double. What it writes is among the
    tensors.

    Tensors without memory, of which a compiler only wants to know the shapes, are left alone.
    """
    if any(isinstance(a, FakeTensor) for a in arguments):
        return
    found = library()
    assert found is not None
    getattr(found, name)(*map(_as_c, arguments))
