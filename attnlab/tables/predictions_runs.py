"""The page about the predictions of one run or two: error by class, and McNemar's test between two."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from attnlab.configuration.identity import SECTIONS
from attnlab.configuration.names import name_of
from attnlab.errors import ConfigError
from attnlab.records.predictions import Predictions, load_predictions
from attnlab.records.record import Record, find_run, read_record
from attnlab.tables.class_names import class_names
from attnlab.tables.number_text import DASH, mean_and_interval, p_value
from attnlab.tables.over_images import calibration_error, check_same_images, difference, mcnemar, wilson
from attnlab.tables.page import Page, Section

Rows = list[dict[str, Any]]
DIAGRAM = (
    "Reliability diagram: 15 equally wide bins of confidence, with the number of images in each below. On the diagonal "
    "accuracy equals confidence; below it the net is overconfident."
)


def of_runs(names: Sequence[str], output_dir: Path) -> tuple[Page, Rows, dict[str, Sequence[Predictions]]]:
    """(page, unrounded rows, panels of the figure).

    Raises ConfigError for more than two runs, one run twice, runs of other images, and runs without predictions.
    """
    if len(names) > 2:
        raise ConfigError(f"run={','.join(names)}: too many runs; allowed are one or two, and table=NAME compares more")
    found = [load_predictions(name, output_dir) for name in names]
    if len({run.run for run in found}) < len(found):
        raise ConfigError(f"run={','.join(names)}: both are run {found[0].run}; allowed are two different runs")
    check_same_images(found)
    records = [read_record(find_run(run.run, output_dir)) or {} for run in found]
    found = [named(run, record) for run, record in zip(found, records, strict=True)]
    rows = by_class(found)
    sections = [_mcnemar(*found)] if len(found) == 2 else []
    header = ["class", "images"] + [
        text for run in found for text in (f"{run.run}, error %", "95 %", "mostly taken for")
    ]
    texts = [
        [row["class"], str(row["images"]), *(text for run in found for text in class_texts(row, run))] for row in rows
    ]
    sections.append(Section("Error by class", header, texts))
    notes = [f"{run.run}: {title}. {_overall(run)}" for run, title in zip(found, map(_title, records), strict=True)]
    notes.append(
        f"{len(found[0]):,} test images. Intervals are Wilson's, 95 %, over test images: other images of the class, "
        "this trained net. They do not cover another training of it (another seed), and are not corrected for the "
        "number of classes."
    )
    notes.append(DIAGRAM)
    name = "_".join(["predictions", *(run.run for run in found)])
    page = Page(name, "Predictions of " + " and ".join(run.run for run in found), [], [], sections, notes)
    panels: dict[str, Sequence[Predictions]] = {
        f"{run.run} ({_attention(record)})": [run] for run, record in zip(found, records, strict=True)
    }
    return page, rows, panels


def _title(record: Record) -> str:
    config = record["config"]
    names = [f"{section}={name_of(section, config[section], config)}" for section in SECTIONS]
    return " ".join([*(name for name in names if name != "head=linear"), f"seed={config['seed']}"])


def _attention(record: Record) -> str:
    config = record["config"]
    return f"{name_of('attention', config['attention'], config)}, seed {config['seed']}"


def _overall(run: Predictions) -> str:
    error = wilson(int((~run.correct).sum()), len(run))
    ece = calibration_error(run)
    return f"Error {error.mean:.2f} % [{error.low:.2f}, {error.high:.2f}], calibration error {ece:.4f} (15 bins)."


def named(run: Predictions, record: Record) -> Predictions:
    """The predictions with the names of their classes, where these are known."""
    return run if run.names else replace(run, names=class_names(record["config"]))


def by_class(found: Sequence[Predictions]) -> Rows:
    """A row a class, unrounded; "mostly" is the class that the wrong images are most often predicted as."""
    rows: Rows = []
    for number in np.unique(found[0].label).tolist():
        of_class = found[0].label == number
        row: dict[str, Any] = {"class": found[0].name(number), "images": int(of_class.sum())}
        for run in found:
            taken_for = run.predicted[of_class & ~run.correct]
            i = wilson(len(taken_for), int(of_class.sum()))
            most = run.name(int(np.bincount(taken_for).argmax())) if len(taken_for) else None
            values = {"wrong": len(taken_for), "error": i.mean, "low": i.low, "high": i.high, "mostly": most}
            row |= {f"{run.run} {key}": value for key, value in values.items()}
        rows.append(row)
    return rows


def class_texts(row: dict[str, Any], run: Predictions) -> list[str]:
    """Error, its interval, and the class that the wrong images are mostly taken for."""
    error, low, high, most = (row[f"{run.run} {key}"] for key in ("error", "low", "high", "mostly"))
    return [f"{error:.2f}", f"[{low:.2f}, {high:.2f}]", most or DASH]


def _mcnemar(one: Predictions, other: Predictions) -> Section:
    test = mcnemar(one, other)
    rows = [
        ["both wrong", str(test.both)],
        [f"only {one.run} wrong", str(test.only_first)],
        [f"only {other.run} wrong", str(test.only_second)],
        ["both right", str(test.neither)],
        [
            f"error of {one.run} minus {other.run}, points [95 % over images]",
            mean_and_interval(difference([one], [other])),
        ],
        ["p, McNemar, exact, two-sided", p_value(test.p)],
        ["same class predicted by both, %", f"{100 * np.mean(one.predicted == other.predicted):.2f}"],
    ]
    return Section("McNemar: these two nets, other test images", ["", "images"], rows)
