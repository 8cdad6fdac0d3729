"""What comes from elsewhere: checkpoints, configs, archives and names made to do harm; keys that must not leak."""

import io
import json
import os
import pickle
import shutil
import sys
import tarfile

import pytest
import torch
from omegaconf import OmegaConf
from warm import warm

import attnlab
from attnlab.configuration.identity import run_id
from attnlab.configuration.targets import target
from attnlab.data.cifar import CIFAR10
from attnlab.errors import ConfigError, DataError
from attnlab.records.record import read_record, seal, write_json
from attnlab.tables.formats import html_page, markdown
from attnlab.tables.page import Page, Section

ATTACK = "<script>alert(1)</script>"
KEY = "c0ffee5ecret4242c0ffee5ecret4242"


class Harm:
    """Unpickled, it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def folder_of(overrides):
    cfg = attnlab.config(overrides)
    return __import__("pathlib").Path(cfg.output_dir) / run_id(cfg)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The overrides of a finished run."""
    overrides = [
        "model=resnet8", "dataset.train_size=200", "dataset.test_size=50", "recipe.epochs=1", "recipe.batch_size=50",
        "recipe.validation.images=50", "tracker=csv", "attention=se",
    ]  # fmt: skip
    overrides.append(f"output_dir={tmp_path_factory.mktemp('hostile') / 'outputs'}")
    attnlab.train(attnlab.config(overrides))
    return overrides


@pytest.mark.parametrize("name", ["last.ckpt", "best.ckpt"])
@pytest.mark.parametrize("kind", ["zip", "raw"])
def test_a_checkpoint_that_asks_for_code_is_refused_with_one_line(finished, tmp_path, name, kind):
    folder, harmed = tmp_path / "outputs" / folder_of(finished).name, tmp_path / "harmed"
    shutil.copytree(folder_of(finished), folder)
    (folder / "result.json").rename(folder / "kept.json")
    whole = torch.load(folder / name, weights_only=True)
    if kind == "zip":
        torch.save(whole | {"state_dict": Harm(harmed)}, folder / name)
    else:
        (folder / name).write_bytes(pickle.dumps(Harm(harmed)))
    here = [*finished[:-1], f"output_dir={tmp_path / 'outputs'}"]
    if kind == "zip":
        with pytest.raises(ConfigError, match=rf"{name}: is not read: it asks to call posix\.system") as told:
            attnlab.train(attnlab.config(here))
        assert "\n" not in str(told.value)
        assert (folder / name).exists()
    else:  # no checkpoint at all: kept aside, and the run begins anew
        assert attnlab.train(attnlab.config(here))["status"] == "finished"
        assert len(list(folder.parent.glob(f"{folder.name}.*/{name}"))) == 1
    if name == "best.ckpt" and kind == "zip":
        (folder / "kept.json").rename(folder / "result.json")
        with pytest.raises(ConfigError, match="asks to call"):
            attnlab.load(folder.name, folder.parent)
    assert not harmed.exists()


REFUSED = [
    ("model", "os.system"), ("model", "torch.load"), ("model", "torch.hub.load"), ("model", "torch.jit.load"),
    ("model", "torch.utils.cpp_extension.load"), ("model", "torch.package.PackageImporter"),
    ("model", "timm.create_model"), ("model", "torch.serialization.os.system"),
    ("model", "attnlab.training.train.shutil.rmtree"), ("model", "attnlab.run.main"),
    ("model", "attnlab.records.run_folder.restore"),
    ("model", "attnlab.models.network.load"), ("model", "attnlab.models.network.build"),
    ("attention", "attnlab.attention.placement.make_attention"), ("model", "attnlab.models.warm_start.start_from"),
    ("model", "torch"), ("model", "torchx.nn.Linear"),
    ("model", "lightning.pytorch.Trainer"), ("model", "builtins.eval"), ("model", "hydra.utils.instantiate"),
    ("model", "attnlab.training.classifier.Classifier"), ("model", "torch.nn.utils.clip_grad_norm_"),
    ("model", "torch.jit.ScriptModule.load"), ("attention", "torch.load"),
    ("attention", "attnlab.data.cifar.CIFAR10"), ("attention", "subprocess.run"), ("head", "torch.save"),
    ("head", "attnlab.records.record.write_json"), ("head", "attnlab.attention.masks.torch.load"),
    ("dataset", "torchvision.datasets.ImageFolder"), ("dataset", "torch.load"),
    ("dataset", "attnlab.data.decode.read_trees"), ("dataset", "torchvision.datasets.utils.extract_archive"),
    ("dataset", "lightning.pytorch.LightningDataModule"), ("recipe.optimizer", "torch.load"),
    ("recipe.optimizer", "torch.optim.lr_scheduler.LambdaLR"), ("recipe.optimizer", "timm.optim.create_optimizer"),
    ("recipe.schedule", "torch.load"), ("recipe.schedule", "attnlab.records.run_folder.put_aside"),
    ("recipe.schedule", "torch.optim.SGD"), ("recipe.schedule", "attnlab.schedules.math.sqrt"),
    ("model", "attnlab.nowhere.Thing"), ("model", ""), ("model", "None"),
]  # fmt: skip


@pytest.mark.parametrize(("key", "path"), REFUSED)
def test_a_key_names_only_objects_of_its_kind(key, path):
    with pytest.raises(ConfigError, match=rf"^(wrong value|cannot import) {key}\._target_=") as told:
        target({"_target_": path}, key)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("model", "attnlab.models.vgg.VGG"), ("attention", "torch.nn.Identity"),
        ("attention", "attnlab.attention.cbam.cbam"), ("attention", "timm.layers.SEModule"),
        ("attention", "torchvision.ops.SqueezeExcitation"), ("recipe.optimizer", "torch.optim.AdamW"),
        ("recipe.optimizer", "timm.optim.Lamb"), ("recipe.schedule", "attnlab.schedules.constant"),
        ("dataset", "attnlab.data.folder.Folder"),
    ],
)  # fmt: skip
def test_what_a_config_may_name(key, path):
    assert callable(target({"_target_": path}, key))


def test_an_own_package_is_trusted_by_name_in_the_environment(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(
        "from torch import nn\n\n\nclass Own(nn.Module):\n    pass\n\n\ndef load():\n    pass\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(
        ConfigError,
        match=r"^wrong value attention\._target_=mine\.Own; allowed is a name that begins with attnlab\. or ",
    ):
        target({"_target_": "mine.Own"}, "attention")
    monkeypatch.setenv("ATTNLAB_TRUST", "mine")
    assert target({"_target_": "mine.Own"}, "attention").__name__ == "Own"
    assert target({"_target_": "mine.load"}, "attention").__name__ == "load"
    with pytest.raises(ConfigError, match="allowed is an optimizer class"):
        target({"_target_": "mine.load"}, "recipe.optimizer")


@pytest.mark.parametrize("section", ["model", "attention", "head", "dataset"])
def test_a_downloaded_run_that_names_other_code_is_refused(finished, tmp_path, section):
    folder = tmp_path / "outputs" / folder_of(finished).name
    shutil.copytree(folder_of(finished), folder)
    config = OmegaConf.load(folder / "config.yaml")
    config[section] = {"_target_": "os.system", "command": f"touch {tmp_path / 'harmed'}", **config[section]}
    config[section]["_target_"] = "os.system"
    OmegaConf.save(config, folder / "config.yaml")
    values = OmegaConf.to_container(config)  # whoever sends a run can make its id and checksums fit
    record = read_record(folder)
    record |= {"id": run_id(values), "config": record["config"] | {section: values[section]}}
    write_json(folder / "result.json", seal(record))
    folder = folder.rename(folder.with_name(run_id(values)))
    if section == "dataset":
        from attnlab.evaluation.finished_run import read_finished_run

        machine = attnlab.configuration.compose.plain(attnlab.config(["machine=cpu"]))["machine"]
        with pytest.raises(ConfigError, match="unknown choice dataset=system"):
            read_finished_run(folder.name, folder.parent, machine, [], 10)
    else:
        with pytest.raises(ConfigError, match=rf"{section}\._target_=os\.system"):
            attnlab.load(folder.name, folder.parent)
    assert not (tmp_path / "harmed").exists()


def test_a_downloaded_config_resolves_nothing(finished, tmp_path, monkeypatch):
    monkeypatch.setenv("MY_API_KEY", KEY)
    folder = tmp_path / "outputs" / folder_of(finished).name
    shutil.copytree(folder_of(finished), folder)
    text = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(text.replace("model:\n", "model:\n  widen: ${oc.env:MY_API_KEY}\n"))
    with pytest.raises(ConfigError) as told:
        attnlab.load(folder.name, folder.parent)
    assert KEY not in str(told.value)
    for content in ("[1, 2]", "!!python/object/apply:os.system ['touch harmed']", "a: [", ""):
        (folder / "config.yaml").write_text(content)
        with pytest.raises(ConfigError) as told:
            attnlab.load(folder.name, folder.parent)
        assert "\n" not in str(told.value)


def test_an_archive_that_would_leave_its_folder_is_refused(tmp_path, monkeypatch):
    """The only archives that attnlab opens are torchvision's, by their checksums: another one is not opened at all."""
    root = tmp_path / "data"
    root.mkdir()
    with tarfile.open(root / "cifar-10-python.tar.gz", "w:gz") as archive:
        for name in ("../escaped", str(tmp_path / "elsewhere" / "escaped"), "cifar-10-batches-py/../../escaped"):
            entry = tarfile.TarInfo(name)
            entry.size = 4
            archive.addfile(entry, io.BytesIO(b"harm"))

    def offline(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr("urllib.request.urlopen", offline)
    with pytest.raises(DataError, match="the download failed"):
        CIFAR10(classes=10, image_size=32, root=str(root)).setup()
    assert not list(tmp_path.rglob("escaped"))


def test_a_pickle_in_the_place_of_a_cifar_batch_is_not_opened(tmp_path):
    folder = tmp_path / "data" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for name in ("batches.meta", "test_batch", *(f"data_batch_{i}" for i in range(1, 6))):
        (folder / name).write_bytes(pickle.dumps(Harm(tmp_path / "harmed")))
    with pytest.raises(DataError, match="incomplete or damaged"):
        CIFAR10(classes=10, image_size=32, root=str(tmp_path / "data")).setup()
    assert not (tmp_path / "harmed").exists()


def test_pages_escape_every_text():
    sheet = Page(
        name=ATTACK, title=ATTACK, about=[("source", ATTACK)], warnings=[ATTACK],
        sections=[Section(ATTACK, [ATTACK, ATTACK], [[ATTACK, ATTACK]])], notes=[ATTACK],
    )  # fmt: skip
    assert html_page(sheet).count("<script") == 1  # the page's own, which sorts its tables
    assert html_page(sheet).count("&lt;script&gt;") >= 8
    assert "<script" not in markdown(sheet).replace("\\<script", "")


def test_figures_take_any_name():
    from matplotlib import pyplot as plt

    from attnlab.tables.figures import HOUSE, documents

    with plt.rc_context(HOUSE):
        figure, axes = plt.subplots()
        axes.set_title(f"{ATTACK} $x^$ $")
        text = documents({"curves": figure})["curves"]
        plt.close(figure)
    assert "<script" not in text
    assert "&lt;script&gt;" in text


def run(*overrides, **environment):
    done = warm([sys.executable, "-m", "attnlab.run", *overrides], env=os.environ | environment)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["WANDB_API_KEY", "HF_TOKEN", "MY_SECRET", "DB_PASSWORD", "AWS_SECRET_ACCESS_KEY"])
def test_a_config_with_a_secret_is_refused_and_the_secret_not_printed(tiny, monkeypatch, name):
    monkeypatch.setenv(name, KEY)
    for override in (f"tracker.entity={KEY}", f"tracker.entity=${{oc.env:{name}}}", f"tracker.tags=[a{KEY}b]"):
        with pytest.raises(ConfigError, match=rf"^secret in tracker\..*: its value holds \${name}, ") as told:
            attnlab.config([*tiny, "tracker=wandb_offline", override])
        assert KEY not in str(told.value)


def test_keys_reach_no_file_and_no_log(tiny, tmp_path):
    """A finished run, and one that fails with the key in its error text."""
    code, printed = run(*tiny, "recipe.epochs=1", WANDB_API_KEY=KEY, MY_TOKEN=KEY)
    assert code == 0
    code, failed = run(*tiny, "recipe.epochs=1", "attention=sse" + KEY, WANDB_API_KEY=KEY)
    assert code == 1
    assert "unknown choice attention=sse$WANDB_API_KEY; " in failed
    assert KEY not in printed + failed
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]


def test_keys_stay_out_of_tracebacks(tiny, monkeypatch):
    from attnlab.training.classifier import Classifier

    def broken(self, batch, batch_idx):
        raise RuntimeError(f"https://user:{KEY}@host refused")

    monkeypatch.setenv("HOST_PASSWORD", KEY)
    monkeypatch.setattr(Classifier, "training_step", broken)
    with pytest.raises(RuntimeError):
        attnlab.train(attnlab.config(tiny))
    text = (folder_of(tiny) / "error.json").read_text()
    assert KEY not in text
    assert "https://user:$HOST_PASSWORD@host refused" in json.loads(text)["error"]
