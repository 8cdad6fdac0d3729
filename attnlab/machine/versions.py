"""The software that computes a run: the commit of the checkout, the versions of the packages."""

import platform
import subprocess
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

RECORDED_PACKAGES = ("torch", "torchvision", "lightning", "hydra-core", "torchmetrics", "timm", "numpy")


def installed() -> dict[str, str]:
    """Versions of Python and of the packages that affect a result."""
    found = {"python": platform.python_version()}
    for package in RECORDED_PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def commit(own_packages: Sequence[Path] = ()) -> tuple[str | None, bool | None]:
    """(commit, dirty) of the git checkout that this package runs from; (None, None) outside a checkout.

    dirty: tracked files differ from the commit, or attnlab/ or conf/ has untracked files, or one of own_packages
    (folders or files) differs from the commit of its own checkout or lies in none.
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
    """Whether a folder or a file differs from the commit of its checkout, or lies in no checkout."""
    try:
        _git(package.parent, "ls-files", "--error-unmatch", "--", str(package))  # fails for an untracked path
        return bool(_git(package.parent, "status", "--porcelain", "--untracked-files=all", "--", str(package)))
    except (OSError, subprocess.SubprocessError):
        return True


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
