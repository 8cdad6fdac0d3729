"""SIGKILL at random moments over a table, to random victims: the same command completes it, as if nothing had been."""

import json
import os
import random
import signal
import time

import pytest
from survival import SMALL, SOAK, curves, equal, finish, half_written, start, weights

from tests.launch.test_sweep import descendants

KILLS = 20 if SOAK else 3
TABLE = [
    "table=demo", *(o for o in SMALL if not o.startswith(("model", "dataset.train"))), "dataset.train_size=600",
    "recipe.epochs=3", "machine.checkpoint_minutes=0", "n_jobs=2", *([] if SOAK else ["seed=0"]),
]  # fmt: skip


def results(folder):
    """{run id: (metrics, best epoch, weights, curves)} of what is recorded below a folder."""
    found = {}
    for path in sorted(folder.glob("*/result.json")):
        record = json.loads(path.read_text())
        found[record["id"]] = (record["metrics"], record["best_epoch"], weights(path.parent), curves(path.parent))
    return found


@pytest.mark.slow
def test_a_table_survives_kills_at_random_moments(tmp_path, record_property):
    draw = random.Random(9)
    code, _, err = finish(*TABLE, f"output_dir={tmp_path / 'whole'}", seconds=900)
    assert code == 0, err
    kills, victims, early = 0, {"launcher": 0, "job": 0}, 0
    while kills < KILLS:
        process = start(*TABLE, f"output_dir={tmp_path / 'killed'}")
        begun = draw.random() < 0.8  # most while it trains, some while it starts
        for line in process.stdout if begun else ():
            if " starts, " in line or "goes on from" in line:
                break
        time.sleep(draw.uniform(0, 2.0 if begun else 6.0))
        jobs = descendants(process.pid)
        victim = draw.choice([process.pid, *jobs])
        running = process.poll() is None
        if running:
            os.kill(victim, signal.SIGKILL)
            kills += 1
            victims["launcher" if victim == process.pid else "job"] += 1
            early += not jobs
        if running and victim != process.pid:
            time.sleep(draw.uniform(0, 1.0))
            os.kill(process.pid, signal.SIGTERM)  # else it would finish the table before the next kill
        process.communicate(timeout=120)
        left = list((tmp_path / "killed").glob("*/result.json"))
        if len(left) == len(list((tmp_path / "whole").glob("*/result.json"))):  # all done: take a record away, go on
            left[0].parent.rename(tmp_path / f"done{kills}")
    code, out, err = finish(*TABLE, f"output_dir={tmp_path / 'killed'}", seconds=900)
    assert code == 0, err
    whole, killed = results(tmp_path / "whole"), results(tmp_path / "killed")
    assert killed.keys() == whole.keys()
    for name, (metrics, best, tensors, log) in whole.items():
        assert killed[name][:2] == (metrics, best), name
        assert equal(killed[name][2], tensors), name
        assert killed[name][3] == log, name
    lost = len(whole) - len(killed)
    assert not half_written(tmp_path / "killed")
    record_property(
        "figure",
        f"kills survived: {kills} ({victims['launcher']} of the launcher, {early} of them before any job ran; "
        f"{victims['job']} of a job); runs equal to uninterrupted ones bit for bit: {len(whole)} of {len(whole)}; "
        f"records lost: {lost}",
    )
