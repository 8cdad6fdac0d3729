"""Trained weights from a local file (model.checkpoint) and from torchvision, and files that cannot be used."""

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file

import attnlab
from attnlab.configuration.compose import plain as resolved
from attnlab.configuration.identity import run_id
from attnlab.errors import ConfigError
from attnlab.evaluation.finished_run import read_finished_run


def build(*overrides):
    return attnlab.build(attnlab.config(overrides))


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("family", ["timm", "torchvision"])
def test_weights_of_a_file(family, suffix, tmp_path, tiny):
    make = timm.create_model if family == "timm" else torchvision.models.get_model
    torch.manual_seed(5)
    theirs = make("resnet18").state_dict()
    path = tmp_path / f"weights{suffix}"
    save_file(theirs, path) if suffix == ".safetensors" else torch.save({"state_dict": theirs}, path)
    net = (f"model={family}", "model.name=resnet18", "dataset.image_size=64", "attention=se")
    given = ("model.pretrained=true", f"model.checkpoint={path}")
    state = build(*net, *given).state_dict()
    assert torch.equal(state["backbone.net.layer3.0.conv1.weight"], theirs["layer3.0.conv1.weight"])
    assert not torch.equal(build(*net).state_dict()["backbone.net.conv1.weight"], theirs["conv1.weight"])
    moved = path.rename(tmp_path / f"moved{suffix}")
    other = attnlab.config([*net, "model.pretrained=true", f"model.checkpoint={moved}"])
    theirs["conv1.weight"] += 1
    save_file(theirs, path) if suffix == ".safetensors" else torch.save(theirs, path)
    config = attnlab.config([*net, *given])
    before = resolved(config)
    assert run_id(config) != run_id(other)  # by contents
    plain = attnlab.config([*net, "model.pretrained=true"])
    assert len({run_id(config), run_id(other), run_id(plain)}) == 3
    moved.replace(path)
    with pytest.raises(ConfigError, match=r"^changed file model.checkpoint=.*; its digest is \w{12}, the config has"):
        attnlab.build(before)


def test_torchvision_weights_that_are_not_to_be_had(monkeypatch):
    def download(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", download)
    with pytest.raises(
        ConfigError, match=r"^model.pretrained=true: no weights of model.name=resnet18: no network; model.c"
    ):
        build("model=torchvision", "model.name=resnet18", "model.pretrained=true")


class Evil:
    def __reduce__(self):
        return (print, ("executed",))


def test_files_that_cannot_be_used(tmp_path, capsys):
    net = ("model=torchvision", "model.name=resnet18", "model.pretrained=true")
    state = torchvision.models.resnet18().state_dict()
    contents = {
        "lacks": (
            {name: state[name] for name in list(state)[1:]},
            r"^wrong file .*; it has no conv1.weight, which the",
        ),
        "shape": (
            state | {"conv1.weight": torch.zeros(2)},
            r"^wrong file .*; conv1.weight is \(2,\) there, \(64, 3, 7, 7\)",
        ),
        "number": (3, r"^wrong file .*; allowed is a state dict"),
        "evil": ({"state_dict": Evil()}, r"^unsafe file .*; loading it would execute code"),
    }
    for name, (content, message) in contents.items():
        path = tmp_path / f"{name}.pt"
        torch.save(content, path)
        with pytest.raises(ConfigError, match=message) as found:
            build(*net, f"model.checkpoint={path}")
        assert "\n" not in str(found.value)
    for suffix in (".pt", ".safetensors"):
        path = tmp_path / f"damaged{suffix}"
        path.write_bytes(b"no weights")
        with pytest.raises(ConfigError, match=r"^(cannot read|unsafe file) model.checkpoint="):
            build(*net, f"model.checkpoint={path}")
    assert "executed" not in capsys.readouterr().out


def test_a_finished_run_needs_its_checkpoint_no_more(tmp_path, tiny):
    """Nor does an untrained net of its config, which must not be the trained one."""
    weights = timm.create_model("resnet10t").state_dict()
    path = tmp_path / "weights.safetensors"
    save_file(weights, path)
    given = ["model=timm", "model.name=resnet10t", "model.pretrained=true", f"model.checkpoint={path}"]
    cfg = attnlab.config([*tiny, *given, "model.min_image_size=null", "dataset.train_size=200", "recipe.steps=1"])
    record = attnlab.train(cfg)
    path.unlink()
    assert attnlab.load(record["id"], cfg.output_dir)(torch.zeros(1, 3, 32, 32)).shape == (1, 10)
    run = read_finished_run(record["id"], cfg.output_dir, cfg.machine, [], 4)
    assert not torch.equal(run.untrained().state_dict()["backbone.net.conv1.0.weight"], weights["conv1.0.weight"])
