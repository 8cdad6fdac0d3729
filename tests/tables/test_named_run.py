"""run=... names one finished run: by the start of its id, as the last one, or by its values."""

import json
import sys

import pytest
import synthetic
from warm import warm

import attnlab
from attnlab.configuration.identity import run_id
from attnlab.errors import ConfigError
from attnlab.records.record import find_run
from attnlab.tables.named_run import named_run, with_parents


@pytest.fixture
def ids(tmp_path):
    """{words: id} of finished runs; that of `se 0` finished last."""
    found = {}
    for day, words in enumerate(("none 0", "se 1", "ise 0", "se 0")):
        attention, seed = words.split()
        made = synthetic.record([f"attention={attention}", f"seed={seed}"], finished=f"2026-01-0{day + 1}T00:00:00")
        synthetic.write(tmp_path, made)
        found[words] = made["id"]
    return found


def test_each_way_to_name_a_run(ids, tmp_path):
    assert named_run(ids["se 1"], tmp_path) == ids["se 1"]
    assert named_run(ids["se 1"][:7], tmp_path) == ids["se 1"]
    assert named_run("last", tmp_path) == find_run("last", tmp_path).name == ids["se 0"]
    assert named_run("attention=se seed=1", tmp_path) == ids["se 1"]
    assert named_run("attention=ise", tmp_path) == ids["ise 0"]
    assert named_run("attention=se attention/mask=ignore seed=0", tmp_path) == ids["ise 0"]
    assert named_run("attention.stages=null attention=none", tmp_path) == ids["none 0"]
    small = synthetic.record(["attention=cbam", "dataset.train_size=400", "attention.reduction=4"])
    synthetic.write(tmp_path, small)
    assert named_run("attention=cbam dataset=cluttered_digits", tmp_path) == small["id"]  # by its name


def test_a_printed_name_names_its_run(ids, tmp_path):
    more = {
        words: synthetic.record(words.split())
        for words in (
            "attention=se attention.reduction=8",
            "attention=se recipe.epochs=9 recipe.optimizer.lr=0.0123456",
        )
    }
    for made in more.values():
        synthetic.write(tmp_path, made)
    reduced, longer = (made["id"] for made in more.values())
    for name, run in (
        ("ise resnet20 cluttered_digits seed=0", ids["ise 0"]),
        ("ise seed=0", ids["ise 0"]),  # as narrow lines print it
        ("se reduction=8 resnet20 cluttered_digits seed=0", reduced),
        ("se resnet20 cluttered_digits seed=0 recipe.epochs=2", ids["se 0"]),  # as a list prints it beside the next
        ("se resnet20 cluttered_digits seed=0 recipe.epochs=9", longer),
        ("se resnet20 cluttered_digits seed=0 recipe.optimizer.lr=0.01235", longer),  # numbers have four digits
        (f"none resnet20 cluttered_digits seed=0 ({ids['se 1']})", ids["se 1"]),
        (f"({ids['se 1']})", ids["se 1"]),
    ):
        assert named_run(name, tmp_path) == run, name
    with pytest.raises(ConfigError, match=r"^run=se resnet20 seed=0: fits several runs ") as told:
        named_run("se resnet20 seed=0", tmp_path)
    assert [run in str(told.value) for run in (ids["se 0"], longer, reduced)] == [True, True, False]
    for name in ("se resnet20", "se resnet9 seed=0", "se seed=0 no words"):
        with pytest.raises(
            ConfigError, match=rf"^run={name}: (no such finished run|fits several runs) .*; there are\n"
        ):
            named_run(name, tmp_path)


def test_several_that_fit_are_listed_by_name(ids, tmp_path):
    with pytest.raises(ConfigError) as told:
        named_run("attention=se", tmp_path)
    first, *lines = str(told.value).splitlines()
    assert first == f"run=attention=se: fits several runs in output_dir={tmp_path}; there are"
    assert sorted(lines) == sorted(f"  {ids[f'se {n}']}  se resnet20 cluttered_digits seed={n}" for n in (0, 1))


def test_a_prefix_that_fits_several_lists_those(tmp_path):
    made = [synthetic.record([f"seed={n}"]) for n in range(60)]
    start = next(a["id"][:1] for a in made for b in made if a is not b and a["id"][:1] == b["id"][:1])
    fitting = [record for record in made if record["id"].startswith(start)]
    for record in fitting:
        synthetic.write(tmp_path, record)
    with pytest.raises(ConfigError, match=rf"^run={start}: fits several runs ") as told:
        named_run(start, tmp_path)
    assert all(f"  {record['id']}  none resnet20" in str(told.value) for record in fitting[:1])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("zzz", r"^run=zzz: no such finished run in output_dir=.*; there are\n  \w{12}  \w+ resnet20 "),
        ("", r"^run=: no such finished run "),
        ("attention=cbam", r"^run=attention=cbam: no such finished run in output_dir=.*; there are\n"),
        ("attention=cbma", r"^unknown choice attention=cbma; did you mean cbam\? the runs have ise, none, se$"),
        ("lr=3", r"^lr: cannot select records; did you mean recipe\.optimizer\.lr\?"),
        ("attention='se", r"^cannot parse run=attention='se: No closing quotation; allowed is an id or its first "),
    ],
)
def test_what_names_no_run(ids, tmp_path, name, message):
    with pytest.raises(ConfigError, match=message):
        named_run(name, tmp_path)


def test_where_there_are_none_yet(tmp_path):
    for name in ("last", "0123", "attention=se"):
        with pytest.raises(ConfigError, match=r"no such finished run in output_dir=.*; there are none yet$"):
            named_run(name, tmp_path)


def test_a_run_that_has_not_finished_is_said_to_be_there(ids, tmp_path):
    (tmp_path / "0123456789ab").mkdir()
    (tmp_path / "0123456789ab" / "config.yaml").touch()
    with pytest.raises(ConfigError, match=r"^run=01234567: 0123456789ab has not finished; python -m attnlab\.runs "):
        named_run("01234567", tmp_path)


def test_a_damaged_record_is_no_run_that_values_name(ids, tmp_path):
    path = tmp_path / ids["ise 0"] / "result.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"seconds": 1}))
    with pytest.raises(ConfigError, match="no such finished run"):
        named_run("attention=ise", tmp_path)
    with pytest.raises(ConfigError, match=rf"there are\n(.*\n)*  {ids['ise 0']}(\n|$)"):
        named_run("zzz", tmp_path)


def test_start_from_becomes_the_whole_id(ids, tmp_path):
    where = f"output_dir={tmp_path}"
    for name, words in (("last", "se 0"), (ids["none 0"][:8], "none 0"), ("attention=se seed=1", "se 1")):
        given = ["attention=cbam", f"start_from={name}", where]
        arguments = with_parents(given)
        assert arguments == ["attention=cbam", f"start_from='{ids[words]}'", where]
        assert attnlab.config(arguments).start_from == ids[words]
    both = with_parents([f"start_from={ids['none 0'][:8]},last,null", where])
    assert both[0] == f"start_from='{ids['none 0']}','{ids['se 0']}',null"
    assert with_parents(["start_from=null", where]) == ["start_from=null", where]
    assert with_parents(["start_from=012345678901"]) == ["start_from='012345678901'"]  # its run may be elsewhere
    assert with_parents(["start_from='012345678901'"]) == ["start_from='012345678901'"]
    with pytest.raises(ConfigError, match=r"^start_from=zzz: no such finished run "):
        with_parents(["start_from=zzz", where])


def test_the_command_takes_start_from_by_name(ids, tmp_path):
    """In a single run and in a sweep: the id is that of the whole id of the parent."""
    where = f"output_dir={tmp_path}"
    expected = run_id(attnlab.config(["attention=cbam", f"start_from='{ids['se 0']}'"]))
    for flags in ([], ["-m"]):
        arguments = [*flags, "attention=cbam", "start_from=last", "dry_run=true", where]
        done = warm([sys.executable, "-m", "attnlab.run", *arguments])
        assert done.returncode == 0, done.stderr
        assert expected in done.stdout
