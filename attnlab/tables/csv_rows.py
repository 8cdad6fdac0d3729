"""A comparison as unrounded rows, and CSV files."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from attnlab.tables.cell_result import CellResult
from attnlab.tables.comparison import Comparison
from attnlab.tables.metric_names import ERROR
from attnlab.tables.reproduction import minus_paper, reproduction
from attnlab.tables.same_setup import most_common_setup, with_setup


def write_csv(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Write rows with equal keys."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def csv_rows(comparison: Comparison) -> list[dict[str, object]]:
    """A dict for each metric, column and row of the table, unrounded."""
    return [
        _csv_row(comparison, metric, result)
        for metric in comparison.metrics
        for result in comparison.results(metric).values()
    ]


def _csv_row(comparison: Comparison, metric: str, result: CellResult) -> dict[str, object]:
    runs = result.runs.having(metric)
    timed = with_setup(result.runs, most_common_setup(comparison.records))
    images = comparison.over_images.get(result.key) if metric == ERROR else None
    d, paper = result.difference, result.paper
    low, high = result.detectable_range or (None, None)
    return {
        "metric": metric, "column": result.cell.column, "row": result.cell.row, "baseline": comparison.baseline,
        "n": runs.n, "wanted": result.wanted, "mean": runs.mean(metric), "sd": runs.sd(metric),
        "difference": d and d.mean, "low": d and d.low, "high": d and d.high,
        "low_over_images": images and images.low, "high_over_images": images and images.high,
        "test": d and ("paired t" if d.paired else "Welch"), "p": d and d.p, "p_holm": result.p_holm,
        "p_wilcoxon": d and d.wilcoxon, "detectable": result.detectable, "detectable_low": low,
        "detectable_high": high, "bold": result.bold, "verdict": result.verdict, "margin": result.margin,
        "p_equivalent": d and d.p_equivalent, "p_equivalent_holm": result.p_equivalent,
        "paper": paper and paper.error, "paper_sd": paper and paper.sd, "paper_source": paper and paper.source,
        "params": result.runs.mean("params"), "macs": result.runs.mean("macs"),
        "images_per_second": timed.median("images_per_second"), "seconds": timed.median("seconds"),
        "seeds": " ".join(str(run["config"]["seed"]) for run in runs.runs),
        "runs": " ".join(run["id"] for run in runs.runs),
    } | (_of_paper(comparison, result) if comparison.grid.table["paper"] else {}) | {
        name: (found := comparison.latency(name, result.cell)) and found.median for name in comparison.latency_columns
    }  # fmt: skip


def _of_paper(comparison: Comparison, result: CellResult) -> dict[str, object]:
    d = minus_paper(result, comparison)
    return {
        "minus_paper": d and d.mean, "minus_paper_low": d and d.low, "minus_paper_high": d and d.high,
        "p_reproduced": d and d.p_equivalent, "against_paper": reproduction(result, comparison),
    }  # fmt: skip
