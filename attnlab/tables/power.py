"""How many seeds, at what cost: `python -m attnlab.report power effect=0.2 margin=0.3 sd=0.18 design=paired`.

effect: the difference to find, in units of the metric (points of error, say);  margin: show that rows are equivalent
within ±margin (table.margin);  give one of the two, or both;  sd: with design=paired (the default), of the differences
between two rows at equal seeds; with design=unpaired, of one row's runs;  comparisons (1): rows compared with the
baseline in one table, over which Holm corrects.
"""

from collections.abc import Sequence
from statistics import median

from attnlab.configuration.identity import SECTIONS
from attnlab.configuration.names import name_of
from attnlab.errors import ConfigError
from attnlab.records.record import RESULTS, Record, gather
from attnlab.tables.power_analysis import ALPHA, MOST_SEEDS, POWER, seeds_for_equivalence, seeds_needed
from attnlab.tables.progress import duration

DESIGNS = ("paired", "unpaired")
ARGUMENTS = ("effect", "margin", "sd", "design", "comparisons", "output_dir")
MOST = 4  # recorded setups whose cost is shown
#: of each size: how the answer begins, the verb, how it is tested
ANSWERS = {
    "effect": ("A difference of ", "find it", "two-sided"),
    "margin": ("Equivalence within ±", "show it", "where the true difference is 0, by two one-sided tests"),
}


def power(arguments: Sequence[str]) -> list[str]:
    """The answer as lines: seeds a row, then how long they take, estimated from recorded runs.

    Raises ConfigError for an argument that is missing, unknown or wrong.
    """
    given = dict(argument.partition("=")[::2] for argument in arguments)
    for key in given:
        if key not in ARGUMENTS:
            raise ConfigError(f"{key}: no such argument; allowed are {', '.join(ARGUMENTS)}")
    sizes = {key: _above_0(key, given[key]) for key in ANSWERS if key in given}
    if not sizes:
        raise ConfigError("effect: missing; allowed is effect=NUMBER above 0, margin=NUMBER above 0, or both")
    sd = _above_0("sd", given.get("sd", ""))
    design = given.get("design", "paired")
    if design not in DESIGNS:
        raise ConfigError(f"wrong value design={design}; allowed are {', '.join(DESIGNS)}")
    text = given.get("comparisons", "1")
    if not text.isdecimal() or int(text) < 1:
        raise ConfigError(f"wrong value comparisons={text}; allowed is an integer from 1")
    comparisons = int(text)
    needed = {key: _seeds(key, size, sd, design, comparisons) for key, size in sizes.items()}
    of = "the paired differences" if design == "paired" else "one row's runs"
    level = f"{100 * ALPHA:g} %" + (f" / {comparisons} (Holm's first step)" if comparisons > 1 else "")
    lines = []
    for key, n in needed.items():
        what, shown, tested = ANSWERS[key]
        lines.append(
            f"{what}{sizes[key]:g} at a standard deviation of {sd:g} ({of}): {n} seeds a row {shown} with "
            f"{100 * POWER:.0f} % power, {tested}, at {level}."
        )
    runs = max(needed.values()) * (comparisons + 1)
    both = ", enough for both" if len(needed) > 1 else ""
    lines.append(f"{comparisons} row{'s' * (comparisons > 1)} and the baseline: {runs} runs{both}.")
    costs = _measured(gather(given.get("output_dir", "outputs"), RESULTS)[0])
    lines += [f"  {duration(runs * seconds):>8}  at {seconds:,.0f} s a run: {what}" for what, seconds in costs[:MOST]]
    if len(costs) > MOST:
        lines.append(f"  These are the {MOST} setups that ran last; {len(costs) - MOST} more are recorded.")
    return lines if costs else [*lines, "No run is recorded yet, so their cost is unknown."]


def _seeds(key: str, size: float, sd: float, design: str, comparisons: int) -> int:
    n = (seeds_for_equivalence if key == "margin" else seeds_needed)(size, sd, design, comparisons)
    if n == MOST_SEEDS:
        raise ConfigError(f"{key}={size:g}: too small, with sd={sd:g} it needs a million seeds or more")
    return n


def _above_0(key: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise ConfigError(f"wrong value {key}={text}; allowed is a number above 0")
    return value


def _measured(records: Sequence[Record]) -> list[tuple[str, float]]:
    """(config and device, median seconds a run) of recorded runs, those that finished last first."""
    found: dict[str, list[float]] = {}
    for record in sorted(records, key=lambda record: record.get("finished") or "", reverse=True):
        config = record["config"]
        names = [name_of(section, config[section], config) for section in SECTIONS if section != "attention"]
        what = f"{', '.join(name for name in names if name != 'linear')} on {record['device']}"
        found.setdefault(what, []).append(record["seconds"])
    return [(what, median(seconds)) for what, seconds in found.items()]
