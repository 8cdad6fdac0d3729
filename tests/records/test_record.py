"""Records: which are valid, and the messages about the others."""

import json

import pytest
import synthetic
import yaml
from synthetic import record

import attnlab
from attnlab.configuration.compose import check
from attnlab.configuration.identity import run_id
from attnlab.errors import ConfigError
from attnlab.records.record import gather, read_config, read_record, seal
from attnlab.run import state
from attnlab.tables.frames import load_results


@pytest.fixture
def written(tmp_path):
    def write(content, name=None, folder="outputs"):
        return synthetic.write(tmp_path / folder, content, name)

    return write


def test_a_whole_record_is_believed(written, tmp_path):
    good = record()
    written(good)
    assert gather(tmp_path / "outputs") == ([good], [])


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda r: json.dumps(r)[:-40], "cannot be read as a record"),
        (lambda r: "[1]", "is not a record: it lacks checksum, commit, config"),
        (lambda r: {name: item for name, item in r.items() if name != "checksum"}, "it lacks checksum"),
        (lambda r: r | {"metrics": {"test/top1_error": 1.0}}, "was changed after it was written"),
        (lambda r: seal(r | {"config": r["config"] | {"seed": 5}}), "its config is that of run"),
        (lambda r: seal(r | {"config": {"seed": 5}}), "its config is not valid"),
        (lambda r: seal(r | {"config": "x"}), "its config is not valid"),
        (lambda r: seal(r | {"config": dict.fromkeys(r["config"], "x")}), "its config is not valid"),
        (lambda r: seal(r | {"id": "0123456789ab"}), "is the record of 0123456789ab"),
        (lambda r: "[" * 100_000, "cannot be read as a record"),
        (lambda r: json.dumps(r)[:-1] + ', "deep": ' + "[" * 900 + "]" * 900 + "}", "is not a record"),
        (lambda r: seal(r | {"metrics": None}), "is not a record: metrics=None, allowed is a mapping"),
        (
            lambda r: seal(r | {"metrics": r["metrics"] | {"test/top1_error": "x"}}),
            "is not a record: metrics.test/top1_error='x', allowed is a number",
        ),
        (lambda r: seal(r | {"metrics": {"test/top1_error": 1.0, "other": []}}), "metrics.other=[], allowed is"),
        (lambda r: seal(r | {"metrics": {"test/top1_error": float("nan")}}), "metrics.test/top1_error=nan"),
        (lambda r: seal(r | {"metrics": {}}), "metrics.test/top1_error=None, allowed is a number"),
        (lambda r: seal(r | {"versions": {}}), "versions.torch=None, allowed is a text"),
        (lambda r: seal(r | {"params": 10**400}), "params=1000"),
        (lambda r: seal(r | {"seconds": None}), "seconds=None, allowed is a number"),
        (lambda r: seal(r | {"seconds": True}), "seconds=True, allowed is a number"),
        (lambda r: seal(r | {"commit": 5}), "commit=5, allowed is a text or null"),
        (lambda r: seal(r | {"device": {}}), "device={}, allowed is a text"),
        (lambda r: seal(r | {"finished": 5}), "finished=5, allowed is a text or null"),
    ],
)
def test_what_cannot_be_believed_is_left_out_and_named(written, tmp_path, damage, reason):
    good, bad = record(), record(["seed=1"])
    written(good)
    path = written(damage(bad), bad["id"])
    before = path.read_bytes()
    found, left_out = gather(tmp_path / "outputs")
    assert found == [good]
    assert len(left_out) == 1
    assert left_out[0].startswith(f"{path}: ")
    assert reason in left_out[0]
    assert path.read_bytes() == before
    with pytest.warns(UserWarning, match=bad["id"]) as warned:
        assert load_results(tmp_path / "outputs").id.tolist() == [good["id"]]
    assert warned[0].filename == __file__  # the caller's line


def test_a_record_of_another_kind_fails_its_run_in_one_line(written, tmp_path):
    bad = record()
    written(seal(bad | {"metrics": {"test/top1_error": "x"}}))
    with pytest.raises(ConfigError, match=r"^\w+/result\.json is not a record: .*; force=true puts it aside"):
        attnlab.train(attnlab.config([f"output_dir={tmp_path / 'outputs'}"]))


@pytest.mark.parametrize("damage", [b'{"id": "', b"\x80\x81", b"[" * 100_000])
def test_a_record_that_cannot_be_read_says_how_to_go_on(written, tmp_path, damage):
    cfg = attnlab.config([f"output_dir={tmp_path / 'outputs'}"])
    path = written(record())
    path.write_bytes(damage)
    with pytest.raises(ConfigError, match=r"^\w+/result\.json cannot be read \(.*; force=true moves it aside and runs"):
        attnlab.train(cfg)
    with pytest.raises(ConfigError, match=r"^run=\w+: its result\.json cannot be read \(.*\)$"):
        read_record(path.parent, key="run")
    assert state(check(attnlab.config([f"output_dir={tmp_path / 'outputs'}", "force=true"]))).endswith("would run")


ALIASES = "it has a YAML alias, which attnlab never writes"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("dataset: &a [*a]\n", ALIASES),
        ("a0: &a0 x\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 6)), ALIASES),
        ("dataset: " + "[" * 5000, "maximum recursion depth exceeded"),
    ],
)
def test_a_config_that_would_not_end_is_refused_in_one_line(tmp_path, text, reason):
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(ConfigError) as told:
        read_config(tmp_path, key="start_from")
    assert str(told.value).startswith(f"start_from={tmp_path.name}: its config.yaml cannot be read ({reason}")
    assert "\n" not in str(told.value)


def test_a_config_is_read_anew_and_belongs_to_its_reader(tmp_path):
    """Its text is parsed once; a caller's change of the values, or of the file, must still count."""
    values = record()["config"]
    folder = tmp_path / run_id(values)
    folder.mkdir()
    (folder / "config.yaml").write_text(yaml.safe_dump(values))
    first = read_config(folder)
    first["model"]["_target_"] = first["seed"] = "changed"
    assert read_config(folder) == yaml.safe_load((folder / "config.yaml").read_text())
    (folder / "config.yaml").write_text(yaml.safe_dump(values | {"seed": 7}))
    with pytest.raises(ConfigError, match=r"its config\.yaml was edited"):
        read_config(folder)


def test_of_two_results_of_one_run_none_counts(written, tmp_path):
    mine, theirs, other = record(error=20.0), record(error=30.0), record(["seed=1"])
    paths = [written(mine), written(theirs, folder="results")]
    written(other)
    found, left_out = gather(tmp_path / "outputs", tmp_path / "results")
    assert found == [other]
    assert left_out == [
        f"{paths[0]} (test/top1_error 20.0) and {paths[1]} (test/top1_error 30.0): are records of one run, "
        f"{mine['id']}, that differ; neither is used until source={tmp_path / 'outputs'} or "
        f"source={tmp_path / 'results'} chooses"
    ]
    assert gather(tmp_path / "results", tmp_path / "results") == ([theirs], [])
    (tmp_path / "outputs" / other["id"] / "result.json").unlink()
    again = seal(mine | {"finished": "2026-11-21", "seconds": 12.0})
    written(again, folder="results")
    assert gather(tmp_path / "outputs", tmp_path / "results") == ([again], [])  # run again, to the same end
