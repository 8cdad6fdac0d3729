"""Texts in figures, broken into lines that fit beside and below tiles."""

import re
from collections.abc import Iterable
from functools import cache

from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path


@cache
def width_of(text: str, points: float, dpi: float, weight: str = "normal") -> float:
    """The width of a line of text in pixels. points: the size of its font."""
    font = FontProperties(size=points, weight=weight)
    width, _, _ = text_to_path.get_text_width_height_descent(text, font, ismath=False)
    return float(width) * dpi / 72 if text.strip() else 0.0


def wrap(text: str, width: float, points: float, dpi: float, weight: str = "normal") -> str:
    """The text with line breaks, so that no line is wider than `width` pixels.

    It is broken at spaces and after `.`, `_`, `-`, `/` and `,`, not within a number; within a word only where nothing
    else helps.
    """
    lines: list[str] = []
    for paragraph in text.split("\n"):
        line = ""
        for part in filter(None, re.split(r"(\s+)|(?<=[._\-/,])(?=[^\d\s])", paragraph)):
            while width_of((line + part).strip(), points, dpi, weight) > width:
                if line.strip():
                    lines.append(line.strip())
                    line, part = "", part.lstrip()
                    continue
                fits = max(1, sum(width_of(part[: n + 1], points, dpi, weight) <= width for n in range(len(part))))
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
