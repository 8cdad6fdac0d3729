"""What config keys may hold: a test and its words for each value, and the keys of every section that is read."""

import re
from collections.abc import Callable, Mapping
from typing import Any

Test = Callable[[Any], bool]

ACCELERATORS = ("auto", "cpu", "gpu", "cuda", "mps")
PRECISIONS = ("auto", "32-true", "bf16-mixed", "16-mixed", "64-true", "bf16-true", "16-true")


def _integer(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _optional(test: Test) -> Test:
    return lambda value: value is None or test(value)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _stages(value: Any) -> bool:
    increasing = isinstance(value, list) and all(_integer(item, 1) for item in value) and value == sorted({*value})
    return increasing and bool(value)  # one order: one science, one id


def _decays(value: Any) -> bool:
    return isinstance(value, Mapping) and all(_number(decay) and decay >= 0 for decay in value.values())


def _run(value: Any) -> bool:
    return isinstance(value, str) and bool(re.fullmatch("[0-9a-f]{12}", value))  # it is hashed: no abbreviation


_seed = (lambda value: _integer(value, 0) and value < 2**32, "an integer from 0 to 4294967295")
_positive = (lambda value: _integer(value, 1), "an integer from 1")
_positive_or_null = (_optional(lambda value: _integer(value, 1)), "an integer from 1, or null")
_boolean = (lambda value: isinstance(value, bool), "true, false")

#: key -> (test, what is allowed). Knobs of attentions, and of one model, are checked by their constructors.
CHECKS: dict[str, tuple[Test, str]] = {
    "seed": _seed,
    "start_from": (
        _optional(_run),
        "a finished run's whole id; of digits alone, or d...ed..., in quotes: \"start_from='...'\"",
    ),
    "output_dir": (lambda value: isinstance(value, str) and bool(value), "a folder"),
    "force": _boolean,
    "code": (lambda value: value in (None, "recorded"), "recorded, null"),
    "deterministic": _boolean,
    "dry_run": _boolean,
    "n_jobs": _positive_or_null,
    "runs_per_gpu": _positive,
    "dataset.classes": (lambda value: _integer(value, 2), "an integer from 2"),
    "dataset.image_size": _positive,
    "dataset.seed": _seed,
    "dataset.lanes": _positive,
    "dataset.shuffle": _positive,
    "dataset.root": (lambda value: isinstance(value, str) and bool(value), "a folder"),
    "model.stem": _positive,
    "model.norm_eps": (lambda value: _number(value) and value > 0, "a number above 0"),
    "model.norm_momentum": (lambda value: _number(value) and 0 < value <= 1, "a number above 0, to 1"),
    "attention.start": (lambda value: value in (None, "identity"), "identity, null"),
    "attention.draw": _positive_or_null,
    "attention.stages": (_optional(_stages), "increasing integers from 1, e.g. [2,3], or null"),
    "recipe.epochs": _positive_or_null,
    "recipe.steps": _positive_or_null,
    "recipe.passes_per_epoch": _positive_or_null,
    "recipe.drop_last": (_optional(lambda value: isinstance(value, bool)), "true, false, null"),
    "recipe.batch_size": _positive,
    "recipe.validation.images": (lambda value: _integer(value, 0), "an integer from 0 (0: train on all images)"),
    "recipe.validation.order": (lambda value: value in ("seed", "file"), "seed, file"),
    "recipe.validation.seed": (lambda value: value in (None, "run"), "run, null"),
    "recipe.label_smoothing": (lambda value: _number(value) and 0 <= value < 1, "a number from 0 to below 1"),
    "recipe.grad_clip": (_optional(lambda value: _number(value) and value > 0), "a number above 0, or null"),
    **{
        f"recipe.{name}": (lambda value: isinstance(value, Mapping) and "_target_" in value, "a group with _target_")
        for name in ("optimizer", "schedule")
    },
    "recipe.optimizer.lr": (lambda value: _number(value) and value > 0, "a number above 0"),
    "recipe.augment": (_optional(lambda value: isinstance(value, Mapping)), "a group, or null"),
    "recipe.augment.flip": (_optional(lambda value: isinstance(value, bool)), "true, false, null"),
    "recipe.augment.crop": (_optional(lambda value: _integer(value, 0)), "an integer from 0 (pixels), or null"),
    "recipe.augment.shift": (_optional(lambda value: _number(value) and 0 <= value < 1), "0 to below 1, or null"),
    **{
        f"recipe.weight_decay.{kind}": (
            _optional(lambda value: _number(value) and value >= 0),
            "a number from 0, or null",
        )
        for kind in ("default", "norm", "bias", "attention")
    },
    "recipe.weight_decay.layers": (
        _optional(_decays),
        "{layer: a number from 0}, `*` for any part of its name, or null",
    ),
    "machine.devices": (
        lambda value: _integer(value, 1) or value == "auto" or (isinstance(value, list) and bool(value)),
        "an integer from 1, a list of device numbers, auto",
    ),
    "machine.accelerator": (lambda value: value in ACCELERATORS, ", ".join(ACCELERATORS)),
    "machine.precision": (lambda value: value in PRECISIONS, ", ".join(PRECISIONS)),
    "machine.nodes": _positive,
    "machine.sync_batchnorm": _boolean,
    "machine.compile": (lambda value: isinstance(value, bool) or value == "auto", "auto, true, false"),
    "machine.channels_last": _boolean,
    "machine.detect_anomaly": _boolean,
    "tracker.images": _boolean,
    "machine.threads": _positive_or_null,
    "machine.workers": (_optional(lambda value: _integer(value, 0)), "an integer from 0, or null"),
    "machine.batches": _positive_or_null,
    "machine.checkpoint_minutes": (
        _optional(lambda value: _number(value) and value >= 0),
        "a number from 0 (0: after each step), or null",
    ),
}


#: sections whose keys are read one by one; the others are handed to a constructor, which knows its own
KEYS = {
    "": (
        "dataset", "model", "attention", "head", "recipe", "machine", "tracker", "seed", "start_from", "force", "code",
        "deterministic", "dry_run", "n_jobs", "runs_per_gpu", "output_dir", "experiment", "table",
    ),
    "recipe": (
        "epochs", "steps", "batch_size", "optimizer", "weight_decay", "schedule", "label_smoothing", "grad_clip",
        "validation", "normalize", "augment", "passes_per_epoch", "drop_last",
    ),
    "recipe.weight_decay": ("default", "norm", "bias", "attention", "layers"),
    "recipe.validation": ("images", "order", "seed"),
    "machine": (
        "accelerator", "devices", "precision", "channels_last", "compile", "threads", "workers", "batches",
        "checkpoint_minutes", "detect_anomaly", "nodes", "sync_batchnorm",
    ),
    "tracker": ("name", "mode", "project", "entity", "tags", "images"),
}  # fmt: skip


# what a saved config.yaml does not have, or may be older than; in full where another section has such a key as well
MAY_LACK = (
    "experiment", "table", "start_from", "force", "code", "dry_run", "n_jobs", "output_dir", "workers",
    "passes_per_epoch", "drop_last", "layers", "checkpoint_minutes", "runs_per_gpu", "nodes", "sync_batchnorm",
    "recipe.validation.seed",
)  # fmt: skip
