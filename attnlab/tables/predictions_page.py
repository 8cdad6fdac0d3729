"""What the predictions of finished runs say of the test images.

python -m attnlab.report predictions run=ID              error by class, reliability diagram
python -m attnlab.report predictions run=ID,ID           of both, and McNemar's test between them
python -m attnlab.report predictions table=NAME [...]    of a declared table: the interval over test images beside the
                                                         one over seeds, how far seeds agree, reliability diagrams
"""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from attnlab.configuration.compose import compose_file
from attnlab.errors import ConfigError
from attnlab.records.conflicts import folder_named
from attnlab.records.predictions import FILE, Predictions, of_records
from attnlab.records.record import RESULTS, gather
from attnlab.tables.comparison import compare
from attnlab.tables.footnotes import NOTHING, warnings
from attnlab.tables.formats import embedded, markdown, page
from attnlab.tables.grid import read_grid
from attnlab.tables.image_table import WHICH_IS_WHICH, Line, how_many, lines
from attnlab.tables.over_images import calibration_error
from attnlab.tables.predictions_runs import DIAGRAM, Rows, of_runs
from attnlab.tables.progress import ledger
from attnlab.tables.sheet import Section, Sheet

#: panels of one figure
MOST_PANELS = 24


def report_predictions(arguments: Sequence[str]) -> tuple[Sheet, list[Path]]:
    """Read the predictions of one run, two, or a table; write OUTPUT_DIR/tables/*.{md,html,csv,png}; return both.

    Raises ConfigError for what is not there, and for predictions that are not those of their record.
    """
    runs = [argument.partition("=")[2] for argument in arguments if argument.startswith("run=")]
    tables = [argument for argument in arguments if argument.startswith("table=")]
    if len(runs) + len(tables) != 1:
        raise ConfigError("predictions: run=ID, run=ID,ID or table=NAME: one of them must be given")
    output_dir = Path(compose_file("run", [a for a in arguments if a.startswith("output_dir=")]).output_dir)
    if tables:
        return _of_table(arguments, output_dir)
    if unknown := [a for a in arguments if a.partition("=")[0] not in ("run", "output_dir")]:
        raise ConfigError(f"{unknown[0]}: allowed with run are output_dir, and nothing else")
    text, rows, panels = of_runs(runs[0].split(","), output_dir)
    return text, _write(text, rows, panels, output_dir / "tables" / text.name)


def _of_table(arguments: Sequence[str], output_dir: Path) -> tuple[Sheet, list[Path]]:
    folder = folder_named(arguments)
    if folder is None and (source := [argument for argument in arguments if argument.startswith("source=")]):
        raise ConfigError(
            f"{source[0]}: predictions are files beside the records, in output_dir or ./{RESULTS}, or DIR"
        )
    grid = read_grid([argument for argument in arguments if not argument.startswith("source=")])
    records, unread = gather(folder) if folder else gather(output_dir, RESULTS)
    asked = set(ledger(grid, []).ids.values())
    comparison = compare(grid, records, [reason for reason in unread if any(name in reason for name in asked)])
    found, refused = of_records(comparison.records, *filter(None, [folder]), output_dir, RESULTS)
    if not found:
        runs = len(comparison.records)
        raise ConfigError(f"table={grid.name}: none of its {runs} recorded runs has its {FILE}" + _reason(refused))
    there = {key: line for key, line in lines(comparison, found).items() if line.recorded}
    sections = [_section([line for key, line in there.items() if key[1] == column], column, comparison.baseline)
                for column in grid.columns]  # fmt: skip
    panels = {" ".join(filter(None, key)): line.runs for key, line in there.items() if line.runs}
    notes = [
        WHICH_IS_WHICH,
        "Agreement: the share of test images on which two seeds of a row name one class. Errors shared: of the images "
        "that one seed gets wrong, those that the other gets wrong too; in brackets, what it would be if they erred "
        "independently. Means over all pairs of seeds. Calibration error: mean over seeds.",
        DIAGRAM,
    ]
    if len(panels) > MOST_PANELS:
        notes.append(
            f"Reliability diagrams of the first {MOST_PANELS} of {len(panels)} cells; arguments select others."
        )
        panels = dict(list(panels.items())[:MOST_PANELS])
    above = [*warnings(comparison), how_many(comparison, found), *(f"Left out: {reason}" for reason in refused)]
    part = "_part" if grid.changed or grid.is_part else ""
    title = f"{grid.table.get('title') or grid.name}: over test images"
    kept = [section for section in sections if section.rows]
    sheet = Sheet(f"{grid.name}_predictions", title, [], list(filter(None, above)), kept, notes)
    stem = output_dir / "tables" / f"{grid.name}{part}_predictions"
    return sheet, _write(sheet, [_plain(line) for line in there.values()], panels, stem)


def _reason(refused: Sequence[str]) -> str:
    return f": {refused[0]}" if refused else "; runs of an earlier attnlab kept none, force=true trains anew"


def _section(found: Sequence[Line], column: str, baseline: str) -> Section:
    header = ["", "error %", "runs", f"minus {baseline}", "95 % over seeds", "95 % over images", "agreement %",
              "errors shared % (by chance)", "calibration error"]  # fmt: skip
    return Section(column, header, [_texts(line) for line in found])


def _texts(line: Line) -> list[str]:
    errors = [run.error for run in line.runs]
    sd = f" ± {np.std(errors, ddof=1):.2f}" if len(errors) > 1 else ""
    a, d, i = line.agreement, line.over_seeds, line.over_images
    return [
        line.cell.row,
        f"{np.mean(errors):.2f}{sd}" if errors else NOTHING,
        f"{len(line.runs)}/{line.recorded}",
        f"{d.mean:+.2f}" if d else NOTHING,
        f"[{d.low:+.2f}, {d.high:+.2f}]" if d and d.low is not None else NOTHING,
        f"[{i.low:+.2f}, {i.high:+.2f}]" if i and i.low is not None else NOTHING,
        f"{a.same:.2f}" if a else NOTHING,
        f"{a.shared:.1f} ({a.chance:.1f})" if a and a.shared is not None else NOTHING,
        f"{np.mean([calibration_error(run) for run in line.runs]):.4f}" if line.runs else NOTHING,
    ]


def _plain(line: Line) -> dict[str, object]:
    a, d, i = line.agreement, line.over_seeds, line.over_images
    return {
        "column": line.cell.column, "row": line.cell.row, "runs": len(line.runs), "recorded": line.recorded,
        "error": float(np.mean([run.error for run in line.runs])) if line.runs else None,
        "difference": d and d.mean, "low_over_seeds": d and d.low, "high_over_seeds": d and d.high,
        "low_over_images": i and i.low, "high_over_images": i and i.high, "agreement": a and a.same,
        "errors_shared": a and a.shared, "errors_shared_by_chance": a and a.chance,
        "calibration_error": float(np.mean([calibration_error(r) for r in line.runs])) if line.runs else None,
        "ids": " ".join(run.run for run in line.runs),
    }  # fmt: skip


def _write(sheet: Sheet, rows: Rows, panels: Mapping[str, Sequence[Predictions]], stem: Path) -> list[Path]:
    from attnlab.tables.reliability import reliability

    stem.parent.mkdir(parents=True, exist_ok=True)
    paths = {suffix: stem.with_name(f"{stem.name}.{suffix}") for suffix in ("md", "html", "csv", "png")}
    reliability(panels, paths["png"])
    paths["md"].write_text(markdown(sheet, [paths["png"].name]))
    paths["html"].write_text(page(sheet, [embedded(paths["png"], "reliability diagrams")]))
    with paths["csv"].open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return list(paths.values())
