"""The page of each run of a table: tables/runs/ID.html with its config, curves, maps, judgement and predictions."""

import csv
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from matplotlib.ticker import MaxNLocator

from attnlab.configuration.digest import digest
from attnlab.configuration.identity import SECTIONS
from attnlab.configuration.names import name_of
from attnlab.records.judgement import METRICS, PREFIX, digits, heading
from attnlab.records.predictions import Predictions
from attnlab.records.record import Record
from attnlab.tables.comparison import Comparison
from attnlab.tables.curve_figure import validation_errors
from attnlab.tables.formats import FOLDER, STYLE, embedded, template
from attnlab.tables.html_table import aligned_rows
from attnlab.tables.metric_names import decimals, metric_name
from attnlab.tables.number_text import DASH, count, number
from attnlab.tables.page import Section
from attnlab.tables.predictions_runs import by_class, class_texts, named
from attnlab.tables.style import BLUE, GREY, plt

#: below OUTPUT_DIR/tables
RUNS = "runs"
TEMPLATE = "run.html.jinja"
#: pictures of attnlab.look that the page shows, below OUTPUT_DIR/<id>/look
PICTURES = {"maps.png": "Where the net looks, on test images", "channels.png": "Mean channel mask of each class"}


def write_run_pages(comparison: Comparison, output_dir: Path) -> dict[str, str]:
    """Write a page for every record of a comparison; return {run id: its address, seen from OUTPUT_DIR/tables}.

    A page whose run has not changed since is kept as it is.
    """
    folder = output_dir / "tables" / RUNS
    folder.mkdir(parents=True, exist_ok=True)
    for record in comparison.records:
        _write(record, comparison.predictions.get(record["id"]), output_dir, folder / f"{record['id']}.html")
    return {record["id"]: f"{RUNS}/{record['id']}.html" for record in comparison.records}


def _write(record: Record, predictions: Predictions | None, output_dir: Path, path: Path) -> None:
    run = output_dir / record["id"]
    pictures = {run / "look" / name: caption for name, caption in PICTURES.items() if (run / "look" / name).exists()}
    trained = bool(validation_errors(run, record))  # else log.csv is missing, or of another training
    sources = [*pictures, *([run / "log.csv"] if trained else []), FOLDER / TEMPLATE, Path(__file__)]
    state = digest([
        record["checksum"], record.get("judged", {}), predictions is not None, STYLE,
        *(hashlib.sha256(source.read_bytes()).hexdigest() for source in sources),
    ])  # fmt: skip
    if path.exists() and f"<!-- {state} -->" in path.read_text():
        return
    config = {name: item for name, item in record["config"].items() if name != "machine"}
    tables = {"Test": _tested(record)}
    if judged := record.get("judged"):
        tables["Judgement"] = _judgement(judged)
    if predictions is not None:
        tables["Errors by class"] = _classes(named(predictions, record))
    path.write_text(
        template(TEMPLATE).render(
            title=_title(record), facts=_facts(record), state=state, style=STYLE,
            tables={name: (section.header, aligned_rows(section)) for name, section in tables.items()},
            curve=_curve(run / "log.csv") if trained else "",
            pictures={caption: embedded(picture, caption) for picture, caption in pictures.items()},
            config=yaml.safe_dump(config, sort_keys=False),
        )
    )  # fmt: skip


def _title(record: Record) -> str:
    config = record["config"]
    names = [name_of(section, config[section], config) for section in ("attention", "head")]
    return f"{', '.join(name for name in names if name != 'linear')}, seed {config['seed']}"


def _facts(record: Record) -> dict[str, str]:
    """What was trained, when, on what."""
    config = record["config"]
    commit = (record["commit"] or "unknown")[:7] + "+changes" * bool(record["dirty"])
    return {section: name_of(section, config[section], config) for section in SECTIONS} | {
        "run": record["id"], "parameters": count(record["params"]), "MACs": count(record["macs"]),
        "trained": f"{number(record['seconds'], 0)} s, {number(record['images_per_second'], 0)} images/s",
        "on": f"{record['device']}, {record['precision']}, torch {record['versions']['torch']}", "commit": commit,
    }  # fmt: skip


def _tested(record: Record) -> Section:
    metrics = {name: value for name, value in sorted(record["metrics"].items()) if not name.startswith(PREFIX)}
    rows = [[metric_name(name), number(value, decimals(name))] for name, value in metrics.items()]
    return Section("", ["", "value"], rows)


def _judgement(judged: Mapping[str, Mapping[str, Any]]) -> Section:
    """Each score beside its reference value."""
    rows = []
    for metric, one in judged.items():
        if metric in METRICS:
            places = digits(metric)
            texts = [DASH if one[key] is None else f"{one[key]:.{places}f}" for key in ("value", "se", "beside")]
            rows.append([heading(metric), *texts, one["meaning"] or ""])
    return Section("", ["score", "value", "± se", "beside", "which is"], rows)


def _classes(predictions: Predictions) -> Section:
    rows = [[row["class"], str(row["images"]), *class_texts(row, predictions)] for row in by_class([predictions])]
    return Section("", ["class", "images", "error %", "95 % over images", "mostly taken for"], rows)


def _curve(log: Path) -> str:
    """Training and validation error by epoch, as <svg>."""
    from attnlab.tables.figures import HOUSE, documents, element

    with log.open() as file:
        rows = list(csv.DictReader(file))
    with plt.rc_context(HOUSE):
        figure, axis = plt.subplots(figsize=(6.4, 2.9))
        for key, label, colour in (("train/top1_error", "training", GREY), ("val/top1_error", "validation", BLUE)):
            points = [(int(row["epoch"]) + 1, float(row[key])) for row in rows if row.get(key)]
            if points:
                axis.plot(*zip(*points, strict=True), color=colour, lw=1.6, label=label)
        axis.grid()
        axis.set_xlabel("epoch")
        axis.set_ylabel("error %")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.legend(frameon=False)
    (document,) = documents({"curve": figure}).values()
    plt.close(figure)
    return element(document)
