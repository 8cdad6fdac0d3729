"""A page about the predictions of finished runs on the test images.

python -m attnlab.report predictions run=ID              error by class, reliability diagram
python -m attnlab.report predictions run=ID,ID           of both runs, and McNemar's test between them
python -m attnlab.report predictions table=NAME [...]    of a declared table: the interval over test images beside the
                                                         one over seeds, the agreement of seeds, reliability diagrams
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from attnlab.configuration.compose import compose_file
from attnlab.errors import ConfigError
from attnlab.records.conflicts import folder_named
from attnlab.records.predictions import FILE, Predictions, of_records
from attnlab.records.record import RESULTS, gather
from attnlab.tables.comparison import compare
from attnlab.tables.csv_rows import write_csv
from attnlab.tables.formats import embedded, html_page, markdown
from attnlab.tables.grid import read_grid
from attnlab.tables.image_table import TWO_INTERVALS, CellOverImages, cells_over_images, missing_predictions
from attnlab.tables.named_run import named_run
from attnlab.tables.number_text import DASH, interval
from attnlab.tables.over_images import calibration_error
from attnlab.tables.page import Page, Section
from attnlab.tables.page_warnings import page_warnings
from attnlab.tables.predictions_runs import DIAGRAM, Rows, of_runs

#: one figure has at most as many panels
MOST_PANELS = 24


def report_predictions(arguments: Sequence[str]) -> tuple[Page, list[Path]]:
    """Read the predictions of one run, two runs or a table; write OUTPUT_DIR/tables/*.{md,html,csv,png}.

    Returns the page and its files. Raises ConfigError for a run or table that is missing, and for predictions that do
    not belong to their record.
    """
    runs = [argument.partition("=")[2] for argument in arguments if argument.startswith("run=")]
    tables = [argument for argument in arguments if argument.startswith("table=")]
    if len(runs) + len(tables) != 1:
        raise ConfigError("predictions: not one of run=ID, run=ID,ID and table=NAME; give exactly one")
    output_dir = Path(compose_file("run", [a for a in arguments if a.startswith("output_dir=")]).output_dir)
    if tables:
        return _of_table(arguments, output_dir)
    if unknown := [a for a in arguments if a.partition("=")[0] not in ("run", "output_dir")]:
        raise ConfigError(f"{unknown[0]}: not allowed with run=ID; allowed is output_dir")
    names = [runs[0]] if "=" in runs[0] else runs[0].split(",")
    page, rows, panels = of_runs([named_run(name, output_dir) for name in names], output_dir)
    return page, _write(page, rows, panels, output_dir / "tables" / page.name)


def _of_table(arguments: Sequence[str], output_dir: Path) -> tuple[Page, list[Path]]:
    folder = folder_named(arguments)
    if folder is None and (source := [argument for argument in arguments if argument.startswith("source=")]):
        raise ConfigError(f"{source[0]}: no folder; predictions are files beside the records: allowed is source=DIR")
    grid = read_grid([argument for argument in arguments if not argument.startswith("source=")])
    records, left_out = gather(folder) if folder else gather(output_dir, RESULTS)
    ids = set(grid.run_ids.values())
    comparison = compare(grid, records, [reason for reason in left_out if any(name in reason for name in ids)])
    found, rejected = of_records(comparison.records, *filter(None, [folder]), output_dir, RESULTS)
    if not found:
        runs = len(comparison.records)
        raise ConfigError(f"table={grid.name}: none of its {runs} recorded runs has its {FILE}" + _reason(rejected))
    cells = {key: cell for key, cell in cells_over_images(comparison, found).items() if cell.recorded}
    sections = [_section([cell for key, cell in cells.items() if key[1] == column], column, comparison.baseline)
                for column in grid.columns]  # fmt: skip
    panels = {" ".join(filter(None, key)): cell.runs for key, cell in cells.items() if cell.runs}
    notes = [
        TWO_INTERVALS,
        "Agreement: the share of test images on which two seeds of a row predict the same class. Errors shared: of the "
        "images that one seed gets wrong, the share that the other gets wrong too; in brackets, the same if the two "
        "erred independently. Both are means over all pairs of seeds. Calibration error: mean over seeds.",
        DIAGRAM,
    ]
    if len(panels) > MOST_PANELS:
        notes.append(
            f"Reliability diagrams of the first {MOST_PANELS} of {len(panels)} cells; arguments can select others."
        )
        panels = dict(list(panels.items())[:MOST_PANELS])
    warnings = [*page_warnings(comparison), missing_predictions(comparison, found)]
    warnings += [f"Left out: {reason}" for reason in rejected]
    title = f"{grid.table.get('title') or grid.name}: over test images"
    kept = [section for section in sections if section.rows]
    page = Page(f"{grid.name}_predictions", title, [], list(filter(None, warnings)), kept, notes)
    stem = output_dir / "tables" / f"{grid.file_name}_predictions"
    return page, _write(page, [_csv_row(cell) for cell in cells.values()], panels, stem)


def _reason(rejected: Sequence[str]) -> str:
    return f": {rejected[0]}" if rejected else "; runs of an earlier attnlab kept none, force=true trains again"


def _section(cells: Sequence[CellOverImages], column: str, baseline: str) -> Section:
    header = ["", "error %", "runs", f"minus {baseline}", "95 % over seeds", "95 % over images", "agreement %",
              "errors shared % (by chance)", "calibration error"]  # fmt: skip
    return Section(column, header, [_texts(cell) for cell in cells])


def _texts(cell: CellOverImages) -> list[str]:
    errors = [run.error for run in cell.runs]
    sd = f" ± {np.std(errors, ddof=1):.2f}" if len(errors) > 1 else ""
    a, d = cell.agreement, cell.over_seeds
    return [
        cell.cell.row,
        f"{np.mean(errors):.2f}{sd}" if errors else DASH,
        f"{len(cell.runs)}/{cell.recorded}",
        f"{d.mean:+.2f}" if d else DASH,
        interval(d),
        interval(cell.over_images),
        f"{a.same:.2f}" if a else DASH,
        f"{a.shared:.1f} ({a.chance:.1f})" if a and a.shared is not None else DASH,
        f"{np.mean([calibration_error(run) for run in cell.runs]):.4f}" if cell.runs else DASH,
    ]


def _csv_row(cell: CellOverImages) -> dict[str, object]:
    a, d, i = cell.agreement, cell.over_seeds, cell.over_images
    return {
        "column": cell.cell.column, "row": cell.cell.row, "runs": len(cell.runs), "recorded": cell.recorded,
        "error": float(np.mean([run.error for run in cell.runs])) if cell.runs else None,
        "difference": d and d.mean, "low_over_seeds": d and d.low, "high_over_seeds": d and d.high,
        "low_over_images": i and i.low, "high_over_images": i and i.high, "agreement": a and a.same,
        "errors_shared": a and a.shared, "errors_shared_by_chance": a and a.chance,
        "calibration_error": float(np.mean([calibration_error(r) for r in cell.runs])) if cell.runs else None,
        "ids": " ".join(run.run for run in cell.runs),
    }  # fmt: skip


def _write(page: Page, rows: Rows, panels: Mapping[str, Sequence[Predictions]], stem: Path) -> list[Path]:
    from attnlab.tables.reliability import reliability

    stem.parent.mkdir(parents=True, exist_ok=True)
    paths = {suffix: stem.with_name(f"{stem.name}.{suffix}") for suffix in ("md", "html", "csv", "png")}
    reliability(panels, paths["png"])
    paths["md"].write_text(markdown(page, [paths["png"].name]))
    paths["html"].write_text(html_page(page, [embedded(paths["png"], "reliability diagrams")]))
    write_csv(paths["csv"], rows)
    return list(paths.values())
