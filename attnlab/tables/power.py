"""How many seeds, at what cost: `python -m attnlab.report power effect=0.2 margin=0.3 sd=0.18 design=paired`.

effect: the difference to find, in the metric's own units (points of error, say);  margin: within which rows that do not
differ are to be shown equivalent (table.margin);  one of both is enough;  sd: design=unpaired: of one row's
runs; design=paired (the default): of the differences between two rows at equal seeds;
comparisons (1): rows held against the baseline in one table, over which Holm corrects.
"""

from collections.abc import Sequence
from statistics import median

from attnlab.configuration.identity import SECTIONS
from attnlab.configuration.names import name_of
from attnlab.errors import ConfigError
from attnlab.records.record import RESULTS, Record, gather
from attnlab.tables.progress import duration
from attnlab.tables.statistics import ALPHA, MOST_SEEDS, POWER, seeds_for_equivalence, seeds_needed

DESIGNS = ("paired", "unpaired")
ARGUMENTS = ("effect", "margin", "sd", "design", "comparisons", "output_dir")
SAYS = {
    "effect": ("A difference of ", "find it", "two-sided"),
    "margin": ("Equivalence within ±", "show it", "where the true difference is 0, by two one-sided tests"),
}


def power(arguments: Sequence[str]) -> list[str]:
    """The answer, a line each: seeds a row, then what they would take on what was measured.

    Raises ConfigError for an argument that is missing, unknown or not allowed.
    """
    given = dict(argument.partition("=")[::2] for argument in arguments)
    for key in given:
        if key not in ARGUMENTS:
            raise ConfigError(f"{key}: no such argument; allowed are {', '.join(ARGUMENTS)}")
    sizes = {key: _above_0(key, given[key]) for key in SAYS if key in given}
    if not sizes:
        raise ConfigError("effect: is missing; allowed is a number above 0, or margin=NUMBER in its place, or both")
    sd = _above_0("sd", given.get("sd", ""))
    design = given.get("design", "paired")
    if design not in DESIGNS:
        raise ConfigError(f"design={design}: allowed are {', '.join(DESIGNS)}")
    text = given.get("comparisons", "1")
    if not text.isdecimal() or int(text) < 1:
        raise ConfigError(f"comparisons={text}: allowed is an integer from 1")
    comparisons = int(text)
    needed = {key: _seeds(key, size, sd, design, comparisons) for key, size in sizes.items()}
    of = "the paired differences" if design == "paired" else "one row's runs"
    level = f"{100 * ALPHA:g} %" + (f" / {comparisons} (Holm's first step)" if comparisons > 1 else "")
    lines = []
    for key, n in needed.items():
        what, shown, tested = SAYS[key]
        lines.append(
            f"{what}{sizes[key]:g} at a standard deviation of {sd:g} ({of}): {n} seeds a row {shown} with "
            f"{100 * POWER:.0f} % power, {tested}, at {level}."
        )
    runs = max(needed.values()) * (comparisons + 1)
    both = ", enough for both" if len(needed) > 1 else ""
    lines.append(f"{comparisons} row{'s' * (comparisons > 1)} and the baseline: {runs} runs{both}.")
    costs = _measured(gather(given.get("output_dir", "outputs"), RESULTS)[0])
    lines += [f"  {duration(runs * seconds):>8}  at {seconds:,.0f} s a run: {what}" for what, seconds in costs]
    return lines if costs else [*lines, "No run is recorded yet, so nothing is known about their cost."]


def _seeds(key: str, size: float, sd: float, design: str, comparisons: int) -> int:
    n = (seeds_for_equivalence if key == "margin" else seeds_needed)(size, sd, design, comparisons)
    if n == MOST_SEEDS:
        raise ConfigError(f"{key}={size:g}: with sd={sd:g} it needs a million seeds or more; allowed is a larger one")
    return n


def _above_0(key: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise ConfigError(f"{key}={text}: allowed is a number above 0")
    return value


def _measured(records: Sequence[Record]) -> list[tuple[str, float]]:
    """(what ran where, median seconds a run), the shortest first."""
    found: dict[str, list[float]] = {}
    for record in records:
        config = record["config"]
        names = [name_of(section, config[section], config) for section in SECTIONS if section != "attention"]
        what = f"{', '.join(name for name in names if name != 'linear')} on {record['device']}"
        found.setdefault(what, []).append(record["seconds"])
    return sorted(((what, median(seconds)) for what, seconds in found.items()), key=lambda item: item[1])
