"""passes.c and norms.c are built once and again when damaged, in a folder that only the user can write to."""

import platform
import shutil
import subprocess

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from attnlab.machine.kernels import compile
from tests.machine.branches import accelerated


def test_without_a_compiler_or_when_switched_off(monkeypatch):
    monkeypatch.setenv("ATTNLAB_KERNELS", "0")
    assert compile.library.__wrapped__() is None
    monkeypatch.delenv("ATTNLAB_KERNELS")
    monkeypatch.setenv("PATH", "")
    assert compile.library.__wrapped__() is None


compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler here: passes.c is not tested")


@compiler
def test_a_damaged_library_is_made_anew(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert compile.library.__wrapped__() is not None
    folder = tmp_path / "attnlab" / "kernels"
    assert folder.stat().st_mode & 0o777 == 0o700
    (found,) = folder.iterdir()
    found.unlink()  # not overwritten: it is loaded
    found.write_bytes(b"not a library")
    assert compile.library.__wrapped__() is not None
    assert list(folder.iterdir()) == [found]


def test_a_folder_others_can_write_to_is_not_loaded_from(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "attnlab" / "kernels").mkdir(parents=True)
    (tmp_path / "attnlab" / "kernels").chmod(0o777)
    assert compile.library.__wrapped__() is None


@compiler
@pytest.mark.parametrize("machine", ["native", "x86-64", "haswell", "sapphirerapids"])
def test_the_sources_compile_without_a_warning(machine, tmp_path):
    if machine != "native" and platform.machine() != "x86_64":
        pytest.skip(f"{platform.machine()} has no -march={machine}")
    flags = [f"-march={machine}" if flag.startswith("-march=") else flag for flag in compile.FLAGS]
    done = subprocess.run(
        ["cc", *map(str, compile.SOURCES), "-o", str(tmp_path / "x.so"), "-Wall", "-Wextra", *flags],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


@compiler
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (5, 9), (16, 16), (17, 33)])
@pytest.mark.parametrize("kernel", [1, 3, 5, 7, 9])
def test_the_convolution_of_a_few_planes_is_a_convolution(size, kernel):
    """Of any size: its tiles have rows and columns to spare."""
    draw = torch.Generator().manual_seed(0)
    planes, dout = (torch.randn(3, c, *size, generator=draw).bfloat16() for c in (2, 1))
    weight = torch.randn(1, 2, kernel, kernel, generator=draw)
    layer = nn.Conv2d(2, 1, kernel, padding=kernel // 2, bias=False)
    layer.weight.data.copy_(weight)
    fast = accelerated(layer)
    assert type(fast) is not nn.Conv2d
    ours = [planes.clone().requires_grad_(), fast.weight]
    truth = [planes.double().requires_grad_(), weight.double().requires_grad_()]
    out = fast(ours[0])
    expected = F.conv2d(*truth, padding=kernel // 2)
    assert out.dtype == torch.bfloat16
    assert torch.allclose(out.double(), expected, rtol=1 / 128, atol=1e-5)
    out.backward(dout)
    expected.backward(dout.double())
    assert torch.allclose(ours[0].grad.double(), truth[0].grad, rtol=1 / 128, atol=1e-5)
    assert torch.allclose(ours[1].grad.double(), truth[1].grad, rtol=1e-4, atol=1e-4)
