"""The checks of a plain config: its sections, its keys, its values, and values that must fit each other."""

import math
from collections.abc import Mapping
from typing import Any

from attnlab.configuration import removed
from attnlab.configuration.keys import every_key
from attnlab.configuration.messages import missing, unknown_choice, unknown_key, whole_group, wrong_value
from attnlab.configuration.recipe_checks import check_recipe
from attnlab.configuration.schema import CHECKS, KEYS, MAY_LACK, NO_ATTENTION
from attnlab.configuration.secrets import first_secret
from attnlab.configuration.validation_seed import draw_seed
from attnlab.errors import ConfigError

CHOSEN = ("dataset", "model", "attention", "head")  # groups whose choice names a class or function


def check_values(values: Mapping[str, Any]) -> None:
    """Raise ConfigError for the first key or value of a plain config that is not allowed."""
    if secret := first_secret(values):
        key, variable = secret
        raise ConfigError(f"secret in {key}: its value holds ${variable}, and records would show it; remove it")
    _check_sections(values)
    _check_keys(values)
    _check_finite(values)
    _check_rules(values)
    _check_together(values)


def extra_keys(attention: Mapping[str, Any]) -> list[str]:
    """The keys of a config of attention=none that none does not have; empty for any other attention."""
    if attention.get("_target_") != NO_ATTENTION:
        return []
    return [str(name) for name in attention if name not in ("_target_", "stages", "start", "draw", "after")]


def _check_sections(values: Mapping[str, Any]) -> None:
    """Every section is a mapping, and those of CHOSEN name what they build."""
    for section in (*CHOSEN, "recipe", "machine", "tracker"):
        node = values.get(section)
        if not isinstance(node, Mapping) or not node:
            raise ConfigError(unknown_choice(section, str(node or "null")))
        if section in CHOSEN and not isinstance(node.get("_target_"), str):
            raise ConfigError(unknown_choice(section, "null"))
    mask = values["attention"].get("mask")
    if mask is not None and not isinstance(mask, Mapping):
        raise ConfigError(whole_group("attention/mask", mask))
    for name in ("classes", "image_size"):
        if name not in values["dataset"]:
            raise ConfigError(missing(f"dataset.{name}", CHECKS[f"dataset.{name}"][1]))


def _check_keys(values: Mapping[str, Any]) -> None:
    """The sections of KEYS hold all keys that are read, and no others."""
    for section, known in KEYS.items():
        node: Any = values
        for part in section.split(".") if section else ():
            node = node.get(part) if part in MAY_LACK else node[part]
        if node is None and section.split(".")[-1] in MAY_LACK:
            continue
        if not isinstance(node, Mapping):
            raise ConfigError(
                wrong_value(section, node, f"a group with {', '.join(known)}; {section}.{known[0]}=... sets one")
            )
        above = f"{section}." if section else ""
        lacking = [name for name in known if name not in node and not {name, above + name} & set(MAY_LACK)]
        if lacking and section != "tracker":
            raise ConfigError(missing(f"{above}{lacking[0]}", "a value, or null"))
        for name, value in node.items():
            key = f"{above}{name}"
            if name not in known and value is not None and key not in removed.KEYS:
                raise ConfigError(unknown_key(key, [f"{above}{other}" for other in known], every_key(values)))


def _check_finite(node: Any, key: str = "") -> None:
    if isinstance(node, float) and not math.isfinite(node):
        raise ConfigError(wrong_value(key, node, "a finite number"))
    items = node.items() if isinstance(node, Mapping) else enumerate(node) if isinstance(node, list) else ()
    for name, item in items:
        _check_finite(item, f"{key}.{name}" if key else str(name))


def _check_rules(values: Mapping[str, Any]) -> None:
    """Every value of a key in CHECKS passes its test."""
    for key, (test, allowed) in CHECKS.items():
        node: Any = values
        for part in key.split("."):
            if not isinstance(node, Mapping) or part not in node:
                break
            node = node[part]
        else:
            if not test(node):
                raise ConfigError(wrong_value(key, node, allowed))


def _check_together(values: Mapping[str, Any]) -> None:
    """Values that are allowed alone do not contradict each other."""
    attention, recipe = values["attention"], values["recipe"]
    if extra := [name for name in extra_keys(attention) if attention[name] is not None]:
        key = f"attention.{extra[0]}"
        raise ConfigError(f"unknown key {key}; attention=none has no such key; choose an attention, as attention=se")
    if attention.get("after") is not None and "after" not in values["model"]:
        raise ConfigError(
            f"wrong value attention.after={attention['after']}; this model names its places: use attention.place; "
            "allowed is null; model=timm, torchvision and own take a pattern"
        )
    if recipe.get("epochs") is None and recipe.get("steps") is None:
        raise ConfigError("no length: recipe.epochs=null and recipe.steps=null; one must be an integer from 1")
    draw_seed(recipe["validation"], values["dataset"].get("seed", 0), values["seed"])  # raises for seed=run, order=file
    check_recipe(recipe)
    tracker = values["tracker"]
    if tracker.get("report") and tracker["kind"] not in ("wandb", "mlflow"):
        raise ConfigError(
            f"wrong value tracker.report=true; tracker={tracker['kind']} takes no report; allowed with wandb and mlflow"
        )
    objective = values.get("objective")
    if "val/top1_error" in (objective or ()) and recipe["validation"]["images"] == 0:
        raise ConfigError(
            f"wrong value recipe.validation.images=0; allowed with objective={objective} is an integer from 1"
        )
    if values["model"].get("pretrained") and values.get("start_from"):
        both = f"model.pretrained=true and start_from={values['start_from']}"
        raise ConfigError(f"two sources of weights: {both}; allowed is one of them")
    head_classes, classes = values["head"].get("classes"), values["dataset"]["classes"]
    if head_classes is not None and head_classes != classes:
        raise ConfigError(wrong_value("head.classes", head_classes, f"{classes}, as dataset.classes"))
