"""Texts in figures, broken into lines that fit beside and below tiles."""

import re
from collections.abc import Iterable
from functools import cache

from matplotlib.textpath import TextPath


@cache
def width_of(text: str, points: float, dpi: float) -> float:
    """The width of a line of text in pixels. points: the size of its font."""
    return float(TextPath((0, 0), text, size=points).get_extents().width) * dpi / 72 if text.strip() else 0.0


def wrap(text: str, width: float, points: float, dpi: float) -> str:
    """The text with line breaks, so that no line is wider than `width` pixels.

    It is broken at spaces, after `.`, `_`, `-`, `/` and `,`, and only where nothing else helps within a word.
    """
    lines: list[str] = []
    for paragraph in text.split("\n"):
        line = ""
        for part in re.findall(r"\s+|[^\s._\-/,]*[._\-/,]|[^\s._\-/,]+", paragraph):
            while width_of((line + part).strip(), points, dpi) > width:
                if line.strip():
                    lines.append(line.strip())
                    line, part = "", part.lstrip()
                    continue
                fits = max(1, sum(width_of(part[: n + 1], points, dpi) <= width for n in range(len(part))))
                if fits >= len(part):
                    break
                lines.append(part[:fits])
                part = part[fits:]
            line += part
        lines.append(line.strip())
    return "\n".join(lines)


def lines_in(texts: Iterable[str]) -> int:
    """The number of lines of the text that has most; 0 without texts."""
    return max((text.count("\n") + 1 for text in texts), default=0)
