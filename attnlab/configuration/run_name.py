"""What a run is called in lines, lists and messages: `se reduction=8 resnet20 cifar10 seed=0`."""

from collections.abc import Mapping, Sequence
from typing import Any

from attnlab.configuration.digest import canonical
from attnlab.configuration.keys import leaves
from attnlab.configuration.names import name_of

MOST_LISTED = 8  # runs that one message lists


def run_name(config: Mapping[str, Any], room: int | None = None) -> str:
    """The names of attention, model and dataset, and the seed.

    room: characters that the name may have; where it has more, the dataset is left out, then the model.
    """
    attention, model, dataset = (name_of(part, config[part], config) for part in ("attention", "model", "dataset"))
    parts = [attention, model, dataset.split()[0], f"seed={config['seed']}"]
    while room is not None and len(" ".join(parts)) > room and len(parts) > 2:
        del parts[-2]
    return " ".join(parts)


def names_of(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """The name of each run, and the values of all keys in which these runs differ otherwise: `... recipe.epochs=3`."""
    words = [_other_words(config) for config in configs]
    common = set.intersection(*map(set, words)) if words else set()
    keys = dict.fromkeys(word.partition("=")[0] for own in words for word in own if word not in common)
    names = []
    for config, own in zip(configs, words, strict=True):
        given = {word.partition("=")[0]: word for word in own}
        default = leaves(canonical(config))
        shown = [given.get(key) or (f"{key}={default[key]}" if key in default else "") for key in keys]
        names.append(" ".join([run_name(config), *filter(None, shown)]))
    return names


def _other_words(config: Mapping[str, Any]) -> list[str]:
    """What `run_name` leaves out, as one types it: `recipe=he2016`, `recipe.epochs=3`, `head=ltpa`."""
    words = []
    for part in ("dataset", "head", "recipe"):
        choice, *changes = name_of(part, config[part], config).split()
        words += [*([f"{part}={choice}"] if part != "dataset" else []), *(f"{part}.{change}" for change in changes)]
    return [*words, *([f"start_from={config['start_from']}"] if config.get("start_from") else [])]


def title_of(name: str, run: str, room: int | None = None) -> str:
    """`se resnet20 cifar10 seed=0 (1c9fcfacf4c6)`; the name alone where both have more than `room` characters."""
    both = f"{name} ({run})"
    return both if room is None or len(both) <= room else name


def listed(runs: Sequence[tuple[str, Mapping[str, Any] | None]], total: int) -> str:
    """A line for each run, its id and its name, and how many more there are.

    runs: (id, config; None if it is not known) of those to show, at most MOST_LISTED;  total: how many there are.
    """
    names = iter(names_of([config for _, config in runs if config is not None]))
    lines = [f"  {run}  {next(names) if config is not None else ''}".rstrip() for run, config in runs]
    return "\n".join([*lines, *([f"  and {total - len(runs)} more"] if total > len(runs) else [])])
