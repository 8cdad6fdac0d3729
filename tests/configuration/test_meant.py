"""A key that is not typed in full is answered with the full key, before the list of what is allowed."""

import pytest
import synthetic

import attnlab
from attnlab.configuration.meant import meant
from attnlab.errors import ConfigError
from attnlab.report import report


@pytest.mark.parametrize(
    ("override", "full"),
    [
        ("lr=0.1", "recipe.optimizer.lr"),
        ("learning_rate=0.1", "recipe.optimizer.lr"),
        ("epochs=3", "recipe.epochs"),
        ("optimizer=sgd", "recipe/optimizer"),
        ("weight_decay=0.1", "recipe.weight_decay.default"),
        ("batch_size=64", "recipe.batch_size"),
        ("batchsize=64", "recipe.batch_size"),
        ("recipe.lr=0.1", "recipe.optimizer.lr"),
        ("+recipe.lr=0.1", "recipe.optimizer.lr"),
        ("training.epochs=3", "recipe.epochs"),
        ("mask=ignore", "attention/mask"),
        ("threads=1", "machine.threads"),
        ("root=data", "dataset.root"),
        ("images=100", "tracker.images or recipe.validation.images"),
        ("reduction=4", "attention.reduction with attention=se"),
        ("pretrained=true", "model.pretrained with model=timm or model=torchvision"),
        ("model.pretrained=true", "model.pretrained with model=timm or model=torchvision"),
        ("gpu=1", "machine=gpu"),
        ("device=cpu", "machine.accelerator"),
        ("amp=true", "machine.precision=bf16-mixed"),
        ("num_workers=2", "machine.workers"),
        ("momentum=0.9", "recipe.optimizer.momentum with recipe.optimizer=sgd"),
        ("val_split=0.1", "recipe.validation.images"),
        ("validation=0.1", "recipe.validation.images"),
        ("data_dir=x", "dataset.root"),
        ("n_trials=2", "hydra.sweeper.n_trials, of a search (hparams=NAME)"),
        ("augment=mixup", "recipe.augment.policy or recipe.mixup"),
        ("early_stopping=5", "recipe.early_stopping.patience"),
    ],
)
def test_the_full_key_stands_before_the_list(override, full):
    key = override.partition("=")[0].lstrip("+")
    with pytest.raises(ConfigError) as told:
        attnlab.config(["dataset=cifar10", override])
    message = str(told.value)
    assert message.startswith(f"unknown key {key}; did you mean {full}?")
    assert override == "training.epochs=3" or message.index(full) < message.index("allowed are")


def test_a_misspelt_key_beside_comes_before_one_elsewhere():
    everywhere = ["recipe.epochs", "recipe.steps", "other.epoch.of"]
    assert meant("recipe.epoch", everywhere[:2], everywhere) == ["recipe.epochs"]
    assert meant("nothing.like.it", everywhere[:2], everywhere) == []


def test_an_argument_that_the_yaml_does_not_list_can_be_added():
    with pytest.raises(ConfigError, match=r"\+recipe\.optimizer\.betas=\.\.\. adds it, if torch\.optim\.AdamW has it$"):
        attnlab.config(["recipe.optimizer.betas=[0.9,0.99]"])
    with pytest.raises(ConfigError) as told:
        attnlab.config(["attention=se", "attention.reduktion=3"])
    assert "adds it" not in str(told.value)


def test_a_selection_is_guessed_too(tmp_path):
    synthetic.write(tmp_path, synthetic.record())
    for override, words in (
        ("lr=0.1", r"^lr: cannot select records; did you mean recipe\.optimizer\.lr\? allowed are output_dir, "),
        ("recipe.lr=0.1", r"^unknown key recipe\.lr; did you mean recipe\.optimizer\.lr\? allowed are "),
    ):
        with pytest.raises(ConfigError, match=words):
            report([f"output_dir={tmp_path}", override])
