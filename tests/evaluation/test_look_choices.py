"""attnlab.look on images of one's own, of a class of choice, with other maps, and of several runs side by side."""

import numpy as np
import pytest
from conftest import TINY
from PIL import Image

import attnlab
from attnlab.errors import ConfigError
from attnlab.evaluation.drawing.map_view import view_run
from attnlab.evaluation.drawing.options import LookOptions, read_options
from attnlab.evaluation.finished_run import read_finished_run
from attnlab.look import look
from attnlab.records.image_folder import remember, remembered


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    output_dir = tmp_path_factory.mktemp("look") / "outputs"
    ids = {}
    for name, overrides in {"se": ["attention=se"], "cbam": ["attention=cbam"], "other": ["dataset.seed=1"]}.items():
        cfg = attnlab.config([*TINY, "recipe.epochs=1", *overrides, f"output_dir={output_dir}"])
        ids[name] = attnlab.train(cfg)["id"]
    return output_dir, ids


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    for number, size in enumerate([(40, 30), (64, 64)]):
        pixels = np.random.default_rng(number).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    (folder / "notes.txt").write_text("no image")
    return folder


def test_own_images_with_other_maps_of_a_class_of_choice(runs, pictures):
    output_dir, ids = runs
    arguments = [f"run={ids['cbam']}", f"image={pictures}", "class=3", "cams=saliency,gradcam"]
    paths = look([*arguments, f"output_dir={output_dir}"])
    assert [path.relative_to(output_dir / ids["cbam"]).as_posix() for path in paths] == [
        "look/own/maps.png", "look/own/index.html",
    ]  # fmt: skip
    assert "maps of class 3" in paths[-1].read_text()


def test_what_is_drawn_of_own_images(runs, pictures):
    output_dir, ids = runs
    machine = attnlab.config([])["machine"]
    run = read_finished_run(ids["cbam"], output_dir, machine, [], 10)
    files = tuple(sorted(pictures.glob("*.png")))
    view = view_run(run, LookOptions(own=files, of_class="3", cams=("saliency", "gradcam")))
    assert view.images.images.shape == (2, 3, 32, 32)
    assert [label.split("\n")[0] for label in view.labels] == ["0.png", "1.png"]
    assert all("predicted" in label for label in view.labels)
    assert list(view.maps)[-2:] == ["saliency", "gradcam"]
    assert "saliency" not in view.gates
    other = view_run(run, LookOptions(own=files, of_class="5", cams=("saliency", "gradcam")))
    assert not np.allclose(view.maps["gradcam"], other.maps["gradcam"])
    predicted = view_run(run, LookOptions(images=4)).maps["gradcam"]
    labels = view_run(run, LookOptions(images=4, of_class="label")).maps["gradcam"]
    assert predicted.shape == labels.shape
    with pytest.raises(ConfigError, match="unknown choice class=dog; allowed are"):
        view_run(run, LookOptions(of_class="dog"))


def test_several_runs_are_drawn_side_by_side(runs):
    output_dir, ids = runs
    both = f"run={ids['se']},{ids['cbam'][:8]}"
    paths = look([both, "images=3", f"output_dir={output_dir}"])
    assert paths[-1] == output_dir / "tables" / f"look_{ids['se']}_{ids['cbam']}.png"
    assert paths[-1].exists()
    assert sum(path.name == "maps.png" for path in paths) == 2
    with pytest.raises(ConfigError, match=rf"run={ids['other']}: its images are others than those of run={ids['se']}"):
        look([f"run={ids['se']},{ids['other']}", f"output_dir={output_dir}"])


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"cams": "gradcm"}, r"unknown choice cams=gradcm; did you mean gradcam\? allowed are "),
        ({"image": "no.jpg"}, "image=no.jpg: no such file or folder"),
    ],
)
def test_wrong_options(own, message):
    with pytest.raises(ConfigError, match=message):
        read_options(own, 6)


def test_options_of_own_images(pictures, tmp_path):
    found = read_options({"image": [str(pictures), str(pictures / "0.png")], "cams": ["layercam", "layercam"]}, 6)
    assert [path.name for path in found.own] == ["0.png", "1.png", "0.png"]
    assert found.cams == ("layercam",)
    assert not found.is_usual
    assert read_options({}, 3) == LookOptions(images=3)
    with pytest.raises(ConfigError, match="wrong value class=label; allowed with image= is a class"):
        read_options({"image": str(pictures), "class": "label"}, 6)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ConfigError, match="holds no image"):
        read_options({"image": str(empty)}, 6)


def test_a_file_that_is_no_image_is_named(runs, tmp_path):
    output_dir, ids = runs
    (tmp_path / "broken.png").write_text("no")
    with pytest.raises(ConfigError, match=r"image=.*broken.png: .* cannot be read as an image"):
        look([f"run={ids['se']}", f"image={tmp_path / 'broken.png'}", f"output_dir={output_dir}"])


def test_the_folder_of_the_images_is_remembered(tmp_path):
    run, images = tmp_path / "run", tmp_path / "it's images"
    run.mkdir()
    images.mkdir()
    remember(run, {"root": str(images), "cache": None, "classes": 2})
    (override,) = remembered(run, [])
    assert attnlab.config(["dataset=cifar10", override])["dataset"]["root"] == str(images)
    assert remembered(run, ["dataset.root=other"]) == ("dataset.root=other",)
    images.rmdir()
    assert remembered(run, []) == ()
    assert remembered(tmp_path / "nothing", ["dataset.cache=c"]) == ("dataset.cache=c",)
