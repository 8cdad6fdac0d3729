"""A finished run's network in ONNX and in torch.export's format: read back, compared, and written only if equal."""

import subprocess
import sys

import onnxruntime
import pytest
import torch
from torch import nn

import attnlab
from attnlab.errors import ConfigError
from attnlab.export import export
from attnlab.models import export_net
from attnlab.records.record import find_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """(id, output_dir) of a run with attention."""
    folder = tmp_path_factory.mktemp("outputs")
    overrides = ["attention=cbam", "attention.reduction=4", "model=resnet8", "recipe.steps=2", "tracker=csv"]
    sizes = ["dataset.train_size=200", "dataset.test_size=100", "recipe.validation.images=100", f"output_dir={folder}"]
    return attnlab.train(attnlab.config([*overrides, *sizes]))["id"], folder


def arguments(run, kind):
    return [f"run={run[0]}", f"output_dir={run[1]}", f"format={kind}"]


def read(path):
    if path.suffix == ".pt2":
        return torch.export.load(path).module()
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda x: torch.from_numpy(session.run(None, {"images": x.numpy()})[0])


@pytest.mark.parametrize(("kind", "file"), [("onnx", "net.onnx"), ("torch_export", "net.pt2")])
def test_the_file_gives_the_logits_for_any_number_of_images(run, kind, file):
    path, difference = export(arguments(run, kind))
    assert path == run[1] / run[0] / file
    assert difference <= 1e-4
    net, call = attnlab.load(run[0], run[1]), read(path)
    for count in (1, 5):
        images = torch.randn(count, 3, 32, 32)
        with torch.no_grad():
            torch.testing.assert_close(call(images), net(images), rtol=1e-4, atol=1e-4)


def test_a_difference_writes_nothing(run, monkeypatch):
    net = attnlab.load(*run)
    monkeypatch.setattr(export_net, "_torch_export", lambda *_: (b"", lambda x: net(x) + 0.001))
    path = find_run(*run) / "net.pt2"
    path.unlink(missing_ok=True)
    with pytest.raises(ConfigError, match=r"^wrong export run=\w+ format=torch_export; its logits differ by 1.0e-03"):
        export(arguments(run, "torch_export"))
    assert not path.exists()


def test_a_net_that_cannot_be_traced(run, monkeypatch):
    class Branches(nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    monkeypatch.setattr(export_net, "load", lambda *values: Branches())
    with pytest.raises(ConfigError, match=r"^cannot export format=torch_export; \w+: ") as found:
        export(arguments(run, "torch_export"))
    assert "\n" not in str(found.value)


def test_without_onnx(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(
        ConfigError, match=r"^missing package onnxruntime, which format=onnx needs; install attnlab\[on"
    ):
        export(arguments(run, "onnx"))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["run"], r"^wrong argument run; allowed is KEY=VALUE, as run=ID"),
        (["format=onnx"], r"^missing key run; allowed is a finished run: an id or its first "),
        (["run=0123456789ab"], r"^unknown choice format=null; .*allowed are onnx, torch_export"),
        (["run=0123456789ab", "format=onx"], r"^unknown choice format=onx; did you mean onnx\?"),
        (["run=0123456789ab", "fromat=onnx"], r"^unknown key fromat; did you mean format\?"),
        (["run=0123456789ab", "format=onnx"], r"run=0123456789ab"),
    ],
)
def test_bad_input_gives_one_message(given, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=message) as found:
        export(given)
    assert "\n" not in str(found.value)


def test_help_needs_no_torch():
    code = "import attnlab.export, sys; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
