"""Which software computes here: the commit of the checkout, the versions of the packages."""

import platform
import subprocess
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("torch", "torchvision", "lightning", "hydra-core", "torchmetrics", "timm", "numpy")


def installed() -> dict[str, str]:
    """Versions of Python and of the packages that decide a result."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def commit(own_packages: Sequence[Path] = ()) -> tuple[str | None, bool | None]:
    """(commit, dirty) of the checkout this package runs from; (None, None) outside one.

    dirty: tracked files differ from the commit, or the package or conf/ holds files that it lacks. So do own_packages
    (folders or files), which count as dirty where they lie in no checkout at all.
    """
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None, None
    try:
        head = _git(root, "rev-parse", "HEAD")
        state = _git(root, "status", "--porcelain", "--untracked-files=no")
        state += _git(root, "status", "--porcelain", "--untracked-files=all", "--", "attnlab", "conf")
    except (OSError, subprocess.SubprocessError):
        return None, None
    return head, bool(state) or any(map(_is_dirty, own_packages))


def _is_dirty(package: Path) -> bool:
    """Whether a folder or a file differs from the commit of its checkout, or lies in none."""
    try:
        _git(package.parent, "ls-files", "--error-unmatch", "--", str(package))  # it fails where nothing is tracked
        return bool(_git(package.parent, "status", "--porcelain", "--untracked-files=all", "--", str(package)))
    except (OSError, subprocess.SubprocessError):
        return True


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
