"""A table's declaration: what it expands to, what an argument selects, what is refused."""

import pytest
from omegaconf import OmegaConf
from synthetic import record, write

import attnlab
from attnlab.configuration.identity import run_id
from attnlab.errors import ConfigError
from attnlab.launch.table_jobs import jobs
from attnlab.tables.grid import read_grid
from attnlab.tables.progress import duration, progress_of
from attnlab.tables.spec import check_table

ROWS = {"none": ["attention=none"], "SE": ["attention=se"]}


def table(**other):
    return {"rows": ROWS, "seeds": [0, 1]} | other


def demo(*arguments):
    return read_grid(["table=demo", *arguments])


def test_a_grid_is_rows_by_columns_by_seeds():
    grid = demo()
    assert grid.rows == ("none", "SE", "ISE", "CBAM", "ICBAM")
    assert (grid.columns, grid.seeds, grid.changed) == (("",), (0, 1, 2), ())
    plain = attnlab.config(["experiment=demo", "attention=se", "attention.reduction=4", "seed=1"])
    assert grid.cells[1].run_id(1) == run_id(plain)  # `table` is no part of a run's id: tables share runs


@pytest.mark.parametrize(
    ("arguments", "rows", "seeds"),
    [
        (["attention=se,cbam"], ("SE", "CBAM"), (0, 1, 2)),
        (["attention=glob(i*)", "seed=1"], ("ISE", "ICBAM"), (1,)),
        (["attention=se", "seed=0,1"], ("SE",), (0, 1)),
        (["table.seeds=[3,4,5]", "seed=range(3,5)"], ("none", "SE", "ISE", "CBAM", "ICBAM"), (3, 4)),
    ],
)
def test_an_argument_on_a_key_that_the_table_sets_selects(arguments, rows, seeds):
    grid = demo(*arguments)
    assert (grid.rows, grid.seeds, grid.run_overrides) == (rows, seeds, ())
    assert grid.changed == tuple(argument for argument in arguments if argument.startswith("table."))


@pytest.mark.parametrize(
    ("arguments", "rows"),
    [
        (["table=se_ratio_cifar", "attention.reduction=8"], ("r = 8",)),
        (["table=se_ratio_cifar", "attention.reduction=16,32"], ("r = 16", "r = 32")),
        (["table=se_placement_cifar", "attention.place=branch"], ("SE",)),
        (["table=se_placement_cifar", "attention.place=pre,branch", "attention.bias=False"], ("SE", "SE-PRE")),
        (["table=se_placement_cifar", "attention='se'", 'attention.place="inner"'], ("SE 3x3",)),
        (
            ["table=ltpa_cifar10", "head=ltpa_jetley", "head.levels=1", "model=vgg_jetley"],
            ("att1 concat pc", "att1 concat dp"),
        ),
    ],
)
def test_a_row_is_found_by_what_it_has_whether_or_not_it_says_so(arguments, rows):
    grid = read_grid(arguments)
    assert grid.rows == rows
    assert grid.changed == ()


def test_any_other_argument_changes_every_cell():
    grid = demo("recipe.epochs=1", "machine=cpu", "output_dir=somewhere")
    assert grid.changed == ("recipe.epochs=1",)
    assert grid.run_overrides == ("recipe.epochs=1", "machine=cpu", "output_dir=somewhere")
    assert all(cell.config["recipe"]["epochs"] == 1 for cell in grid.cells)
    for same in ("dataset.cache=null", "machine.threads=1", "recipe.epochs=2"):
        assert demo("attention=none", same).changed == (), same  # nothing else is learnt
    assert demo("attention=se", "attention.place=branch").changed == ()


def test_a_row_without_attention_leaves_out_the_keys_of_attention_that_other_rows_have():
    grid = demo("attention.place=pre", "recipe.epochs=1")
    assert [cell.run_overrides for cell in grid.cells] == [("recipe.epochs=1",), *[grid.run_overrides] * 4]
    assert grid.cells[0].run_id(0) == run_id(attnlab.config(["experiment=demo", "recipe.epochs=1"]))
    se = attnlab.config(
        ["experiment=demo", "recipe.epochs=1", "attention=se", "attention.reduction=4", "attention.place=pre"]
    )
    assert grid.cells[1].run_id(0) == run_id(se)
    assert demo("attention=none", "attention.place=pre").cells[0].run_overrides == ()  # other rows of the table have it
    with pytest.raises(ConfigError, match=r"^table=demo, row SE: unknown key attention\.plac; did you mean"):
        demo("attention.plac=pre")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["attention=eca"], r"attention=eca: not in table=demo, which has cbam, icbam, ise, none, se"),
        (["seed=7"], r"seed=7: not in table=demo, which has 0, 1, 2; table\.seeds=\[\.\.\.\] sets others"),
        (["recipe.epochs=1,2"], r"recipe\.epochs=1,2: several values; a table allows one"),
        (["experiment=demo"], r"experiment=demo with table=demo: the table decides what runs"),
        (["table.seeds=[0,0]"], r"table\.seeds=\[0, 0\]: seed 0 is listed twice"),
        (["table.seeds=[-1]"], r"table\.seeds=\[-1\]; allowed is a list of integers from 0"),
        (["+table.baseline=non"], r"table\.baseline: non: unknown row; the table has none, SE"),
        (["recipe.epoch=1"], r"unknown key recipe\.epoch; "),
        (["table=demo"], r"not one table: table=demo table=demo; allowed is one, table=NAME"),
        (["+table.colour=red"], r"table\.colour: no such key"),
        (["attention=SE"], r"attention=SE: not in table=demo, which has cbam"),
        (["hydra/sweeper=basic"], r"hydra/sweeper=basic with table=demo"),
        (
            ["table.metrics=[val/top1_error]"],
            r"table\.metrics=\['val/top1_error'\]; allowed is a list; the first gets verdicts",
        ),
        (["table.metrics=[]"], r"table\.metrics=\[\]; allowed"),
        (["table.metrics=test/top1_error"], r"table\.metrics=test/top1_error; allowed is a list"),
        (["table.title=[1]"], r"table\.title=\[1\]; allowed is a text"),
        (["table.about=x"], r"table\.about=x; allowed is a mapping"),
        (["+table.paper=x"], r"table\.paper=x; allowed is a mapping"),
        (["+table.same=[none]"], r"table\.same=\['none'\]; allowed is a list of lists"),
    ],
)
def test_a_wrong_argument_is_one_message(arguments, message):
    with pytest.raises(ConfigError, match=message):
        demo(*arguments)


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        (None, r"table\.rows is missing"),
        (table(rows=None), r"table\.rows is missing"),
        (table(rows={"SE": None}), r"table\.rows is missing"),
        (table(rows={"SE": "attention=se"}), r"table\.rows\.SE=attention=se; allowed is a list of overrides"),
        (table(columns=["a"]), r"table\.columns=\['a'\]; allowed is \{label: \[overrides\]\}"),
        (table(seeds=None), r"table\.seeds=None"),
        (table(same=[["none", "ISE"]]), r"table\.same: ISE: unknown row"),
        (table(paper={"test/loss": {"gives": "error"}}), r"paper\.test/loss\.source: missing"),
        (
            table(paper={"test/loss": {"source": "Table 1", "gives": "loss", "chosen": "last"}}),
            r"paper\.test/loss\.gives=loss; allowed are error, accuracy",
        ),
        (
            table(paper={"test/loss": {"source": "Table 1", "gives": "error", "chosen": "last", "margin": -1}}),
            r"wrong value table\.paper\.test/loss\.margin=-1; allowed is a number above 0",
        ),
        (
            table(
                paper={"test/loss": {"source": "Table 1", "gives": "error", "chosen": "last", "values": {"ECA": 7.5}}}
            ),
            r"table\.paper\.test/loss: ECA: unknown; rows are none, SE",
        ),
        (
            table(
                paper={
                    "test/loss": {"source": "Table 1", "gives": "error", "chosen": "last", "values": {"SE": "about 7"}}
                }
            ),
            r"SE, : about 7; allowed are 92\.33, 92\.33 ± 0\.19, null",
        ),
    ],
)
def test_a_wrong_declaration_is_one_message(declared, message):
    with pytest.raises(ConfigError, match=message):
        check_table("mine", declared)


@pytest.fixture
def mine(monkeypatch):
    """A function: reads table=demo as if it declared something else."""

    def read(declared, *arguments):
        import attnlab.tables.grid

        real = attnlab.tables.grid.compose_file

        def composed(name, overrides):
            cfg = real(name, overrides)
            OmegaConf.set_struct(cfg, False)
            cfg.table = declared
            return cfg

        monkeypatch.setattr(attnlab.tables.grid, "compose_file", composed)
        return demo(*arguments)

    return read


def test_rows_that_are_one_run_must_be_declared_the_same(mine):
    rows = ROWS | {"SE again": ["attention=se", "attention/mask=attend"]}
    with pytest.raises(ConfigError, match=r"SE and SE again are the same runs; .* add their rows to table\.same"):
        mine(table(rows=rows))
    grid = mine(table(rows=rows, same=[["SE", "SE again"]]))
    assert len(grid.run_ids) == 6
    assert len(progress_of(grid, []).to_do) == 4


def test_a_row_and_a_column_set_no_key_twice(mine):
    with pytest.raises(ConfigError, match=r"row none and column B both set attention"):
        mine(table(columns={"A": ["model=resnet8"], "B": ["attention=se"]}))


def test_the_jobs_are_what_is_missing_seed_by_seed(tmp_path, capsys):
    cfg = attnlab.config([f"output_dir={tmp_path}", "n_jobs=1"])
    arguments = ["table=demo", "attention=none,se", f"output_dir={tmp_path}"]
    overrides = jobs(arguments, cfg)
    rows = (["attention=none"], ["attention=se", "attention.reduction=4"])
    assert [o[2:-1] for o in overrides] == [[*row, f"seed={seed}"] for seed in (0, 1, 2) for row in rows]
    assert all(o[:2] == ["table=demo", "hydra.mode=RUN"] and o[-1:] == arguments[2:] for o in overrides)
    assert (
        "table demo: 2 cells, 6 runs, 0 done, 6 to do; how long a run takes here is not known"
        in capsys.readouterr().out
    )
    write(tmp_path, record(["experiment=demo", "attention=none"], seconds=100.0))
    write(tmp_path, record(["experiment=demo", "attention=se", "attention.reduction=4", "seed=1"], seconds=200.0))
    overrides = jobs(arguments, cfg)
    missing = [(rows[1], 0), (rows[0], 1), (rows[0], 2), (rows[1], 2)]
    assert [o[2:-1] for o in overrides] == [[*row, f"seed={seed}"] for row, seed in missing]
    assert "6 runs, 2 done, 4 to do, about 10 min" in capsys.readouterr().out  # each cell as its other seed
    cfg.force = True
    assert len(jobs([*arguments, "force=true"], cfg)) == 6


def test_durations():
    assert [duration(s) for s in (4, 89, 120, 7199, 7200, 172799, 864000)] == [
        "4 s", "89 s", "2 min", "120 min", "2.0 h", "48.0 h", "10.0 days",
    ]  # fmt: skip
