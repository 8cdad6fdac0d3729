"""Attention: x -> [score] -> z -> [mask] -> m -> [apply] -> y. One file per score; conf/attention/ names them.

`from attnlab.attention import CBAM, SE` gives ready modules x -> y, `CBAM(64, reduction=8, mask="ignore")`: a gate of
the score, its mask and knobs as in conf/attention/. `dir(attnlab.attention)` lists them. The scores themselves are in
their own files: attnlab.attention.se.SE.
"""

from typing import Any

from attnlab.attention.gate import Gate

__all__ = ["Gate"]


def __getattr__(name: str) -> Any:
    from attnlab.attention.by_line import ready, ready_modules  # they import this package

    if name.startswith("_") or name not in ready_modules():
        names = ", ".join(sorted(ready_modules()))
        raise AttributeError(f"module 'attnlab.attention' has no attribute {name!r}; its modules are {names}")
    return ready(name)


def __dir__() -> list[str]:
    from attnlab.attention.by_line import ready_modules

    return sorted([*globals(), *ready_modules()])
