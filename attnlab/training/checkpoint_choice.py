"""Which checkpoint a run resumes from, and which one is tested."""

from pathlib import Path
from typing import Any, NamedTuple

import lightning.pytorch as pl

from attnlab.records.agreement import decide_on_first_rank
from attnlab.records.checkpoint import SCORE, can_resume, copy_last_to_best, fingerprint, read
from attnlab.records.open_run import OpenRun
from attnlab.records.run_folder import print_once
from attnlab.training.checkpointing import Best
from attnlab.training.epoch_log import EpochLog


class Chosen(NamedTuple):
    """The checkpoint that is tested: its epoch (from 0), its validation error in percent, None without validation, and
    the SHA-256 of its file."""

    path: Path
    epoch: int
    validation_error: float | None
    fingerprint: str


def find_checkpoint(run: OpenRun) -> Path | None:
    """The run's last.ckpt, or None when the run begins anew; a damaged one is then put aside with all files beside it.

    Raises ConfigError for the checkpoint of another run.
    """
    validates = run.values["recipe"]["validation"]["images"] > 0
    resumes, reason = decide_on_first_rank(
        f"{run.id}/resume", lambda: can_resume(run.folder, validates), run.values["output_dir"]
    )
    if reason:
        print_once(f"{run.title}: {reason}; the run begins anew")
        run.put_aside()
    return run.folder / "last.ckpt" if resumes else None


def choose_checkpoint(
    trainer: pl.Trainer, classifier: pl.LightningModule, data: Any, best: Best | None, log: EpochLog
) -> Chosen:
    """After the fit: best.ckpt, the epoch with the lowest validation error, or the last epoch without validation.

    Every rank must call it.
    """
    folder, error = log.path.parent, None
    if best is not None and not log.last_epoch_validated:  # recipe.steps ended within an epoch
        error = float(trainer.validate(classifier, datamodule=data, verbose=False)[0][SCORE])
    if trainer.is_global_zero and (best is None or (error is not None and best.is_better(error))):
        copy_last_to_best(folder, error)
    trainer.strategy.barrier()
    # Read before the test: after it, the first rank of a trial may have removed the folder.
    path = folder / "best.ckpt"
    content = read(path)
    return Chosen(path, int(content["epoch"]), content[SCORE], fingerprint(path))
