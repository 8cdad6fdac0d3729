"""attnlab.look: the files it writes for a run and for a table, and what it refuses."""

import re

import numpy as np
import pytest
import torch
from conftest import TINY
from markupsafe import escape
from masked_tree import tree
from PIL import Image

import attnlab
from attnlab.errors import ConfigError
from attnlab.evaluation.drawing import page
from attnlab.evaluation.drawing.map_view import MapView, class_by_class
from attnlab.evaluation.drawing.overlays import OUTLINE
from attnlab.look import look
from attnlab.records.record import read_record


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    output_dir = tmp_path_factory.mktemp("look") / "outputs"
    ids = {}
    for name, overrides in {"none": [], "cbam": ["attention=cbam"], "ltpa": ["head=ltpa"]}.items():
        ids[name] = attnlab.train(attnlab.config([*TINY, *overrides, f"output_dir={output_dir}"]))["id"]
    return output_dir, ids


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


def test_every_kind_of_figure_has_its_caption_once(runs, monkeypatch):
    """With 27 gates there are five figures of gates."""
    output_dir, ids = runs

    def many_gates(run, count):
        images = class_by_class(run.test, 1)
        names = [*(f"backbone.gate{number}" for number in range(27)), "gradcam", "hirescam"]
        return MapView(images, {name: torch.rand(1, 32, 32) for name in names}, ["class 0"])

    monkeypatch.setattr(page, "view_run", many_gates)
    paths = look([f"run={ids['cbam']}", f"output_dir={output_dir}"])
    assert [path.stem for path in paths] == ["maps", *(f"gates{n}" for n in range(1, 6)), "channels", "index"]
    text = paths[-1].read_text()
    for caption in page.CAPTIONS.values():
        assert text.count(str(escape(caption))) == 1
    assert text.count("<p>") == 3


def test_a_table_shows_its_maps(tmp_path):
    from attnlab.tables.grid import read_grid
    from attnlab.tables.write import report_table
    from attnlab.training.train import train

    arguments = ["table=demo", "attention=none,cbam", "seed=0", *TINY, f"output_dir={tmp_path}"]
    with pytest.raises(ConfigError, match=r"no run of table=demo has a record and a checkpoint in output_dir="):
        look(arguments)
    for cell in read_grid(arguments).cells:
        train(dict(cell.config) | {"seed": 0, "tracker": {"name": "csv"}})
    paths = look([*arguments, "images=3"])
    assert paths[-1] == tmp_path / "tables" / "demo_part_maps.png"
    assert sum(path.name == "maps.png" for path in paths) == 2
    _, written, _ = report_table(arguments)
    text = next(path for path in written if path.suffix == ".html").read_text()
    assert text.count("data:image/png;base64,") == 2  # for light and for dark pages
    assert "demo_part_maps.png" in next(path for path in written if path.suffix == ".md").read_text()


def test_class_names_come_from_the_tree(tmp_path):
    from attnlab.evaluation.finished_run import read_finished_run

    root = tree(tmp_path / "tree")
    overrides = [
        "dataset=folder", f"dataset.root={root}", "dataset.image_size=16", "model=resnet8", "recipe.epochs=1",
        "recipe.validation.images=0", "recipe.batch_size=3", "tracker=csv", f"output_dir={tmp_path}",
    ]  # fmt: skip
    cfg = attnlab.config(overrides)
    record = attnlab.train(cfg)
    run = read_finished_run(record["id"], tmp_path, cfg["machine"], [f"dataset.root={root}"], 6)
    assert run.class_names == ["ant", "bee"]
    paths = look([f"run={record['id']}", f"output_dir={tmp_path}", f"dataset.root={root}"])
    assert "maps.png" in {path.name for path in paths}
    assert look([f"run={record['id']}", f"output_dir={tmp_path}"]) == paths  # the folder is remembered
    (tmp_path / record["id"] / "image_folder.json").unlink()
    with pytest.raises(ConfigError, match=r"missing value dataset\.root"):
        look([f"run={record['id']}", f"output_dir={tmp_path}"])


def test_bad_input(runs):
    output_dir, ids = runs
    for arguments, message in (
        (["run=zzz"], "no such finished run"),
        ([f"run={ids['none']}", "images=none"], "wrong value images=none; allowed"),
        (
            [f"run={ids['none']}", "parts=health"],
            "unknown key parts; allowed are run, cams, table, image, class, images",
        ),
    ):
        with pytest.raises(ConfigError, match=message):
            look([*arguments, f"output_dir={output_dir}"])
