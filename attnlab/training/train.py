"""One config -> one run -> one record: build, fit, test once, write down."""

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback
from omegaconf import DictConfig, OmegaConf

from attnlab.configuration.compose import check
from attnlab.configuration.identity import run_id
from attnlab.data.build import make_datamodule
from attnlab.errors import ConfigError, DataError, TrainingError
from attnlab.machine import hardware, ranks, versions
from attnlab.machine.processes import die_with
from attnlab.machine.ranks import is_first
from attnlab.models.costs import count_macs
from attnlab.models.network import build
from attnlab.models.warm_start import parent_of, start_from
from attnlab.records.atomic import write_text
from attnlab.records.checkpoint import SCORE, can_resume, copy_last_to_best, fingerprint, read
from attnlab.records.provenance import MadeBy, doubts, found_recorded, mixed, read_made_by, stretch, ways_on
from attnlab.records.record import Record, fault, read_record, seal, write_json
from attnlab.records.run_folder import (
    Start,
    disk_error,
    locked,
    make_writable,
    recorded_config,
    say,
    without_paths,
    write_error,
)
from attnlab.records.source_code import edited_meanwhile
from attnlab.training.agreement import agreed, tell_why, told_why, trial_folder
from attnlab.training.checkpointing import Best, Draws, Last
from attnlab.training.ddp import lost_rank
from attnlab.training.epoch_log import EpochLog
from attnlab.training.keep_predictions import keep
from attnlab.training.lightning_noise import quiet
from attnlab.training.progress_bar import progress_of
from attnlab.training.trackers import Tracker
from attnlab.training.trainer import make_classifier, make_trainer


def train(cfg: DictConfig | Mapping[str, Any]) -> Record:
    """Train and test one config; return its record. A run that has one already is not run again.

    An interrupted run goes on from OUTPUT_DIR/<id>/last.ckpt; force=true puts the old folder aside and starts anew.
    A run that other code has recorded or begun is neither done nor run; code=recorded accepts it.
    Raises ConfigError or DataError (nothing is left behind) and TrainingError (error.json says why).
    """
    values = check(cfg)
    ranks.alone()
    if ranks.is_further():  # of a script that no attnlab.run has started
        die_with(os.getppid())
    ranks.check(values["machine"], hardware.ranks(values["machine"]))
    name = run_id(values)
    made_by = read_made_by(values)  # before anything takes time: files may be edited and committed meanwhile
    folder = Path(values["output_dir"]) / name
    if values["machine"]["batches"] is not None:
        with trial_folder(name, values["output_dir"]) as trial:
            say(f"{name}: machine.batches={values['machine']['batches']}: a trial, which leaves no record")
            short = values["recipe"] | {"epochs": 1, "steps": None}
            # its tracker: it has the id of the real run, and must not add to it
            trial_values = values | {"tracker": {"name": "csv"}, "recipe": short}
            return _train(trial_values, name, trial, made_by, Start(trial)) | {"status": "trial"}
    if not values["force"] and (finished := read_record(folder)) is not None:
        return _found(finished, values, name)
    new = not folder.exists()
    make_writable(folder, values["output_dir"])
    with locked(folder) as lock:
        # again: its owner may have ended while this process came to the lock
        if not values["force"] and (finished := read_record(folder)) is not None:
            return _found(finished, values, name)
        start = Start(folder)
        if values["force"] and is_first():
            start.put_aside()

        def tell(reason: str) -> None:
            if read_record(folder) is None:
                write_error(folder, name, values, TrainingError(reason))

        ranks.on_lost.append(tell)
        try:
            return _train(values, name, folder, made_by, start)
        except BaseException as error:
            tell_why(error, values["output_dir"])
            if is_first() and read_record(folder) is None:  # a record stands, whatever failed after it
                trained = (folder / "last.ckpt").exists()
                if not trained and (start.aside is not None or isinstance(error, ConfigError | DataError)):
                    start.undo()
                    if new:
                        lock.unlink(missing_ok=True)
                        folder.rmdir()
                else:
                    write_error(folder, name, values, error)
            raise
        finally:
            ranks.on_lost.remove(tell)


def _found(record: Record, values: Mapping[str, Any], name: str) -> Record:
    """A finished record, when it is one to believe and made by what is there today, or code=recorded accepts it."""
    if reason := fault(record, name):
        raise ConfigError(f"{name}/result.json {reason}; force=true puts it aside and runs anew")
    if values.get("code") != "recorded" and (found := doubts(record, values["output_dir"])):
        raise ConfigError(f"{name}: is {ways_on(found)}")
    say(f"{name}: {found_recorded(values)}")
    return record


def _train(values: dict[str, Any], name: str, folder: Path, made_by: MadeBy, start: Start) -> Record:
    tracker = Tracker(values, name, recorded_config(values), folder)
    exit_code: int = 1
    record: Record | None = None
    try:
        record = _fit_and_test(values, name, folder, tracker, made_by, start)
        exit_code = 0
        return record
    except torch.OutOfMemoryError as error:
        raise TrainingError(hardware.too_little_memory(values, error)) from error
    except RuntimeError as error:
        if reason := lost_rank(error):
            raise TrainingError(told_why(values["output_dir"]) or reason) from error
        raise
    except OSError as error:
        raise disk_error(error) from error
    finally:
        tracker.finish(exit_code, record)


def _fit_and_test(
    values: dict[str, Any], name: str, folder: Path, tracker: Tracker, made_by: MadeBy, start: Start
) -> Record:
    recipe, machine = values["recipe"], values["machine"]
    hardware.set_threads(machine)
    hardware.keep_memory(machine)
    net = build(values)
    costs = {"params": sum(p.numel() for p in net.parameters() if p.requires_grad), "macs": count_macs(net, values)}
    data = make_datamodule(values)
    data.setup()
    for note in getattr(data, "notes", ()):
        say(f"{name}: {note}")
    if getattr(data, "workers", 0):  # they will be forked
        tracker.wait()
    quiet()
    classifier = make_classifier(values, net)
    validates = recipe["validation"]["images"] > 0
    goes_on, reason = agreed(f"{name}/resume", lambda: can_resume(folder, validates), values["output_dir"])
    resume = folder / "last.ckpt" if goes_on else None
    if reason:
        say(f"{name}: {reason}; the run begins anew")
        if is_first():
            start.put_aside()
    started_from = parent_of(values) if values.get("start_from") and resume is None else None
    if started_from:
        say(f"{name}: {start_from(net, values)}")
    if machine["channels_last"]:
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if hardware.compiles(machine):
        net.compile()
    best, log = Best(folder) if validates else None, EpochLog(folder / "log.csv", name)
    last = Last(
        folder, machine.get("checkpoint_minutes"), hardware.batch_statistics(net, machine), data.data_hash,
        made_by.code, stretch(made_by, machine), started_from, accept_code=values.get("code") == "recorded",
    )  # fmt: skip
    watching = (Draws(values["seed"]), log, last, best, progress_of(log))
    callbacks: list[Callback] = [callback for callback in watching if callback is not None]
    if values["tracker"].get("images"):
        from attnlab.evaluation.drawing.during_training import DrawMaps

        callbacks.append(DrawMaps(folder, name))
    trainer = make_trainer(values, folder, callbacks, tracker.loggers())
    if trainer.is_global_zero:
        write_text(folder / "config.yaml", OmegaConf.to_yaml(OmegaConf.create(without_paths(values))))
    say(
        f"{name}: {'goes on from last.ckpt' if resume else 'starts'}, {costs['params']:,} parameters, "
        f"{costs['macs'] / 1e6:,.1f} M MACs, {hardware.accelerator(machine)}, {hardware.precision(machine)}"
    )
    pl.seed_everything(values["seed"], workers=True, verbose=False)
    try:
        trainer.fit(classifier, datamodule=data, ckpt_path=resume, weights_only=True)
    except SystemExit as error:  # how Lightning ends on SIGTERM and SIGINT, with a status that says nothing
        raise KeyboardInterrupt from error
    chosen, score = folder / "best.ckpt", None
    if best is not None and not log.last_epoch_validated:  # recipe.steps ended within an epoch
        score = float(trainer.validate(classifier, datamodule=data, verbose=False)[0][SCORE])
    if trainer.is_global_zero and (best is None or (score is not None and best.is_better(score))):
        copy_last_to_best(folder, score)
    trainer.strategy.barrier()
    content, weights = read(chosen), fingerprint(chosen)  # before the test: the first rank may end and take it away
    epoch, validation = int(content["epoch"]), content[SCORE]
    tested = trainer.test(classifier, datamodule=data, ckpt_path=str(chosen), verbose=False, weights_only=True)[0]
    kept = {} if machine["batches"] is not None else keep(classifier, data, folder)
    record: Record = seal(
        {
            "id": name,
            "status": "finished",
            "config": recorded_config(values),
            "metrics": {key: round(float(value), 6) for key, value in tested.items()}
            | {SCORE: validation if validation is None else round(validation, 6)},
            "best_epoch": epoch,
            **costs,
            "images_per_second": log.images_per_second,
            "peak_memory": hardware.peak_memory(trainer.strategy.root_device),
            "seconds": round(log.seconds, 2),
            "world_size": trainer.world_size,
            "batch_statistics": last.batch_statistics,
            "threads": torch.get_num_threads(),
            "n_jobs": values.get("n_jobs") or 1,
            "runs_per_gpu": values.get("runs_per_gpu") or 1,
            "device": hardware.device_name(trainer.strategy.root_device),
            "precision": str(trainer.precision),
            "data_hash": data.data_hash,
            "duplicates": getattr(data, "duplicates", None),
            "commit": made_by.commit,
            "dirty": made_by.dirty,
            "code": made_by.code,
            "code_edited": sorted({*last.edited, *edited_meanwhile(values)}),
            "versions": versions.installed(),
            "weights": weights,
            "stretches": last.stretches if mixed(last.stretches) else None,
            "started_from": last.started_from,
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            **kept,
        }
    )
    if trainer.is_global_zero:
        write_json(folder / "result.json", record)
        (folder / "error.json").unlink(missing_ok=True)
    test_error = record["metrics"]["test/top1_error"]
    say(f"{name}: finished, test error {test_error:.2f} %, {record['seconds']:.0f} s")
    return record
