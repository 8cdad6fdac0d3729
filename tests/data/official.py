"""Small files of the official layouts, for tests: CIFAR's pickles, SVHN's matrices; and a dataset that is read."""

import pickle

import numpy as np

from attnlab.configuration.compose import check, config
from attnlab.data import cifar as cifar_module
from attnlab.data.build import make_datamodule

CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def loaded(*overrides):
    data = make_datamodule(check(config([*overrides, "recipe.validation.images=0"])))
    data.setup()
    return data


def write_cifar(root, monkeypatch, images, labels):
    """A miniature in the official format: 5 training files and a test file, checksums adapted."""
    base = root / "cifar-10-batches-py"
    base.mkdir()
    source = cifar_module.CIFAR10.source
    names = [f"data_batch_{n}" for n in range(1, 6)]
    for number, name in enumerate([*names, "test_batch"]):
        part = {"data": images[number].reshape(len(images[number]), -1), "labels": labels[number]}
        (base / name).write_bytes(pickle.dumps(part))
    (base / "batches.meta").write_bytes(pickle.dumps({"label_names": CLASSES}))
    monkeypatch.setattr(source, "train_list", [[name, None] for name in names])
    monkeypatch.setattr(source, "test_list", [["test_batch", None]])
    monkeypatch.setattr(source, "meta", {"filename": "batches.meta", "key": "label_names", "md5": None})


def write_svhn(root):
    import scipy.io

    draw = np.random.default_rng(0)
    for split in ("train", "test"):
        labels = np.arange(1, 31).reshape(-1, 1) % 10 + 1  # 1..10, where 10 is the digit 0
        pixels = draw.integers(0, 256, (32, 32, 3, 30), dtype=np.uint8)
        scipy.io.savemat(root / f"{split}_32x32.mat", {"X": pixels, "y": labels})
