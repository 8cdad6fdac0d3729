"""Look at a finished run: its masks and class activation maps over test images.

python -m attnlab.look run=ID              every gate, Grad-CAM and HiResCAM, soft and hard; channel masks by class
python -m attnlab.look table=NAME [...]    the same for one run of every cell, and all of them side by side

images=6: how many, of as many classes;  output_dir, dataset.root, machine.* as of attnlab.run.
Written to OUTPUT_DIR/<id>/look/ (PNG, and one self-contained HTML page) and OUTPUT_DIR/tables/NAME_maps.png, which
`python -m attnlab.report table=NAME` shows in its page, as long as its runs are those of the table.
"""

import html
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from attnlab.configuration.cli import command_line
from attnlab.configuration.identity import SECTIONS, name_of
from attnlab.evaluation.chosen_runs import Asked, positive, read_asked
from attnlab.records.record import Record
from attnlab.records.source_code import print_warnings

IMAGES = 6
FOR_CLASSES = 500  # images that the channel masks of the classes are means over


def look(arguments: Sequence[str]) -> list[Path]:
    """Draw what the arguments ask for; return the files. Raises ConfigError for a run or a table that is not there."""
    asked = read_asked(arguments, ("images",))
    images = positive(asked.own, "images", IMAGES)
    if asked.grid is None:
        return _look(asked.records[0], asked, images)[0]
    from attnlab.evaluation.drawing.map_figures import side_by_side, write
    from attnlab.tables.maps_picture import runs_text

    paths, rows, shown = [], [], []
    for label, record in _one_a_cell(asked):
        print(f"{label}: run {record['id']}", flush=True)
        more, view = _look(record, asked, images)
        paths += more
        rows.append((label, view))
        shown.append((label, record))
    part = "_part" * bool(asked.grid.changed or asked.grid.is_part)  # named as attnlab.report names it
    stem = asked.output_dir / "tables" / f"{asked.grid.name}{part}_maps.png"
    stem.parent.mkdir(exist_ok=True)
    write(side_by_side(rows, f"table {asked.grid.name}: where each row looks"), stem, runs_text(shown))
    return [*paths, stem]


def _one_a_cell(asked: Asked) -> Iterator[tuple[str, Record]]:
    """The first seed of every cell of the table that is there."""
    assert asked.grid is not None
    there = {record["id"]: record for record in asked.records}
    for cell in asked.grid.cells:
        found = [there[cell.run_id(seed)] for seed in asked.grid.seeds if cell.run_id(seed) in there]
        if found:
            yield f"{cell.row}, {cell.column}" if cell.column else cell.row, found[0]


def _look(record: Record, asked: Asked, images: int) -> tuple[list[Path], Any]:
    from attnlab.evaluation.drawing.map_figures import maps_figure, strips_figure, write
    from attnlab.evaluation.drawing.map_view import channel_masks, spread, view
    from attnlab.evaluation.finished_run import read_subject

    folder = asked.output_dir / record["id"]
    subject = read_subject(folder.name, asked.output_dir, asked.machine, asked.folders, max(images, FOR_CLASSES))
    seen = view(subject, images)
    target = folder / "look"
    target.mkdir(exist_ok=True)
    for old in target.glob("*.png"):  # of an earlier look; those of the training stay
        if not old.name.startswith("epoch_"):
            old.unlink()
    title = _title(record)
    drawn = {"maps": maps_figure(seen.images, seen.few(), seen.labels, title)}
    gates = seen.gates
    for number in range(0, len(gates), 6) if len(gates) > 4 else ():
        part = {name: seen.maps[name] for name in gates[number : number + 6]}
        drawn[f"gates{number // 6 + 1}"] = maps_figure(seen.images, part, seen.labels, f"{title}: all gates")
    by_class = channel_masks(subject)
    if by_class:
        chosen = {name: by_class[name] for name in spread(list(by_class), 6)}
        drawn["channels"] = strips_figure(chosen, subject.class_names, f"{title}: channel masks by class")
    paths = [write(figure, target / f"{name}.png") for name, figure in drawn.items()]
    page = target / "index.html"
    page.write_text(_page(title, record, {path.stem: path for path in paths}))
    return [*paths, page], seen


def _title(record: Record) -> str:
    config = record["config"]
    names = [name_of(section, config[section], config) for section in ("model", "attention", "head")]
    return f"{', '.join(name for name in names if name != 'linear')}, {name_of('dataset', config['dataset'], config)}"


CAPTIONS = {
    "maps": "Soft: each map from its own minimum to its own maximum, so that a mask that hardly varies looks like one "
    "that does; the range under a column is the mean one. Hard: what lies above Otsu's threshold. Cyan: the object, "
    "where it is known. Class activation maps are of the class that the network says.",
    "gates": "Every gate with a mask that varies over space, from the input to the output.",
    "channels": "Channel masks, the mean over the test images of each class (a line each): the role of excitation. "
    "What differs from line to line is what a gate knows of the class.",
}


def _page(title: str, record: Record, pictures: Mapping[str, Path]) -> str:
    from attnlab.tables.formats import STYLE, embedded

    e = html.escape
    config = record["config"]
    facts = {section: name_of(section, config[section], config) for section in SECTIONS} | {
        "seed": str(config["seed"]), "run": record["id"], "test error": f"{record['metrics']['test/top1_error']:.2f} %",
    }  # fmt: skip
    listed = "".join(f"<dt>{e(name)}</dt><dd>{e(text)}</dd>" for name, text in facts.items())
    parts = [f"<h1>{e(title)}</h1>", f"<dl>{listed}</dl>"]
    for name, path in pictures.items():
        caption = CAPTIONS.get(name.rstrip("0123456789"), "") if not name.endswith(("2", "3", "4")) else ""
        parts.append(f"<p>{e(caption)}</p><figure>{embedded(path, name)}</figure>")
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{e(title)}</title>'
        f"<style>{STYLE}</style></head>\n<body>\n" + "\n".join(parts) + "\n<footer>attnlab</footer></body></html>\n"
    )


@command_line()
def main() -> None:
    """The command line."""
    arguments = sys.argv[1:]
    print_warnings()
    if {"-h", "--help"} & set(arguments) or not arguments:
        print(__doc__)
        return
    print("wrote " + ", ".join(str(path) for path in look(arguments)))


if __name__ == "__main__":
    main()
