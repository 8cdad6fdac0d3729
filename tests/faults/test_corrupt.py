"""Damaged files: cut short, empty, flipped bits. A run goes on from what is whole, or begins anew, and says so."""

import random
import shutil

import pytest
from survival import SMALL, SOAK, equal, folder_of, weights

import attnlab
from attnlab.configuration.digest import canonical
from attnlab.errors import AttnlabError, ConfigError
from attnlab.records.checkpoint import read, save

#: how a file is damaged
DAMAGE = {
    "empty": lambda data, draw: b"",
    "cut short": lambda data, draw: data[: draw.randrange(1, len(data))],
    "other": lambda data, draw: b"no checkpoint\n",
    "zeros": lambda data, draw: data[: (cut := draw.randrange(len(data)))] + bytes(len(data) - cut),
    "a flipped bit": lambda data, draw: flipped(data, draw),
}


def flipped(data, draw):
    place = draw.randrange(len(data))
    return data[:place] + bytes([data[place] ^ (1 << draw.randrange(8))]) + data[place + 1 :]


@pytest.mark.slow
def test_a_damaged_checkpoint_costs_time_at_most(tmp_path, capsys, record_property):
    """The same final weights, whatever is damaged: a run begins anew where it cannot go on."""
    overrides = [*SMALL, "recipe.epochs=1", "dataset.train_size=200", f"output_dir={tmp_path / 'outputs'}"]
    folder, draw, tried, anew = folder_of(overrides), random.Random(3), 0, 0
    whole, expected = attnlab.train(attnlab.config(overrides)), weights(folder)
    (folder / "result.json").unlink()
    shutil.copytree(folder, tmp_path / "trained")
    for name in ("last.ckpt", "best.ckpt"):
        for kind, damage in DAMAGE.items():
            for _ in range((8 if kind in ("cut short", "a flipped bit", "zeros") else 1) if SOAK else 1):
                shutil.rmtree(folder.parent)
                shutil.copytree(tmp_path / "trained", folder)
                data = (folder / name).read_bytes()
                damage_done = damage(data, draw)
                (folder / name).write_bytes(damage_done)
                capsys.readouterr()
                again = attnlab.train(attnlab.config(overrides))
                said = capsys.readouterr().out
                assert again["metrics"] == whole["metrics"], (name, kind)
                assert equal(weights(folder), expected), (name, kind)
                tried, told = tried + 1, said.count("; the run begins anew")
                anew += told
                aside = [path.read_bytes() for path in folder.parent.glob(f"{folder.name}.*/{name}")]
                assert aside == [damage_done] * told, (name, kind)
                if kind != "a flipped bit":  # one in the padding of the archive damages nothing
                    assert told == 1, (name, kind, said)
    record_property("figure", f"damaged checkpoints: {tried} tried, {anew} told and begun anew, all ended right")


@pytest.mark.slow
def test_damaged_records_logs_and_configs_are_told_in_one_line(tmp_path, record_property):
    overrides = [*SMALL, "recipe.epochs=1", "dataset.train_size=200", f"output_dir={tmp_path / 'outputs'}"]
    folder, draw, tried, refused = folder_of(overrides), random.Random(4), 0, 0
    record = attnlab.train(attnlab.config(overrides))
    shutil.copytree(folder, tmp_path / "trained")
    for name in ("result.json", "config.yaml"):
        for kind, damage in DAMAGE.items():
            for _ in range(20 if SOAK else 4):
                shutil.rmtree(folder)
                shutil.copytree(tmp_path / "trained", folder)
                (folder / name).write_bytes(damage((folder / name).read_bytes(), draw))
                tried += 1
                try:
                    if name == "result.json":
                        assert canonical(attnlab.train(attnlab.config(overrides))) == canonical(record), (
                            kind
                        )  # no null counts
                    else:
                        attnlab.load(folder.name, folder.parent)
                except AttnlabError:  # anything else fails
                    refused += 1
    record_property("figure", f"damaged records and configs: {tried} tried, {refused} refused in one message")


def test_a_run_does_not_go_on_with_other_images(tmp_path):
    """Where its id does not know them: CIFAR's own files."""
    overrides = [*SMALL, "recipe.epochs=1", "dataset.train_size=200", f"output_dir={tmp_path}"]
    folder = folder_of(overrides)
    attnlab.train(attnlab.config(overrides))
    (folder / "result.json").unlink()
    content = read(folder / "last.ckpt")
    (kept,) = [state for state in content["callbacks"].values() if "data_hash" in state]
    kept["data_hash"] = "other"
    save(content, folder / "last.ckpt")
    with pytest.raises(ConfigError, match=r"last\.ckpt: was trained on other images \(data_hash other\) than dataset"):
        attnlab.train(attnlab.config(overrides))
    assert (folder / "last.ckpt").exists()
    assert not (folder / "result.json").exists()
    assert attnlab.train(attnlab.config([*overrides, "force=true"]))["status"] == "finished"


@pytest.mark.slow
def test_a_torn_log_and_a_damaged_cache_are_mended(tmp_path, monkeypatch, record_property):
    monkeypatch.setenv("ATTNLAB_CACHE", str(tmp_path / "cache"))
    overrides = [*SMALL, "recipe.epochs=1", "dataset.train_size=200", f"output_dir={tmp_path / 'outputs'}"]
    folder, draw = folder_of(overrides), random.Random(5)
    record = attnlab.train(attnlab.config(overrides))
    (kept,) = (tmp_path / "cache").glob("*.pt")
    whole = kept.read_bytes()
    for damage in DAMAGE.values():
        shutil.rmtree(folder)
        kept.write_bytes(damage(whole, draw))
        assert attnlab.train(attnlab.config(overrides))["metrics"] == record["metrics"]
    (folder / "result.json").unlink()
    text = (folder / "log.csv").read_bytes()
    for torn in (b"", text[:40], text[:-9], text + b"1,2", text + bytes(50), text + text.splitlines()[-1]):
        (folder / "log.csv").write_bytes(torn)
        assert attnlab.train(attnlab.config(overrides))["metrics"] == record["metrics"]
        (folder / "result.json").unlink()
    record_property("figure", f"damaged caches and logs: {len(DAMAGE) + 6} tried, all mended")
