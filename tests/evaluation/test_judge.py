"""attnlab.judge on trained runs: what it writes, what it keeps, what it refuses."""

import json
import shutil

import pytest
from conftest import TINY

import attnlab
from attnlab import judge as judge_door
from attnlab.judge import DEFAULT, judge, judge_chosen_runs, show
from attnlab.machine.processes import map_forked
from attnlab.records.judgement import METRICS, heading, read_judgement, scores, with_judgements
from attnlab.records.record import fault, read_record, seal
from attnlab.tables.grid import read_grid

FAST = ["localisation", "health", "calibration"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder with a run without attention and one with CBAM, of one seed."""
    output_dir = tmp_path_factory.mktemp("judge") / "outputs"
    ids = {}
    for name in ("none", "cbam"):
        cfg = attnlab.config([*TINY, f"attention={name}", f"output_dir={output_dir}"])
        ids[name] = attnlab.train(cfg)["id"]
    return output_dir, ids


def test_every_default_part_is_judged_and_written(runs):
    output_dir, ids = runs
    before = (output_dir / ids["cbam"] / "result.json").read_bytes()
    found = judge(ids["cbam"], output_dir, images=60)
    assert set(found["parts"]) == set(DEFAULT)
    record = read_record(output_dir / ids["cbam"])
    assert read_judgement(output_dir / ids["cbam"], record) == found
    assert (output_dir / ids["cbam"] / "result.json").read_bytes() == before  # never into the record
    assert not fault(record, ids["cbam"])
    for name, one in scores(found).items():
        assert one["beside"] is not None, name  # every score has a reference value
        assert one["meaning"]
        assert f"judge/{name}" in METRICS
        assert heading(f"judge/{name}")
    gates = found["parts"]["health"]["details"]["gates"]
    assert len(gates) == 7  # three channel, three spatial, all
    assert found["parts"]["localisation"]["details"]["control"] == ids["none"]
    assert found["parts"]["localisation"]["settings"]["versions"]["torch"]


@pytest.mark.slow
def test_it_is_reproducible(runs, tmp_path):
    output_dir, ids = runs
    copy = tmp_path / "outputs"
    shutil.copytree(output_dir, copy, ignore=shutil.ignore_patterns("judge.json"))
    parts = [*FAST, "faithfulness", "sanity", "fgsm"]
    first = scores(judge(ids["cbam"], copy, parts, images=40))
    again = scores(judge(ids["cbam"], copy, parts, images=40, force=True))
    assert first == again


def test_what_was_judged_is_not_judged_again(runs, tmp_path):
    output_dir, ids = runs
    copy = tmp_path / "outputs"
    shutil.copytree(output_dir, copy)
    (copy / ids["none"] / "judge.json").unlink(missing_ok=True)
    first = judge(ids["none"], copy, ["calibration"], images=40)
    more = judge(ids["none"], copy, ["calibration", "health"], images=40)
    assert more["parts"]["calibration"] == first["parts"]["calibration"]
    assert more["parts"]["health"]["details"]["gates"] == {}  # no attention, hence no gates; that is not an error
    wider = judge(ids["none"], copy, ["calibration"], images=50)
    assert wider["parts"]["calibration"]["settings"]["asked"] == 50
    assert wider["parts"]["health"] == more["parts"]["health"]  # judging one part keeps the others
    stamp = wider["parts"]["calibration"]["settings"]["finished"]
    forced = judge(ids["none"], copy, ["calibration"], images=50, force=True)
    assert forced["parts"]["calibration"]["settings"]["finished"] >= stamp
    assert forced["parts"]["calibration"]["scores"] == wider["parts"]["calibration"]["scores"]


def test_a_judgement_of_another_record_or_an_edited_one_does_not_count(runs, tmp_path):
    output_dir, ids = runs
    copy = tmp_path / "outputs"
    shutil.copytree(output_dir, copy)
    name = ids["none"]
    found = judge(name, copy, ["calibration"], images=40)
    record = read_record(copy / name)
    path = copy / name / "judge.json"
    assert "judge/nll" in with_judgements([record], copy)[0]["metrics"]
    other = record | {"checksum": "0" * 12}
    assert read_judgement(copy / name, other) is None
    edited = json.loads(path.read_text())
    edited["parts"]["calibration"]["scores"]["nll"]["value"] = 0.0
    path.write_text(json.dumps(edited))
    assert read_judgement(copy / name, record) is None
    assert with_judgements([record], copy)[0]["metrics"] == record["metrics"]
    path.write_text("{")
    assert read_judgement(copy / name, record) is None
    assert (
        judge(name, copy, ["calibration"], images=40)["parts"]["calibration"]["scores"]
        == (found["parts"]["calibration"]["scores"])
    )


def test_a_tracked_judgement_is_found(runs, tmp_path):
    output_dir, ids = runs
    judge(ids["none"], output_dir, ["calibration"], images=40)
    tracked = tmp_path / "results" / "some" / "judged"
    tracked.mkdir(parents=True)
    shutil.copy(output_dir / ids["none"] / "judge.json", tracked / f"{ids['none']}.json")
    record = read_record(output_dir / ids["none"])
    assert "judge/nll" in with_judgements([record], tmp_path / "empty", tmp_path / "results")[0]["metrics"]


def test_the_command_line(runs, capsys):
    output_dir, ids = runs
    (found, path), = judge_chosen_runs([f"run={ids['cbam'][:6]}", "parts=localisation,health", "images=60",
                                f"output_dir={output_dir}"])  # fmt: skip
    show(found)
    text = capsys.readouterr().out
    assert path.exists()
    assert "pointing/gradcam" in text
    assert "a random map" in text
    assert "stage2.0 spatial" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run=zzz"], "run=zzz: no such finished run"),
        (["run={cbam}", "parts=nonsense"], "unknown choice parts=nonsense; allowed are all, pgd, fgsm"),
        (["run={cbam}", "parts=transfer/nonsense"], "parts=transfer/nonsense"),
        (["run={cbam}", "images=0"], "wrong value images=0; allowed is an integer from 1"),
        (["run={cbam}", "force=perhaps"], "wrong value force=perhaps; allowed is true or false"),
        (["run={cbam}", "attention=se"], "unknown key attention; allowed are run, table, parts, force, images"),
        (["images=5"], "0 runs or tables are named; allowed is one, run=ID or table=NAME"),
        (["run={cbam}", "table=demo"], "2 runs or tables are named; allowed is one, run=ID or table=NAME"),
        (["table=demo"], "no run of table=demo has a record and a checkpoint in output_dir"),
        (["run={cbam}", "parts=background", "images=5", "transfer=cifar10", "transfer.root=/nowhere"], "transfer"),
    ],
)
def test_bad_input(runs, arguments, message):
    from attnlab.errors import AttnlabError

    output_dir, ids = runs
    with pytest.raises(AttnlabError) as caught:
        list(judge_chosen_runs([*(a.format(**ids) for a in arguments), f"output_dir={output_dir}"]))
    assert message in str(caught.value) or (message == "transfer" and "/nowhere" in str(caught.value))


def test_other_images_are_refused(runs, tmp_path):
    output_dir, ids = runs
    copy = tmp_path / "outputs"
    shutil.copytree(output_dir, copy)
    from attnlab.errors import ConfigError

    judge(ids["none"], copy, ["calibration"], images=40)
    record = read_record(copy / ids["none"])
    path = copy / ids["none"] / "result.json"
    path.write_text(json.dumps(seal(record | {"data_hash": "0" * 16})))
    with pytest.raises(ConfigError, match="the images differ from those of run="):
        judge(ids["none"], copy, ["calibration"], images=40)
    path.write_text(json.dumps(record))
    config = copy / ids["none"] / "config.yaml"
    config.write_text(config.read_text().replace("test_size: 100", "test_size: 90"))
    with pytest.raises(ConfigError, match=r"its config\.yaml was edited"):
        judge(ids["none"], copy, ["calibration"], images=40)


def test_a_table_is_judged_and_shows_the_columns(runs, capsys, monkeypatch):
    from attnlab.tables.table_page import table_page
    from attnlab.tables.write import report_table

    output_dir, ids = runs
    arguments = [
        "table=demo", "attention=none,cbam", "seed=0", *TINY, f"output_dir={output_dir}",
        "table.metrics=[test/top1_error, judge/pointing/gradcam, judge/pointing/mask]",
    ]  # fmt: skip
    grid = read_grid(arguments)
    from attnlab.configuration.compose import plain
    from attnlab.training.train import train

    for cell in grid.cells:
        train(plain(cell.config) | {"seed": 0, "tracker": {"name": "csv"}})
    judged = list(judge_chosen_runs([*arguments, "parts=localisation", "images=60", "n_jobs=1"]))
    assert [path.parent.name for _, path in judged] == list(grid.run_ids.values())
    processes = []
    real = map_forked
    monkeypatch.setattr(judge_door, "map_forked", lambda *given: processes.append(given[2]) or real(*given))
    at_a_time = list(judge_chosen_runs([*arguments, "parts=localisation", "images=60", "n_jobs=2", "force=true"]))
    assert processes == [2]
    assert [path for _, path in at_a_time] == [path for _, path in judged]
    assert [scores(found) for found, _ in at_a_time] == [scores(found) for found, _ in judged]
    comparison, paths, _ = report_table(arguments)
    text = table_page(comparison)
    header, rows = text.sections[0].header, text.sections[0].rows
    assert header.count("pointing game %, Grad-CAM") == 1
    place = header.index("pointing game %, own mask")
    by_row = {row[0]: row[place] for row in rows}
    assert by_row["none"] == "–"
    value = scores(judged[1][0])["pointing/mask"]["value"]
    assert by_row["CBAM"] == f"{value:.2f}"
    note = next(note for note in text.notes if note.startswith("pointing game %, Grad-CAM"))
    assert "scored for 2 of 2 runs" in note
    assert "a random map: " in note
    assert any(path.suffix == ".csv" and "judge/pointing/mask" in path.read_text() for path in paths)


def test_metrics_of_a_table_are_checked():
    from attnlab.errors import ConfigError

    for metrics, message in (
        ("[judge/pointing/gradcam]", "the first gets verdicts"),
        ("[test/top1_error, judge/pointing/nonsense]", "judge/pointing/nonsense: unknown"),
    ):
        with pytest.raises(ConfigError, match=message):
            read_grid(["table=demo", f"table.metrics={metrics}"])


def test_all_parts_are_those_that_the_dataset_allows(runs, monkeypatch):
    """parts=all on a dataset without masks: one line for the part that is impossible, and the others are judged."""
    import attnlab.evaluation.suite
    from attnlab.errors import ConfigError
    from attnlab.judge import PARTS

    output_dir, ids = runs

    def cannot(run, control):
        raise ConfigError("no masks")

    quick = {name: lambda run, control: {"scores": {}, "details": {}} for name in PARTS}
    monkeypatch.setattr(attnlab.evaluation.suite, "JUDGES", quick | {"localisation": cannot})
    found = judge(ids["none"], output_dir, PARTS, images=33)
    judged = {name for name, part in found["parts"].items() if part["settings"]["asked"] == 33}
    assert judged == set(PARTS) - {"localisation"}
    with pytest.raises(ConfigError, match="no masks"):
        judge(ids["none"], output_dir, ["localisation"], images=33)


def test_background_and_transfer(runs):
    """The groups of the embedded set, and a linear classifier on features of the set itself."""
    from attnlab.configuration.compose import plain
    from attnlab.data.cluttered_digits_images import on_training_photos
    from attnlab.evaluation.finished_run import read_finished_run
    from attnlab.evaluation.metrics.background import group_errors

    output_dir, ids = runs
    found = scores(judge(ids["none"], output_dir, ["background", "transfer/cluttered_digits"], images=60))
    split = on_training_photos(2 * 60)
    run = read_finished_run(ids["none"], output_dir, plain(attnlab.config())["machine"], [], 60)
    wrong = run.all_logits(split.images).argmax(dim=1) != split.labels
    by_hand = group_errors(wrong, split.labels, split.photos)
    for name, value in by_hand.items():
        assert found[f"background/{name}"]["value"] == pytest.approx(value), name
    assert found["background/worst"]["beside"] >= found["background/own"]["beside"]
    features = found["transfer/cluttered_digits"]
    assert 20 < features["value"] <= 100
    assert features["meaning"] == "features of an untrained network"


def test_a_head_that_attends_has_the_linear_head_as_its_control(runs):
    output_dir, ids = runs
    cfg = attnlab.config([*TINY, "head=ltpa", f"output_dir={output_dir}"])
    found = judge(attnlab.train(cfg)["id"], output_dir, ["localisation"], images=40)
    assert found["parts"]["localisation"]["details"]["control"] == ids["none"]


def test_a_missing_config_is_an_error(runs, tmp_path):
    from attnlab.errors import ConfigError

    output_dir, ids = runs
    copy = tmp_path / "outputs"
    shutil.copytree(output_dir, copy)
    (copy / ids["none"] / "config.yaml").unlink()
    with pytest.raises(ConfigError, match=r"its config\.yaml is missing"):
        judge(ids["none"], copy, ["calibration"], images=34)


def test_a_run_without_its_checkpoint_is_one_error(runs, tmp_path, capsys):
    from attnlab.errors import ConfigError

    output_dir, ids = runs
    copy = tmp_path / ids["cbam"]
    shutil.copytree(output_dir / ids["cbam"], copy, ignore=shutil.ignore_patterns("best.ckpt", "judge*"))
    with pytest.raises(ConfigError, match=rf"^run={ids['cbam']}: its best\.ckpt is missing$"):
        judge(ids["cbam"], tmp_path, images=35)
    assert capsys.readouterr().out == ""
    assert not (copy / "judge.json").exists()


def test_a_run_of_which_no_part_can_be_judged_is_an_error(runs, tmp_path, monkeypatch):
    import attnlab.evaluation.suite
    from attnlab.errors import ConfigError

    output_dir, ids = runs
    shutil.copytree(output_dir / ids["none"], tmp_path / ids["none"], ignore=shutil.ignore_patterns("judge*"))

    def cannot(run, control):
        raise ValueError("maps are not finite")

    monkeypatch.setattr(attnlab.evaluation.suite, "JUDGES", dict.fromkeys(DEFAULT, cannot))
    with pytest.raises(ConfigError, match=rf"^run={ids['none']}: none of the parts can be judged: localisation, "):
        judge(ids["none"], tmp_path, images=35)
