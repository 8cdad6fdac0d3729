"""All records as comparisons: one table a recipe, head and start; rows are attentions, columns datasets and models."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from attnlab.configuration.names import name_of
from attnlab.configuration.schema import NO_ATTENTION
from attnlab.records.record import Record
from attnlab.tables.comparison import Comparison, compare
from attnlab.tables.short_numbers import with_short_numbers
from attnlab.tables.undeclared import grid_of


def tabulate(records: Sequence[Record]) -> list[Comparison]:
    """Compare what can be compared, with the statistics of a declared table.

    Runs of other recipes, heads, start weights or images are other tables, unless one number is all that varies: then
    the records are one table, with a curve over this number. Rows without attention come
    first, then those with fewer parameters.
    """
    ordered = sorted(records, key=_row_order)
    whole = grid_of([record["config"] for record in ordered], "records")
    images = _images(ordered)
    if whole.axis and not any(images.values()):
        baseline = whole.table["baseline"]
        if all(value is not None or row == baseline for (row, _), (_, value) in whole.axis.points.items()):
            return [compare(whole, ordered)]
    groups: dict[tuple[str, ...], list[Record]] = {}
    for record in ordered:
        config = record["config"]
        setup = (name_of(section, config[section], config) for section in ("recipe", "head"))
        groups.setdefault((*setup, str(config.get("start_from")), images[record["id"]]), []).append(record)
    setups = Counter(key[:-1] for key in groups)
    found = []
    for key, of_group in groups.items():
        comparison = compare(grid_of([record["config"] for record in of_group], "records"), of_group)
        found.append(_with_images(comparison) if setups[key[:-1]] > 1 else comparison)
    titles = with_short_numbers([comparison.grid.table["title"] for comparison in found])
    named = [_titled(comparison, title) for comparison, title in zip(found, titles, strict=True)]
    return sorted(named, key=lambda comparison: comparison.grid.table["title"])


def _row_order(record: Record) -> tuple[bool, float, int, str, int]:
    config = record["config"]
    name = name_of("attention", config["attention"], config)
    has_attention = config["attention"]["_target_"] != NO_ATTENTION
    return has_attention, record.get("params") or 0, len(name), name, config["seed"]


def _images(records: Sequence[Record]) -> dict[str, str]:
    """{run id: "" if it saw the images that most runs of its dataset saw, else the data_hash of its images}."""
    hashes: dict[str, Counter[str]] = {}
    of_run = {record["id"]: name_of("dataset", record["config"]["dataset"], record["config"]) for record in records}
    for record in records:
        hashes.setdefault(of_run[record["id"]], Counter())[record["data_hash"]] += 1
    usual = {name: counted.most_common(1)[0][0] for name, counted in hashes.items()}
    return {r["id"]: "" if r["data_hash"] == usual[of_run[r["id"]]] else r["data_hash"] for r in records}


def _with_images(comparison: Comparison) -> Comparison:
    """The comparison with its images in the title."""
    return _titled(comparison, f"{comparison.grid.table['title']}, data {comparison.records[0]['data_hash']}")


def _titled(comparison: Comparison, title: str) -> Comparison:
    return replace(comparison, grid=replace(comparison.grid, table=comparison.grid.table | {"title": title}))
