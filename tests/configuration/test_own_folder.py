"""One's own folder of choices, by `--config-dir` or ATTNLAB_CONFIG_DIR: every command and Python reads it."""

import os
import sys

import pytest
from warm import warm

import attnlab
from attnlab.configuration import hydra_compose
from attnlab.configuration.cli import without_config_dir
from attnlab.configuration.groups import CONFIG_DIR, choices, groups, is_group
from attnlab.configuration.names import name_of
from attnlab.errors import ConfigError
from attnlab.tables.grid import read_grid

SOURCES = hydra_compose._sources.of_attnlab
TABLE = """# @package _global_
defaults: [{override /experiment: demo}, _self_]
hydra: {mode: MULTIRUN}
table:
  title: mine
  rows: {none: [attention=none], mine: [attention=loud]}
  seeds: [0, 1]
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A folder with an attention, a table, and a choice that attnlab has as well."""
    for group, name, text in (
        ("attention", "loud", "defaults: [se, _self_]\nreduction: 3\n"),
        ("attention", "se", "_target_: nothing.At.All\n"),
        ("table", "mine", TABLE),
    ):
        (tmp_path / "own" / group).mkdir(parents=True, exist_ok=True)
        (tmp_path / "own" / group / f"{name}.yaml").write_text(text)
    monkeypatch.setenv(CONFIG_DIR, str(tmp_path / "own"))
    return tmp_path / "own"


def test_its_choices_stand_beside_those_of_attnlab(own, monkeypatch):
    assert {"loud", "se", "cbam"} <= set(choices("attention"))
    assert "mine" in choices("table")
    assert is_group("attention")
    monkeypatch.delenv(CONFIG_DIR)
    assert "loud" not in choices("attention")


def test_a_composition_is_kept_until_a_file_changes(own, monkeypatch):
    monkeypatch.setattr(hydra_compose, "_sources", SOURCES)  # the tests' own does not look into conf/
    composed = []
    compose = hydra_compose.compose
    monkeypatch.setattr(
        hydra_compose, "compose", lambda *given, **named: composed.append(given) or compose(*given, **named)
    )
    first = attnlab.config(["attention=loud"])
    first.attention.reduction = 5  # a copy
    assert attnlab.config(["attention=loud"]).attention.reduction == 3
    assert len(composed) <= 2  # the first composition may fill Hydra's store
    (own / "attention" / "loud.yaml").write_text("defaults: [se, _self_]\nreduction: 7\n")
    before = len(composed)
    assert attnlab.config(["attention=loud"]).attention.reduction == 7
    assert len(composed) == before + 1
    (own / "attention" / ".#se.yaml").symlink_to("nothing")  # an editor's
    (own / "attention" / "gone.yaml").symlink_to("nothing")
    (own / "pictures").symlink_to(own)  # a link that leads round in a circle
    assert attnlab.config(["attention=loud"]).attention.reduction == 7


def test_a_group_may_be_there_alone(own):
    (own / "things").mkdir()
    (own / "things" / "one.yaml").touch()
    assert is_group("things")
    assert "things" in groups()


def test_python_reads_it_and_attnlabs_choice_of_a_name_counts(own):
    cfg = attnlab.config(["attention=loud"])
    assert (cfg.attention._target_, cfg.attention.reduction) == ("attnlab.attention.se.SE", 3)
    assert attnlab.config(["attention=se"]).attention._target_ == "attnlab.attention.se.SE"
    assert name_of("attention", attnlab.config(["attention=loud"]).attention) == "loud"
    assert sum(p.numel() for p in attnlab.create_attention("loud", 12).parameters()) == 12 * 4 + 4 + 4 * 12 + 12


def test_a_declared_table_and_its_names(own):
    grid = read_grid(["table=mine"])
    assert [cell.row for cell in grid.cells] == ["none", "mine"]
    assert grid.cells[1].config["attention"]["reduction"] == 3


def test_the_flag_sets_the_variable_for_this_process_and_its_jobs(own, monkeypatch):
    for given in (["--config-dir", "own", "a=1"], ["--config-dir=own", "a=1"], ["a=1", "-cd", "own"]):
        monkeypatch.delenv(CONFIG_DIR, raising=False)
        monkeypatch.chdir(own.parent)
        assert without_config_dir(given) == ["a=1"]
        assert os.environ[CONFIG_DIR] == str(own)


@pytest.mark.parametrize("given", [["--config-dir"], ["--config-dir="], ["a=1", "--config-dir", "nowhere"]])
def test_a_folder_that_is_not_there_is_one_message(given, own):
    with pytest.raises(
        ConfigError, match=r"^missing value of --config-dir; |^no such folder: \S+nowhere, of --config-dir"
    ):
        without_config_dir(given)


@pytest.mark.parametrize("door", ["run", "report", "judge"])
def test_every_command_reads_the_flag(own, tmp_path, door):
    arguments = ["--config-dir", str(own), "table=nowhere"]
    done = warm([sys.executable, "-m", f"attnlab.{door}", *arguments, f"output_dir={tmp_path}"])
    assert done.returncode == 1
    assert "did you mean" in done.stderr or "mine" in done.stderr


def test_a_table_runs_and_names_the_next_command(own, tmp_path):
    small = ["dataset.train_size=200", "dataset.test_size=100", "recipe.validation.images=100", "recipe.epochs=1"]
    arguments = ["--config-dir", str(own), "table=mine", "seed=0", *small, "tracker=csv", "machine.threads=1"]
    done = warm([sys.executable, "-m", "attnlab.run", *arguments, f"output_dir={tmp_path / 'out'}"])
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("finished, test error") == 2
    assert "next: python -m attnlab." in done.stdout
    last = done.stdout.splitlines()[-1]
    assert "--config-dir" in last or "report power" in last
