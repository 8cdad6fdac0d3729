"""Compose a config as the command line does, and check its values.

Imports Hydra and OmegaConf only, so that `--help` and `--cfg job` do not wait for torch.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from attnlab.configuration.checks import check_values
from attnlab.configuration.explain import explain
from attnlab.configuration.hydra_compose import compose_raw
from attnlab.errors import ConfigError


def config(overrides: Sequence[str] = ()) -> DictConfig:
    """Compose a config as the command line does: `config(["attention=cbam", "model=resnet20"])`.

    Raises ConfigError for an unknown choice, an unknown key or a wrong value.
    """
    if isinstance(overrides, str):
        raise ConfigError(f"wrong overrides {overrides!r}, a text; allowed is a list: attnlab.config([{overrides!r}])")
    cfg = compose_file("run", overrides)
    check(cfg)
    return cfg


def compose_file(name: str, overrides: Sequence[str] = ()) -> DictConfig:
    """Compose conf/<name>.yaml, e.g. `run` or `attention/se`, without checking its values. Raises ConfigError."""
    try:
        return compose_raw(name, overrides)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(explain(error, overrides)) from error
    except ValueError as error:
        if "Config group override must be" not in str(error):  # Hydra's, for attention=null
            raise
        raise ConfigError(explain(error, overrides)) from error


def chosen(overrides: Sequence[str]) -> dict[str, str]:
    """{group: its choice} in the config that the overrides compose to."""
    return dict(compose_raw("run", overrides, hydra_node=True).hydra.runtime.choices)


def plain(cfg: Any) -> dict[str, Any]:
    """The config as plain Python containers, every interpolation resolved.

    Raises ConfigError for a missing value, and for what is no config.
    """
    if not isinstance(cfg, Mapping):
        typed = [cfg] if isinstance(cfg, str) else cfg if isinstance(cfg, list) else []
        raise ConfigError(f"wrong config {cfg!r}; allowed is what attnlab.config gives: attnlab.config({typed!r})")
    if not isinstance(cfg, DictConfig):
        return dict(cfg)
    try:
        return OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)  # type: ignore[return-value]
    except OmegaConfBaseException as error:
        raise ConfigError(explain(error)) from error


class Checked(dict[str, Any]):
    """A plain config that `check` has accepted. A changed copy (`values | {...}`) is a plain dict again."""


def check(cfg: DictConfig | Mapping[str, Any]) -> Checked:
    """The plain config, if all its keys and values are allowed; a Checked one is returned as it is.

    Raises ConfigError for the first key or value that is not allowed.
    """
    if isinstance(cfg, Checked):
        return cfg
    values = plain(cfg)
    check_values(values)
    return Checked(values)
