"""accelerate(net) changes how fast a net trains on a CPU, and nothing else. Models: tests/models/test_norms.py."""

import copy
import importlib
import inspect
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import attnlab
from attnlab.configuration.compose import compose_file, plain
from attnlab.configuration.groups import choices
from attnlab.machine import acceleration
from attnlab.machine.kernels import accelerate, compile, norms
from attnlab.machine.kernels.accelerate import FORMS, digest, fused_class
from attnlab.models import vgg
from tests.machine.branches import accelerated, low
from tests.models.test_norms import gradients

needs_c = pytest.mark.skipif(compile.library() is None, reason="no C compiler here: nothing is accelerated")
ROOT = Path(attnlab.__file__).parent.parent
BATCHES = 3
JUMPS = ("hard", "reciprocal_raw")  # masks that jump where z crosses 0, so that rounding decides


def built(attention: str) -> nn.Module:
    """A small net, away from attentions' symmetric start, where CBAM's BN weight of 0 stops every gradient."""
    overrides = ["model=resnet8", f"attention={attention}", "dataset.image_size=16"]
    net = attnlab.build(plain(compose_file("run", overrides))).to(memory_format=torch.channels_last)
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for module in net.modules():
            for parameter in module.parameters() if hasattr(module, "attention_place") else ():
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=draw))
    return net


def classes(net: nn.Module) -> list[str]:
    return [type(module).__name__ for module in net.modules()]


@needs_c
@pytest.mark.parametrize("attention", choices("attention"))
def test_every_attention_trains_as_its_plain_form(attention):
    """All gradients and running statistics, as close to float32 as the plain form in bf16 is; mean over BATCHES."""
    net, labels, errors = built(attention), torch.arange(8), []
    for seed in range(BATCHES):
        fast, exact, definition = accelerated(net), copy.deepcopy(net), copy.deepcopy(net)
        images = low(8, 3, 16, 16, seed=seed).float().contiguous(memory_format=torch.channels_last)
        truth, _ = gradients(exact, images, labels)
        with torch.autocast("cpu", torch.bfloat16):
            (ours, after), (theirs, buffers) = (gradients(each, images, labels) for each in (fast, definition))
        errors.append(torch.stack([(found - truth).norm() for found in (ours, theirs)]) / truth.norm())
    wrong, allowed = torch.stack(errors).mean(dim=0).tolist()
    if not any(name in attention for name in JUMPS):
        assert wrong <= 1.25 * allowed + 0.02
    assert after.keys() == buffers.keys()
    for key, buffer in buffers.items():
        assert torch.allclose(after[key].double(), buffer.double(), rtol=0.05, atol=0.05), key
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):  # in eval mode the same operations run
        fast.load_state_dict(definition.state_dict())
        assert torch.equal(fast.eval()(images), definition.eval()(images))


@needs_c
def test_a_built_net_is_plain_and_an_accelerated_one_keeps_its_parts():
    net = built("cbam")
    assert not [name for name in classes(net) if name.startswith("Fused")]
    seen = []
    net.backbone.stage1.register_forward_hook(lambda *_: seen.append(1))
    fast = accelerated(net)
    assert {"FusedBasicBlock", "FusedResNet", "FusedGate", "FusedBatchNorm2d", "FusedConv2d"} <= set(classes(fast))
    assert [name for name, _ in fast.named_modules()] == [name for name, _ in net.named_modules()]
    assert [name for name, _ in fast.named_parameters()] == [name for name, _ in net.named_parameters()]
    state = fast.state_dict()
    assert all(torch.equal(state.pop(name), tensor) for name, tensor in net.state_dict().items())
    assert not state
    before = classes(fast)
    accelerate(fast)
    assert classes(fast) == classes(copy.deepcopy(fast)) == before
    fast(torch.randn(2, 3, 16, 16))
    assert seen == [1]


@needs_c
def test_equal_starts_end_equal():
    """A run that is resumed is accelerated again: bit-equal to one that was not interrupted."""
    net, found = built("cbam"), []
    for _ in range(2):
        images = low(8, 3, 16, 16).float().contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            found.append(gradients(accelerated(net), images, torch.arange(8))[0])
    assert torch.equal(*found)


@pytest.mark.parametrize(
    "other", [{"device": "gpu"}, {"precision": "32-true"}, {"precision": "16-mixed"}, {"channels_last": False}]
)
def test_elsewhere_nothing_is_exchanged(other):
    net = built("se")
    before = classes(net)
    acceleration.accelerate(net, **{"device": "cpu", "precision": "bf16-mixed", "channels_last": True} | other)
    assert classes(net) == before


@needs_c
def test_on_a_cpu_in_bf16_it_is():
    net = built("se")
    acceleration.accelerate(net, device="cpu", precision="bf16-mixed", channels_last=True)
    assert "FusedGate" in classes(net)


@pytest.mark.parametrize("name", FORMS)
def test_every_form_follows_the_forward_that_it_replaces(name):
    module, _, cls = name.rpartition(".")
    found = getattr(importlib.import_module(module), cls)
    form = FORMS[name]
    text = (
        f"{name}.forward was edited: bring {form.__name__}.fused in line with it, then set replaces to {digest(found)}"
    )
    assert form.replaces == digest(found), text


@needs_c
def test_a_block_with_another_forward_stays_plain(monkeypatch):
    class Own(vgg.ConvBlock):
        pass

    assert fused_class(vgg.ConvBlock) is not None
    assert fused_class(Own) is None
    monkeypatch.setattr(vgg.ConvBlock, "forward", lambda self, x: x)
    assert fused_class(vgg.ConvBlock) is None
    net = nn.Sequential(nn.BatchNorm2d(16), nn.ELU())
    net[0].forward = lambda x: x  # type: ignore[method-assign]
    x = low(4, 16, 4, 4)
    assert torch.equal(accelerated(net)(x), nn.ELU()(x))


@needs_c
def test_export_and_the_compiler_see_the_plain_form(monkeypatch):
    net = built("cbam")
    fast, x = accelerated(net), torch.randn(2, 3, 16, 16).contiguous(memory_format=torch.channels_last)
    monkeypatch.setattr(norms, "call", None)
    with torch.autocast("cpu", torch.bfloat16):
        compiled = torch.compile(accelerated(net), backend="eager", fullgraph=True)
        assert torch.allclose(compiled(x), net(x), rtol=0.02, atol=0.02)
    torch._dynamo.reset()
    fast.load_state_dict(net.eval().state_dict())
    exported = torch.export.export(fast.eval(), (x,)).module()
    assert torch.allclose(exported(x), net(x), atol=1e-5)


WITHOUT = """
import sys
import attnlab, attnlab.launch.sweep, attnlab.run, attnlab.bench
from attnlab.evaluation import mask_recorder
assert attnlab.__file__.startswith(sys.argv[1]), attnlab.__file__
cfg = attnlab.config([*sys.argv[2:], "attention=cbam", "machine.precision=bf16-mixed", "machine.channels_last=true"])
record = attnlab.train(cfg)
net = attnlab.load(record["id"], cfg.output_dir)
assert not [m for m in sys.modules if m.startswith("attnlab.machine.kernels")]
print("trained", record["status"])
"""


def test_without_the_kernels_all_works(tiny, tmp_path):
    """In a copy of the package from which attnlab/machine/kernels was removed."""
    ignored = shutil.ignore_patterns("kernels", "__pycache__")
    shutil.copytree(ROOT / "attnlab", tmp_path / "attnlab", ignore=ignored)
    shutil.copytree(ROOT / "conf", tmp_path / "conf", ignore=ignored)
    assert not (tmp_path / "attnlab" / "machine" / "kernels").exists()
    paths = f"{tmp_path}:{tmp_path / 'attnlab' / 'launch'}"
    command = [sys.executable, "-c", WITHOUT, str(tmp_path), *tiny, "recipe.epochs=1", "dataset.train_size=150"]
    environment = os.environ | {"PYTHONPATH": paths}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "trained finished" in done.stdout


def test_only_one_place_imports_the_kernels():
    """Models, attentions, heads and training do not know them."""
    files = {path.relative_to(ROOT).as_posix(): path.read_text() for path in (ROOT / "attnlab").rglob("*.py")}
    found = [name for name, text in files.items() if "machine.kernels" in text]
    assert [name for name in found if "/kernels/" not in name] == ["attnlab/machine/acceleration.py"]
    assert inspect.signature(accelerate).parameters.keys() == {"net"}


def test_a_broken_import_of_the_kernels_is_not_hidden(monkeypatch):
    monkeypatch.setitem(sys.modules, "attnlab.machine.kernels", None)  # as if the folder were absent
    acceleration.accelerate(nn.Identity(), device="cpu", precision="bf16-mixed", channels_last=True)

    class Broken:
        def __getattr__(self, name: str) -> Tensor:
            raise ImportError("no module ctypes", name="ctypes")

    monkeypatch.setitem(sys.modules, "attnlab.machine.kernels", Broken())  # type: ignore[arg-type]
    with pytest.raises(ImportError, match="ctypes"):
        acceleration.accelerate(nn.Identity(), device="cpu", precision="bf16-mixed", channels_last=True)
