"""Where the source of a module is, and whether it belongs to an installed package. Imports nothing."""

import importlib.util
import site
import sys
import sysconfig
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path

#: every record holds the versions of these, wherever they are installed
FRAMEWORKS = ("torch", "torchvision", "timm", "torchmetrics", "lightning", "numpy")


@cache
def root_of(top: str) -> Path | None:
    """The folder of a top-level package, or the file of a single module; None if it is not found."""
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    places = spec.submodule_search_locations
    return Path(next(iter(places))) if places else Path(spec.origin) if spec.origin else None


@cache
def path_of(module: str) -> Path | None:
    """The source file of a module; None if it is not found."""
    top, *rest = module.split(".")
    root = root_of(top)
    if root is None:
        return None
    if root.is_file():
        return None if rest else root
    for path in (root.joinpath(*rest).with_suffix(".py") if rest else root, root.joinpath(*rest, "__init__.py")):
        if path.is_file():
            return path
    return None


@cache
def is_own(top: str) -> bool:
    """Whether a top-level module is attnlab or the user's own source, and not Python's or an installed package.

    Installed means inside a folder for packages: this Python's, the user's, any site-packages, or a folder with
    package metadata (pip install --target). An editable install counts as own source.
    """
    if top == "attnlab":
        return True
    root = root_of(top)
    if root is None or top in FRAMEWORKS or top in sys.stdlib_module_names:
        return False
    folder = root.resolve().parent
    above = [folder, *folder.parents]
    places = {*sysconfig.get_paths().values(), *site.getsitepackages(), site.getusersitepackages()}
    installed = any(Path(place).resolve() in above for place in places)
    named = any(path.name in ("site-packages", "dist-packages") for path in above)
    return not (installed or named or any(folder.glob("*.dist-info")))


@cache
def installed_version(top: str) -> str:
    """The version of an installed top-level module; `unknown` if it has none."""
    try:
        return version(packages_distributions()[top][0])
    except (KeyError, PackageNotFoundError):
        return "unknown"
