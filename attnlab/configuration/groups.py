"""The groups of conf/: the folders, and the names that each group accepts."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]
#: conf/ is inside the installed package, and beside the package in a checkout
CONF = _PACKAGE / "conf" if (_PACKAGE / "conf").is_dir() else _PACKAGE.parent / "conf"

#: choice of hydra/launcher -> (the package that provides it, the choice of `launcher` that uses it)
LAUNCHER_PACKAGES = {
    "ray": ("hydra-ray-launcher", "ray"),
    "submitit_slurm": ("hydra-submitit-launcher", "slurm"),
}


def is_group(key: str) -> bool:
    """Whether a key names a group of conf/, e.g. `attention` or `attention/mask`."""
    return bool(key) and (CONF / key).is_dir()


def choices(group: str) -> list[str]:
    """The names that `group=` accepts: the yaml files of conf/<group>/."""
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def groups() -> list[str]:
    """Every group of conf/, sorted, without those of Hydra itself."""
    folders = {path.parent.relative_to(CONF).as_posix() for path in CONF.rglob("*.yaml")} - {"."}
    return sorted(name for name in folders if not name.startswith("hydra/"))
