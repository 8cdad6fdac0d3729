"""The inverse-attention code's nets and attentions against the authors' own, run in Keras (tests/reference).

Logits, gradients and running statistics in float64; each weight's decay against the gradient of the authors' L2 losses.
"""

import json
import re
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import attnlab
from attnlab.configuration.compose import plain
from attnlab.configuration.groups import CONF, choices
from attnlab.training.weight_decay import decay_groups

REFERENCE = Path(__file__).parent.parent / "reference"
sys.path.insert(0, str(REFERENCE))
from rule import digest, values  # noqa: E402

NETS = ("resnet50_cifar", "densenet40", "mobilenet")
MOMENTUM = float(np.float32(0.01))
INPUTS = {"train": (4, 3, 32, 32), "eval": (2, 3, 32, 32)}
#: their attention_module -> our overrides: the first line of each yaml says which it is
OURS = {"None": "none", "se_block": "se_laakom2021", "cbam_block": "cbam_laakom2021"} | {
    found[1]: choice
    for choice in choices("attention")
    if (found := re.search(r"official ((?:se|cbam)_block_\w+)", (CONF / f"attention/{choice}.yaml").read_text()))
}


@cache
def stored(net):
    with np.load(REFERENCE / f"laakom_{net}.npz") as file:
        return json.loads(str(file["about"])), {key: file[key] for key in file.files if key != "about"}


CASES = [(net, str(attention), mode) for net in NETS for attention, mode in stored(net)[0]["cases"]]


def ours(net, attention):
    cfg = attnlab.config([f"model={net}", f"attention={OURS[attention]}", "dataset=cifar10", "recipe=laakom2021"])
    return plain(cfg), attnlab.build(cfg).double()


def names(net, model):
    """{our layer: theirs}. Keras numbers the layers of a kind in the order in which they are made; theirs makes a
    block's shortcut before its attention, and MobileNet names its own layers."""
    layers = [
        name for name, module in model.named_modules() if isinstance(module, nn.Conv2d | nn.BatchNorm2d | nn.Linear)
    ]
    blocks = [re.sub(r"(?<=\.)(at_branch|shortcut).*", "", name) for name in layers]
    layers.sort(
        key=lambda name: (blocks.index(re.sub(r"(?<=\.)(at_branch|shortcut).*", "", name)), "at_branch" in name)
    )
    kinds = {nn.Conv2d: "conv2d", nn.BatchNorm2d: "batch_normalization", nn.Linear: "dense"}
    own = [f"{kind}{n}{part}" for n in range(1, 14) for kind in ("conv_dw_", "conv_pw_") for part in ("", "_bn")]
    own = iter(["conv1", "conv1_bn", *own, "conv_preds"] if net == "mobilenet" else [])
    counts, found = dict.fromkeys(kinds.values(), 0), {}
    for layer in layers:
        if net == "mobilenet" and ".at_" not in layer:
            found[layer] = next(own)
        else:
            kind = next(name for base, name in kinds.items() if isinstance(model.get_submodule(layer), base))
            found[layer] = f"{kind}_{counts[kind]}" if counts[kind] else kind
            counts[kind] += 1
    return found


def fill(net, model, state, seed):
    """The rule's weights, by the authors' names and shapes; returns {their name: ours}."""
    shapes = {name: shape for name, shape, _ in state}
    layers, found = names(net, model), {}
    for key, tensor in model.state_dict().items():
        layer, kind = key.rsplit(".", 1)
        if kind != "num_batches_tracked":
            other = f"{layers[layer]}.{kind}"
            wanted = values(other, shapes[other], seed)
            assert wanted.size == tensor.numel(), f"{key} is not {other}"
            tensor.copy_(torch.from_numpy(wanted).reshape(tensor.shape))
            found[other] = key
    assert found.keys() == shapes.keys()
    return found


def worst(net, attention, mode, model):
    """The largest difference, relative to the norm: of the logits, a gradient, a running statistic."""
    facts, arrays = stored(net)
    state = facts["state"][attention.split("_")[0]]
    found = fill(net, model.train(mode == "train"), state, facts["seed"])
    for module in model.modules():
        if isinstance(module, nn.Dropout2d):
            module.p = 0.0
    counts = {}
    for path, module in model.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = float(np.float32(module.momentum))  # as Keras holds it
            module.register_forward_pre_hook(
                lambda _, inputs, key=f"{path}.running_var": counts.update({key: inputs[0][:, 0].numel()})
            )
    x = torch.from_numpy(values("input", INPUTS[mode])).requires_grad_()
    y = model(x)
    (y * torch.from_numpy(values("cotangent", tuple(y.shape)))).sum().backward()
    wanted = arrays[f"{attention}/{mode}/output"]
    differences = [np.linalg.norm(y.detach().numpy() - wanted) / np.linalg.norm(wanted)]
    gradients = {"input": x.grad} | {n: model.get_parameter(found[n]).grad for n, _, trained in state if trained}
    shapes = {"input": x.shape} | {name: shape for name, shape, _ in state}
    pairs = list(zip(gradients.items(), arrays[f"{attention}/{mode}/gradients"], strict=True))
    if mode == "train":
        after = {n: model.get_buffer(found[n]) for n, _, trained in state if not trained}
        for name in after.keys() & {n for n in found if n.endswith("running_var")}:
            # in float64 Keras moves by the biased variance (in float32, where it trains, by the unbiased, as PyTorch)
            old = (1 - MOMENTUM) * torch.from_numpy(values(name, after[name].shape, facts["seed"]))
            after[name] = old + (after[name] - old) * (1 - 1 / counts[found[name]])
        pairs += zip(after.items(), arrays[f"{attention}/{mode}/after"], strict=True)
    for (name, tensor), pair in pairs:
        mine = digest(name, tensor.detach().numpy().reshape(shapes[name]))
        differences.append((np.abs(mine - pair).max() - 1e-9) / max(pair[0], 1e-9))
    assert np.isfinite(differences).all()
    return float(max(differences))


@pytest.mark.parametrize(("net", "attention", "mode"), CASES)
def test_parity_with_the_authors_nets(net, attention, mode):
    assert worst(net, attention, mode, ours(net, attention)[1]) < 1e-9


def test_every_attention_of_theirs_is_held():
    assert {attention for _, attention, _ in CASES} == OURS.keys()
    assert len(OURS) == 1 + 21
    assert {choice for choice in choices("attention") if "_laakom2021" in choice} == set(OURS.values()) - {"none"}


@pytest.mark.parametrize(
    ("net", "change"),
    [
        ("resnet50_cifar", "model.padding=both"),
        ("resnet50_cifar", "model.norm_momentum=0.1"),
        ("densenet40", "model.norm_eps=1e-3"),
        ("mobilenet", "model.padding=both"),
        ("mobilenet", "model.norm_eps=1e-5"),
    ],
)
def test_what_differs_is_seen(net, change):
    model = attnlab.build(attnlab.config([f"model={net}", change, "dataset=cifar10"])).double()
    assert worst(net, "None", "train", model) > 1e-6


@pytest.mark.parametrize("attention", ["None", "se_block_ours_05", "cbam_block_ours_08"])
@pytest.mark.parametrize("net", NETS)
def test_every_weight_decays_as_theirs(net, attention):
    """Keras' l2(c) adds c * sum(w^2) to the loss: its gradient is 2c * w, weight decay 2c."""
    cfg, model = ours(net, attention)
    layers = names(net, model)
    theirs = stored(net)[0]["weight_decay"][attention.split("_")[0]]
    parameters = {id(p): name for name, p in model.named_parameters()}
    found = {}
    for group in decay_groups(model, cfg["recipe"]["weight_decay"]):
        for parameter in group["params"]:
            layer, kind = parameters[id(parameter)].rsplit(".", 1)
            found[f"{layers[layer]}.{kind}"] = group["weight_decay"]
    assert found.keys() == theirs.keys()
    assert {name: decay for name, decay in found.items() if abs(decay - theirs[name]) > 1e-9} == {}
