"""The groups of conf/ and of one's own folder beside it: the folders, and the names that each group accepts."""

import os
from pathlib import Path

from attnlab.errors import ConfigError

_PACKAGE = Path(__file__).resolve().parents[1]
#: conf/ is inside the installed package, and beside the package in a checkout
CONF = _PACKAGE / "conf" if (_PACKAGE / "conf").is_dir() else _PACKAGE.parent / "conf"
#: the environment variable that names one's own folder, built like conf/; `--config-dir` sets it
CONFIG_DIR = "ATTNLAB_CONFIG_DIR"

#: choice of hydra/launcher -> (the package that provides it, the choice of `launcher` that uses it)
LAUNCHER_PACKAGES = {
    "ray": ("hydra-ray-launcher", "ray"),
    "submitit_slurm": ("hydra-submitit-launcher", "slurm"),
}


def own_folder() -> Path | None:
    """The folder that ATTNLAB_CONFIG_DIR names; None without one. Raises ConfigError if there is no such folder."""
    named = os.environ.get(CONFIG_DIR)
    if named and not Path(named).is_dir():
        raise ConfigError(f"no such folder: {named}, of --config-dir or {CONFIG_DIR}")
    return Path(named).resolve() if named else None


def folders() -> list[Path]:
    """conf/, and one's own folder. Where both have a choice, that of conf/ counts, as Hydra has it."""
    return [CONF, *filter(None, [own_folder()])]


def is_group(key: str) -> bool:
    """Whether a key names a group, e.g. `attention` or `attention/mask`."""
    return bool(key) and any((folder / key).is_dir() for folder in folders())


def choices(group: str) -> list[str]:
    """The names that `group=` accepts: the yaml files of <group>/."""
    return sorted({path.stem for folder in folders() for path in (folder / group).glob("*.yaml")})


def groups() -> list[str]:
    """Every group, sorted, without those of Hydra itself."""
    found = {path.parent.relative_to(folder).as_posix() for folder in folders() for path in folder.rglob("*.yaml")}
    return sorted(name for name in found - {"."} if not name.startswith("hydra/"))


def file_of(group: str, choice: str) -> Path:
    """The yaml file of a choice."""
    files = [folder / group / f"{choice}.yaml" for folder in folders()]
    return next((file for file in files if file.is_file()), files[0])
