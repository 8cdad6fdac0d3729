"""A digest of a source file's syntax, which changes if the code changes and not if its layout or comments do."""

import ast
import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any


def syntax(path: Path) -> ast.Module:
    """The syntax tree of a file, without docstrings, annotations and imports for type checkers."""
    state = path.stat()
    return _parsed(path, (state.st_size, state.st_mtime_ns, state.st_ctime_ns))


def syntax_digest(path: Path, is_own: Callable[[str], bool]) -> str:
    """12 hexadecimal digits of the syntax of a file.

    An import from a package that `is_own` counts by its last name, so that a folder may move; any other import counts
    by its full path.
    """
    return hashlib.sha256(_text(syntax(path), is_own).encode()).hexdigest()[:12]


@cache
def _parsed(path: Path, version: tuple[int, ...]) -> ast.Module:
    source = path.read_bytes()
    try:
        return _Strip().visit(ast.parse(source))
    except (SyntaxError, ValueError):  # the file cannot be imported, which its users report
        return ast.Module([ast.Expr(ast.Constant(source))], [])


class _Strip(ast.NodeTransformer):
    """Removes what computes nothing: docstrings, annotations, imports under TYPE_CHECKING."""

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


def _text(node: Any, is_own: Callable[[str], bool]) -> str:
    """A syntax tree as text. Empty fields are left out: ast.dump differs from one version of Python to the next."""
    if isinstance(node, ast.ImportFrom) and (node.level or is_own(str(node.module).split(".")[0])):
        names = ",".join(f"{alias.name}:{alias.asname}" for alias in node.names)
        return f"ImportFrom({(node.module or '').rpartition('.')[2]},{names})"
    if isinstance(node, ast.AST):
        fields = [(name, getattr(node, name, None)) for name in node._fields if name not in ("ctx", "type_comment")]
        kept = [f"{name}={_text(value, is_own)}" for name, value in fields if value is not None and value != []]
        return f"{type(node).__name__}({','.join(kept)})"
    return f"[{','.join(_text(item, is_own) for item in node)}]" if isinstance(node, list) else repr(node)
