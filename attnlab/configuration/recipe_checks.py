"""Keys of a recipe that need each other."""

from collections.abc import Mapping
from typing import Any

from attnlab.configuration.messages import wrong_value
from attnlab.errors import ConfigError


def check_recipe(recipe: Mapping[str, Any]) -> None:
    """Raise ConfigError for the first key of a recipe that its other keys do not allow."""
    _check_stopping(recipe.get("early_stopping") or {}, recipe)
    _check_averaging(recipe.get("weight_averaging") or {}, recipe)


def _check_stopping(node: Mapping[str, Any], recipe: Mapping[str, Any]) -> None:
    key = "recipe.early_stopping"
    if node.get("patience") is None:
        if node.get("min_delta") is not None:
            raise ConfigError(f"missing value {key}.patience; {key}.min_delta needs it; allowed is an integer from 1")
    elif not recipe["validation"]["images"]:
        raise ConfigError(
            f"wrong value {key}.patience={node['patience']}; allowed is null, since recipe.validation.images=0 leaves "
            "no validation error to watch"
        )


def _check_averaging(node: Mapping[str, Any], recipe: Mapping[str, Any]) -> None:
    key, kind = "recipe.weight_averaging", node.get("kind")
    given = [name for name in ("decay", "start") if node.get(name) is not None]
    if kind is None and given:
        raise ConfigError(f"missing value {key}.kind; {key}.{given[0]} needs it; allowed is ema or swa")
    if kind == "swa" and "decay" in given:
        raise ConfigError(wrong_value(f"{key}.decay", node["decay"], f"null with {key}.kind=swa, a plain mean"))
    epochs = None if recipe["steps"] is not None else recipe["epochs"]
    if kind == "swa" and "start" not in given and epochs is None:
        raise ConfigError(
            f"missing value {key}.start; recipe.steps gives no number of epochs, of which three quarters would be the "
            "start; allowed is an integer from 0 (epochs)"
        )
    if "start" in given and epochs is not None and node["start"] >= epochs:
        raise ConfigError(wrong_value(f"{key}.start", node["start"], f"0 to {epochs - 1}, before the last epoch ends"))
