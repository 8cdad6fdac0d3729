"""README and docs/: links and anchors resolve, commands are accepted, and the code of the pages runs.

Files of docs/extending.md are written to a package outside the checkout, and attnlab builds and trains with them.
"""

import ast
import csv
import os
import re
import shlex
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest
import torch
import yaml
from conftest import TINY
from warm import warm

import attnlab
from attnlab.bench import COMMANDS
from attnlab.configuration.compose import compose_file, config
from attnlab.errors import ConfigError
from attnlab.launch.print_configs import configs

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
EXTENDING = ROOT / "docs" / "extending.md"
NO_RUN = "0123456789ab"
PLACEHOLDERS = {"ID": NO_RUN, "NAME": "demo", "TEAM": "team", "DIR": "images"}
#: what is tried at the door itself, by a dry run; other commands are composed here
AT_THE_DOOR = {"--help", "--cfg", "--config-dir"}
#: programs of others, whose arguments are not checked here
OTHERS = ("export", "wandb", "eval")


def choices(group: str) -> list[str]:
    return [path.stem for path in (ROOT / "conf" / group).glob("*.yaml")]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def prose(page: Path) -> str:
    """The page without its code."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"^    .*$", "", text, flags=re.MULTILINE)


def files_of(page: Path) -> dict[str, str]:
    """{path: content} of every block that follows a line with only its path: `mylab/energy.py`:"""
    return dict(re.findall(r"`([\w/]+\.\w+)`:\n\n```\w+\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL))


@cache
def anchors(page: Path) -> set[str]:
    """Of the headings, as GitHub makes them."""
    headings = re.findall(r"^#+ +(.+)$", prose(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_resolve(page):
    links = re.findall(r"\]\(([^)\s]+)\)", prose(page))
    assert links
    for link in links:
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.is_relative_to(ROOT), link
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_page_is_linked_from_the_readme():
    links = set(re.findall(r"\]\(([^)#\s]+)", (ROOT / "README.md").read_text()))
    assert {f"docs/{page.name}" for page in PAGES if page != ROOT / "README.md"} <= links


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_lines_are_short(page):
    """Prose and files; a row of a table or a command may be long."""
    text = prose(page) + "".join(files_of(page).values())
    assert [line for line in text.splitlines() if len(line) > 120 and not line.startswith(("|", "!["))] == []


# ------------------------------------------------------------------------------------------------------------ commands


def commands() -> list[tuple[str, list[str]]]:
    """(page, arguments) of every command of a `sh` block, each once; its trailing comment is left out."""
    found: dict[tuple[str, ...], str] = {}
    for page in PAGES:
        for block in blocks(page, "sh"):
            for line in block.replace("\\\n", " ").splitlines():
                if words := shlex.split(line, comments=True):
                    found.setdefault(tuple(words), page.stem)
    return [(page, list(words)) for words, page in found.items()]


def filled(word: str) -> str:
    """The word with a value for each placeholder, and two choices for all: that each composes is tested elsewhere."""
    word = word.replace("glob(*)", "none,se")
    return re.sub(r"\b(ID|NAME|TEAM|DIR)\b", lambda found: PLACEHOLDERS[found[0]], word)


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A folder outside the checkout with the files of docs/extending.md and a tree of images."""
    folder = tmp_path_factory.mktemp("lab")
    for path, text in files_of(EXTENDING).items():
        if not path.startswith("conf/"):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)
    (folder / "mylab" / "__init__.py").touch()
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            (folder / "images" / split / name).mkdir(parents=True)
            (folder / "images" / split / name / "1.png").touch()
    return folder


def in_lab(lab, command, *arguments):
    """A door of attnlab, called in the lab's folder."""
    before = Path.cwd()
    os.chdir(lab)
    try:
        path = os.pathsep.join((str(lab), os.environ.get("PYTHONPATH", str(ROOT))))
        environment = os.environ | {"ATTNLAB_TRUST": "mylab", "PYTHONPATH": path}
        return warm([sys.executable, "-m", f"attnlab.{command}", *arguments], env=environment)
    finally:
        os.chdir(before)


def of_doors(*doors):
    """(door, arguments) of every command of some doors."""
    found = []
    for _, words in commands():
        door = next((name for name in doors if f"attnlab.{name}" in words), None)
        if door:
            arguments = words[words.index(f"attnlab.{door}") + 1 :]
            found.append(pytest.param(door, [filled(word) for word in arguments], id=" ".join([door, *arguments])))
    assert found
    return found


def test_every_command_is_one_that_is_checked():
    doors = ("run", "runs", "report", "look", "judge", "evaluate", "bench", "export", "demo")
    for page, words in commands():
        if words[:2] == ["python", "results/lent_machine.py"]:
            assert (ROOT / words[1]).is_file()
            assert [word.partition("=")[0] for word in words[2:4]] == ["seconds", "archives"]
            config(words[4:])
        elif words[0] in ("python", "torchrun"):
            assert "-m" in words, (page, words)
            assert words[words.index("-m") + 1] in {f"attnlab.{door}" for door in doors}, (page, words)
        else:
            assert words[0] in ("make", "pip", *OTHERS), (page, words)


@pytest.mark.parametrize(("door", "arguments"), [c for c in of_doors("run") if set(c.values[1]) & AT_THE_DOOR])
def test_commands_with_options_of_the_door(door, arguments, lab):
    listed = [] if {"--help", "--cfg"} & set(arguments) else ["dry_run=true"]
    done = in_lab(lab, door, *arguments, *listed)
    assert done.returncode == 0, done.stderr
    assert not listed or "would run" in done.stdout


@pytest.mark.parametrize(("door", "arguments"), [c for c in of_doors("run") if not set(c.values[1]) & AT_THE_DOOR])
def test_runs_sweeps_and_tables_compose(door, arguments, lab, monkeypatch):
    """Every job of a sweep; of a table only itself, as the cells of all tables compose in test_shipped_tables.py."""
    monkeypatch.chdir(lab)
    if "table=mine" in arguments:
        arguments = [argument.replace("mine", "demo") for argument in arguments]  # the page's own is tested below
    if "dataset=huggingface" in arguments:
        compose_file("run", arguments)  # unresolved: its classes are read from the pictures
    elif "-m" in arguments or "hparams=lr" in arguments:
        assert list(configs([argument for argument in arguments if argument != "-m"], resolve=False))
    else:
        config(arguments)


@pytest.mark.parametrize(("door", "arguments"), of_doors("runs", "report", "look", "judge", "evaluate", "export"))
def test_other_doors_take_their_arguments(door, arguments, lab):
    """As far as the first record, of which there is none here."""
    if "table=mine" in arguments:
        arguments = ["table=demo"]  # the page's own table is tested below
    done = in_lab(lab, door, *(a for a in arguments if not a.startswith("source=")))
    missing = rf"run={NO_RUN}|no (such )?finished run|none of its (0 recorded )?runs|no run"
    assert done.returncode == 0 or re.search(missing, done.stderr), done.stderr


@pytest.mark.parametrize(("door", "arguments"), of_doors("bench"))
def test_benchmarks_take_their_arguments(door, arguments, lab):
    command, *rest = arguments
    if command == "zoo":
        done = in_lab(lab, door, command, *rest, "attention=none")
        assert done.returncode == 0, done.stderr
    elif command == "same":
        assert "A" in in_lab(lab, door, command, *rest).stderr
    else:
        assert command in (*COMMANDS, "gpu")
        done = in_lab(lab, door, command, *rest, "repeats=0")  # refused, once everything else was accepted
        assert "repeats=0" in done.stderr


def test_make_and_pip():
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for _, words in commands():
        if words[0] == "make":
            assert set(words[1:]) <= set(targets), words
        for names in re.findall(r"\[([\w,]+)\]", words[-1]) if words[0] == "pip" else ():
            assert set(names.split(",")) <= set(extras), words


# ---------------------------------------------------------------------------------------------------- what pages state


def test_the_groups_list_every_choice():
    """Of the groups that running.md, attentions.md and tables.md enumerate."""
    text = "".join(page.read_text() for page in PAGES)
    named = set(re.findall(r"`([\w./=\\|-]+)`", text)) | set(re.findall(r"^\| (\w+) \|", text, flags=re.MULTILINE))
    for group in ("attention/mask", "dataset", "recipe", "experiment", "launcher", "machine", "tracker", "head"):
        assert set(choices(group)) <= named, group
    assert {name for name in choices("attention") if "_laakom" not in name} <= named
    mentioned = re.search(r"^\| `recipe` \| (.*) \|$", text, flags=re.MULTILINE)[1]
    assert set(re.findall(r"`(\w+)`", mentioned)) == set(choices("recipe"))


def test_the_menu_is_the_golden_one():
    with (ROOT / "tests" / "golden" / "attention_costs.csv").open(newline="") as file:
        golden = {row["attention"]: row for row in csv.DictReader(file) if row["model"] == "resnet20"}
    page = (ROOT / "docs" / "attentions.md").read_text()
    menu = re.findall(r"^\| (\w+) \| \w+ \| (?:yes|no) \| \w+ \| ([-\d,]+) \| ([-\d,]+) \|", page, flags=re.MULTILINE)
    assert {name for name, *_ in menu} == {name for name in choices("attention") if "_laakom" not in name} - {"none"}
    for name, parameters, macs in menu:
        assert golden[name]["parameters"] == parameters.replace(",", ""), name
        assert golden[name]["MACs"] == macs.replace(",", ""), name


def test_every_shipped_table_is_listed():
    page = (ROOT / "docs" / "tables.md").read_text()
    listed = set(re.findall(r"`(\w+)`", page.split("## The shipped tables")[1].split("\n## ")[0]))
    shared = "_cifar"  # `se_ratio_cifar`, ...: the tables of se_ratio and its like for one GPU
    assert listed <= set(choices("table"))
    assert {name for name in choices("table") if not name.endswith(shared)} <= listed


def test_the_result_of_the_readme_is_that_of_the_report():
    """tests/tables/test_summary.py holds both against the records."""
    answer = re.compile(r"ResNet-8 was trained for .+? SE is undecided\.")
    front, report = (
        answer.search(" ".join((ROOT / page).read_text().split()))[0] for page in ("README.md", "results/README.md")
    )
    assert front == report


#: underscored names that are no private API of a library: os._exit, the fields of ast and of named tuples
PUBLIC = {"_exit", "_fields", "_replace"}


def private_names() -> dict[str, str]:
    """{private name of a library: a file that uses it}: underscored attributes that attnlab itself does not define, and
    what is imported from an underscored module, or is underscored itself."""
    used, own = {}, set(PUBLIC)
    for path in Path(attnlab.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                own.add(node.name)
            elif isinstance(node, ast.Attribute | ast.Name) and isinstance(node.ctx, ast.Store):
                own.add(node.attr if isinstance(node, ast.Attribute) else node.id)
            elif isinstance(node, ast.Attribute) and re.match("_[^_]", node.attr):
                used[node.attr] = path.name
            elif isinstance(node, ast.ImportFrom) and not str(node.module).startswith("attnlab"):
                hidden = "._" in str(node.module)
                used |= {alias.name: path.name for alias in node.names if hidden or re.match("_[^_]", alias.name)}
    return {name: file for name, file in used.items() if name not in own}


def test_every_private_name_is_listed():
    section = (ROOT / "docs" / "architecture.md").read_text().split("## Private APIs")[1]
    found = private_names()
    assert "_data_fetcher" in found  # the search works
    assert {name: file for name, file in found.items() if name not in section} == {}


# ---------------------------------------------------------------------------------------------------- code of the pages


def test_the_python_of_the_readme(tmp_path, monkeypatch):
    """As written: modules, a network that takes one; and the attention to add, from its two files."""
    names: dict = {}
    use = next(block for block in blocks(ROOT / "README.md", "python") if "insert_attention" in block)
    exec(use, names)
    assert names["net"](torch.rand(2, 3, 32, 32)).shape == (2, 1000)
    assert len(attnlab.remove_attention(names["net"])) == 8
    for module in ("gate", "inverse"):
        assert names[module](torch.rand(2, 64, 8, 8)).shape == (2, 64, 8, 8)
    expression = re.search(r"`(attnlab\.build\(.*?\))` builds", (ROOT / "README.md").read_text())[1]
    assert eval(expression, names)(torch.rand(2, 3, 32, 32)).shape == (2, 10)
    files = files_of(ROOT / "README.md")
    exec(files["attnlab/attention/energy.py"], names)
    assert names["Energy"](6, scale=0.5)(torch.rand(2, 6, 4, 4)).shape == (2, 6, 1, 1)
    assert "_target_: attnlab.attention.energy.Energy" in files["conf/attention/energy.yaml"]


def test_the_python_of_running(tmp_path, monkeypatch):
    """As written, on few images."""
    monkeypatch.chdir(tmp_path)
    (block,) = blocks(ROOT / "docs" / "running.md", "python")
    short = repr(["attention=cbam", *TINY, "recipe.epochs=1"])
    assert '["attention=cbam", "model=resnet20"]' in block
    names: dict = {}
    exec(block.replace('["attention=cbam", "model=resnet20"]', short), names)
    assert list(names["table"]["id"]) == [names["record"]["id"]]
    assert len(names["seen"].label) == 100


def test_the_python_of_your_own_net():
    """As written, one block after the other."""
    names: dict = {}
    for block in blocks(ROOT / "docs" / "your_own_net.md", "python"):
        exec(block, names)
    assert names["y"].shape == (2, 64, 56, 56)
    assert names["one"].m.shape == (4, 1, 16, 16)
    assert len(names["maps"]) == 8
    assert {name: maps.shape for name, maps in names["cams"].items()} == {
        "gradcam": (4, 64, 64),
        "hirescam": (4, 64, 64),
    }


SHORT = ["recipe.epochs=1", "tracker=csv", "model=resnet8", "dataset.train_size=400", "dataset.test_size=100"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["attention=energy", "attention/mask=ignore", "recipe.validation.images=100", *SHORT],
        ["attention=shuffle", "recipe.validation.images=100", *SHORT],
        [
            "model=own",
            "model.net._target_=mylab.small_net.SmallNet",
            "attention=se",
            "attention.after=bn*",
            "attention.reduction=4",
            "recipe.validation.images=100",
            *(part for part in SHORT if "model=" not in part),
        ],
        ["model=plain_net", "dataset=stripes", "recipe=ours", "attention=se", *SHORT[:2]],
    ],
    ids=["score", "module", "logits", "backbone, dataset and recipe"],
)
def test_files_of_extending_train(arguments, lab):
    done = in_lab(lab, "run", "--config-dir", "lab_conf", *arguments)
    assert done.returncode == 0, done.stderr
    assert "finished, test error" in done.stdout


@pytest.fixture
def mylab(lab, monkeypatch):
    """The package of the page, importable here; {its short name: a class}."""
    monkeypatch.syspath_prepend(str(lab))
    monkeypatch.setenv("ATTNLAB_TRUST", "mylab")
    from mylab import plain_net, shuffle_attention

    yield plain_net.PlainNet, shuffle_attention.ShuffleAttention
    for name in [name for name in sys.modules if name.split(".")[0] == "mylab"]:
        del sys.modules[name]


def test_shuffle_attention_is_the_papers(mylab):
    """Each half of a group by itself, in a loop; then the shuffle by index."""
    torch.manual_seed(0)
    module = mylab[1](16, groups=2)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    x = torch.randn(3, 16, 5, 5)
    parts = []
    for group in x.split(8, dim=1):
        a, b = group[:, :4], group[:, 4:]
        channel = module.channel_weight * a.mean((2, 3), keepdim=True) + module.channel_bias
        normed = (b - b.mean((2, 3), keepdim=True)) / (b.var((2, 3), unbiased=False, keepdim=True) + 1e-5).sqrt()
        normed = normed * module.norm.weight[:, None, None] + module.norm.bias[:, None, None]
        parts += [a * channel.sigmoid(), b * (module.spatial_weight * normed + module.spatial_bias).sigmoid()]
    y = torch.cat(parts, dim=1)
    shuffled = y[:, [8 * half + i for i in range(8) for half in (0, 1)]]
    assert torch.allclose(module(x), shuffled, atol=1e-5)
    with pytest.raises(ConfigError, match="groups=3"):
        mylab[1](16, groups=3)


def test_the_messages_of_a_backbone(mylab, monkeypatch):
    """Each message in the page's table, made by the mistake that the table names."""
    plain_net, page = mylab[0], EXTENDING.read_text()
    listed = re.findall(r"^\| `([^`]+)` \|", page.split("| message | means |")[1].split("\n\n")[0], re.MULTILINE)

    def without(*known):
        class Forgetful(plain_net):
            def __init__(self, *, width=16, slot=None):
                def forget(place, channels, **rest):
                    return slot(place, channels, **{k: v for k, v in rest.items() if k not in known})

                super().__init__(width=width, slot=forget)

        return Forgetful

    class NoSlot(plain_net):
        def __init__(self, *, width=16):
            super().__init__(width=width)

    class NoChannels(plain_net):
        def __init__(self, *, width=16, slot=None):
            super().__init__(width=width, slot=slot)
            del self.channels

    sys.modules["mylab.plain_net"].NoSlot = NoSlot
    sys.modules["mylab.plain_net"].NoChannels = NoChannels
    sys.modules["mylab.plain_net"].NoStage = without("stage")
    sys.modules["mylab.plain_net"].NoSize = without("downsampling")
    others = [getattr(sys.modules["mylab.plain_net"], name) for name in ("NoStage", "NoSize")]
    for made in (NoSlot, NoChannels, *others):
        made.__module__ = "mylab.plain_net"
    target = "model._target_=mylab.plain_net."
    mistakes = [
        [f"{target}PlainNet", "attention=se", "attention.place=pre"],
        [f"{target}NoSlot", "attention=se"],
        [f"{target}NoStage", "attention=se"],
        [f"{target}PlainNet", "attention=se", "attention.stages=[4]"],
        [f"{target}NoSize", "attention=ge_theta"],
        [f"{target}NoChannels", "attention=se"],
        [f"{target}PlainNet", "model.width=0"],
    ]
    messages = []
    for overrides in mistakes:
        others = ["depth", "shortcut", "bias", "norm_eps", "norm_momentum"]
        cfg = attnlab.config(["+model.width=16", *(f"~model.{key}" for key in others), *overrides])
        with pytest.raises(ConfigError) as error:
            attnlab.build(cfg)
        messages.append(str(error.value))
    assert len(listed) == len(messages)
    for quoted, message in zip(listed, messages, strict=True):
        assert quoted in message


def test_the_table_of_extending(lab):
    """It is read from one's own folder, with one's own attention, and its runs are listed."""
    declared = yaml.safe_load(files_of(EXTENDING)["lab_conf/table/mine.yaml"])["table"]
    cells = len(declared["rows"]) * len(declared["columns"])
    done = in_lab(lab, "run", "--config-dir", "lab_conf", "table=mine", "dry_run=true")
    assert done.returncode == 0, done.stderr
    assert f"table mine: {cells} cells, {cells * len(declared['seeds'])} runs" in done.stdout
    assert "attention=energy model=resnet56" in done.stdout
