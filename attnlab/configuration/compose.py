"""Compose a config as the command line does, check its values, and explain what is wrong in one message.

Imports Hydra and OmegaConf only, so `--help` and `--cfg job` never wait for torch.
"""

import difflib
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from attnlab.configuration import removed
from attnlab.configuration.schema import CHECKS, KEYS, MAY_LACK
from attnlab.configuration.secrets import told
from attnlab.configuration.validation_seed import draw_seed
from attnlab.errors import AttnlabError, ConfigError

_PACKAGE = Path(__file__).resolve().parents[1]
#: conf/ lies inside the installed package, or beside it in a checkout
CONF = _PACKAGE / "conf" if (_PACKAGE / "conf").is_dir() else _PACKAGE.parent / "conf"


#: what attention=none is made of
NO_ATTENTION = "torch.nn.Identity"
#: hydra/launcher -> the package that brings it, the launcher that asks for it
PACKAGES = {
    "ray": ("hydra-ray-launcher", "ray"),
    "submitit_slurm": ("hydra-submitit-launcher", "slurm"),
}


def plain(cfg: Any) -> dict[str, Any]:
    """The config as plain Python containers, every interpolation resolved. Raises ConfigError for a missing value."""
    if not isinstance(cfg, DictConfig):
        return dict(cfg)
    try:
        return OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)  # type: ignore[return-value]
    except OmegaConfBaseException as error:
        raise ConfigError(explain(error)) from error


class Checked(dict[str, Any]):
    """A plain config that `check` has accepted. A changed copy (`values | {...}`) is a plain dict again."""


def check(cfg: DictConfig | Mapping[str, Any]) -> Checked:
    """The plain config, when its values can be used; a Checked one is returned as it is.

    Raises ConfigError naming key, value and what is allowed.
    """
    if isinstance(cfg, Checked):
        return cfg
    values = plain(cfg)
    if secret := told(values):
        raise ConfigError(f"{secret[0]}: holds the value of ${secret[1]}, which every record would tell; leave it out")
    _check_keys(values)
    _check_finite(values)
    for key, (test, allowed) in CHECKS.items():
        node: Any = values
        for part in key.split("."):
            if not isinstance(node, Mapping) or part not in node:
                break
            node = node[part]
        else:
            if not test(node):
                raise ConfigError(f"{key}={'null' if node is None else node}: allowed is {allowed}")
    if extra := [name for name in no_knobs(values["attention"]) if values["attention"][name] is not None]:
        raise ConfigError(
            f"attention.{extra[0]}: no such key; attention=none has no knobs; name an attention beside it"
        )
    recipe = values["recipe"]
    if recipe.get("epochs") is None and recipe.get("steps") is None:
        raise ConfigError("recipe.epochs=null with recipe.steps=null: one of them must be an integer from 1")
    draw_seed(recipe["validation"], values["dataset"].get("seed", 0), values["seed"])  # or raises
    if values["model"].get("pretrained") and values.get("start_from"):
        both = f"model.pretrained=true with start_from={values['start_from']}"
        raise ConfigError(f"{both}: its weights would replace those of timm; allowed is one of the two")
    classes = values["head"].get("classes")
    if classes is not None and classes != values["dataset"]["classes"]:
        raise ConfigError(f"head.classes={classes}: allowed is {values['dataset']['classes']}, as dataset.classes")
    return Checked(values)


def no_knobs(attention: Mapping[str, Any]) -> list[str]:
    """The keys of attention=none that none does not have; empty of any other attention."""
    if attention.get("_target_") != NO_ATTENTION:
        return []
    return [str(name) for name in attention if name not in ("_target_", "stages", "start", "draw")]


def _check_finite(node: Any, key: str = "") -> None:
    if isinstance(node, float) and not math.isfinite(node):
        raise ConfigError(f"{key}={node}: allowed are finite numbers")
    items = node.items() if isinstance(node, Mapping) else enumerate(node) if isinstance(node, list) else ()
    for name, item in items:
        _check_finite(item, f"{key}.{name}" if key else str(name))


def _check_keys(values: dict[str, Any]) -> None:
    """Every section is a group, holds the keys that are read, and no others."""
    for section in ("dataset", "model", "attention", "head", "recipe", "machine", "tracker"):
        if not isinstance(values.get(section), Mapping) or not values[section]:
            raise ConfigError(f"{section}={values.get(section) or 'null'}: allowed are {', '.join(choices(section))}")
        if section in ("dataset", "model", "attention", "head") and not isinstance(
            values[section].get("_target_"), str
        ):
            raise ConfigError(f"{section}: no {section} is chosen; allowed are {', '.join(choices(section))}")
    for name in ("classes", "image_size"):
        if name not in values["dataset"]:
            raise ConfigError(f"dataset.{name}: is missing; a value must stand there")
    for section, known in KEYS.items():
        node = values
        for part in section.split(".") if section else ():
            node = node[part]
        if not isinstance(node, Mapping):
            raise ConfigError(
                f"{section}={'null' if node is None else node}: allowed is a group with {', '.join(known)}"
            )
        above = f"{section}." if section else ""
        lacks = [name for name in known if name not in node and not {name, above + name} & set(MAY_LACK)]
        if lacks and section != "tracker":
            raise ConfigError(f"{above}{lacks[0]}: is missing; null or a value must stand there")
        for name, value in node.items():
            key = f"{section}.{name}" if section else name
            if name not in known and value is not None and key not in removed.KEYS:
                raise ConfigError(_unknown(key, name, list(known)).replace("unknown;", "no such key;"))


def config(overrides: Sequence[str] = ()) -> DictConfig:
    """Compose a config as the command line does: `config(["attention=cbam", "model=resnet20"])`.

    Raises ConfigError for an unknown choice, a misspelt key or a value that is not allowed.
    """
    cfg = compose_file("run", overrides)
    check(cfg)
    return cfg


def compose_file(name: str, overrides: Sequence[str] = ()) -> DictConfig:
    """Compose conf/<name>.yaml, e.g. `run` or `attention/se`, without checking its values."""
    register_resolvers()
    try:
        with _composer():
            return compose(name, list(overrides))
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(explain(error, overrides)) from error
    except ValueError as error:  # of a group that was given null, by Hydra
        if "Config group override must be" not in str(error):
            raise
        raise ConfigError(explain(error, overrides)) from error


def chosen(overrides: Sequence[str]) -> dict[str, str]:
    """{group: the choice} of the config that the overrides compose to."""
    register_resolvers()
    with _composer():
        return dict(compose("run", list(overrides), return_hydra_config=True).hydra.runtime.choices)


@contextmanager
def _composer() -> Iterator[None]:
    """Hydra on conf/, also inside a job that Hydra itself is running."""
    world = GlobalHydra.instance()
    running = world.hydra
    world.clear()
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            yield
    finally:
        world.hydra = running


def choices(group: str) -> list[str]:
    """The names that `group=` accepts: the yaml files of conf/<group>/."""
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def explain(error: BaseException, overrides: Iterable[str] = ()) -> str:
    """One message for an error of Hydra or OmegaConf: the key, the value, and what is allowed."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, AttnlabError):
            text = str(cause)
            # A DataLoader hands an error on as the text of its worker's traceback; the last line is the message.
            return text if "Original Traceback" not in text else text.strip().splitlines()[-1].split(": ", 1)[-1]
        cause = cause.__cause__
    text = str(error) or str(error.__cause__)
    if found := re.search(r"(?:Config|Data)Error raised while resolving interpolation: (.+)", text):
        return found[1]  # of a resolver of ours
    if found := re.search(r"Could not find '([^']+)'\n\nAvailable options in '([^']+)'", text):
        group, choice = found[2], found[1].rsplit("/", 1)[-1]
        if group == "hydra/launcher" and choice in PACKAGES:
            package, launcher = PACKAGES[choice]
            return f"launcher={launcher}: needs the package {package} (attnlab[{launcher}])"
        if replacement := removed.CHOICES.get(f"{group}={choice}"):
            return f"{group}={choice}: was removed; use {replacement}"
        return _unknown(f"{group}={choice}", choice, choices(group))
    if found := re.search(r"Could not (?:override|delete)[^']*'([^']+)'", text):
        return _unknown_key(found[1], text, list(overrides))
    if found := re.search(r"Missing mandatory value: (\S+)", text):
        return f"{found[1]}: must be given, e.g. {found[1]}=..."
    if "Config group override must be" in text:
        groups = [o for o in overrides if (CONF / o.split("=", 1)[0].lstrip("+~")).is_dir()]
        allowed = "; ".join(
            f"{o}: allowed are {', '.join(choices(o.split('=', 1)[0]))}" for o in groups if o.endswith("=null")
        )
        return allowed or text
    if found := re.search(r"Interpolation key '([^']+)' not found", text):
        return f"{found[1]}: is missing; another key refers to it"
    if found := re.search(r"Ambiguous value for argument '([^']+)'", text):
        return f"{found[1]}: several values are a sweep; add -m"
    return " ".join(text.split("\nSee https")[0].split("\nSet the env")[0].split())


def _unknown(what: str, given: str, allowed: list[str]) -> str:
    close = difflib.get_close_matches(given, allowed, n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    return f"{what}: unknown; allowed are {', '.join(allowed) or 'none yet'}{hint}"


def _unknown_key(key: str, text: str, overrides: list[str]) -> str:
    if (CONF / key).is_dir() or "No match in the defaults list" in text:
        parent = key.rpartition("/")[0]
        if parent and (CONF / key).is_dir():
            chosen = next((o.split("=", 1)[1] for o in overrides if o.startswith(f"{parent}=")), "the chosen one")
            return f"{key}: {parent}={chosen} has none (it is not a gate that multiplies by a mask)"
    try:
        node = _parent(key, overrides)
        *parents, _ = key.split(".")
        if found := re.search(r"\w+\.\w+(?=[,}])", str(node._value()) if node._is_interpolation() else ""):
            above = ".".join(parents)
            return f"{key}: no such key; {above} is {found[0]} here: set that, or {above}={{...}} as a whole"
        if parents == ["attention"] and node.get("_target_") == NO_ATTENTION:
            beside = ", ".join(f"attention.{name}" for name in node if name != "_target_")
            return f"{key}: no such key; attention=none has no knobs, only {beside}; name an attention beside it"
    except (HydraException, OmegaConfBaseException, AttributeError, TypeError):
        return f"{key}: no such key"
    return no_such_key(key, siblings(key, overrides))


def no_such_key(key: str, allowed: Sequence[str]) -> str:
    """The message for a key that is none of the allowed ones."""
    return _unknown(key, key, list(allowed)).replace("unknown;", "no such key;")


def siblings(key: str, overrides: Iterable[str]) -> list[str]:
    """The keys beside `key`, with their parents, in the config of the groups that the overrides choose."""
    try:
        return [".".join([*key.split(".")[:-1], str(name)]) for name in _parent(key, overrides)]
    except (HydraException, OmegaConfBaseException, AttributeError, TypeError):
        return []


def _parent(key: str, overrides: Iterable[str]) -> Any:
    # of a sweep the first choice
    groups = [o.split(",")[0] for o in overrides if "=" in o and (CONF / o.split("=", 1)[0]).is_dir()]
    with _composer():
        node: Any = compose("run", groups, return_hydra_config=key.startswith("hydra."))
    for part in key.split(".")[:-1]:
        node = node._get_node(part)
        if node._is_interpolation():
            return node
    return node


def register_resolvers() -> None:
    """Make the resolvers of conf/ known to OmegaConf: `${class_folders:DIR}`, `${folder_listing:DIR}`,
    `${own_listing:DIR,CLASSES}`, and those of conf/launcher/: functions of attnlab.machine.gpus."""
    from attnlab.configuration.image_tree import class_count, fingerprint, own_listing
    from attnlab.machine import gpus

    for resolve in (gpus.jobs_at_a_time, gpus.gpu_share, gpus.tasks_per_node, gpus.gpus_per_node):
        OmegaConf.register_new_resolver(resolve.__name__, resolve, replace=True)
    OmegaConf.register_new_resolver("class_folders", class_count, replace=True, use_cache=True)
    OmegaConf.register_new_resolver("folder_listing", fingerprint, replace=True, use_cache=True)
    OmegaConf.register_new_resolver("own_listing", own_listing, replace=True, use_cache=True)


__all__ = ["CONF", "check", "choices", "compose_file", "config", "explain", "plain"]
