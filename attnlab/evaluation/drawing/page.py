"""The pictures of a finished run below its folder look/, and the page that shows them; a table's runs side by side."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from jinja2 import Environment, PackageLoader

from attnlab.configuration.identity import SECTIONS
from attnlab.configuration.names import name_of
from attnlab.errors import ConfigError
from attnlab.evaluation.chosen_runs import ChosenRuns, share_machine
from attnlab.evaluation.drawing.map_figures import channel_masks_figure, maps_figure, save_figure, side_by_side_figure
from attnlab.evaluation.drawing.map_view import MapView, channel_masks_by_class, evenly_spaced, view_run
from attnlab.evaluation.drawing.options import LookOptions
from attnlab.evaluation.finished_run import read_finished_run
from attnlab.machine.processes import map_forked
from attnlab.records.image_folder import remembered
from attnlab.records.record import Record
from attnlab.tables.maps_picture import runs_text
from attnlab.tables.run_labels import section_names

FOR_CLASSES = 500  # test images over which the channel masks of the classes are averaged
GATES_PER_FIGURE = 6

#: kind of figure -> caption of the first figure of this kind
CAPTIONS = {
    "maps": "Soft: the colours span each map's own minimum to its own maximum, so a mask that hardly varies looks like "
    "one that varies a lot. Below each column: this range, averaged over the images. Hard: the pixels above Otsu's "
    "threshold. Cyan: the outline of the object, if it is known. Class activation maps are of the predicted class, "
    "unless the title names another one.",
    "gates": "All gates whose mask varies over space, from the input to the output.",
    "channels": "Mean channel mask over the test images of each class, one line per class. Differences between the "
    "lines show how much a gate depends on the class.",
}


def draw_table(chosen: ChosenRuns, options: LookOptions) -> list[Path]:
    """Draw one run of every cell of a table, several at a time on a CPU, then all side by side; return the files.

    Raises AttnlabError if one of the processes that draw was killed.
    """
    assert chosen.grid is not None
    drawn = list(_one_run_per_cell(chosen))
    distinct = {record["id"]: record for _, record in drawn}  # rows may share a run
    processes, machine = share_machine(chosen, len(distinct))
    draw = partial(_draw_cell, chosen=replace(chosen, machine=machine, records=(), grid=None), options=options)
    found = dict(zip(distinct, map_forked(draw, list(distinct.values()), processes), strict=True))
    paths = [path for more, _ in found.values() for path in more]
    views = [(label, found[record["id"]][1]) for label, record in drawn]
    for label, record in drawn:
        print(f"{label}: run {record['id']}", flush=True)
    # a page of the table shows NAME_maps.png only, which has the usual maps on test images
    name = f"{chosen.grid.file_name}_{'' if options.is_usual else 'own_'}maps.png"
    return [
        *paths,
        _side_by_side(views, drawn, f"table {chosen.grid.name}: where each row looks", name, chosen, options),
    ]


def _draw_cell(record: Record, chosen: ChosenRuns, options: LookOptions) -> tuple[list[Path], MapView]:
    """As draw_run, but with the maps of the side-by-side figure only: they are sent from one process to another."""
    paths, view = draw_run(record, chosen, options)
    shown = {view.chosen, *options.cams}
    return paths, replace(view, maps={name: found for name, found in view.maps.items() if name in shown})


def draw_runs(chosen: Sequence[ChosenRuns], options: LookOptions) -> list[Path]:
    """Draw several runs, then all of them side by side; return the files.

    Raises ConfigError for runs that were tested on other images than the first one.
    """
    records = [one.records[0] for one in chosen]
    for record in records[1:]:
        if record["data_hash"] != records[0]["data_hash"]:
            raise ConfigError(
                f"run={record['id']}: its images are others than those of run={records[0]['id']}; draw them one by one"
            )
    paths, views, drawn = [], [], []
    labels, shared = labels_of(records)
    for record, one, label in zip(records, chosen, labels, strict=True):
        more, view = draw_run(record, one, options)
        paths += more
        views.append((label, view))
        drawn.append((label, record))
    name = f"look_{'_'.join(record['id'] for record in records)}.png"
    title = ": ".join(filter(None, (shared, "where each run looks")))
    return [*paths, _side_by_side(views, drawn, title, name, chosen[0], options)]


def labels_of(records: Sequence[Record]) -> tuple[list[str], str]:
    """(for each run what tells it from the others: `se, seed 0`; what all share: `resnet20, cluttered_digits`)."""
    configs = [record["config"] for record in records]
    parts = [section_names(section, configs) for section in ("model", "attention", "head", "dataset", "recipe")]
    if not parts[-1].vary:
        del parts[-1]  # a recipe is named only where it tells runs apart
    seeds = [f"seed {config['seed']}" for config in configs]
    differ = len(set(seeds)) > 1
    texts = [*(one.labels for one in parts), *([seeds] if differ else [])]
    labels = [", ".join(filter(None, each)) for each in zip(*texts, strict=True)]
    if len(set(labels)) < len(labels):  # the runs differ in another part of their configs
        labels = [f"{label} ({record['id'][:8]})".strip() for label, record in zip(labels, records, strict=True)]
    shared = [*(one.common for one in parts if one.common != "linear"), *([] if differ else seeds[:1])]
    return labels, ", ".join(filter(None, shared))


def _side_by_side(
    views: Sequence[tuple[str, MapView]], drawn: Sequence[tuple[str, Record]], title: str, name: str,
    chosen: ChosenRuns, options: LookOptions,
) -> Path:  # fmt: skip
    path = chosen.output_dir / "tables" / name
    path.parent.mkdir(exist_ok=True)
    cams = options.cams if options.given_cams else options.cams[:1]
    return save_figure(side_by_side_figure(views, f"{title}{_which(options)}", cams), path, runs_text(drawn))


def _which(options: LookOptions) -> str:
    """The class whose maps are drawn, for a title; empty for the predicted one."""
    if options.of_class in (None, "label"):
        return "" if options.of_class is None else ", maps of each image's class"
    return f", maps of class {options.of_class}"


def _one_run_per_cell(chosen: ChosenRuns) -> Iterator[tuple[str, Record]]:
    """(label of the cell, record of its first finished seed), without the cells that have none."""
    assert chosen.grid is not None
    finished = {record["id"]: record for record in chosen.records}
    for cell in chosen.grid.cells:
        found = [finished[cell.run_id(seed)] for seed in chosen.grid.seeds if cell.run_id(seed) in finished]
        if found:
            yield f"{cell.row}, {cell.column}" if cell.column else cell.row, found[0]


def draw_run(record: Record, chosen: ChosenRuns, options: LookOptions) -> tuple[list[Path], MapView]:
    """Draw one run into OUTPUT_DIR/<id>/look/, or look/own/ for images of one's own; return the files and the maps."""
    count = max(options.images, FOR_CLASSES)
    folders = remembered(chosen.output_dir / record["id"], chosen.folders)
    run = read_finished_run(record["id"], chosen.output_dir, chosen.machine, folders, count)
    view = view_run(run, options)
    target = run.folder / "look" / ("own" if options.own else "")
    target.mkdir(parents=True, exist_ok=True)
    for old in target.glob("*.png"):  # an earlier call may have drawn more figures
        if not old.name.startswith("epoch_"):  # drawn during training
            old.unlink()
    title = _title(record) + _which(options)
    figures = {"maps": maps_figure(view.images, view.main_maps(), view.labels, title)}
    if len(view.gates) > 4:  # otherwise the first figure shows all of them
        for start in range(0, len(view.gates), GATES_PER_FIGURE):
            maps = {name: view.maps[name] for name in view.gates[start : start + GATES_PER_FIGURE]}
            name = f"gates{start // GATES_PER_FIGURE + 1}"
            figures[name] = maps_figure(view.images, maps, view.labels, f"{title}: all gates")
    if not options.own and (by_class := channel_masks_by_class(run)):
        some = {name: by_class[name] for name in evenly_spaced(list(by_class), 6)}
        figures["channels"] = channel_masks_figure(some, run.class_names, f"{title}: channel masks by class")
    paths = {name: save_figure(figure, target / f"{name}.png") for name, figure in figures.items()}
    page = target / "index.html"
    page.write_text(_page(title, record, paths))
    return [*paths.values(), page], view


def _title(record: Record) -> str:
    config = record["config"]
    names = [name_of(section, config[section], config) for section in ("model", "attention", "head")]
    return f"{', '.join(name for name in names if name != 'linear')}, {name_of('dataset', config['dataset'], config)}"


def _page(title: str, record: Record, paths: Mapping[str, Path]) -> str:
    """The HTML page; the pictures are embedded, so that it needs no other file."""
    config = record["config"]
    facts = {section: name_of(section, config[section], config) for section in SECTIONS} | {
        "seed": str(config["seed"]), "run": record["id"], "test error": f"{record['metrics']['test/top1_error']:.2f} %",
    }  # fmt: skip
    captions = dict(CAPTIONS)
    pictures = []
    for name, path in paths.items():
        caption = captions.pop(name.rstrip("0123456789"), "")  # only the first figure of a kind has a caption
        pictures.append((name, caption, base64.b64encode(path.read_bytes()).decode()))
    environment = Environment(loader=PackageLoader("attnlab.evaluation.drawing", "."), autoescape=True)
    template = environment.get_template("page.html.jinja")
    return template.render(title=title, facts=facts, pictures=pictures) + "\n"
