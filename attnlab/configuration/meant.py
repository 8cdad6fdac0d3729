"""Which key does a user mean who types `lr=0.1`, `optimizer=sgd` or `recipe.epoch=3`?"""

import difflib
from collections.abc import Sequence

from attnlab.configuration.groups import is_group

#: names that other libraries give to keys of attnlab
SYNONYMS = {
    "learning_rate": "lr",
    "max_epochs": "epochs",
    "num_epochs": "epochs",
    "bs": "batch_size",
    "wd": "weight_decay",
    "num_workers": "workers",
}
#: names that other libraries give to something, or that the chosen config lacks -> what to type in attnlab
ELSEWHERE = {
    "amp": "machine.precision=bf16-mixed",
    "cuda": "machine=gpu",
    "data_dir": "dataset.root",
    "device": "machine.accelerator",
    "gpu": "machine=gpu",
    "gpus": "machine.devices",
    "momentum": "recipe.optimizer.momentum with recipe.optimizer=sgd",
    "n_trials": "hydra.sweeper.n_trials, of a search (hparams=NAME)",
    "pretrained": "model.pretrained with model=timm or model=torchvision",
    "reduction": "attention.reduction with attention=se",
    "val_split": "recipe.validation.images",
}
#: a section of the recipe -> its key that most users mean
MAIN_KEYS = {
    "recipe.augment": "recipe.augment.policy or recipe.mixup",
    "recipe.early_stopping": "recipe.early_stopping.patience",
    "recipe.validation": "recipe.validation.images",
    "recipe.weight_averaging": "recipe.weight_averaging.kind",
}
MOST = 3  # keys that one message suggests
CLOSE, LOOSE = 0.85, 0.6  # similarities of two names, of difflib: nearly equal; perhaps meant


def meant(key: str, beside: Sequence[str], everywhere: Sequence[str]) -> list[str]:
    """The full keys that the user may mean, the likeliest first; empty if none is near.

    beside: the keys of the node in which `key` was sought;  everywhere: all full keys of the config.
    """
    *above, last = key.split(".")
    last = SYNONYMS.get(last, last)
    others = [other for other in everywhere if other != key]
    elsewhere = ELSEWHERE.get(last, "")
    named = [other for other in others if other.rpartition(".")[2] == last]
    if not named and ((elsewhere and not above) or elsewhere.startswith(f"{key} with ")):
        return [elsewhere]
    below = [other for other in named if _in_order(above, other.split("."))]
    found = (
        below
        or _misspelt(key, beside, CLOSE)
        or (named if len(named) == 1 else [])
        or _misspelt_anywhere(last, others)
        or _misspelt(key, beside, LOOSE)
    )
    return [_settable(other, everywhere) for other in sorted(found, key=lambda other: other.count("."))[:MOST]]


def _in_order(parts: Sequence[str], path: Sequence[str]) -> bool:
    """Whether the path has all parts, in this order."""
    rest = iter(path)
    return all(part in rest for part in parts)


def _misspelt(key: str, beside: Sequence[str], cutoff: float) -> list[str]:
    """The key beside that is spelt most nearly like `key`. Only the last parts are compared: the others are equal."""
    names = {other.rpartition(".")[2]: other for other in sorted(beside, key=lambda name: (len(name), name))}
    last = key.rpartition(".")[2]
    close = difflib.get_close_matches(last, names, n=3, cutoff=cutoff)
    best = max(close, key=lambda name: common_start(name, last), default=None)
    return [] if best is None else [names[best]]


def _misspelt_anywhere(last: str, others: Sequence[str]) -> list[str]:
    names = {other.rpartition(".")[2] for other in others}
    close = difflib.get_close_matches(last, names, n=1, cutoff=CLOSE)
    return [other for other in others if close and other.rpartition(".")[2] == close[0]]


def _settable(key: str, everywhere: Sequence[str]) -> str:
    """What one types to choose a group or to set the main value of a section, for a key that has keys below it."""
    if key in MAIN_KEYS:
        return MAIN_KEYS[key]
    if is_group(group := key.replace(".", "/")):
        return group
    return next((f"{key}.{name}" for name in ("_target_", "default") if f"{key}.{name}" in everywhere), key)


def common_start(one: str, other: str) -> int:
    """The number of characters with which both texts begin."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
