"""The grid with a knob: a value below a swept group is given to every job, whatever the group's default is."""

import re
import sys

import pytest
from warm import warm

import attnlab
from attnlab.configuration.identity import run_id
from attnlab.configuration.sweep_arguments import for_hydra
from attnlab.errors import ConfigError

#: group -> two choices, and a key that both have and the default choice of the group lacks, where there is such a key
KNOBS = {
    "attention": (("se", "cbam"), "attention.reduction=4"),
    "model": (("vgg_ltpa", "vgg_saoyan"), "model.maps=before"),
    "dataset": (("cifar10", "cifar100"), "dataset.root=/nowhere"),
    "recipe": (("modern", "hu2018"), "recipe.augment.resized_crop={scale: [0.5, 1.0]}"),
    "machine": (("cpu", "debug"), "machine.threads=1"),
}


def dry_run(*arguments):
    done = warm([sys.executable, "-m", "attnlab.run", *arguments, "dry_run=true"])
    return re.findall(r"#\d+ ([0-9a-f]{12})", done.stdout), done.stdout, done.stderr


def ids(*jobs):
    return [run_id(attnlab.config(job)) for job in jobs]


@pytest.mark.parametrize("swept", KNOBS)
@pytest.mark.parametrize("of", KNOBS)
def test_every_pair_of_a_swept_group_and_a_knob_is_its_single_runs(swept, of, tmp_path):
    (one, other), _ = KNOBS[swept]
    fixed = [f"{of}={KNOBS[of][0][0]}"] if of != swept else []
    arguments = [*fixed, KNOBS[of][1], f"output_dir={tmp_path}"]
    found, _, error = dry_run("-m", f"{swept}={one},{other}", *arguments)
    assert found == ids(*([f"{swept}={choice}", *arguments] for choice in (one, other))), error


@pytest.mark.parametrize(
    "knob",
    ["attention.init_std=null", "attention.stages=[1,2]", "attention/mask=ignore_05", "attention.squeeze='max'",
     "attention.reduction=${seed}", "~attention.bias"],
)  # fmt: skip
def test_a_knob_means_what_it_means_in_a_single_run(knob, tmp_path):
    arguments = [knob, "seed=2", f"output_dir={tmp_path}"]
    found, _, error = dry_run("-m", "attention=se,se_laakom2021", *arguments)
    assert found == ids(*([f"attention={name}", *arguments] for name in ("se", "se_laakom2021"))), error


def test_an_experiment_that_is_swept_sets_groups_too(tmp_path):
    arguments = ["attention=se", "head.levels=2", f"output_dir={tmp_path}"]
    found, _, error = dry_run("-m", "experiment=ltpa_jetley,ltpa_saoyan", *arguments)
    assert found == ids(*([f"experiment={name}", *arguments] for name in ("ltpa_jetley", "ltpa_saoyan"))), error


def test_none_leaves_out_the_knobs_that_others_have(tmp_path):
    where = f"output_dir={tmp_path}"
    arguments = ["attention.reduction=4", "attention/mask=ignore", "attention.stages=[1]", where]
    found, out, error = dry_run("-m", "attention=none,se,cbam", *arguments)
    mine = (["attention=none", where], ["attention=se", *arguments], ["attention=cbam", *arguments])
    assert found == ids(*mine), error
    assert out.count("runs with attention=none ignore attention.reduction, attention/mask, which it does not have") == 1
    found, out, error = dry_run("-m", "attention=none,se", "attention.reduction=4,8", "seed=0,1", where)
    assert len(found) == 8
    assert len(set(found)) == 6, error  # none is one run a seed
    assert out.count("runs with attention=none ignore ") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["attention=none,se,cbam", "attention.reductoin=4"],
            "unknown key attention.reductoin; did you mean attention.reduction?",
        ),
        (["attention=none,se,cbam", "attention.reductoin=4"], "did you mean attention.reduction?"),
        (
            ["attention=se,simam", "attention.reduction=4"],
            "unknown key attention.reduction with attention=simam, but other runs",
        ),
        (["attention=se,simam", "attention.reduction=4"], "leave out attention=simam, or the key"),
        (["attention=simam,se", "attention.reductoin=4"], "did you mean attention.reduction?"),
        (["attention=none", "seed=0,1", "attention.reduction=4"], "attention=none has only attention.stages"),
        (["attention=none,simam", "attention.reduction=4"], "unknown key attention.reduction; "),
        (["model=resnet8,resnet14", "model.maps=before"], "unknown key model.maps; "),
        (["attention=se,cbam", "attention.reduction=x"], "wrong value attention.reduction=x; allowed is an integer"),
    ],
)
def test_a_knob_that_no_job_has_or_one_lacks_is_one_message(arguments, message, tmp_path):
    found, out, error = dry_run("-m", *arguments, f"output_dir={tmp_path}")
    if "attention.reduction=x" in message:  # a constructor's own check, in each job
        done = warm([sys.executable, "-m", "attnlab.run", "-m", *arguments, f"output_dir={tmp_path}"])
        error = done.stderr.splitlines()[0]
    else:
        assert not found
    assert message in error
    assert error.count("attnlab:") == 1


def test_a_single_run_of_none_with_a_knob_names_the_keys_that_none_has():
    with pytest.raises(
        ConfigError, match=r"^unknown key attention\.reduction; attention=none has only attention\.stages, "
    ):
        attnlab.config(["attention.reduction=4"])


def test_a_knob_that_is_added_or_forced_is_none_of_nones_either(tmp_path):
    where = f"output_dir={tmp_path}"
    found, out, error = dry_run("-m", "attention=none,se", "++attention.reduction=4", where)
    assert found == ids([where], ["attention=se", "attention.reduction=4", where]), error
    assert "runs with attention=none ignore " in out
    with pytest.raises(ConfigError, match=r"^unknown key attention\.foo; attention=none has no such key; "):
        attnlab.config(["+attention.foo=4"])


def test_a_table_takes_knobs_and_selectors(tmp_path):
    where = f"output_dir={tmp_path}"
    found, out, error = dry_run("table=demo", "attention.place=pre", "seed=0", "attention=none,se", where)
    same = ["experiment=demo", where]
    se = ["attention=se", "attention.reduction=4", "attention.place=pre"]
    assert found == ids(same, [*same, *se]), error
    assert "not the protocol: attention.place=pre" in out
    assert "rows with attention=none are without attention.place=pre" in out
    found, _, error = dry_run("table=demo", "attention.reduction=4", "seed=0", where)  # the rows set it: it selects
    assert len(found) == 4, error


def test_cfg_job_prints_every_job_and_every_cell(tmp_path):
    done = warm(
        [sys.executable, "-m", "attnlab.run", "-m", "attention=none,se", "attention.reduction=4", "--cfg", "job"]
    )
    assert done.stdout.count("\n---\n") == 2
    assert done.stdout.count("reduction: 4") == 1
    assert "# #1 attention=se attention.reduction=4" in done.stdout
    done = warm([sys.executable, "-m", "attnlab.run", "table=demo", "attention.place=pre", "--cfg", "job"])
    assert done.stdout.count("place: pre") == 4
    assert not list(tmp_path.iterdir())


def test_only_what_stands_below_a_swept_group_is_moved():
    given = ["-m", "attention=se,cbam", "attention.bias=true", "machine.threads=1", "seed=0", "n_jobs=2"]
    moved = ["-m", "attention=se,cbam", "machine.threads=1", "seed=0", "n_jobs=2"]
    assert for_hydra(given) == [*moved, "hydra.sweeper.arguments=['attention.bias=true']"]
    assert for_hydra(["-m", "attention=se", "attention.bias=true", "seed=0,1"])[2] == "attention.bias=true"
    quoted = for_hydra(["-m", "dataset=cifar10,cifar100", 'dataset.root="it\'s"'])
    assert quoted[-1] == "hydra.sweeper.arguments=['dataset.root=\"it\\'s\"']"


@pytest.mark.parametrize("value", ["${recipe.epochs}", "${head.levels}", "a%24b", "100%"])
def test_an_interpolation_is_resolved_by_each_job(value, tmp_path):
    """Also where the sweep's own choice has no such key."""
    key, where = (
        ("recipe.optimizer.lr", f"output_dir={tmp_path}")
        if "$" in value
        else ("dataset.root", f"output_dir={tmp_path}")
    )
    swept = ["dataset=cifar10,cifar100"] if key == "dataset.root" else ["recipe=quick,modern", "head=ltpa"]
    arguments = [f"{key}={value}", where]
    group, choices = swept[0].split("=")
    found, _, error = dry_run("-m", *swept, *arguments)
    assert found == ids(*([f"{group}={choice}", *swept[1:], *arguments] for choice in choices.split(","))), error
