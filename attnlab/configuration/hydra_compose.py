"""Hydra's own compose, on conf/: configs without checks, and the keys beside a key."""

from collections.abc import Iterable, Sequence
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from attnlab.configuration.groups import CONF, groups, is_group, own_folder
from attnlab.configuration.keys import every_key
from attnlab.configuration.replaced_nodes import spelled_out
from attnlab.configuration.resolvers import register_resolvers


def compose_raw(name: str, overrides: Sequence[str] = (), *, hydra_node: bool = False) -> DictConfig:
    """Compose conf/<name>.yaml, with the choices of one's own folder; hydra_node: with Hydra's settings under `hydra`.

    It also works inside a job that Hydra is running. Raises what Hydra raises.
    """
    register_resolvers()
    overrides = spelled_out(overrides)
    if own := own_folder():
        overrides = [*overrides, f"hydra.searchpath=['file://{own}']"]
    state = GlobalHydra.instance()
    running = state.hydra
    state.clear()
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            return compose(name, list(overrides), return_hydra_config=hydra_node)
    finally:
        state.hydra = running


def parent_node(key: str, overrides: Iterable[str]) -> Any:
    """The node that holds `key`, in the config of the groups that the overrides choose; of a sweep, the first choice.

    Where a node on the way is an interpolation, that node. Raises what Hydra and OmegaConf raise.
    """
    node: Any = _with_groups(overrides, hydra_node=key.startswith("hydra."))
    for part in key.split(".")[:-1]:
        node = node._get_node(part)
        if node._is_interpolation():
            return node
    return node


def all_keys(overrides: Iterable[str]) -> list[str]:
    """Every key, in full, of the config of the groups that the overrides choose; empty where they do not compose.

    A group such as attention/mask is there as attention.mask, also where the chosen attention has none.
    """
    below = [group.replace("/", ".") for group in groups() if "/" in group]
    try:
        found = every_key(OmegaConf.to_container(_with_groups(overrides), resolve=False))
    except (HydraException, OmegaConfBaseException):
        return []
    return list(dict.fromkeys([*found, *below]))


def _with_groups(overrides: Iterable[str], *, hydra_node: bool = False) -> DictConfig:
    """The config of the groups that the overrides choose; of a sweep, the first choice."""
    chosen = [o.split(",")[0] for o in overrides if "=" in o and is_group(o.split("=", 1)[0])]
    return compose_raw("run", chosen, hydra_node=hydra_node)


def siblings(key: str, overrides: Iterable[str]) -> list[str]:
    """The keys beside `key`, in full, as `parent_node` finds them; empty where there is no such node."""
    try:
        names = [str(name) for name in parent_node(key, overrides)]
    except (HydraException, OmegaConfBaseException, AttributeError, TypeError):
        return []
    *parents, _ = key.split(".")
    top = [] if parents else [group for group in groups() if "/" not in group]
    return list(dict.fromkeys([".".join([*parents, name]) for name in names] + top))
