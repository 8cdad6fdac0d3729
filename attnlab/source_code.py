"""Which code computed a run? Digests of the source files behind each part of its science, kept in the record.

They are no part of the id: an edited module asks whether a record still stands, it does not make another experiment.
"""

import ast
import hashlib
import importlib.util
import sys
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

#: whose imports of each other are followed: what is computed. The rest of attnlab runs, records and reports it.
FAMILIES = (
    "attnlab.attention", "attnlab.models", "attnlab.heads", "attnlab.data", "attnlab.layers", "attnlab.norms",
    "attnlab.schedules",
)  # fmt: skip
#: known by their versions
PACKAGES = ("torch", "torchvision", "timm", "torchmetrics")
#: what attnlab itself puts around a part's own module
AROUND = {"attention": "attnlab.slots", "mask": "attnlab.attention.gate", "optimizer": "attnlab.decay"}
STARTED = time.time()  # of this process, or a little later

Code = dict[str, dict[str, str]]


class OtherCode(UserWarning):
    """The weights of a run are used by code that is not the code that trained them."""


def digests(config: Mapping[str, Any]) -> Code:
    """{part: {file: digest}} of what computes a config: attention, mask, model, head, dataset, schedule, optimizer.

    A part is the module that defines its `_target_` and what that imports from its own package: of attnlab FAMILIES, of
    an own package (ATTNLAB_TRUST) all of it. Torch, torchvision and timm are known by their versions. A file is read
    once per process, as Python itself reads a module once; nothing is imported. What a digest sees is the syntax:
    comments, docstrings, layout and annotations do not count, nor from where something of the same package is imported.
    """
    recipe, mask = config["recipe"], config["attention"].get("mask")
    nodes = {section: config[section] for section in ("attention", "model", "head", "dataset")}
    nodes |= {"mask": mask or {}, "schedule": recipe["schedule"], "optimizer": recipe["optimizer"]}
    found = {}
    for part, node in nodes.items():
        modules = {str(node.get("_target_", "")).rpartition(".")[0]: None}
        if part in AROUND and (part == "optimizer" or any(map(_closure, modules))):
            modules[AROUND[part]] = None
        names = {name: None for module in modules for name in _closure(module)}
        if names:
            found[part] = {_file(name): _first_read(name)[0] for name in names}
    return found


def closure(modules: Iterable[str], packages: tuple[str, ...]) -> dict[str, str]:
    """{file: digest} of modules of attnlab, and of what they import within `packages`; see `digests`."""
    names = {name: None for module in modules for name in _closure(module, packages)}
    return {_file(name): _first_read(name)[0] for name in names}


def differences(recorded: Code, today: Code) -> list[str]:
    """The files that differ. One that was moved or renamed as it is does not."""
    files = []
    for part in recorded.keys() | today.keys():
        before, now = recorded.get(part, {}), today.get(part, {})
        files += [name for name, digest in now.items() if digest not in before.values()]
        files += [name for name, digest in before.items() if digest not in now.values() and name not in now]
    return sorted(set(files))


def changed_since(record: Mapping[str, Any]) -> list[str]:
    """The files of today's code that differ from those of a record; none of a record that holds no digests."""
    return differences(record["code"], digests(record["config"])) if record.get("code") else []


def import_all(config: Mapping[str, Any]) -> None:
    """Import the code of a config, so that processes forked from this one run what it is now, whatever comes.

    A module that cannot be imported fails again where it is used, with a message of its own.
    """
    for names in digests(config).values():
        for name in names:
            with suppress(Exception):
                importlib.import_module(_module(name))


def edited_meanwhile(config: Mapping[str, Any]) -> list[str]:
    """The files of a config's code that were edited since this process first read them, or imported them before."""
    modules = {_module(name) for names in digests(config).values() for name in names}
    edited = []
    for module in sorted(modules):
        path, (digest, uncertain) = _path(module), _first_read(module)
        if uncertain or path is None or not path.exists() or _digest(module) != digest:
            edited.append(_file(module))
    return edited


def own_packages(config: Mapping[str, Any]) -> list[Path]:
    """The folders, or the single files, of packages other than attnlab that a config uses."""
    modules = {_module(name) for names in digests(config).values() for name in names}
    tops = sorted({module.split(".")[0] for module in modules} - {"attnlab"})
    return [root for top in tops if (root := _root(top)) is not None]


def print_warnings() -> None:
    """Print OtherCode as a line of attnlab's, without the place in the source that Python names."""
    show = warnings.showwarning

    def line(message: Any, category: Any, *place: Any) -> None:
        if category is OtherCode:
            print(f"attnlab: {message}", file=sys.stderr, flush=True)
        else:
            show(message, category, *place)

    warnings.showwarning = line  # type: ignore[assignment]


def _file(module: str) -> str:
    path = _path(module)
    name = module.replace(".", "/")
    return f"{name}/__init__.py" if path is not None and path.name == "__init__.py" else f"{name}.py"


def _module(file: str) -> str:
    return file.removesuffix("/__init__.py").removesuffix(".py").replace("/", ".")


@cache
def _root(top: str) -> Path | None:
    """Where a top-level package, or a module of a single file, lies."""
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    places = spec.submodule_search_locations
    return Path(next(iter(places))) if places else Path(spec.origin) if spec.origin else None


@cache
def _path(module: str) -> Path | None:
    """The source file of a module; None where there is none."""
    top, *rest = module.split(".")
    root = _root(top)
    if root is None:
        return None
    if root.is_file():
        return None if rest else root
    for path in (root.joinpath(*rest).with_suffix(".py") if rest else root, root.joinpath(*rest, "__init__.py")):
        if path.is_file():
            return path
    return None


@cache
def _closure(module: str, packages: tuple[str, ...] = FAMILIES) -> tuple[str, ...]:
    """A module and the modules that it imports, of attnlab those within `packages`, of an own package all; none of a
    package that is known by its version."""
    top = module.split(".")[0]
    found: dict[str, None] = {}
    waiting = [module] if module and top not in PACKAGES else []
    while waiting:
        name = waiting.pop(0)
        if name in found or _path(name) is None:
            continue
        found[name] = None
        followed = packages if top == "attnlab" else (top, *packages)
        waiting += [other for other in _imports(name) if any(_is_within(other, package) for package in followed)]
    return tuple(found)


def _is_within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def _imports(module: str) -> Iterator[str]:
    """The modules that a module imports, also within its functions."""
    path = _path(module)
    package = module.split(".") if path is not None and path.name == "__init__.py" else module.split(".")[:-1]
    for node in ast.walk(_syntax(module)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            modules = [name for alias in node.names if _path(name := f"{source}.{alias.name}") is not None]
            yield from modules or [source]


@cache
def _first_read(module: str) -> tuple[str, bool]:
    """(digest of a module's file when it was first asked for, whether the file was edited after an import before)."""
    path = _path(module)
    return _digest(module), module in sys.modules and path is not None and path.stat().st_mtime > STARTED


def _digest(module: str) -> str:
    return hashlib.sha256(_text(_syntax(module), module.split(".")[0]).encode()).hexdigest()[:12]


def _syntax(module: str) -> ast.Module:
    path = _path(module)
    assert path is not None
    state = path.stat()
    return _parsed(path, (state.st_size, state.st_mtime_ns, state.st_ctime_ns))


@cache
def _parsed(path: Path, version: tuple[int, ...]) -> ast.Module:
    return _Strip().visit(ast.parse(path.read_bytes()))


class _Strip(ast.NodeTransformer):
    """Takes away what computes nothing: docstrings, annotations, what is imported for a type checker only."""

    def _without_docstring(self, node: Any) -> Any:
        self.generic_visit(node)
        first = node.body[0] if node.body else None
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
            node.body = node.body[1:]
        return node

    def _without_result(self, node: Any) -> Any:
        node.returns = None
        return self._without_docstring(node)

    visit_Module = visit_ClassDef = _without_docstring  # noqa: N815
    visit_FunctionDef = visit_AsyncFunctionDef = _without_result  # noqa: N815

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        self.generic_visit(node)
        return ast.Expr(node.target) if node.value is None else ast.Assign([node.target], node.value)

    def visit_If(self, node: ast.If) -> ast.AST | None:
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return None
        return self.generic_visit(node)


def _text(node: Any, top: str) -> str:
    """A syntax tree as text. Empty fields are left out: ast.dump differs from one version of Python to the next."""
    if isinstance(node, ast.ImportFrom) and (node.level or str(node.module).split(".")[0] in (top, "attnlab")):
        return f"ImportFrom({','.join(f'{alias.name}:{alias.asname}' for alias in node.names)})"
    if isinstance(node, ast.AST):
        fields = [(name, getattr(node, name, None)) for name in node._fields if name not in ("ctx", "type_comment")]
        kept = [f"{name}={_text(value, top)}" for name, value in fields if value is not None and value != []]
        return f"{type(node).__name__}({','.join(kept)})"
    return f"[{','.join(_text(item, top) for item in node)}]" if isinstance(node, list) else repr(node)
