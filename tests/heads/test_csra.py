"""The CSRA head against the authors' code, its formula at the ends of the temperature, and its refusals."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import attnlab
from attnlab.errors import ConfigError
from attnlab.heads.csra import CSRA

REFERENCE = Path(__file__).parent.parent / "reference"
sys.path.insert(0, str(REFERENCE))
from rule import digest, values  # noqa: E402

FILES = {"csra": {"heads": 1, "residual": 0.1}, "csra_h4": {"heads": 4, "residual": 0.3}}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("case", ["train_4x64x8x8", "train_2x64x5x9"])
def test_parity_with_the_authors_code(name, case):
    """Logits, and the gradients of the features and of every classifier."""
    with np.load(REFERENCE / f"{name}.npz") as file:
        facts = json.loads(str(file["about"]))
        stored = {key: file[key] for key in file.files if key.startswith(f"{case}/")}
    net = CSRA({"early": 8, "late": 64}, classes=10, **FILES[name]).double()
    theirs = [f"multi_head.{n}.head.weight" for n in range(FILES[name]["heads"])]
    shapes = dict(facts["state"])
    assert list(shapes) == theirs
    for other, layer in zip(theirs, net.classify, strict=True):
        weight = torch.from_numpy(values(other, shapes[other], facts["seed"]))
        layer.weight.data.copy_(weight.reshape(layer.weight.shape))
    x = torch.from_numpy(values("input", tuple(map(int, case.partition("_")[2].split("x"))))).requires_grad_()
    y = net({"early": x[:, :8], "late": x})
    (y * torch.from_numpy(values("cotangent", tuple(y.shape)))).sum().backward()
    ours = {"output_digest": digest("output", y.detach().numpy()), "grad/input": digest("input", x.grad.numpy())}
    for other, layer in zip(theirs, net.classify, strict=True):
        ours[f"grad/{other}"] = digest(other, layer.weight.grad.reshape(shapes[other]).numpy())
    for key, wanted in stored.items():
        kind = key.removeprefix(f"{case}/")
        if kind != "output":
            assert np.abs(ours[kind] - wanted).max() <= 1e-9 * wanted[0], kind
    if f"{case}/output" in stored:
        assert np.allclose(y.detach().numpy(), stored[f"{case}/output"], rtol=1e-10)


def test_a_run_can_have_it():
    net = attnlab.build(attnlab.config(["model=resnet8", "head=csra", "head.heads=2"]))
    net(torch.randn(2, 3, 32, 32)).sum().backward()
    assert all(parameter.grad is not None for parameter in net.parameters())


def test_without_a_residual_it_classifies_the_mean():
    net = CSRA({"late": 6}, classes=3, residual=0.0)
    x = torch.randn(2, 6, 4, 5)
    (layer,) = net.classify
    assert torch.allclose(net({"late": x}), layer(x.mean(dim=(2, 3))) / layer.weight.norm(dim=1), atol=1e-6)


def test_another_number_of_heads_is_refused():
    with pytest.raises(ConfigError, match=r"^wrong value head\.heads=3; allowed is one of 1, 2, 4, 6, 8$"):
        CSRA({"late": 6}, classes=3, heads=3)
