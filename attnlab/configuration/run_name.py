"""What a run is called in lines, lists and messages: `se reduction=8 resnet20 cifar10 seed=0`."""

from collections.abc import Mapping, Sequence
from typing import Any

from attnlab.configuration.digest import canonical
from attnlab.configuration.keys import leaves
from attnlab.configuration.names import name_of

IN_NAME = ("attention", "model", "dataset", "seed")  # parts of a config that the name of its run shows
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


def trial_name(config: Mapping[str, Any], overrides: Sequence[str], searched: Sequence[str]) -> str:
    """The name of a trial: that of its run, and the values that a search has drawn beside those which the name has.

    overrides: of the run;  searched: the keys whose values were drawn. Numbers have four digits.
    """
    pairs = [(key, value) for key, _, value in (override.partition("=") for override in overrides) if key in searched]
    extra = [(key, value) for key, value in pairs if key.replace("/", ".").split(".")[0] not in IN_NAME]
    return " ".join([run_name(config), *(f"{key}={_four_digits(value)}" for key, value in extra)])


def _four_digits(text: str) -> str:
    try:
        return f"{float(text):.4g}" if not text.lstrip("-").isdigit() else text
    except ValueError:
        return text


def names_of(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """The name of each run, and what it changes that not all of these runs change: `... seed=0 recipe.epochs=3`.

    Of runs that have one name otherwise, each also shows the value that another one changes.
    """
    names, changes = [run_name(config) for config in configs], [_changes(config) for config in configs]
    common = set.intersection(*(set(own.items()) for own in changes)) if changes else set()
    alike: dict[str, list[dict[str, str]]] = {}
    for name, own in zip(names, changes, strict=True):
        alike.setdefault(name, []).append(own)
    result = []
    for name, own, config in zip(names, changes, configs, strict=True):
        shown = {key: value for key, value in own.items() if (key, value) not in {*common, ("head", "linear")}}
        keys = dict.fromkeys(key for other in alike[name] for key in other)
        values = leaves(canonical(config))
        for key in keys:
            if (key in own or key in values) and len({other.get(key) for other in alike[name]}) > 1:
                shown[key] = own.get(key) or values[key]
        result.append(" ".join([name, *(f"{key}={value}" for key, value in shown.items())]))
    return result


def _changes(config: Mapping[str, Any]) -> dict[str, str]:
    """What `run_name` leaves out: {"recipe": "he2016", "recipe.epochs": "3"}, choices and the values they change."""
    found: dict[str, str] = {}
    for part in ("dataset", "head", "recipe"):
        choice, *values = name_of(part, config[part], config).split()
        found |= {} if part == "dataset" else {part: choice}
        found |= {f"{part}.{key}": value for key, _, value in (text.partition("=") for text in values)}
    return found | ({"start_from": config["start_from"]} if config.get("start_from") else {})


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
