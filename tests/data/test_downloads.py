"""Downloads: two processes that find a dataset missing fetch it once."""

import fcntl
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from official import write_cifar, write_svhn

from attnlab.configuration.compose import check, config
from attnlab.data.build import make_datamodule


@pytest.fixture
def two(monkeypatch):
    """Two readers of one folder: the second comes when the first has fetched half, which goes on once it is seen at the
    lock, or has ended without coming there."""
    half, second_came = threading.Event(), threading.Event()
    flock = fcntl.flock

    def seen(file, how):
        if threading.current_thread() is threading.main_thread():
            second_came.set()
        flock(file, how)

    def pause():
        half.set()
        assert second_came.wait(60)

    def read(data):
        with ThreadPoolExecutor(1) as pool:
            first = pool.submit(data.read)
            assert half.wait(60)
            try:
                second = data.read()
            finally:
                second_came.set()
            return [*first.result(), *second]

    monkeypatch.setattr(fcntl, "flock", seen)
    return SimpleNamespace(pause=pause, read=read)


def test_of_two_that_find_no_cifar_one_downloads_and_the_other_waits(tmp_path, monkeypatch, two):
    there, root = tmp_path / "there", tmp_path / "root"
    there.mkdir()
    draw = np.random.default_rng(0)
    write_cifar(there, monkeypatch, draw.integers(0, 256, (6, 20, 3, 32, 32), dtype=np.uint8), [[*range(10)] * 2] * 6)
    fetched = []

    def fetch(url, root, **_):
        fetched.append(url)
        base = Path(root) / "cifar-10-batches-py"
        base.mkdir(parents=True)
        for number, file in enumerate(sorted((there / base.name).iterdir())):
            if number == 3:
                two.pause()
            shutil.copy(file, base)

    monkeypatch.setattr("torchvision.datasets.cifar.download_and_extract_archive", fetch)
    data = make_datamodule(check(config(["dataset=cifar10", f"dataset.root={root}"])))
    train, test, *second = two.read(data)
    assert [len(images) for images in (train, test, *second)] == [100, 20, 100, 20]
    assert len(fetched) == 1
    (root / ".download.lock").unlink()
    data.read()
    assert not (root / ".download.lock").exists()  # a whole folder needs none


def test_of_two_that_find_no_svhn_one_downloads_and_the_other_waits(tmp_path, monkeypatch, two):
    there, root, fetched = tmp_path / "there", tmp_path / "root", []
    there.mkdir()
    write_svhn(there)

    def whole(path, md5=None):
        return Path(path).exists() and Path(path).stat().st_size == (there / Path(path).name).stat().st_size

    def fetch(url, root, filename, md5):
        path = Path(root) / filename
        path.parent.mkdir(exist_ok=True)
        if whole(path):
            return
        fetched.append(filename)
        path.write_bytes(b"half")
        if len(fetched) == 1:
            two.pause()
        shutil.copy(there / filename, path)

    monkeypatch.setattr("torchvision.datasets.svhn.check_integrity", whole)
    monkeypatch.setattr("torchvision.datasets.svhn.download_url", fetch)
    data = make_datamodule(check(config(["dataset=svhn", f"dataset.root={root}"])))
    assert [len(images) for images in two.read(data)] == [30] * 4
    assert fetched == ["train_32x32.mat", "test_32x32.mat"]
