"""Weight decay by kind of parameter and by layer."""

import pytest
import torch
from torch import nn

import attnlab
from attnlab.configuration.compose import plain
from attnlab.configuration.identity import run_id
from attnlab.configuration.names import name_of
from attnlab.errors import ConfigError
from attnlab.training.weight_decay import decay_groups, fits


def decays(net, weight_decay):
    names = {id(p): name for name, p in net.named_parameters()}
    groups = decay_groups(net, weight_decay)
    return {names[id(p)]: group["weight_decay"] for group in groups for p in group["params"]}


def test_laakom2021_decays_twice_the_l2_of_keras():
    cfg = attnlab.config(["model=resnet50_cifar", "attention=cbam_laakom2021", "recipe=laakom2021", "dataset=cifar10"])
    net = attnlab.build(cfg)
    found = decays(net, plain(cfg)["recipe"]["weight_decay"])
    assert found.keys() == dict(net.named_parameters()).keys()
    for name, decay in found.items():
        expected = 0 if ".norm" in name or "norm." in name else 2e-4 if "at_branch" in name else 1e-3
        assert decay == expected, name


def test_no_decay_on_norms_and_biases():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2))
    found = decays(net, {"default": 0.1, "norm": 0.0, "bias": 0.0, "attention": None})
    assert found == {"0.weight": 0.1, "0.bias": 0, "1.weight": 0, "1.bias": 0, "2.weight": 0.1, "2.bias": 0}


def small():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Sequential(nn.Linear(4, 2), nn.Linear(2, 2)))


@pytest.mark.parametrize(
    ("layer", "parameter", "expected"),
    [
        ("head", "head.linear.weight", True),
        ("head", "header.weight", False),
        ("backbone.stages.*.*.conv2", "backbone.stages.stage1.0.conv2.weight", True),
        ("backbone.stages.*.*.conv2", "backbone.stages.stage1.0.at_branch.conv2.weight", False),
        ("backbone.stages.*.*.conv2", "backbone.stages.stage1.conv2.weight", False),
        ("backbone.stage*.0", "backbone.stage3.0.conv1.bias", True),
        ("*.weight", "head.weight", True),
        ("*.weight", "head.linear.weight", False),
        ("head.linear.weight.more", "head.linear.weight", False),
    ],
)
def test_what_a_layers_name_fits(layer, parameter, expected):
    assert fits(layer, parameter) is expected


def test_a_layer_wins_over_every_kind():
    """Also over `norm` and `bias`: what was named by hand is never silently something else."""
    kinds = {"default": 0.1, "norm": 0.0, "bias": 0.0, "attention": None}
    found = decays(small(), kinds | {"layers": {"1": 0.2, "2.*.bias": 0.3, "0.weight": 0.0}})
    assert found == {
        "0.weight": 0.0, "0.bias": 0.0, "1.weight": 0.2, "1.bias": 0.2,
        "2.0.weight": 0.1, "2.0.bias": 0.3, "2.1.weight": 0.1, "2.1.bias": 0.3,
    }  # fmt: skip
    assert decays(small(), kinds | {"layers": None}) == decays(small(), kinds)


def test_a_layer_of_an_attention():
    cfg = plain(attnlab.config(["model=resnet8", "attention=se", "recipe=laakom2021"]))
    decay = cfg["recipe"]["weight_decay"] | {"layers": {"backbone.stage*.*.at_branch.score.excite.expand": 0.5}}
    found = decays(attnlab.build(cfg), decay)
    assert {name for name, value in found.items() if value == 0.5} == {
        f"backbone.stage{n}.0.at_branch.score.excite.expand.{kind}" for n in (1, 2, 3) for kind in ("weight", "bias")
    }
    assert {value for name, value in found.items() if ".reduce." in name} == {2e-4}


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (
            {"0": 0.1, "3": 0.2},
            r"recipe\.weight_decay\.layers\.3: names no layer of this network; .* 0\.w",
        ),
        ({"2": 0.1, "*.0": 0.2}, r"recipe\.weight_decay\.layers: 2 and \*\.0 both name 2\.0\.weight; allowed is one"),
    ],
)
def test_bad_layers(layers, message):
    with pytest.raises(ConfigError, match=message):
        decay_groups(small(), {"default": 0.1, "layers": layers})


def test_the_trainer_uses_them_and_names_a_bad_one(tmp_path):
    overrides = ["model=resnet8", "machine=debug", "tracker=csv", f"output_dir={tmp_path}", "recipe.steps=1"]
    with pytest.raises(ConfigError, match=r"recipe\.weight_decay\.layers\.tail: names no layer"):
        attnlab.train(attnlab.config([*overrides, "+recipe.weight_decay.layers.tail=0.1"]))


def test_a_models_own_decay_is_the_recipes_to_use():
    """As `layers` where the recipe asks for it; elsewhere no part of what is trained, named or built."""
    for model in ("densenet40", "mobilenet"):
        asked, other = (plain(attnlab.config([f"model={model}", f"recipe={r}"])) for r in ("laakom2021", "modern"))
        assert asked["recipe"]["weight_decay"]["layers"] == asked["model"]["weight_decay"]
        assert other["recipe"]["weight_decay"]["layers"] is None
        assert name_of("model", asked["model"]) == model
        bare = other | {"model": {key: value for key, value in other["model"].items() if key != "weight_decay"}}
        assert run_id(bare) == run_id(other)
        without = attnlab.config([f"model={model}", "recipe=laakom2021", "recipe.weight_decay.layers=null"])
        assert run_id(without) != run_id(asked)
    assert run_id(attnlab.config(["experiment=laakom_cifar10", "attention=none", "model=resnet20"])) == "19d43fb141d9"
    assert run_id(attnlab.config(["model=densenet40", "recipe=modern", "dataset=cifar10"])) == "f90488a06cab"


def test_attention_may_stand_in_for_a_layer_that_has_a_decay_of_its_own():
    cfg = plain(attnlab.config(["model=mobilenet", "model.width=0.25", "recipe=laakom2021", "attention=sk"]))
    found = decays(attnlab.build(cfg), cfg["recipe"]["weight_decay"])
    assert {value for name, value in found.items() if ".at_kernel." in name and ".norm" not in name} >= {2e-4}
    assert not any(".conv1." in name for name in found)


def test_every_parameter_has_one_decay_under_every_model_of_the_experiment():
    for model in ("resnet50_cifar", "densenet40", "mobilenet"):
        cfg = plain(attnlab.config(["experiment=laakom_cifar10", f"model={model}"]))
        net = attnlab.build(cfg)
        groups = decay_groups(net, cfg["recipe"]["weight_decay"])
        assert sum(p.numel() for group in groups for p in group["params"]) == sum(p.numel() for p in net.parameters())
        torch.optim.SGD(groups, lr=0.1)  # refuses a parameter in two groups
