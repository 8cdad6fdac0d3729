"""Names of runs with short numbers, for people: `lr=0.001398` for `lr=0.0013981961408994052`."""

import re
from collections.abc import Sequence

DIGITS = 4  # significant ones of a number in a name
EXACT = 17  # digits that tell any two floats apart
NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+(?:e[+-]?\d+)?|e-\d+)(?![\w.])")


def with_short_numbers(names: Sequence[str]) -> list[str]:
    """The names with their fractions rounded to DIGITS, or to as many more as tell the different numbers apart.

    Such a name is not to be typed back: only the exact value selects a run.
    """
    exact = {number for name in names for number in NUMBER.findall(name)}
    for digits in range(DIGITS, EXACT + 1):
        short = {number: _rounded(number, digits) for number in exact}
        if len(set(short.values())) == len(exact):
            return [NUMBER.sub(lambda found, short=short: short[found[0]], name) for name in names]  # type: ignore[misc]
    return list(names)


def _rounded(number: str, digits: int) -> str:
    significant = number.partition("e")[0].replace(".", "").lstrip("0")
    return f"{float(number):.{digits}g}" if len(significant) > digits else number
