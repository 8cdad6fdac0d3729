"""Composition: every yaml composes, aliases are one science, bad input gives one message."""

import re
import resource
import subprocess
import sys

import pytest
from omegaconf import OmegaConf
from warm import warm

import attnlab
from attnlab import schedules
from attnlab.configuration import removed
from attnlab.configuration.compose import check, compose_file, plain
from attnlab.configuration.groups import CONF, choices
from attnlab.configuration.identity import cell, run_id, science
from attnlab.configuration.messages import unknown_choice
from attnlab.configuration.names import name_of, read_choice
from attnlab.configuration.schema import SCHEDULES
from attnlab.errors import ConfigError

GROUPS = {path.parent.relative_to(CONF).as_posix() for path in CONF.rglob("*.yaml")} - {"."}
YAMLS = sorted(
    path.relative_to(CONF).with_suffix("").as_posix()
    for path in CONF.rglob("*.yaml")
    if path.parent not in (CONF, CONF / "table" / "shared")  # shared: parts of tables, no table each
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
    if name == "model/own":
        overrides.append("model.net._target_=mine.Net")
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
    (
        ["attention=sse"],
        r"^unknown choice attention=sse; did you mean se\? allowed are se, sk, ese, ise, .* and \d\d more; ",
    ),
    (
        ["attention=SE"],
        r"^unknown choice attention=SE; did you mean se\? allowed are se, sk, .* and \d\d more; python -m ",
    ),
    (
        ["dataset=CIFAR10"],
        r"^unknown choice dataset=CIFAR10; did you mean cifar10\? allowed are svhn, folder, cifar10, ",
    ),
    (
        ["attention=se", "attention.mask=ignore"],
        r"^wrong value attention\.mask=ignore; did you mean attention/mask=ignore\?$",
    ),
    (
        ["attention=se", "attention.mask=ignroe"],
        r"=ignroe; did you mean ignore\? allowed is attention/mask=NAME, of attend, ",
    ),
    (
        ["recipe.augment=mixup"],
        r"^wrong value recipe\.augment=mixup; allowed is a group, or null; .*recipe\.mixup and ",
    ),
    (["recipe.early_stopping=5"], r"with patience, min_delta; recipe\.early_stopping\.patience=\.\.\. sets one$"),
    (
        ["recipe.schedule._target_=cosine"],
        r"^wrong value recipe\.schedule\._target_=cosine; allowed is attnlab\.schedules",
    ),
    (["recipe.optimizer._target_=SGD"], r"allowed is a class, as torch\.optim\.SGD; recipe\.optimizer=NAME takes "),
    (
        ["model=resnet21"],
        r"^unknown choice model=resnet21; did you mean resnet20\? allowed are own, timm, .*densenet40, ",
    ),
    (["model=resnet50"], r"^unknown choice model=resnet50; use resnet50_stem3 .*, or model=timm model.name=resnet50 "),
    (["tracker=csv", "+tracker.report=true"], r"^wrong value tracker.report=true; tracker=csv takes no report"),
    (["attention=se", "attention.after=bn1"], r"^wrong value attention.after=bn1; this model names its places"),
    (["model=own"], r"^missing value model.net._target_; add model.net._target_=..."),
    (["model=timm", "model.checkpoint=x.pt"], r"^model.checkpoint=x.pt without model.pretrained=true; set both"),
    (
        ["model=timm", "model.checkpoint=x.pt", "model.pretrained=true"],
        r"^cannot read model.checkpoint=x.pt; No such file",
    ),
    (["dataset=mnist"], r"^unknown choice dataset=mnist; allowed are svhn, .*cifar10, cifar100, .*cluttered_digits"),
    (["recipe=fast"], r"^unknown choice recipe=fast; allowed are quick, he2016, hu2018, .*jetley2018, laakom2021"),
    (
        ["recipe.epoch=3"],
        r"^unknown key recipe\.epoch; did you mean recipe\.epochs\? allowed are recipe\.mixup, recipe\.steps, ",
    ),
    (
        ["attention=se", "attention.reduktion=3"],
        r"^unknown key attention\.reduktion; did you mean attention\.reduction\? allowed are attention\.bias, ",
    ),
    (["sede=3"], r"^unknown key sede; did you mean seed\? allowed are code, head, seed, "),
    (
        ["attention=none", "attention/mask=ignore"],
        r"^unknown group attention/mask; attention=none has no mask, as only gates have one$",
    ),
    (
        ["attention=se", "attention/mask=ignor"],
        r"^unknown choice attention/mask=ignor; did you mean ignore\? allowed are hard, ",
    ),
    (["attention=se,cbam"], r"^several values attention=se,cbam; a sweep needs -m$"),
    (["seed=null"], r"^wrong value seed=null; allowed is an integer from 0"),
    (["seed=-1"], r"^wrong value seed=-1; allowed is an integer from 0"),
    (["seed=1.5"], r"^wrong value seed=1\.5; allowed is an integer"),
    (["recipe.batch_size=0"], r"^wrong value recipe\.batch_size=0; allowed is an integer from 1"),
    (["recipe.epochs=many"], r"^wrong value recipe\.epochs=many; allowed is an integer from 1, or null"),
    (["recipe.epochs=null"], r"^no length: recipe\.epochs=null and recipe\.steps=null; "),
    (["recipe.validation.order=random"], r"^wrong value recipe\.validation\.order=random; allowed is seed or file$"),
    (["head.classes=7"], r"^wrong value head\.classes=7; allowed is 10, as dataset\.classes"),
    (["dataset=folder"], r"^missing value dataset\.root; add dataset\.root=\.\.\.$"),
    (["dataset=folder", "dataset.root=nowhere"], r"^no folder train/ in dataset\.root=nowhere; "),
    (["seed=[1"], r"^cannot parse seed=\[1: no viable alternative at input '\[1'; allowed is key=value, "),
    (["seed=5000000000"], r"^wrong value seed=5000000000; allowed is an integer from 0 to 4294967295"),
    (
        ["recipe.weight_decay.default=abc"],
        r"^wrong value recipe\.weight_decay\.default=abc; allowed is a number from 0, or null",
    ),
    (
        ["recipe.weight_decay.layers=head"],
        r"^wrong value recipe\.weight_decay\.layers=head; allowed is {layer: a number from 0}, ",
    ),
    (
        ["recipe.weight_decay.layers={head: -1}"],
        r"^wrong value recipe\.weight_decay\.layers={'head': -1}; allowed is {layer: a number",
    ),
    (["recipe.augment.crop=-1"], r"^wrong value recipe\.augment\.crop=-1; allowed is an integer from 0"),
    (
        ["recipe.augment.shift=5"],
        r"^wrong value recipe\.augment\.shift=5; allowed is a number from 0 to below 1, or null$",
    ),
    (["recipe.augment.flip=banana"], r"^wrong value recipe\.augment\.flip=banana; allowed is true or false, or null$"),
    (["recipe.optimizer.lr=abc"], r"^wrong value recipe\.optimizer\.lr=abc; allowed is a number above 0"),
    (["~recipe.weight_decay"], r"^missing key recipe\.weight_decay; "),
    (["~recipe.optimizer"], r"^missing key recipe\.optimizer; "),
    (["recipe.validation=null"], r"^wrong value recipe\.validation=null; allowed is a group with images, order"),
    (["~head"], r"^unknown choice head=null; allowed are csra, ltpa, linear, "),
    (["recipe.optimizer=null"], r"^wrong value recipe\.optimizer=null; allowed is a group with _target_"),
    (["+speed=3"], r"^unknown key speed; .*allowed are code, head, "),
    (["output_dir=''"], r"^wrong value output_dir=; allowed is a folder"),
    (["output_dir=null"], r"^wrong value output_dir=null; allowed is a folder"),
    (["dataset=cifar10", "dataset.root=null"], r"^wrong value dataset\.root=null; allowed is a folder"),
    (["~dataset.classes"], r"^missing key dataset\.classes; "),
    (["model.norm_eps=0"], r"^wrong value model\.norm_eps=0; allowed is a number above 0"),
    (["model.norm_momentum=0"], r"^wrong value model\.norm_momentum=0; allowed is a number above 0, to 1"),
    (["model.norm_momentum=1.5"], r"^wrong value model\.norm_momentum=1\.5; allowed is a number above 0, to 1"),
    (["model=resnet18_stem3", "model.stem=0"], r"^wrong value model\.stem=0; allowed is an integer from 1"),
    (["model=preresnet20", "model.stem=-16"], r"^wrong value model\.stem=-16; allowed is an integer from 1"),
    (
        ["model=timm", "model.pretrained=true", "start_from=0123456789ab"],
        r"^two sources of weights: model\.pretrained=true and start_from=0123456789ab; ",
    ),
    (
        ["model=densenet40", "recipe=laakom2021", "recipe.weight_decay.layers.head=1e-3"],
        r"^unknown key recipe\.weight_decay\.layers\.head; recipe\.weight_decay\.layers is model\.weight_decay here: ",
    ),
]


BAD += [
    (["attention=cbma"], r"^unknown choice attention=cbma; did you mean cbam\? "),
    (["attention=3"], r"^unknown choice attention=3; allowed are a2, "),
    (["attention={reduction: 4}"], r"^unknown choice attention=\{reduction: 4\}; allowed are a2, "),
    (["tabel=demo"], r"^unknown key tabel; did you mean table\? "),
    (["table=dmeo"], r"^unknown choice table=dmeo; did you mean demo\? "),
    (["launcher=slrum"], r"^unknown choice launcher=slrum; did you mean slurm\? allowed are ray, local, slurm"),
    (["hydra/launcher=slurm"], r"^unknown choice hydra/launcher=slurm; .*allowed are .*submitit_slurm$"),
    (["+model.depth=8"], r"^model\.depth exists already; leave out the \+$"),
    (["+attention=se"], r"^attention exists already; leave out the \+$"),
    (["~recipe.epochs=99"], r"^cannot delete recipe\.epochs=99; its value is 2$"),
    (["~speed"], r"^unknown key speed; "),
    (["=1"], r"^missing key in =1; allowed is key=value$"),
    (["seed=choice(1,2)"], r"^several values seed=choice\(1,2\); a sweep needs -m$"),
    (["recipe.optimizer.lr=${nope}"], r"^missing key nope; recipe\.optimizer\.lr refers to it$"),
    (["recipe.optimizer.lr=${x:1}"], r"^Unsupported interpolation type x \(recipe\.optimizer\.lr\)$"),
    (["hydra.job=3"], r"^wrong value hydra\.job=3$"),
    (["seed.x=1"], r"^unknown key seed\.x$"),
    (["~attention"], r"^unknown choice attention=null; allowed are a2, "),
    (["+attention/mask=ignore"], r"^unknown key attention\.mask; attention=none has no such key; "),
]


@pytest.mark.parametrize(("overrides", "message"), BAD)
def test_bad_input_gives_one_message(overrides, message):
    with pytest.raises(ConfigError, match=message):
        attnlab.config(overrides)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["attention=se", "attention.bias=off"], r"wrong value attention\.bias=off; allowed is true or false"),
        (["attention=se", "attention.reduction=2.5"], r"wrong value attention\.reduction=2\.5; allowed is an integer"),
        (["attention=se", "attention.init_std=-1"], r"attention\.init_std=-1; allowed is a number from 0, or null"),
        (
            ["attention=cbam", "attention.kernel_size=abc"],
            r"wrong value attention\.kernel_size=abc; allowed is an integer",
        ),
        (["attention=se", "attention.mask.alpha=abc"], r"wrong value attention\.mask\.alpha=abc; allowed is a number"),
        (["model.bias=banana"], r"^wrong value model\.bias=banana; allowed is true or false"),
        (["model.depth=abc"], r"^wrong value model\.depth=abc; allowed is an integer"),
        (["model.norm_eps=abc"], r"^wrong value model\.norm_eps=abc; allowed is a number"),
    ],
)
def test_a_knob_of_the_wrong_type_is_named(overrides, message):
    with pytest.raises(ConfigError, match=message):
        attnlab.build(attnlab.config(overrides))


def test_a_key_that_nobody_reads_is_refused():
    for override, message in (
        ("+attention.depth=3", r"unknown key attention\.depth; .*allowed are attention\.bias, "),
        ("+model.width=3", r"unknown key model\.width; "),
        ("+head.width=3", r"unknown key head\.width"),
    ):
        with pytest.raises(ConfigError, match=message):
            attnlab.build(attnlab.config(["attention=se", override]))
    with pytest.raises(ConfigError, match=r"^unknown key recipe\.speed; .*allowed are "):
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
        assert "n_jobs: null          # jobs of a sweep at a time" in done.stdout
    else:
        assert OmegaConf.create(done.stdout).attention._target_ == "torch.nn.Identity"


def cpu_seconds(*arguments):
    """CPU time of a Python process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.parametrize("option", [["--help"], ["--cfg", "job"]])
def test_help_and_cfg_cost_at_most_three_imports_of_hydra(option):
    """Each is the least of three in turn: what the machine does besides, and its clock, do not count."""
    rounds = [(cpu_seconds("-c", "import hydra"), cpu_seconds("-m", "attnlab.run", *option)) for _ in range(3)]
    bare, ours = map(min, zip(*rounds, strict=True))
    assert ours < 3 * bare


@pytest.mark.parametrize("choice", removed.CHOICES)
def test_a_removed_choice_names_what_replaces_it(choice):
    group, name = choice.split("=")
    assert unknown_choice(group, name) == f"removed choice {choice}; use {removed.CHOICES[choice]}"


def test_a_saved_config_may_hold_a_key_of_an_older_version():
    values = plain(attnlab.config([]))
    check(values | {"machine": values["machine"] | {"strategy": "auto"}})


def test_a_checked_config_is_not_checked_again():
    values = check(attnlab.config([]))
    assert check(values) is values
    changed = values | {"seed": -1}
    with pytest.raises(ConfigError, match=r"^wrong value seed=-1; "):
        check(changed)


def test_a_group_that_is_null_is_one_message():
    with pytest.raises(ConfigError, match=r"^unknown choice head=null; allowed are csra, ltpa, linear, "):
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


def test_the_message_about_schedules_names_them_all():
    own = {name for name, found in vars(schedules).items() if getattr(found, "__module__", "") == schedules.__name__}
    assert set(re.findall(r"attnlab\.schedules\.(\w+)", SCHEDULES)) == own
