"""Pictures: what is drawn is what is there; pages need nothing else; training does not notice that it is watched."""

import re

import numpy as np
import pytest
import torch
from conftest import TINY
from masked_tree import tree
from PIL import Image

import attnlab
from attnlab.data.memory import Images
from attnlab.errors import ConfigError
from attnlab.evaluation.drawing.map_figures import short
from attnlab.evaluation.drawing.map_view import of_all_classes, spread
from attnlab.evaluation.drawing.overlays import GAP, OUTLINE, enlarged, hard, mosaic, outlined, soft
from attnlab.look import look
from attnlab.records.record import read_record


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    output_dir = tmp_path_factory.mktemp("look") / "outputs"
    ids = {}
    for name, overrides in {"none": [], "cbam": ["attention=cbam"], "ltpa": ["head=ltpa"]}.items():
        ids[name] = attnlab.train(attnlab.config([*TINY, *overrides, f"output_dir={output_dir}"]))["id"]
    return output_dir, ids


def square():
    """An image whose right half is bright, and a map of the same."""
    image = torch.full((3, 32, 32), 40, dtype=torch.uint8)
    image[:, :, 16:] = 200
    map_ = torch.zeros(32, 32)
    map_[:, 16:] = 0.01
    return image, map_


def test_soft_is_bright_where_the_map_is_high_whatever_its_range():
    image, map_ = torch.full((3, 32, 32), 100, dtype=torch.uint8), square()[1]
    for scale in (1, 1000):
        drawn = soft(image, scale * map_).astype(int).sum(axis=2)
        assert drawn[:, -20:].min() > 2 * drawn[:, :20].max()


def test_hard_keeps_what_is_selected_and_darkens_the_rest():
    image, map_ = square()
    drawn = hard(image, map_)
    assert (drawn[:, -20:] == 200).all()
    assert drawn[:, :20].max() < 40
    flat = hard(image, torch.ones(32, 32))
    assert (flat == enlarged(image)).all()  # a map that prefers nothing selects everything


def test_the_outline_is_the_masks_edge():
    tile = enlarged(torch.zeros(3, 32, 32, dtype=torch.uint8))
    mask = torch.zeros(32, 32, dtype=torch.bool)
    mask[10:20, 5:15] = True
    drawn = outlined(tile, mask)
    edge = (drawn == OUTLINE).all(axis=2)
    factor = tile.shape[0] // 32
    inside = mask.numpy().repeat(factor, 0).repeat(factor, 1)
    assert edge.any()
    assert (edge <= inside).all()
    assert not edge[12 * factor : 18 * factor, 7 * factor : 13 * factor].any()
    assert edge[10 * factor, 5 * factor : 15 * factor].all()
    assert (outlined(tile, None) == tile).all()


def test_a_mosaic_is_its_tiles():
    a, b = np.full((4, 5, 3), 7, np.uint8), np.full((4, 5, 3), 9, np.uint8)
    whole = mosaic([[a, b], [None, a]])
    assert whole.shape == (8 + GAP, 10 + GAP, 3)
    assert (whole[:4, 5 + GAP :] == 9).all()
    assert (whole[4 + GAP :, :5] == 255).all()


def test_names_and_choices():
    assert short("backbone.stage2.0.at_branch.spatial") == "stage2.0 spatial"
    assert short("head.levels.stage3") == "stage3"
    assert short("gradcam") == "Grad-CAM"
    assert spread(list("abcdefghi"), 4) == ["a", "d", "f", "i"]
    assert spread(list("ab"), 4) == ["a", "b"]
    labels = torch.tensor([2, 2, 0, 1, 0, 2])
    images = Images(torch.arange(6).view(6, 1, 1, 1).expand(6, 3, 2, 2).to(torch.uint8), labels)
    assert of_all_classes(images, 4).labels.tolist() == [0, 1, 2, 0]
    assert len(of_all_classes(images, 99)) == 6


def test_a_run(runs):
    output_dir, ids = runs
    paths = look([f"run={ids['cbam']}", "images=3", f"output_dir={output_dir}"])
    assert [path.name for path in paths] == ["maps.png", "channels.png", "index.html"]
    assert all(path.parent == output_dir / ids["cbam"] / "look" for path in paths)
    picture = np.asarray(Image.open(paths[0]).convert("RGB"))
    assert ((picture == OUTLINE).all(axis=2)).sum() > 100  # the objects are outlined
    text = paths[-1].read_text()
    assert text.count("data:image/png;base64,") == 2
    assert not re.search(r'(src|href)="(?!data:)', text)
    record = read_record(output_dir / ids["cbam"])
    assert f"{record['metrics']['test/top1_error']:.2f} %" in text
    again = [path.read_bytes() for path in look([f"run={ids['cbam']}", "images=3", f"output_dir={output_dir}"])]
    assert again == [path.read_bytes() for path in paths]


def test_a_run_without_masks_and_one_with_an_attention_head(runs):
    output_dir, ids = runs
    assert [p.name for p in look([f"run={ids['none']}", f"output_dir={output_dir}"])] == ["maps.png", "index.html"]
    assert [p.name for p in look([f"run={ids['ltpa']}", f"output_dir={output_dir}"])] == ["maps.png", "index.html"]


def test_a_table_shows_its_maps(tmp_path):
    from attnlab.tables.grid import read_grid
    from attnlab.tables.write import report_table
    from attnlab.training.train import train

    arguments = ["table=demo", "attention=none,cbam", "seed=0", *TINY, f"output_dir={tmp_path}"]
    with pytest.raises(ConfigError, match="none of its runs"):
        look(arguments)
    for cell in read_grid(arguments).cells:
        train(dict(cell.config) | {"seed": 0, "tracker": {"name": "csv"}})
    paths = look([*arguments, "images=3"])
    assert paths[-1] == tmp_path / "tables" / "demo_part_maps.png"
    assert sum(path.name == "maps.png" for path in paths) == 2
    _, written, _ = report_table(arguments)
    page = next(path for path in written if path.suffix == ".html").read_text()
    assert page.count("data:image/png;base64,") == 1
    assert "demo_part_maps.png" in next(path for path in written if path.suffix == ".md").read_text()


@pytest.mark.parametrize("tracker", ["csv", "tensorboard"])
def test_training_does_not_notice_that_it_is_watched(tmp_path, tracker):
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


def test_a_picture_at_most_ten_times_and_never_of_the_test_set(tmp_path, monkeypatch):
    from attnlab.evaluation.drawing import during_training

    asked = []
    monkeypatch.setattr(during_training, "maps_figure", lambda *arguments: asked.append(arguments) or None)
    monkeypatch.setattr(during_training, "write", lambda figure, path: path)
    overrides = [*TINY, "recipe.epochs=23", "dataset.train_size=120", "recipe.validation.images=20"]
    attnlab.train(attnlab.config([*overrides, "tracker.images=true", f"output_dir={tmp_path}"]))
    titles = [arguments[3] for arguments in asked]
    assert len(titles) == 10
    assert titles[0].endswith("after epoch 1")
    assert titles[-1].endswith("after epoch 23")
    from attnlab.configuration.compose import plain
    from attnlab.data.build import make_datamodule

    data = make_datamodule(plain(attnlab.config(overrides)))
    data.setup()
    known = {image.numpy().tobytes() for image in data.val.images}
    assert all(image.numpy().tobytes() in known for image in asked[0][0].images)


def test_class_names_come_from_the_tree(tmp_path):
    from attnlab.evaluation.finished_run import read_subject

    root = tree(tmp_path / "tree")
    overrides = [
        "dataset=folder", f"dataset.root={root}", "dataset.image_size=16", "model=resnet8", "recipe.epochs=1",
        "recipe.validation.images=0", "recipe.batch_size=3", "tracker=csv", f"output_dir={tmp_path}",
    ]  # fmt: skip
    cfg = attnlab.config(overrides)
    record = attnlab.train(cfg)
    subject = read_subject(record["id"], tmp_path, cfg["machine"], [f"dataset.root={root}"], 6)
    assert subject.class_names == ["ant", "bee"]
    paths = look([f"run={record['id']}", f"output_dir={tmp_path}", f"dataset.root={root}"])
    assert "maps.png" in {path.name for path in paths}
    with pytest.raises(ConfigError, match=r"dataset\.root: must be given"):
        look([f"run={record['id']}", f"output_dir={tmp_path}"])


def test_bad_input(runs):
    output_dir, ids = runs
    for arguments, message in (
        (["run=zzz"], "no such finished run"),
        ([f"run={ids['none']}", "images=none"], "images=none"),
        ([f"run={ids['none']}", "parts=health"], "parts=health: allowed are run, table, images"),
    ):
        with pytest.raises(ConfigError, match=message):
            look([*arguments, f"output_dir={output_dir}"])
