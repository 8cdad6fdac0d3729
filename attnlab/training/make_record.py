"""The record of a finished run, from everything that its training has measured."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import lightning.pytorch as pl
import torch

from attnlab.machine import gpus, hardware, versions
from attnlab.records.checkpoint import SCORE
from attnlab.records.open_run import OpenRun
from attnlab.records.provenance import changed_settings
from attnlab.records.record import Record, seal
from attnlab.records.run_folder import recorded_config
from attnlab.records.source_code import edited_meanwhile
from attnlab.training.checkpoint_choice import Chosen
from attnlab.training.checkpointing import Last
from attnlab.training.epoch_log import EpochLog


def make_record(
    run: OpenRun,
    trainer: pl.Trainer,
    data: Any,
    log: EpochLog,
    last: Last,
    chosen: Chosen,
    tested: Mapping[str, float],
    more: Mapping[str, Any],
) -> Record:
    """The sealed record. tested: the test's metrics;  more: params, macs and the checksum of the predictions.

    Errors are in percent, seconds are those of fitting, peak_memory is in bytes.
    """
    values, device = run.values, trainer.strategy.root_device
    validation_error = None if chosen.validation_error is None else round(chosen.validation_error, 6)
    return seal(
        {
            "id": run.id,
            "status": "trial" if run.is_trial else "finished",
            "config": recorded_config(values),
            "metrics": {key: round(float(value), 6) for key, value in tested.items()} | {SCORE: validation_error},
            "best_epoch": chosen.epoch,
            "images_per_second": log.images_per_second,
            "peak_memory": hardware.peak_memory(device),
            "seconds": round(log.seconds, 2),
            "world_size": trainer.world_size,
            "batch_statistics": last.batch_statistics,
            "threads": torch.get_num_threads(),
            "n_jobs": values.get("n_jobs") or 1,
            "runs_per_gpu": gpus.shared_by(values.get("runs_per_gpu")),
            "device": hardware.device_name(device),
            "precision": str(trainer.precision),
            "data_hash": data.data_hash,
            "duplicates": getattr(data, "duplicates", None),
            "commit": run.made_by.commit,
            "dirty": run.made_by.dirty,
            "code": run.made_by.code,
            "code_edited": sorted({*last.edited, *edited_meanwhile(values)}),
            "versions": versions.installed(),
            "weights": chosen.fingerprint,
            "stretches": last.stretches if changed_settings(last.stretches) else None,
            "started_from": last.started_from,
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            **more,
        }
    )
