"""Records of runs that never ran, for tests of what is made of records."""

import json

import attnlab
from attnlab.configuration.compose import plain
from attnlab.configuration.identity import run_id, science
from attnlab.records.record import seal


def record(overrides=(), error=20.0, **other):
    """A sealed record of the run that the overrides compose to."""
    return of_config(plain(attnlab.config(list(overrides))), error, **other)


def of_config(cfg, error=20.0, **other):
    return seal({
        "id": run_id(cfg), "status": "finished", "config": {**science(cfg), "machine": {}},
        "metrics": {"test/top1_error": error, "test/top5_error": 1.0, "test/loss": 0.5, "test/calibration_error": 0.03,
                    "val/top1_error": error},
        "best_epoch": 1, "params": 1000, "macs": 2_000_000, "images_per_second": 100.0, "peak_memory": 1,
        "seconds": 10.0, "world_size": 1, "device": "a CPU", "precision": "32-true", "data_hash": "0",
        "commit": "abcdef0123", "dirty": False, "versions": {"torch": "2.13.0"},
    } | other)  # fmt: skip


def write(output_dir, content, name=None):
    """A record, or what stands in its place, where a run would leave it."""
    path = output_dir / (name or content["id"]) / "result.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path
