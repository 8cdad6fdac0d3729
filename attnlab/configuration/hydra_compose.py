"""Hydra's own compose, on conf/: configs without checks, and the keys beside a key."""

import os
import pickle
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from attnlab.configuration.groups import CONF, folders, groups, is_group, own_folder
from attnlab.configuration.keys import every_key
from attnlab.configuration.replaced_nodes import spelled_out
from attnlab.configuration.resolvers import register_resolvers


def compose_raw(name: str, overrides: Sequence[str] = (), *, hydra_node: bool = False) -> DictConfig:
    """Compose conf/<name>.yaml, with the choices of one's own folder; hydra_node: with Hydra's settings under `hydra`.

    It also works inside a job that Hydra is running. Composing takes 0.1 to 0.3 s, and a table or its judgement
    composes the same arguments for every run, so a composition is kept as long as no yaml file changes. Raises what
    Hydra raises.
    """
    register_resolvers()
    overrides = spelled_out(overrides)
    if own := own_folder():
        overrides = [*overrides, f"hydra.searchpath=['file://{own}']"]
    return pickle.loads(_composed(_sources(), name, tuple(overrides), hydra_node))


@lru_cache(maxsize=256)
def _composed(sources: object, name: str, overrides: tuple[str, ...], hydra_node: bool) -> bytes:
    """The composition, pickled, for copies; sources: of `_sources`."""
    state = GlobalHydra.instance()
    running = state.hydra
    state.clear()
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            return pickle.dumps(compose(name, list(overrides), return_hydra_config=hydra_node))
    finally:
        state.hydra = running


def _sources() -> tuple[tuple[tuple[str, int, int], ...], int]:
    """What a composition reads: the yaml files with their sizes and times, and how many configs Hydra's store holds."""
    files = tuple(sorted(entry for folder in folders() for entry in _files(folder)))
    return files, _size(ConfigStore.instance().repo)


def _files(folder: str | Path) -> Iterator[tuple[str, int, int]]:
    """(path, size, time in ns) of every yaml file below; a fifth of the time that pathlib takes."""
    for entry in os.scandir(folder):
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _files(entry.path)
        elif entry.is_symlink() and entry.is_dir():  # what lies behind is not followed: such a folder is read each time
            yield entry.path, 0, time.monotonic_ns()
        elif entry.name.endswith(".yaml"):
            with suppress(FileNotFoundError):  # a link to nothing, or deleted meanwhile
                found = entry.stat()
                yield entry.path, found.st_size, found.st_mtime_ns


def _size(node: Any) -> int:
    return sum(map(_size, node.values())) if isinstance(node, dict) else 1


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
