"""tracker=mlflow: real runs in a local MLflow, read back by its client."""

import json
import re
import sys
from pathlib import Path

import pytest
from warm import warm

import attnlab
from attnlab.configuration.identity import cell, run_id
from attnlab.errors import AttnlabError

mlflow = pytest.importorskip("mlflow")


def found(cfg):
    client = mlflow.MlflowClient(f"sqlite:///{Path(cfg.output_dir).resolve()}/mlflow.db")
    experiment = client.get_experiment_by_name("attnlab")
    return client, {run.data.tags["attnlab.run"]: run for run in client.search_runs([experiment.experiment_id])}


def test_a_run_in_a_local_mlflow(tiny):
    cfg = attnlab.config([*tiny, "attention=se", "tracker=mlflow", "tracker.images=true"])
    record = attnlab.train(cfg)
    client, runs = found(cfg)
    (run,) = runs.values()
    assert run.data.tags["attnlab.run"] == run_id(cfg)
    assert run.data.tags["group"].endswith(cell(cfg))
    assert run.data.tags["model"] == "resnet8"
    assert run.info.run_name == "se resnet8 cluttered_digits seed=0"
    assert run.info.status == "FINISHED"
    assert {
        "attention": "se",
        "model": "resnet8",
        "attention.reduction": "16",
        "seed": "0",
    }.items() <= run.data.params.items()
    assert run.data.metrics["test/top1_error"] == pytest.approx(record["metrics"]["test/top1_error"])
    assert run.data.metrics["params"] == record["params"]
    assert len(client.get_metric_history(run.info.run_id, "val/top1_error")) == 2  # epochs
    folder = Path(cfg.output_dir) / "mlartifacts" / run.info.run_id / "artifacts"
    assert json.loads((folder / "result.json").read_text()) == record
    assert [path.name for path in sorted((folder / "maps").iterdir())] == ["epoch_001.png", "epoch_002.png"]


@pytest.mark.slow
def test_a_failed_run_goes_on_as_the_same_run_of_mlflow(tiny):
    overrides = [
        *tiny,
        "tracker=mlflow",
        "tracker.name=mine",
        "recipe.optimizer.lr=1.0e30",
        "machine.precision=32-true",
    ]
    cfg = attnlab.config(overrides)
    for _ in range(2):
        with pytest.raises(AttnlabError):
            attnlab.train(cfg)
    _, runs = found(cfg)
    (run,) = runs.values()
    assert (run.info.status, run.info.run_name) == ("FAILED", "mine")


@pytest.mark.slow
def test_jobs_that_start_together_share_one_mlflow_and_its_report(tiny):
    overrides = [*tiny, "recipe.epochs=1", "tracker=mlflow", "tracker.report=true", "attention=none,se", "n_jobs=2"]
    done = warm([sys.executable, "-m", "attnlab.run", "-m", *overrides])
    assert done.returncode == 0, done.stderr
    (name,) = re.findall(r"^tracker=mlflow: report (sweep_\w+) in the experiment attnlab, ", done.stdout, re.MULTILINE)
    assert "log.csv has the curves" not in done.stdout
    cfg = attnlab.config(tiny)
    client = mlflow.MlflowClient(f"sqlite:///{Path(cfg.output_dir).resolve()}/mlflow.db")
    runs = client.search_runs([client.get_experiment_by_name("attnlab").experiment_id])
    found = {run.info.run_name: run.info.run_id for run in runs}
    assert found.keys() == {
        "none resnet8 cluttered_digits seed=0", f"report {name}", "se resnet8 cluttered_digits seed=0",
    }  # fmt: skip
    files = {file.path for file in client.list_artifacts(found[f"report {name}"])}
    assert {f"{name}.csv", f"{name}.html", f"{name}.md"} <= files
