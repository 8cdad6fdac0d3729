"""Shards that are damaged, incomplete or hostile: one message that names the shard and the sample; nothing hangs."""

import io
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import torch
from PIL import Image

from attnlab.configuration.compose import check, config
from attnlab.configuration.explain import explain
from attnlab.data.build import make_datamodule
from attnlab.data.shard_index import read_index
from attnlab.data.shard_reader import Reader
from attnlab.errors import AttnlabError, DataError


def picture(number=0):
    data = io.BytesIO()
    Image.new("RGB", (40, 40), (number % 256, 10, 200)).save(data, "JPEG")
    return data.getvalue()


def tar(path, members):
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as sink:
        for name, data in members:
            if isinstance(data, tarfile.TarInfo):
                sink.addfile(data)
                continue
            info = tarfile.TarInfo(name)
            info.size = len(data)
            sink.addfile(info, io.BytesIO(data))


def good(count=6, first=0):
    return [
        member
        for i in range(first, first + count)
        for member in ((f"k{i:03d}.jpg", picture(i)), (f"k{i:03d}.cls", str(i % 2).encode()))
    ]


@pytest.fixture
def root(tmp_path):
    for name, first in (("train-000000", 0), ("train-000001", 6), ("val-000000", 12)):
        tar(tmp_path / f"{name}.tar", good(first=first))
    return tmp_path


def data_of(root, *more):
    overrides = [
        "dataset=imagenet_wds", f"dataset.root='{root}'", "dataset.classes=2", "dataset.image_size=32",
        "dataset.lanes=2", "dataset.shuffle=4", "recipe.batch_size=4", "machine.workers=0", "dataset.cache=null",
        "recipe.validation.images=0", *more,
    ]  # fmt: skip
    return make_datamodule(check(config(overrides)))


def refused(root, *more):
    with pytest.raises(AttnlabError) as caught:
        data_of(root, *more).setup()
    return str(caught.value)


VICTIM = "train-000001.tar"


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([*good(), ("x.jpg", picture())], r"train-000001.tar: x has no .cls beside it"),
        ([("x.cls", b"1"), *good()], "train-000001.tar: x has no .jpg, .jpeg, .png beside it"),
        ([*good(), ("x.jpg", picture()), ("x.cls", b"cat")], "x.cls holds b'cat'; allowed is a class number"),
        ([*good(), ("x.jpg", picture()), ("x.cls", b"-1")], "x.cls holds b'-1'; allowed is a class number"),
        ([*good(), ("x.jpg", picture()), ("x.cls", b"2")], "x.jpg is of class 2; allowed are 0 to 1"),
        ([*good(), ("x.jpg", picture()), ("x.png", picture()), ("x.cls", b"1")], "x has two members .png, or two"),
        ([("x.txt", b"1")], "train-000001.tar holds no samples KEY.jpg and KEY.cls"),
        ([], "train-000001.tar holds no samples KEY.jpg and KEY.cls"),
    ],
)
def test_samples_without_their_parts(root, members, message):
    tar(root / VICTIM, members)
    assert message in refused(root)


@pytest.mark.parametrize("damage", ["nothing", "garbage", "short", "header", "member"])
def test_a_damaged_tar_is_not_a_shorter_one(root, damage):
    path = root / VICTIM
    whole = path.read_bytes()
    with tarfile.open(path) as opened:
        offset = opened.getmembers()[6].offset
    path.write_bytes({
        "nothing": b"", "garbage": b"\x07" * 5000, "short": whole[: offset + 700],
        "header": whole[:offset] + b"\x07" * 512 + whole[offset + 512 :], "member": whole[:offset],
    }[damage])  # fmt: skip
    assert "train-000001.tar cannot be read as a tar file" in refused(root)


def test_what_cannot_be(root, tmp_path):
    assert "dataset.root=nowhere: is no folder; allowed are a folder of train-*.tar" in refused("nowhere")
    (root / "val-000000.tar").unlink()
    assert "has no shards val-*.tar; allowed are" in refused(root)
    assert "has no shards train-*.tar" in refused(f"{tmp_path}/val-{{0..1}}.tar")
    assert "webdataset does not open s3:; allowed are ais, ftps, gs, " in refused(
        "s3://bucket/train-0.tar::s3://bucket/val-0.tar"
    )


def test_classes_lanes_and_batches_are_checked(root):
    assert "dataset.classes=3: the training shards have 2 classes" in refused(root, "dataset.classes=3")
    assert "recipe.validation.images=11: allowed is 0 to 10" in refused(root, "recipe.validation.images=11")
    for key in ("lanes", "shuffle"):
        with pytest.raises(AttnlabError, match=rf"wrong value dataset\.{key}=0; allowed is an integer from 1"):
            data_of(root, f"dataset.{key}=0")
    data = data_of(root)
    data.setup()
    data.ranks = lambda: (0, 3)
    with pytest.raises(AttnlabError, match=r"dataset\.lanes=2: allowed are multiples of 3, the number of ranks"):
        data.train_dataloader()


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("content", [b"", b"no image", picture()[:300], b"GIF89a" + b"\0" * 50])
def test_an_undecodable_image_is_named(root, workers, content):
    tar(root / VICTIM, [*good(), ("x.jpg", content), ("x.cls", b"1")])
    data = data_of(root, f"machine.workers={workers}")
    data.setup()
    with pytest.raises(DataError) as caught:
        list(data.evaluation_dataloader("train"))
    text = explain(caught.value)
    assert text.startswith("dataset.root: train-000001.tar/x.jpg cannot be read as an image (")
    assert "\n" not in text


def test_a_dead_worker_ends_the_run(root):
    """In a process of its own: torch raises wherever the main thread is, in pytest's report as well."""
    code = f"""
import os, signal
from tests.data.test_shard_damage import data_of
data = data_of({str(root)!r}, "machine.workers=1", "+recipe.passes_per_epoch=500")
data.setup()
loader = data.train_dataloader()
for step, batch in enumerate(loader):
    if step == 1:
        print("kills", flush=True)
        os.kill(loader.loader._iterator._workers[0].pid, signal.SIGKILL)
"""
    path = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=path, capture_output=True, text=True, timeout=120)
    assert done.stdout.endswith("kills\n")
    assert done.returncode not in (0, None)


def test_a_shard_that_changed_is_noticed(root):
    data = data_of(root)
    data.setup()
    tar(root / VICTIM, [("other.jpg", picture(9)), *good()])
    with pytest.raises(DataError, match=r"train-000001\.tar is not what it was when its images were counted"):
        list(data.evaluation_dataloader("train"))
    (root / VICTIM).write_bytes(b"")
    with pytest.raises(DataError, match=r"train-000001\.tar cannot be read \(it ends early\)"):
        list(data.evaluation_dataloader("train"))


def test_names_in_a_tar_are_no_paths_and_nothing_else_is_looked_at(root, tmp_path):
    evil = tmp_path / "evil"
    link = tarfile.TarInfo("link.jpg")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    name = f"{'long/' * 30}../../../{evil}"
    tar(root / VICTIM, [
        *good(2), (f"{name}.jpg", picture()), (f"{name}.cls", b"1"), ("/abs.jpg", picture()), ("/abs.cls", b"0"),
        ("link.jpg", link), ("k.pyd", b"cos\nsystem\n(S'touch evil'\ntR."), ("k.pkl", b"cos\nsystem\n"), *good(2, 8),
    ])  # fmt: skip
    before = sorted(root.rglob("*"))
    data = data_of(root)
    data.setup()
    assert len(data.train) == 6 + 6
    assert sum(len(y) for _, y, _ in data.evaluation_dataloader("train")) == 12
    assert sorted(root.rglob("*")) == before
    assert data.data_hash != "0"


def test_a_pipe_that_fails_or_breaks_off(root, monkeypatch):
    monkeypatch.setenv("ATTNLAB_TRUST", "pipe")
    pipes = f"pipe:cat {root}/train-000000.tar::pipe:echo {root}/val-000000.tar; exit 3"
    assert "val-000000.tar cannot be read as a tar file (its command ended with exit 3)" in refused(pipes)
    tar(root / "train-000009.tar", [("x.cls", b"cat"), ("big.jpg", b"0" * 10**6)])
    assert "x.cls holds b'cat'" in refused(f"pipe:cat {root}/train-000009.tar::{root}/val-000000.tar")
    url = f"pipe:cat {root}/train-000000.tar"
    shards = read_index([url], None)
    reader = Reader(shards)
    expected = dict(Reader(read_index([str(root / "train-000000.tar")], None)).read(0, range(6)))
    assert dict(reader.read(0, [1, 3])) == {row: expected[row] for row in (1, 3)}
    reader.tapes[0].stream.stream.close()  # a connection that was reset is opened once more
    reader.tapes[0].stream.stream = io.BytesIO()
    assert dict(reader.read(0, [4, 0])) == {row: expected[row] for row in (4, 0)}
    assert torch.equal(shards.labels, torch.tensor([0, 1] * 3))
