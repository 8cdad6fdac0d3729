"""A sweep of W&B's: `wandb agent` starts attnlab's runs, and W&B's run and attnlab's are one."""

import json
import os
import re
import sys
from pathlib import Path

import pytest
import yaml
from wandb_stand_in import ENTITY, StandIn
from warm import warm

import attnlab
from attnlab.configuration.identity import run_id

PAGE = Path(__file__).parents[2] / "docs" / "search.md"
#: what `wandb agent` puts into the environment of a run
AGENT = {"WANDB_SWEEP_ID": "sweep", "WANDB_RUN_ID": "swept0", "WANDB_PROJECT": "team", "WANDB_ENTITY": ENTITY}


def run(command, server, home, **environment):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    return warm(command, env=clean | server.environment | {"HOME": str(home)} | environment)


def test_a_run_of_a_sweep_is_the_one_that_the_sweep_has_made_and_a_recorded_one_is_told(tiny, tmp_path):
    overrides = [*tiny, "recipe.epochs=1", "attention=se", "tracker=wandb"]
    cfg = attnlab.config(overrides)
    record = Path(cfg.output_dir) / run_id(cfg) / "result.json"
    command = [sys.executable, "-m", "attnlab.run", *overrides]
    with StandIn() as server:
        done = run(command, server, tmp_path / "home", **AGENT)
        assert done.returncode == 0, done.stderr
        assert "Ignoring" not in done.stdout + done.stderr
        again = run(command, server, tmp_path / "home", **AGENT | {"WANDB_RUN_ID": "swept1"})
        assert again.returncode == 0, again.stderr
        assert "found recorded" in again.stdout
    assert server.runs.keys() == {"swept0", "swept1"}
    for told in server.runs.values():
        assert (told.bucket["project"], told.exit_code) == ("team", 0)
        assert told.config["run"] == run_id(cfg)
        assert json.loads(told.summary["record_json"]) == json.loads(record.read_text())
        error = json.loads(record.read_text())["metrics"]["val/top1_error"]
        assert [row["val/top1_error"] for row in told.history if "val/top1_error" in row] == [pytest.approx(error)]


@pytest.mark.slow
def test_the_sweep_of_the_page(tiny, tmp_path):
    """Its yaml, as written but for a shorter run, with a real `wandb agent`."""
    page = PAGE.read_text()
    sweep = yaml.safe_load(re.search(r"^```yaml\n(program: .*?)^```", page, re.MULTILINE | re.DOTALL)[1])
    assert sweep["metric"]["name"].startswith("val/")
    at = sweep["command"].index("${args_no_hyphens}")
    sweep["command"][at:at] = [*(o for o in tiny if not o.startswith("tracker")), "recipe.epochs=1"]
    args = {"recipe.optimizer.lr": {"value": 0.05}, "attention.reduction": {"value": 8}}
    assert args.keys() == sweep["parameters"].keys()
    with StandIn() as server:
        server.sweep = yaml.safe_dump(sweep)
        server.commands = [{"type": "run", "run_id": "swept0", "program": sweep["program"], "args": args}]
        agent = [str(Path(sys.executable).parent / "wandb"), "agent", "--count", "1", f"{ENTITY}/attnlab/sweep"]
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        more = {"PATH": path, "PYTHONPATH": str(PAGE.parents[1]), "WANDB_DIR": str(tmp_path)}
        done = run(agent, server, tmp_path / "home", **more)
        assert done.returncode == 0, done.stderr
    assert server.runs.keys() == {"swept0"}, done.stderr
    told = server.runs["swept0"]
    assert told.exit_code == 0
    record = json.loads(told.summary["record_json"])
    assert record["config"]["recipe"]["optimizer"]["lr"] == 0.05
    assert record["config"]["attention"]["reduction"] == 8
    assert told.config["run"] == record["id"]
