"""A run that was killed and goes on ends as one that was not, and a run repeats itself: to the last bit."""

import shutil

import pytest
import torch
from PIL import Image
from survival import SMALL, SOAK, curves, equal, finish, folder_of, weights

import attnlab
from attnlab.training import checkpointing

DROPOUT = ["head=ltpa_saoyan", "head.dropout=0.5", "head.norm_vectors=true", "head.levels=2"]
#: overrides, and after which of its checkpoints a run is killed: 6 steps an epoch, a checkpoint after each
CASES = {
    "epochs, CBAM": (["attention=cbam"], range(1, 12) if SOAK else (1, 6, 9)),
    "steps": (["recipe.steps=8"], range(1, 9) if SOAK else (6, 7)),
    "two passes an epoch": (["recipe.steps=8", "+recipe.passes_per_epoch=2"], range(1, 9) if SOAK else (7,)),
    "no validation": (["recipe.validation.images=0"], range(1, 16) if SOAK else (11,)),
    "augmented": (["recipe.augment={flip: true, crop: 4, crop_fill: mean, shift: 0.1}"], (3, 8) if SOAK else (8,)),
    "dropout": (DROPOUT, range(1, 12) if SOAK else (2,)),
}


class Killed(BaseException):
    pass


def killed_after(cfg, checkpoint, monkeypatch):
    """Train until that checkpoint is written, and no further: nothing is tidied up, as after SIGKILL."""
    original, count = checkpointing.Last._save, [0]

    def save(self, trainer, batches):
        original(self, trainer, batches)
        count[0] += 1
        if count[0] == checkpoint:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(checkpointing.Last, "_save", save)
        with pytest.raises(Killed):
            attnlab.train(cfg)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_a_run_goes_on_bit_for_bit_from_any_checkpoint(tmp_path, monkeypatch, record_property, case):
    overrides, moments = [*SMALL, *CASES[case][0], f"output_dir={tmp_path / 'outputs'}"], CASES[case][1]
    folder = folder_of(overrides)
    whole, expected = attnlab.train(attnlab.config(overrides)), weights(folder)
    log = curves(folder)
    for moment in moments:
        shutil.rmtree(folder)
        cfg = attnlab.config([*overrides, "machine.checkpoint_minutes=0"])
        killed_after(cfg, moment, monkeypatch)
        again = attnlab.train(cfg)
        assert again["id"] == whole["id"]
        assert again["metrics"] == whole["metrics"], moment
        assert again["best_epoch"] == whole["best_epoch"]
        assert equal(weights(folder), expected), moment
        assert curves(folder) == log, moment
    record_property("figure", f"resumed bit for bit, {case}: {len(moments)} of {len(moments)} moments")


@pytest.mark.slow
def test_images_read_by_worker_processes_go_on_bit_for_bit(tmp_path, monkeypatch, record_property):
    draw = torch.Generator().manual_seed(9)
    for folder, images in (("train/a", 12), ("train/b", 12), ("val/a", 4), ("val/b", 4)):
        (tmp_path / "tree" / folder).mkdir(parents=True)
        for number in range(images):
            pixels = torch.randint(0, 256, (40, 40, 3), generator=draw, dtype=torch.uint8)
            Image.fromarray(pixels.numpy()).save(tmp_path / "tree" / folder / f"{number}.png")
    overrides = [
        *SMALL[3:], "model=resnet8", "dataset=imagenet", f"dataset.root={tmp_path / 'tree'}", "dataset.classes=2",
        "dataset.image_size=32", "recipe.batch_size=4", "recipe.validation.images=4", "machine.workers=1",
        "recipe.augment.flip=true", "+recipe.augment.resized_crop={scale: [0.3, 1.0]}",
        f"output_dir={tmp_path / 'outputs'}",
    ]  # fmt: skip
    folder = folder_of(overrides)
    whole, expected = attnlab.train(attnlab.config(overrides)), weights(folder)
    moments = (2, 5, 7)  # within the first epoch, at its end, within the second
    for moment in moments:
        shutil.rmtree(folder)
        cfg = attnlab.config([*overrides, "machine.checkpoint_minutes=0"])
        killed_after(cfg, moment, monkeypatch)
        assert attnlab.train(cfg)["metrics"] == whole["metrics"], moment
        assert equal(weights(folder), expected), moment
    record_property("figure", f"resumed bit for bit, decoding workers: {len(moments)} of {len(moments)} moments")


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2] if SOAK else [2])
def test_two_processes_train_the_same_cbam_to_the_last_bit(tmp_path, record_property, threads):
    found = []
    for number in range(2):
        overrides = [*SMALL, "attention=cbam", f"machine.threads={threads}", f"output_dir={tmp_path / str(number)}"]
        if number:
            attnlab.train(attnlab.config(overrides))
        else:
            code, _, err = finish(*overrides)
            assert code == 0, err
        found.append(weights(folder_of(overrides)))
    assert equal(*found)
    record_property("figure", f"two processes, CBAM, {threads} threads: {len(found[0])} tensors equal to the bit")
