"""What config keys may hold: a test and its words for each value, and the keys of each section."""

import re
from collections.abc import Callable, Mapping
from typing import Any

Test = Callable[[Any], bool]
Rule = tuple[Test, str]  # the test of a value, and what is allowed in words

ACCELERATORS = ("auto", "cpu", "gpu", "cuda", "mps")
PRECISIONS = ("auto", "32-true", "bf16-mixed", "16-mixed", "64-true", "bf16-true", "16-true")
#: the `_target_` of attention=none
NO_ATTENTION = "torch.nn.Identity"
SCHEDULES = (
    "attnlab.schedules.warmup_cosine, attnlab.schedules.multistep, attnlab.schedules.constant, or "
    "torch.optim.lr_scheduler.NAME"
)
#: what a search may minimise: the validation error in percent, and costs; the test images never decide
OBJECTIVES = ("val/top1_error", "params", "macs", "seconds", "peak_memory")


def _is_integer(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_stages(value: Any) -> bool:
    """Sorted integers from 1, so that one science has one id."""
    return isinstance(value, list) and all(_is_integer(i, 1) for i in value) and value == sorted({*value}) != []


def _is_patterns(value: Any) -> bool:
    names = value if isinstance(value, list) else [value]
    return bool(names) and all((isinstance(name, str) and name) or _is_integer(name, 0) for name in names)


def _is_layer_decays(value: Any) -> bool:
    return isinstance(value, Mapping) and all(_is_number(decay) and decay >= 0 for decay in value.values())


def _is_objective(value: Any) -> bool:
    names = value if isinstance(value, list) else [value]
    return bool(names) and all(name in OBJECTIVES for name in names) and len({*names}) == len(names)


def _is_run_id(value: Any) -> bool:
    """All 12 digits: start_from is part of a run's id, so that it has one spelling."""
    return isinstance(value, str) and bool(re.fullmatch("[0-9a-f]{12}", value))


def _integer(least: int, note: str = "") -> Rule:
    return lambda value: _is_integer(value, least), f"an integer from {least}{note}"


def _number(test: Test, words: str) -> Rule:
    return lambda value: _is_number(value) and test(value), words


def _one_of(*names: str) -> Rule:
    return lambda value: value in names, f"{', '.join(names[:-1])} or {names[-1]}" if names[1:] else names[0]


def _or_null(rule: Rule) -> Rule:
    test, words = rule
    return lambda value: value is None or test(value), f"{words}, or null"


def _named(key: str, names: str) -> Rule:
    words = f"a group with _target_; {key}._target_=NAME changes only that, NAME as {names}"
    return lambda value: isinstance(value, Mapping) and "_target_" in value, words


def _path(names: str) -> Rule:
    return lambda value: isinstance(value, str) and "." in value, names


_seed: Rule = (lambda value: _is_integer(value, 0) and value < 2**32, "an integer from 0 to 4294967295")
_boolean: Rule = (lambda value: isinstance(value, bool), "true or false")
_folder: Rule = (lambda value: isinstance(value, str) and bool(value), "a folder")
_above_zero = _number(lambda value: value > 0, "a number above 0")
_from_zero = _number(lambda value: value >= 0, "a number from 0")
_share = _number(lambda value: 0 < value < 1, "a number above 0 and below 1")

#: key -> its rule. The keys of one attention, model or head are checked by its constructor (targets.py).
CHECKS: dict[str, Rule] = {
    "seed": _seed,
    "start_from": _or_null(
        (_is_run_id, "all 12 digits of a finished run's id, in quotes if it looks like a number: \"start_from='...'\"")
    ),
    "output_dir": _folder,
    "force": _boolean,
    "code": _or_null(_one_of("recorded")),
    "deterministic": _boolean,
    "dry_run": _boolean,
    "objective": (_is_objective, f"one of {', '.join(OBJECTIVES)}, or a list of them; test images never decide"),
    "n_jobs": _or_null(_integer(1)),
    "runs_per_gpu": (lambda value: value == "auto" or _is_integer(value, 1), "an integer from 1, or auto"),
    "dataset.classes": _integer(2),
    "dataset.image_size": _integer(1),
    "dataset.seed": _seed,
    "dataset.root": _folder,
    "dataset.fraction": _or_null(_share),
    "model.stem": _integer(1),
    "model.norm_eps": _above_zero,
    "model.norm_momentum": _number(lambda value: 0 < value <= 1, "a number above 0, to 1"),
    "attention.start": _or_null(_one_of("identity")),
    "attention.draw": _or_null(_integer(1)),
    "attention.after": _or_null(
        (_is_patterns, "a module's name, where * stands for one part (0.1 in quotes), or a list of names")
    ),
    "attention.stages": _or_null((_is_stages, "increasing integers from 1, e.g. [2,3]")),
    "recipe.epochs": _or_null(_integer(1)),
    "recipe.steps": _or_null(_integer(1)),
    "recipe.passes_per_epoch": _or_null(_integer(1)),
    "recipe.drop_last": _or_null(_boolean),
    "recipe.batch_size": _integer(1),
    "recipe.validation.images": (
        lambda value: _is_integer(value, 0) or (isinstance(value, float) and 0 < value < 1),
        "an integer from 0 (0: train on all images), or a share above 0 and below 1",
    ),
    "recipe.validation.order": _one_of("seed", "file"),
    "recipe.validation.seed": _or_null(_one_of("run")),
    "recipe.label_smoothing": _number(lambda value: 0 <= value < 1, "a number from 0 to below 1"),
    "recipe.grad_clip": _or_null(_above_zero),
    "recipe.mixup": _or_null(_above_zero),
    "recipe.cutmix": _or_null(_above_zero),
    "recipe.weight_averaging.kind": _or_null(_one_of("ema", "swa")),
    "recipe.weight_averaging.decay": _or_null(_share),
    "recipe.weight_averaging.start": _or_null(_integer(0, " (epochs)")),
    "recipe.stochastic_depth": _or_null(_share),
    "recipe.early_stopping.patience": _or_null(_integer(1, " (epochs)")),
    "recipe.early_stopping.min_delta": _or_null(_from_zero),
    "recipe.optimizer": _named("recipe.optimizer", "torch.optim.SGD"),
    "recipe.optimizer._target_": _path("a class, as torch.optim.SGD; recipe.optimizer=NAME takes sgd, adamw or lion"),
    "recipe.schedule": _named("recipe.schedule", SCHEDULES),
    "recipe.schedule._target_": _path(SCHEDULES),
    "recipe.optimizer.lr": _above_zero,
    "recipe.augment": (
        lambda value: value is None or isinstance(value, Mapping),
        "a group, or null; recipe.augment.policy=trivial sets a key of it, recipe.mixup and cutmix are beside it",
    ),
    "recipe.augment.flip": _or_null(_boolean),
    "recipe.augment.crop": _or_null(_integer(0, " (pixels)")),
    "recipe.augment.shift": _or_null(_number(lambda value: 0 <= value < 1, "a number from 0 to below 1")),
    "recipe.augment.erasing": _or_null(_number(lambda value: 0 < value <= 1, "a number above 0, to 1")),
    "recipe.augment.policy": _or_null(_one_of("trivial", "rand")),
    **{f"recipe.weight_decay.{kind}": _or_null(_from_zero) for kind in ("default", "norm", "bias", "attention")},
    "recipe.weight_decay.layers": _or_null(
        (_is_layer_decays, "{layer: a number from 0}, where `*` in the layer's name stands for any text")
    ),
    "machine.devices": (
        lambda value: _is_integer(value, 1) or value == "auto" or (isinstance(value, list) and bool(value)),
        "an integer from 1, a list of device numbers, or auto",
    ),
    "machine.accelerator": _one_of(*ACCELERATORS),
    "machine.precision": _one_of(*PRECISIONS),
    "machine.nodes": _integer(1),
    "machine.sync_batchnorm": _boolean,
    "machine.compile": (lambda value: isinstance(value, bool) or value == "auto", "auto, true or false"),
    "machine.graph": (lambda value: isinstance(value, bool) or value == "auto", "auto, true or false"),
    "machine.channels_last": _boolean,
    "machine.detect_anomaly": _boolean,
    "machine.threads": _or_null(_integer(1)),
    "machine.workers": _or_null(_integer(0)),
    "machine.batches": _or_null(_integer(1)),
    "machine.checkpoint_minutes": _or_null(_number(lambda value: value >= 0, "a number from 0 (0: after each step)")),
    "tracker.images": _boolean,
    "tracker.report": _boolean,
    "tracker.name": _or_null((lambda value: isinstance(value, str) and bool(value), "a text")),
    "tracker.group": _or_null((lambda value: isinstance(value, str) and bool(value), "a text")),
}

#: section -> all its keys. The other sections are the arguments of a constructor, which checks them.
KEYS = {
    "": (
        "dataset", "model", "attention", "head", "recipe", "machine", "tracker", "seed", "start_from", "force", "code",
        "deterministic", "dry_run", "n_jobs", "runs_per_gpu", "output_dir", "experiment", "table", "objective",
    ),
    "recipe": (
        "epochs", "steps", "batch_size", "optimizer", "weight_decay", "schedule", "label_smoothing", "grad_clip",
        "validation", "normalize", "augment", "passes_per_epoch", "drop_last", "mixup", "cutmix", "weight_averaging",
        "stochastic_depth", "early_stopping",
    ),
    "recipe.weight_decay": ("default", "norm", "bias", "attention", "layers"),
    "recipe.validation": ("images", "order", "seed"),
    "recipe.weight_averaging": ("kind", "decay", "start"),
    "recipe.early_stopping": ("patience", "min_delta"),
    "machine": (
        "accelerator", "devices", "precision", "channels_last", "compile", "threads", "workers", "batches",
        "checkpoint_minutes", "detect_anomaly", "nodes", "sync_batchnorm", "graph",
    ),
    "tracker": ("kind", "mode", "project", "entity", "uri", "name", "group", "tags", "images", "report"),
}  # fmt: skip


#: keys that the config.yaml of a finished run may lack, since it does not store them or is older than they are; written
#: in full where another section has a key of the same name
MAY_LACK = (
    "experiment", "table", "start_from", "force", "code", "dry_run", "n_jobs", "output_dir", "workers",
    "passes_per_epoch", "drop_last", "layers", "checkpoint_minutes", "runs_per_gpu", "nodes", "sync_batchnorm",
    "recipe.validation.seed", "graph", "mixup", "cutmix", "weight_averaging", "kind", "decay", "start",
    "stochastic_depth", "early_stopping", "patience", "min_delta", "objective",
)  # fmt: skip
