"""Composition: every yaml composes, aliases are one science, bad input gives one message."""

import resource
import subprocess
import sys

import pytest
from omegaconf import OmegaConf
from warm import warm

import attnlab
from attnlab.configuration.compose import CONF, check, choices, compose_file, plain
from attnlab.configuration.identity import cell, name_of, read_choice, run_id, science
from attnlab.errors import ConfigError

GROUPS = {path.parent.relative_to(CONF).as_posix() for path in CONF.rglob("*.yaml")} - {"."}
YAMLS = sorted(
    path.relative_to(CONF).with_suffix("").as_posix() for path in CONF.rglob("*.yaml") if path.parent != CONF
)


def test_the_groups_are_found():
    assert {"attention", "attention/mask", "model", "dataset", "head", "recipe", "machine", "experiment"} <= GROUPS
    assert len(YAMLS) >= 60


@pytest.mark.parametrize("name", YAMLS)
def test_every_yaml_composes_and_passes_its_checks(name, tmp_path, monkeypatch):
    group, choice = name.rsplit("/", 1)
    overrides = [f"{group}={choice}"]
    if group == "attention/mask":
        overrides.insert(0, "attention=se")
    if name == "dataset/huggingface":
        pytest.importorskip("datasets")
        monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    if name in ("dataset/folder", "dataset/huggingface"):
        for split in ("train", "test"):
            for label in ("a", "b"):
                (tmp_path / "tree" / split / label).mkdir(parents=True)
                (tmp_path / "tree" / split / label / "0.png").touch()
        overrides.append(f"dataset.root={tmp_path / 'tree'}")
    cfg = check(attnlab.config(overrides))
    assert len(run_id(cfg)) == 12


@pytest.mark.parametrize("experiment", choices("experiment"))
def test_an_experiment_composes_with_another_head_or_model(experiment):
    """None sets a key that only its own head or model has."""
    for group, choice in [*(("head", head) for head in choices("head")), ("model", "resnet20")]:
        cfg = attnlab.config([f"experiment={experiment}", f"{group}={choice}"])
        assert cfg[group].keys() == read_choice(group, choice).keys()


def test_the_experiments_heads_and_models_are_what_they_were():
    pan = attnlab.config(["experiment=ltpa_pan"])
    assert pan.head == attnlab.config(["head=ltpa_jetley", "head.levels=1", "dataset=cifar100"]).head
    assert attnlab.config(["experiment=laakom_imagenet"]).model.name == "resnet50"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (["attention=ise"], ["attention=se", "attention/mask=ignore"]),
        (["attention=icbam"], ["attention=cbam", "attention/mask=ignore"]),
        (
            ["attention=ise_08_laakom2021"],
            ["attention=se_laakom2021", "attention/mask=ignore", "attention.mask.alpha=0.8"],
        ),
        (
            [],
            [
                "machine.precision=32-true",
                "machine.threads=1",
                "deterministic=true",
                "output_dir=elsewhere",
                "force=true",
            ],
        ),
        (["dataset=cifar10"], ["dataset=cifar10", "dataset.root=/elsewhere", "dataset.cache=null"]),
        ([], ["+recipe.new_key=null", "+model.new_key=null", "+head.sub={new: null}"]),
        (["recipe.optimizer.lr=1"], ["recipe.optimizer.lr=1.0"]),
        (["attention=none"], ["attention=none", "attention.start=identity"]),
        (["attention=none"], ["attention=none", "attention.stages=[1]"]),
    ],
)
def test_one_science_one_id(one, other):
    assert run_id(attnlab.config(one)) == run_id(attnlab.config(other))


@pytest.mark.parametrize(
    "override",
    ["seed=1", "model=resnet8", "attention=se", "dataset.seed=1", "recipe.epochs=4", "recipe.optimizer.lr=0.3"],
)
def test_another_science_another_id(override):
    assert run_id(attnlab.config([])) != run_id(attnlab.config([override]))


def test_ids_do_not_drift():
    """Old records must keep their ids: this one was taken when the scheme was born."""
    assert run_id(attnlab.config(["dataset=cifar10", "recipe=he2016", "attention=se"])) == "1c9fcfacf4c6"


def test_a_cell_is_a_run_without_its_seed():
    a, b = attnlab.config(["seed=0"]), attnlab.config(["seed=1"])
    assert cell(a) == cell(b)
    assert run_id(a) != run_id(b)


def test_science_holds_no_null_and_no_path():
    text = str(science(attnlab.config(["dataset=cifar10", "dataset.root=/some/where"])))
    assert "None" not in text
    assert "/some/where" not in text


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        (["attention=none"], "none"),
        (["attention=none", "attention.stages=[1]", "attention.start=identity"], "none"),
        (["attention=se", "attention/mask=ignore"], "ise"),
        (["attention=se", "attention.reduction=8"], "se reduction=8"),
        (["attention=se", "attention/mask=reciprocal"], "se mask=reciprocal"),
        (["attention=ise", "attention.mask.alpha=0.7"], "se mask=ignore mask.alpha=0.7"),
        (["attention=cbam_laakom2021", "attention/mask=negated"], "icbam_negated_laakom2021"),
        (["attention=se", "attention.place=pre"], "se place=pre"),
    ],
)
def test_names_are_what_one_would_type(overrides, name):
    assert name_of("attention", plain(attnlab.config(overrides))["attention"]) == name
    typed = [f"attention={name.split()[0]}"] + [f"attention.{p}" for p in name.split()[1:] if not p.startswith("mask=")]
    typed += [f"attention/{p}" for p in name.split()[1:] if p.startswith("mask=")]
    assert run_id(attnlab.config(typed)) == run_id(attnlab.config(overrides))


@pytest.mark.parametrize("group", ["attention", "attention/mask", "model", "dataset", "head", "recipe"])
def test_reading_a_choice_is_composing_it(group):
    for choice in choices(group):
        node = OmegaConf.to_container(compose_file(f"{group}/{choice}"), resolve=False)
        for part in group.split("/"):
            node = node[part]
        assert read_choice(group, choice) == node, choice


def test_every_attention_yaml_is_named_by_itself_or_something_shorter():
    for choice in choices("attention"):
        node = plain(compose_file("run", [f"attention={choice}"]))["attention"]
        assert len(name_of("attention", node)) <= len(choice)


BAD = [
    (["attention=sse"], r"attention=sse: unknown; allowed are a2, bam, .*se, .*; did you mean se\?"),
    (["model=resnet21"], r"model=resnet21: unknown; allowed are densenet40, .*resnet110, .*"),
    (["dataset=mnist"], r"dataset=mnist: unknown; allowed are cifar10, cifar100, cluttered_digits"),
    (["recipe=fast"], r"recipe=fast: unknown; allowed are .*he2016, hu2018, jetley2018, laakom2021"),
    (
        ["recipe.epoch=3"],
        r"recipe\.epoch: no such key; allowed are recipe\.validation, recipe\.epochs, .*did you mean recipe\.epochs\?",
    ),
    (
        ["attention=se", "attention.reduktion=3"],
        r"attention\.reduktion: no such key; .*did you mean attention\.reduction\?",
    ),
    (["sede=3"], r"sede: no such key; allowed are seed, .*did you mean seed\?"),
    (["attention=none", "attention/mask=ignore"], r"attention/mask: attention=none has none"),
    (
        ["attention=se", "attention/mask=ignor"],
        r"attention/mask=ignor: unknown; allowed are attend, .*did you mean ignore",
    ),
    (["attention=se,cbam"], r"attention=se,cbam: several values are a sweep; add -m"),
    (["seed=null"], r"seed=null: allowed is an integer from 0"),
    (["seed=-1"], r"seed=-1: allowed is an integer from 0"),
    (["seed=1.5"], r"seed=1\.5: allowed is an integer"),
    (["recipe.batch_size=0"], r"recipe\.batch_size=0: allowed is an integer from 1"),
    (["recipe.epochs=many"], r"recipe\.epochs=many: allowed is an integer from 1, or null"),
    (["recipe.epochs=null"], r"recipe\.epochs=null with recipe\.steps=null"),
    (["recipe.validation.order=random"], r"recipe\.validation\.order=random: allowed is seed, file"),
    (["head.classes=7"], r"head\.classes=7: allowed is 10, as dataset\.classes"),
    (["dataset=folder"], r"dataset\.root: must be given"),
    (["dataset=folder", "dataset.root=nowhere"], r"dataset\.root=nowhere: has no folder train/"),
    (["seed=[1"], r"no viable alternative at input '\[1'"),
    (["seed=5000000000"], r"seed=5000000000: allowed is an integer from 0 to 4294967295"),
    (["recipe.weight_decay.default=abc"], r"recipe\.weight_decay\.default=abc: allowed is a number from 0, or null"),
    (["recipe.weight_decay.layers=head"], r"recipe\.weight_decay\.layers=head: allowed is {layer: a number from 0}, "),
    (
        ["recipe.weight_decay.layers={head: -1}"],
        r"recipe\.weight_decay\.layers={'head': -1}: allowed is {layer: a number",
    ),
    (["recipe.augment.crop=-1"], r"recipe\.augment\.crop=-1: allowed is an integer from 0"),
    (["recipe.augment.shift=5"], r"recipe\.augment\.shift=5: allowed is 0 to below 1"),
    (["recipe.augment.flip=banana"], r"recipe\.augment\.flip=banana: allowed is true, false, null"),
    (["recipe.optimizer.lr=abc"], r"recipe\.optimizer\.lr=abc: allowed is a number above 0"),
    (["machine.strategy=foo"], r"machine\.strategy=foo: allowed is auto, ddp"),
    (["~recipe.weight_decay"], r"recipe\.weight_decay: is missing"),
    (["~recipe.optimizer"], r"recipe\.optimizer: is missing"),
    (["recipe.validation=null"], r"recipe\.validation=null: allowed is a group with images, order"),
    (["~head"], r"head=null: allowed are linear"),
    (["recipe.optimizer=null"], r"recipe\.optimizer=null: allowed is a group with _target_"),
    (["+speed=3"], r"speed: no such key; allowed are dataset, model"),
    (["output_dir=''"], r"output_dir=: allowed is a folder"),
    (["output_dir=null"], r"output_dir=null: allowed is a folder"),
    (["dataset=cifar10", "dataset.root=null"], r"dataset\.root=null: allowed is a folder"),
    (["~dataset.classes"], r"dataset\.classes: is missing"),
    (["model.norm_eps=0"], r"model\.norm_eps=0: allowed is a number above 0"),
    (["model.norm_momentum=0"], r"model\.norm_momentum=0: allowed is a number above 0, to 1"),
    (["model.norm_momentum=1.5"], r"model\.norm_momentum=1\.5: allowed is a number above 0, to 1"),
    (["model=resnet18_stem3", "model.stem=0"], r"model\.stem=0: allowed is an integer from 1"),
    (["model=preresnet20", "model.stem=-16"], r"model\.stem=-16: allowed is an integer from 1"),
    (
        ["model=timm", "model.pretrained=true", "start_from=0123456789ab"],
        r"^model\.pretrained=true with start_from=0123456789ab: its weights would replace those of timm; ",
    ),
    (
        ["model=densenet40", "recipe=laakom2021", "recipe.weight_decay.layers.head=1e-3"],
        r"^recipe\.weight_decay\.layers\.head: no such key; recipe\.weight_decay\.layers is model\.weight_decay here: ",
    ),
]


@pytest.mark.parametrize(("overrides", "message"), BAD)
def test_bad_input_gives_one_message(overrides, message):
    with pytest.raises(ConfigError, match=message):
        attnlab.config(overrides)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["attention=se", "attention.bias=off"], r"attention\.bias=off: allowed is true or false"),
        (["attention=se", "attention.reduction=2.5"], r"attention\.reduction=2\.5: allowed is an integer"),
        (["attention=se", "attention.init_std=-1"], r"attention\.init_std=-1: allowed is a number from 0, or null"),
        (["attention=cbam", "attention.kernel_size=abc"], r"attention\.kernel_size=abc: allowed is an integer"),
        (["attention=se", "attention.mask.alpha=abc"], r"attention\.mask\.alpha=abc: allowed is a number"),
        (["model.bias=banana"], r"model\.bias=banana: allowed is true or false"),
        (["model.depth=abc"], r"model\.depth=abc: allowed is an integer"),
        (["model.norm_eps=abc"], r"model\.norm_eps=abc: allowed is a number"),
    ],
)
def test_a_knob_of_the_wrong_type_is_named(overrides, message):
    with pytest.raises(ConfigError, match=message):
        attnlab.build(attnlab.config(overrides))


def test_a_key_that_nobody_reads_is_refused():
    for override, message in (
        ("+attention.depth=3", r"attention\.depth: no such key; allowed are reduction, bias, init_std"),
        ("+model.width=3", r"model\.width: no such key"),
        ("+head.width=3", r"head\.width: no such key"),
    ):
        with pytest.raises(ConfigError, match=message):
            attnlab.build(attnlab.config(["attention=se", override]))
    with pytest.raises(ConfigError, match=r"recipe\.speed: no such key; allowed are "):
        attnlab.config(["+recipe.speed=3"])


@pytest.mark.parametrize("option", [["--cfg", "job"], ["--help"]])
def test_help_and_cfg_do_not_wait_for_torch(option):
    code = (
        f"import sys; sys.argv = ['attnlab', *{option}]\n"
        "from attnlab.run import main\n"
        "main()\n"
        "heavy = {'torch', 'lightning', 'wandb', 'timm', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    if option == ["--help"]:
        assert "icbam_negated_laakom2021" in done.stdout
        assert "n_jobs: 1             # jobs of a sweep at a time" in done.stdout
    else:
        assert OmegaConf.create(done.stdout).attention._target_ == "torch.nn.Identity"


def cpu_seconds(*arguments):
    """CPU time of a Python process, the least of three: what the machine does besides does not count."""
    found = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *arguments], capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        found.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(found)


def test_help_and_cfg_cost_at_most_three_imports_of_hydra():
    bare = cpu_seconds("-c", "import hydra")
    for option in (["--help"], ["--cfg", "job"]):
        assert cpu_seconds("-m", "attnlab.run", *option) < 3 * bare


def test_a_group_that_is_null_is_one_message():
    with pytest.raises(ConfigError, match=r"^head=null: allowed are linear"):
        attnlab.config(["head=null"])


def test_the_sweep_flag_may_stand_anywhere():
    overrides = ["attention=se,ise", "dry_run=true"]
    outs = []
    for arguments in (["-m", *overrides], [overrides[0], "-m", overrides[1]], [*overrides, "--multirun"]):
        done = warm([sys.executable, "-m", "attnlab.run", *arguments])
        assert done.returncode == 0, done.stderr
        outs.append(done.stdout)
    assert outs[0] == outs[1] == outs[2]
    assert "dry run: 2 jobs" in outs[0]
