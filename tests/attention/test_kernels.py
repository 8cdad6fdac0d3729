"""passes.c: built once, anew when damaged, from a folder of the user's alone, and done without where it cannot be."""

import shutil
import subprocess

import pytest

from attnlab.attention import kernels


def test_without_a_compiler_or_when_told_not_to(monkeypatch):
    monkeypatch.setenv("ATTNLAB_KERNELS", "0")
    assert kernels.library.__wrapped__() is None
    monkeypatch.delenv("ATTNLAB_KERNELS")
    monkeypatch.setenv("PATH", "")
    assert kernels.library.__wrapped__() is None


compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler here: passes.c is not tested")


@compiler
def test_a_damaged_library_is_made_anew(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert kernels.library.__wrapped__() is not None
    folder = tmp_path / "attnlab" / "kernels"
    assert folder.stat().st_mode & 0o777 == 0o700
    (found,) = folder.iterdir()
    found.unlink()  # not overwritten: it is loaded
    found.write_bytes(b"not a library")
    assert kernels.library.__wrapped__() is not None
    assert list(folder.iterdir()) == [found]


def test_a_folder_others_can_write_to_is_not_loaded_from(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "attnlab" / "kernels").mkdir(parents=True)
    (tmp_path / "attnlab" / "kernels").chmod(0o777)
    assert kernels.library.__wrapped__() is None


@compiler
def test_the_source_compiles_without_a_warning(tmp_path):
    told = subprocess.run(
        ["cc", str(kernels.SOURCE), "-o", str(tmp_path / "x.so"), "-Wall", "-Wextra", *kernels.FLAGS],
        capture_output=True,
        text=True,
    )
    assert (told.returncode, told.stderr) == (0, "")
