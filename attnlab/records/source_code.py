"""Which code computed a run? Digests of the source files behind each part of its science, kept in the record.

The digests are not part of the run's id: after an edit attnlab asks whether the record is still valid, but the
experiment stays the same.
"""

import ast
import importlib
import sys
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from attnlab.configuration.schema import NO_ATTENTION
from attnlab.records.recipe_code import modules_of
from attnlab.records.source_files import FRAMEWORKS, installed_version, is_own, path_of, root_of
from attnlab.records.syntax import syntax, syntax_digest

#: parts of attnlab that compute nothing of a run: they compose, check, record and report it. Their imports are not
#: followed. Those of all other modules are, including new ones.
COMPUTES_NOTHING = (
    "attnlab.records", "attnlab.machine", "attnlab.errors", "attnlab.models.costs", "attnlab.training.checkpointing",
    *(f"attnlab.configuration.{name}" for name in ("schema", "compose", "targets", "digest", "identity", "secrets",
      "messages", "removed", "groups", "names")),
)  # fmt: skip
#: the module of attnlab that wraps a part's own module
AROUND = {
    "attention": "attnlab.attention.placement", "mask": "attnlab.attention.gate", "model": "attnlab.models.network",
    "optimizer": "attnlab.training.weight_decay", "training": "attnlab.training.classifier",
}  # fmt: skip
#: packages whose __init__ only hands on what their modules define: not a part of every module in them
ONLY_NAMES = ("attnlab", "attnlab.attention")
STARTED = time.time()  # of this process, or a little later

Code = dict[str, dict[str, str]]


class OtherCode(UserWarning):
    """The weights of a run are used by code that differs from the code that trained them."""


def digests(config: Mapping[str, Any]) -> Code:
    """{part: {file: digest}} of what computes a config: attention, mask, model, head, dataset, schedule, optimizer,
    training; and of the parts of recipe_code, where they are used.

    A part is the module that defines its `_target_` and all that it imports, within attnlab (except COMPUTES_NOTHING)
    and from modules that are not installed packages. An installed package is identified by its version. Not covered:
    imports by a computed name, data files, C sources. A file is read once per process, as Python reads a module once;
    nothing is imported. A digest covers the syntax only: comments, docstrings, layout and annotations do not count,
    nor does the folder from which a module of one's own is imported.
    """
    recipe, mask = config["recipe"], config["attention"].get("mask")
    nodes = {section: config[section] for section in ("attention", "model", "head", "dataset")}
    nodes |= {"mask": mask or {}, "schedule": recipe["schedule"], "optimizer": recipe["optimizer"], "training": {}}
    found = {}
    for part, node in nodes.items():
        target = str(node.get("_target_", ""))
        modules = {target.rpartition(".")[0]: None}
        if isinstance(inner := node.get("net"), Mapping):  # model=own
            modules[str(inner.get("_target_", "")).rpartition(".")[0]] = None
        if part in AROUND and (target not in ("", NO_ATTENTION) or part == "training"):
            modules[AROUND[part]] = None
        names = {name: None for module in modules for name in _closure(module)}
        files = {_file(name): _first_read(name)[0] for name in names}
        top = target.split(".")[0]
        if top and not is_own(top) and top not in FRAMEWORKS:
            files[top] = installed_version(top)
        if files:
            found[part] = files
    return found | {part: closure(modules, ()) for part, modules in modules_of(config).items()}


def closure(modules: Iterable[str], packages: tuple[str, ...]) -> dict[str, str]:
    """{file: digest} of modules of attnlab and of their imports within `packages`; see `digests`."""
    names = {name: None for module in modules for name in _closure(module, packages)}
    return {_file(name): _first_read(name)[0] for name in names}


def differences(recorded: Code, today: Code) -> list[str]:
    """The files that differ. A file that was only moved or renamed does not differ."""
    files = []
    for part in recorded.keys() | today.keys():
        before, now = counted(recorded.get(part, {})), counted(today.get(part, {}))
        files += [name for name, digest in now.items() if digest not in before.values()]
        files += [name for name, digest in before.items() if digest not in now.values() and name not in now]
    return sorted(set(files))


def counted(files: Mapping[str, str]) -> dict[str, str]:
    """The files of a part without those of ONLY_NAMES and COMPUTES_NOTHING, of which older records hold digests."""
    names_only = {f"{name.replace('.', '/')}/__init__.py" for name in ONLY_NAMES}
    return {name: digest for name, digest in files.items() if name not in names_only and not _computes_nothing(name)}


def _computes_nothing(file: str) -> bool:
    module = _module(file)
    return any(_is_within(module, other) for other in COMPUTES_NOTHING)


def changed_since(record: Mapping[str, Any]) -> list[str]:
    """The files of a record's code that have changed or are missing today; empty if the record has no digests."""
    return differences(record["code"], digests(record["config"])) if record.get("code") else []


def import_all(config: Mapping[str, Any]) -> None:
    """Import the code of a config, so that processes forked from this one run today's code even if a file is edited.

    A module that cannot be imported is skipped: it fails again, with its own message, where it is used.
    """
    for names in digests(config).values():
        for name in names:
            with suppress(Exception):
                importlib.import_module(_module(name))


def is_here(file: str) -> bool:
    """Whether a file of a record's code, or the installed package of that name, exists here."""
    return (path_of(_module(file)) if file.endswith(".py") else root_of(file)) is not None


def edited_meanwhile(config: Mapping[str, Any]) -> list[str]:
    """The files of a config's code that were edited since this process first read or imported them."""
    modules = {_module(name) for names in digests(config).values() for name in names if name.endswith(".py")}
    edited = []
    for module in sorted(modules):
        path, (digest, uncertain) = path_of(module), _first_read(module)
        if uncertain or path is None or not path.exists() or _digest(module) != digest:
            edited.append(_file(module))
    return edited


def own_packages(config: Mapping[str, Any]) -> list[Path]:
    """The folders (or files) of the packages that a config uses and that are neither attnlab nor installed."""
    modules = {_module(name) for names in digests(config).values() for name in names if name.endswith(".py")}
    tops = sorted({module.split(".")[0] for module in modules} - {"attnlab"})
    return [root for top in tops if (root := root_of(top)) is not None]


def print_warnings() -> None:
    """Print OtherCode warnings as one line, without the source location that Python adds."""
    show = warnings.showwarning

    def line(message: Any, category: Any, *place: Any) -> None:
        if category is OtherCode:
            print(f"attnlab: {message}", file=sys.stderr, flush=True)
        else:
            show(message, category, *place)

    warnings.showwarning = line  # type: ignore[assignment]


def _file(module: str) -> str:
    path = path_of(module)
    name = module.replace(".", "/")
    return f"{name}/__init__.py" if path is not None and path.name == "__init__.py" else f"{name}.py"


def _module(file: str) -> str:
    return file.removesuffix("/__init__.py").removesuffix(".py").replace("/", ".")


@cache
def _closure(module: str, packages: tuple[str, ...] = ()) -> tuple[str, ...]:
    """A module and all that it imports, except installed packages and COMPUTES_NOTHING.

    packages: if given, imports from attnlab are followed only within these.
    """
    found: dict[str, None] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop(0)
        ours = _is_within(name, "attnlab")
        if (
            not name
            or name in found
            or any(_is_within(name, other) for other in COMPUTES_NOTHING)
            or not is_own(name.split(".")[0])
        ):
            continue
        if path_of(name) is None or (
            ours and packages and name != module and not any(_is_within(name, p) for p in packages)
        ):
            continue
        found[name] = None
        parent = name.rpartition(".")[0]  # importing a module runs the packages around it
        waiting += [*_imports(name), *([parent] if parent and parent not in ONLY_NAMES else [])]
    return tuple(found)


def _is_within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def _imports(module: str) -> Iterator[str]:
    """The modules that a module imports, including imports within functions."""
    path = path_of(module)
    package = module.split(".") if path is not None and path.name == "__init__.py" else module.split(".")[:-1]
    for node in ast.walk(syntax(path)) if path is not None else ():
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            yield source
            yield from (name for alias in node.names if path_of(name := f"{source}.{alias.name}") is not None)


@cache
def _first_read(module: str) -> tuple[str, bool]:
    """(digest of a module's file at the first call, whether the file was edited after this process had imported it)."""
    path = path_of(module)
    return _digest(module), module in sys.modules and path is not None and path.stat().st_mtime > STARTED


def _digest(module: str) -> str:
    path = path_of(module)
    assert path is not None
    return syntax_digest(path, is_own)
