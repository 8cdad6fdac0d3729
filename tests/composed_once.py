"""Configs that were composed before in this process are copied: composing takes 100 ms, a copy (by pickle) 0.4 ms.

What is kept, each as long as the files of one's own folder (names and times) and Hydra's ConfigStore are the same. No
test writes into conf/ itself:

- a yaml file, parsed;
- Hydra's defaults list of the chosen groups, and the config of that list, before single keys are overridden;
- the composition of a file with the chosen groups, to which overrides of single keys are applied, as Hydra does.

attnlab itself keeps whole compositions (hydra_compose.py). With a config path beside conf/ (`--config-dir`) only the
first of these is kept. What reads a dataset's folder (`${folder_listing:...}`) is resolved later, in the copy. Errors
are not kept.
"""

import pickle
from functools import cache, wraps
from pathlib import Path

from hydra._internal import config_loader_impl
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.defaults_list import DefaultsList
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins

from attnlab.configuration import hydra_compose
from attnlab.configuration.groups import CONF, folders, is_group


def share():
    """Make Hydra and attnlab.configuration copy what they have read and composed before."""
    Plugins.instance()  # it imports Hydra's sources anew, as other classes than those that `import` gives
    files = SourcesRegistry.instance().resolve("file")
    files.load_config = _load_once(files)
    config_loader_impl.create_defaults_list = _list_once(config_loader_impl.create_defaults_list)
    ConfigLoaderImpl._compose_config_from_defaults_list = _merge_once(
        ConfigLoaderImpl._compose_config_from_defaults_list
    )
    hydra_compose.compose = _compose_once(hydra_compose.compose)
    _state.of_attnlab, hydra_compose._sources = hydra_compose._sources, _state


def read_all():
    """Read every file of conf/, for the processes that are forked from this one."""
    source = SourcesRegistry.instance().resolve("file")("main", f"file://{CONF}")
    for path in sorted(CONF.rglob("*.yaml")):
        source.load_config(path.relative_to(CONF).with_suffix("").as_posix())


def _state():
    """Of what a composition reads, besides conf/, in which no test writes: the files of one's own folder with their
    times, and how much the ConfigStore holds."""
    files = tuple(entry for folder in folders() if folder != CONF for entry in hydra_compose._files(folder))
    return files, hydra_compose._size(ConfigStore.instance().repo)


def _is_conf_alone(repo):
    return all(source.path in (str(CONF), "hydra.conf", "") for source in repo.get_sources())


def _load_once(source_class):
    load = source_class.load_config

    @cache
    def loaded(folder, config_path, modified):
        return pickle.dumps(load(source_class("main", folder), config_path))

    @wraps(load)
    def load_config(self, config_path):
        file = Path(self.path) / self._normalize_file_name(config_path)
        if not file.exists():
            return load(self, config_path)
        found = pickle.loads(loaded(f"file://{self.path}", config_path, file.stat().st_mtime_ns))
        found.provider = self.provider
        return found

    return load_config


def _list_once(create):
    kept = {}

    @wraps(create)
    def create_defaults_list(repo, config_name, overrides_list, prepend_hydra, skip_missing):
        def fresh():
            return create(repo, config_name, overrides_list, prepend_hydra=prepend_hydra, skip_missing=skip_missing)

        if not _is_conf_alone(repo) or any(each.is_sweep_override() for each in overrides_list):
            return fresh()
        single = [o for o in overrides_list if isinstance(o.value(), dict) or not repo.group_exists(o.key_or_group)]
        groups = tuple(each.input_line for each in overrides_list if each not in single)
        key = (_state(), config_name, groups, prepend_hydra, skip_missing)
        if key not in kept:
            kept[key] = fresh()
        known = kept[key]
        return DefaultsList(known.defaults, known.defaults_tree, single, known.overrides)

    return create_defaults_list


def _merge_once(merge):
    kept = {}

    @wraps(merge)
    def compose_config_from_defaults_list(self, defaults, repo):
        if not _is_conf_alone(repo):
            return merge(self, defaults, repo)
        key = (_state(), repr(defaults))
        if key not in kept:
            kept[key] = pickle.dumps(merge(self, defaults, repo))
        return pickle.loads(kept[key])

    return compose_config_from_defaults_list


def _compose_once(compose):
    @cache
    def composed(state, name, chosen):
        return pickle.dumps(compose(name, list(chosen), return_hydra_config=False))

    @cache
    def composed_by_groups(state, name, overrides):
        chosen, single = _apart(overrides)
        found = pickle.loads(composed(state, name, tuple(chosen)))
        ConfigLoaderImpl._apply_overrides_to_config(OverridesParser.create().parse_overrides(single), found)
        return pickle.dumps(found)

    def compose_once(name, overrides, *, return_hydra_config):
        if not return_hydra_config:
            try:
                return pickle.loads(composed_by_groups(_state(), name, tuple(overrides)))
            except Exception:
                pass  # Hydra's own error, from the whole composition
        return compose(name, overrides, return_hydra_config=return_hydra_config)

    return compose_once


def _apart(overrides):
    """(the overrides that choose groups or that are Hydra's, the others, which set single keys)."""
    chosen, single = [], []
    for override in overrides:
        key, _, value = override.lstrip("+~").partition("=")
        is_choice = is_group(key.partition("@")[0]) and not value.startswith("{")
        (chosen if is_choice or key.startswith("hydra") else single).append(override)
    return chosen, single
