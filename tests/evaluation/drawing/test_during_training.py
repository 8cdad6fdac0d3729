"""Maps drawn during training: at most ten pictures, never of test images, and no effect on the training."""

import pytest
import torch
from conftest import TINY

import attnlab
from attnlab.configuration.compose import plain
from attnlab.data.build import make_datamodule
from attnlab.data.cluttered_digits import ClutteredDigits
from attnlab.evaluation.drawing import during_training


@pytest.mark.parametrize("tracker", ["csv", "tensorboard"])
def test_drawing_maps_does_not_change_the_training(tmp_path, tracker):
    states = []
    for images in ("false", "true"):
        overrides = [*TINY, "attention=cbam", "head=ltpa", f"tracker={tracker}", f"tracker.images={images}"]
        record = attnlab.train(attnlab.config([*overrides, f"output_dir={tmp_path / images}"]))
        states.append(torch.load(tmp_path / images / record["id"] / "best.ckpt", weights_only=True)["state_dict"])
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    folder = tmp_path / "true" / record["id"]
    assert sorted(path.name for path in (folder / "look").iterdir()) == ["epoch_001.png", "epoch_002.png"]
    assert not (tmp_path / "false" / record["id"] / "look").exists()
    if tracker == "tensorboard":
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        events = EventAccumulator(str(folder / "tensorboard"))
        events.Reload()
        assert len(events.Images("maps")) == 2


def test_at_most_ten_pictures_and_none_of_the_test_set(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(during_training, "maps_figure", lambda *arguments: drawn.append(arguments) or None)
    monkeypatch.setattr(during_training, "save_figure", lambda figure, path: path)
    overrides = [*TINY, "recipe.epochs=23", "dataset.train_size=120", "recipe.validation.images=20"]
    attnlab.train(attnlab.config([*overrides, "tracker.images=true", f"output_dir={tmp_path}"]))
    titles = [arguments[3] for arguments in drawn]
    assert len(titles) == 10
    assert titles[0].endswith("after epoch 1")
    assert titles[-1].endswith("after epoch 23")
    data = make_datamodule(plain(attnlab.config(overrides)))
    data.setup()
    known = {image.numpy().tobytes() for image in data.val.images}
    assert all(image.numpy().tobytes() in known for image in drawn[0][0].images)


def test_classes_have_the_names_of_the_dataset(tmp_path, monkeypatch):
    drawn, read = [], ClutteredDigits.read

    def with_names(self):
        self.names = [f"digit {number}" for number in range(10)]
        return read(self)

    monkeypatch.setattr(ClutteredDigits, "read", with_names)
    monkeypatch.setattr(during_training, "maps_figure", lambda *arguments: drawn.append(arguments) or None)
    monkeypatch.setattr(during_training, "save_figure", lambda figure, path: path)
    attnlab.train(attnlab.config([*TINY, "recipe.epochs=1", "tracker.images=true", f"output_dir={tmp_path}"]))
    labels = drawn[0][2]
    assert labels
    assert all(label.startswith("digit ") for label in labels)
