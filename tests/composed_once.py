"""Configs that were composed before in this process are copied: composing takes 75 ms, a copy 3 ms.

A composition is its file, its overrides, and the state of conf/ (names and times of its files), so a test that edits a
yaml composes again. A yaml file is parsed once, as long as its time stays. What reads a dataset's folder
(`${folder_listing:...}`) is resolved later, in the copy. Errors are not kept.
"""

import copy
from functools import cache, wraps
from pathlib import Path

from hydra._internal.core_plugins.file_config_source import FileConfigSource

from attnlab.configuration import hydra_compose
from attnlab.configuration.groups import CONF


def share():
    """Make Hydra and attnlab.configuration copy what they have read and composed before."""
    compose, load = hydra_compose.compose, FileConfigSource.load_config

    @cache
    def loaded(folder, config_path, modified):
        return load(FileConfigSource("main", folder), config_path)

    @wraps(load)
    def load_config(self, config_path):
        file = Path(self.path) / self._normalize_file_name(config_path)
        if not file.exists():
            return load(self, config_path)
        found = copy.deepcopy(loaded(f"file://{self.path}", config_path, file.stat().st_mtime_ns))
        found.provider = self.provider
        return found

    @cache
    def composed(state, name, overrides, hydra_node):
        return compose(name, list(overrides), return_hydra_config=hydra_node)

    def compose_once(name, overrides, *, return_hydra_config):
        state = tuple((path, path.stat().st_mtime_ns) for path in sorted(CONF.rglob("*.yaml")))
        return copy.deepcopy(composed(state, name, tuple(overrides), return_hydra_config))

    FileConfigSource.load_config = load_config
    hydra_compose.compose = compose_once
