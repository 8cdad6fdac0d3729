"""What norms.c is asked to do."""

import pytest

from attnlab import norms
from attnlab.attention import kernels


@pytest.fixture
def calls(monkeypatch) -> list[str]:
    """Names of the C functions that norms.py calls."""
    found: list[str] = []

    def call(name: str, *arguments: object) -> None:
        found.append(name)
        kernels.call(name, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(norms, "call", call)
    return found
