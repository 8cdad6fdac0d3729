"""One config -> one run -> one record: build, fit, choose a checkpoint, test it once, write the record."""

import os
from collections.abc import Callable, Mapping
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback
from omegaconf import DictConfig, OmegaConf
from torch import nn

from attnlab.configuration.compose import check
from attnlab.data.build import make_datamodule
from attnlab.machine import hardware, ranks
from attnlab.machine.acceleration import accelerate
from attnlab.machine.compiler import compiling_pays
from attnlab.machine.dilated import correct_dilated
from attnlab.machine.processes import die_with
from attnlab.models.costs import count_macs
from attnlab.models.network import build
from attnlab.models.warm_start import parent_of, start_from
from attnlab.records.atomic import write_text
from attnlab.records.image_folder import remember
from attnlab.records.open_run import OpenRun, open_run
from attnlab.records.provenance import stretch
from attnlab.records.record import Record, write_json
from attnlab.records.run_folder import print_once, recorded_config, without_paths
from attnlab.training.averaging import BestAverage, averaging_of
from attnlab.training.checkpoint_choice import choose_checkpoint, find_checkpoint
from attnlab.training.checkpointing import Best, Draws, Last
from attnlab.training.ddp import RankWatch
from attnlab.training.early_stopping import stopping_of
from attnlab.training.epoch_log import EpochLog
from attnlab.training.failures import as_attnlab_errors
from attnlab.training.keep_predictions import keep_predictions
from attnlab.training.lightning_noise import quiet
from attnlab.training.make_record import make_record
from attnlab.training.progress_bar import progress_callback
from attnlab.training.slow_steps import SlowSteps
from attnlab.training.step_choice import choose_graphs, load_in_chunks, run_eagerly
from attnlab.training.trackers import Tracker, tell_sweep
from attnlab.training.trainer import make_classifier, make_trainer


def train(
    cfg: DictConfig | Mapping[str, Any],
    *,
    on_progress: Callable[[float, float], None] | None = None,
    on_lost_rank: Callable[[str], None] | None = None,
    name: str | None = None,
) -> Record:
    """Train and test one config; return its record. A run that has a record is not run again.

    An interrupted run resumes from OUTPUT_DIR/<id>/last.ckpt; force=true puts the old folder aside and starts anew.
    A run that other code has recorded or begun is refused; code=recorded accepts it.
    on_progress: called a few times a second with (share of the training that is done, images per second), in place of
    a progress bar;  on_lost_rank: called with the reason before this process is killed because another rank is lost.
    name: what the lines of the run call it; None: its attention, model, dataset and seed.
    Raises ConfigError or DataError (the folder is left as it was) and TrainingError (error.json has the reason).
    """
    values = check(cfg)
    ranks.forget_batch_script()
    if ranks.is_further():
        die_with(os.getppid())
    ranks.check(values["machine"], hardware.rank_count(values["machine"]))
    with open_run(values, name) as run:
        if run.record is not None:
            tell_sweep(values, run.id, recorded_config(values), run.folder, run.record)
            return run.record
        values, machine = run.values, run.values["machine"]
        rank_watch = RankWatch(run.leave_error, on_lost_rank)
        with (
            as_attnlab_errors(values, rank_watch),
            Tracker(values, run.id, recorded_config(values), run.folder) as tracker,
        ):
            hardware.set_threads(machine)
            hardware.keep_memory(machine)
            quiet()

            net, costs = _build_net(values)
            data = _set_up_data(run, tracker)
            resume = find_checkpoint(run)
            parent = _start_from_parent(run, net) if resume is None else None
            graphs = choose_graphs(values, net, run.title)
            if graphs:
                load_in_chunks(data, machine.get("checkpoint_minutes"))
            compiled = hardware.compiles(machine) or bool(graphs and compiling_pays(values, len(data.train)))
            classifier = make_classifier(
                values, net, graphs, compiled=compiled, on_failure=run_eagerly(values, run.title)
            )
            _make_fast(net, machine, compiled=compiled, fixed_shapes=bool(graphs))

            log = EpochLog(run.folder / "log.csv", run.title)
            last = Last(
                run.folder, machine.get("checkpoint_minutes"), hardware.batch_statistics(net, machine), data.data_hash,
                run.made_by.code, stretch(run.made_by, machine), parent, accept_code=values.get("code") == "recorded",
            )  # fmt: skip
            averaging = averaging_of(values["recipe"])
            best = _best_callback(run, averaging)
            optional = [
                averaging, stopping_of(values["recipe"], run.title), best,
                progress_callback(log, on_progress, run.title), _slow_steps_callback(run), _maps_callback(run),
            ]  # fmt: skip
            callbacks = [Draws(values["seed"]), log, last, *filter(None, optional)]
            trainer = make_trainer(values, run.folder, callbacks, tracker.loggers(), rank_watch)
            if trainer.is_global_zero:
                write_text(run.folder / "config.yaml", OmegaConf.to_yaml(OmegaConf.create(without_paths(values))))
                remember(run.folder, values["dataset"])
            print_once(
                f"{run.title}: {'goes on from last.ckpt' if resume else 'starts'}, {costs['params']:,} parameters, "
                f"{costs['macs'] / 1e6:,.1f} M MACs, {hardware.accelerator(machine)}, {hardware.precision(machine)}"
            )

            pl.seed_everything(values["seed"], workers=True, verbose=False)
            trainer.fit(classifier, datamodule=data, ckpt_path=resume, weights_only=True)
            chosen = choose_checkpoint(trainer, classifier, data, best, log)
            path = str(chosen.path)
            if averaging:
                costs["tested"] = averaging.tested(chosen.epoch)
                print_once(f"{run.title}: {costs['tested']}")
            (tested,) = trainer.test(classifier, datamodule=data, ckpt_path=path, verbose=False, weights_only=True)
            predictions = {} if run.is_trial else keep_predictions(classifier, data, run.folder)

            record = make_record(run, trainer, data, log, last, chosen, tested, costs | predictions)
            if trainer.is_global_zero:
                write_json(run.folder / "result.json", record)
                (run.folder / "error.json").unlink(missing_ok=True)
            tracker.record = record
            error, seconds = record["metrics"]["test/top1_error"], record["seconds"]
            print_once(f"{run.title}: finished, test error {error:.2f} %, {seconds:.0f} s")
            return record


def _build_net(values: Mapping[str, Any]) -> tuple[nn.Module, dict[str, Any]]:
    """(the network, its parameters and MACs)."""
    net = build(values)
    costs: dict[str, Any] = {"params": sum(p.numel() for p in net.parameters() if p.requires_grad)}
    costs["macs"] = count_macs(net, values)
    if values["recipe"].get("stochastic_depth"):
        from attnlab.models.stochastic_depth import add_stochastic_depth  # part of the code of runs that use it

        add_stochastic_depth(net, values["recipe"]["stochastic_depth"])
    return net, costs


def _set_up_data(run: OpenRun, tracker: Tracker) -> Any:
    """The datamodule, its images read or found; prints what it has to say."""
    data = make_datamodule(run.values)
    data.setup()
    for note in getattr(data, "notes", ()):
        print_once(f"{run.title}: {note}")
    if getattr(data, "workers", 0):
        tracker.wait()  # the loader's workers are forked, which must not happen while the tracker starts
    return data


def _start_from_parent(run: OpenRun, net: nn.Module) -> Any:
    """Give the network the weights of `start_from`; returns what the checkpoint keeps of the parent, or None."""
    if not run.values.get("start_from"):
        return None
    parent = parent_of(run.values)
    print_once(f"{run.title}: {start_from(net, run.values)}")
    return parent


def _make_fast(net: nn.Module, machine: Mapping[str, Any], *, compiled: bool, fixed_shapes: bool) -> None:
    """channels_last, and the compiler or our own kernels: a compiler fuses the plain form itself."""
    device, precision = hardware.accelerator(machine), hardware.precision(machine)
    if machine["channels_last"]:
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    correct_dilated(net, device=device, precision=precision)
    if compiled:
        net.compile(dynamic=False if fixed_shapes else None)
    else:
        accelerate(net, device=device, precision=precision, channels_last=machine["channels_last"])


def _best_callback(run: OpenRun, averaging: Any) -> Best | BestAverage | None:
    """What keeps the best checkpoint; None where no images are held out."""
    if run.values["recipe"]["validation"]["images"] == 0:
        return None
    return BestAverage(run.folder, averaging) if averaging else Best(run.folder)


def _slow_steps_callback(run: OpenRun) -> SlowSteps | None:
    """On a CPU: what says that other programs slow the run down."""
    return SlowSteps(run.title) if hardware.accelerator(run.values["machine"]) == "cpu" else None


def _maps_callback(run: OpenRun) -> Callback | None:
    """The callback that draws attention maps during training, with tracker.images=true."""
    if not run.values["tracker"].get("images"):
        return None
    from attnlab.evaluation.drawing.during_training import DrawMaps

    return DrawMaps(run.folder, run.id)
