"""Columns of latencies: from one file, by net, over the baseline; never from training times."""

import csv
import json

import pytest
from synthetic import of_config, write

from attnlab.benchmarks.report import Report, Row, write_report
from attnlab.errors import ConfigError
from attnlab.tables import latency
from attnlab.tables.cost_figure import cost_figure
from attnlab.tables.grid import read_grid
from attnlab.tables.style import plt
from attnlab.tables.table_page import table_page
from attnlab.tables.write import compare_table, report_table

B1, B128 = "cost/latency_b1", "cost/latency_gpu_b128_graph"
MACHINE = {"device": "a CPU, 2 cores", "threads": 1}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # no ./results


@pytest.fixture
def cells():
    return {cell.row: cell for cell in read_grid(["table=demo"]).cells}


@pytest.fixture
def outputs(tmp_path, cells):
    for cell in cells.values():
        for seed in (0, 1):
            write(tmp_path / "outputs", of_config(cell.config | {"seed": seed}, 8 + seed))
    return tmp_path / "outputs"


def measured(path, cells, ratios, column=B1):
    """A file of latencies with {row: ratios to none}."""
    rows = []
    for row, factors in ratios.items():
        nets = "/".join(latency.net_digest(cells[name].config) for name in (row, "none"))
        seconds = {row: [0.002 * factor for factor in factors], "none": [0.002] * len(factors)}
        rows.append(Row("case", seconds, row, "none", facts={"column": column, "nets": nets}))
    write_report(Report("latency", "a title", rows, MACHINE), path)


def page(outputs, *more):
    comparison, paths, _ = report_table([
        "table=demo", f"output_dir={outputs}", f"table.metrics=[test/top1_error,{B1},{B128}]", *more,
    ])  # fmt: skip
    return table_page(comparison), paths


def shown(section, heading):
    place = section.header.index(heading)
    return {row[0]: row[place] for row in section.rows}


def test_a_table_shows_the_ratios_of_the_file_and_says_where_they_were_measured(outputs, cells):
    measured(outputs / latency.FILE, cells, {"SE": [1.1, 1.2, 1.3], "CBAM": [2.0, 2.5, 3.0]})
    found, paths = page(outputs)
    assert shown(found.sections[0], "latency / none, batch 1") == {
        "none": "1.00 [1.00, 1.00]", "SE": "1.20 [1.15, 1.25]", "CBAM": "2.50 [2.25, 2.75]", "ISE": "–", "ICBAM": "–",
    }  # fmt: skip
    assert "latency / none, batch 128, GPU, CUDA graph" not in found.sections[0].header  # only dashes
    (note,) = (text for text in found.notes if text.startswith("latency / none: "))
    assert "Measured on a CPU, 2 cores, 1 thread (" in note
    assert "not taken from training times" in note
    (missing,) = (text for text in found.notes if text.startswith("Latency not measured for "))
    assert missing.endswith("python -m attnlab.bench latency table=demo measures it.")
    with next(path for path in paths if path.suffix == ".csv").open() as file:
        rows = {row["row"]: row for row in csv.DictReader(file)}
    assert [rows[name][B1] for name in ("none", "SE", "ISE")] == ["1.0", "1.2", ""]
    assert rows["SE"]["metric"] == "test/top1_error"  # no row of its own: a net has it, not a run


def test_without_a_file_a_note_says_how_to_measure(outputs):
    found, _ = page(outputs)
    assert "Latency: not measured. python -m attnlab.bench latency table=demo measures it." in found.notes
    assert not [name for name in found.sections[0].header if name.startswith("latency")]


def test_the_file_of_output_dir_precedes_the_one_in_results(tmp_path, outputs, cells):
    measured(tmp_path / "results" / latency.FILE, cells, {"SE": [3.0]})
    assert shown(page(outputs)[0].sections[0], "latency / none, batch 1")["SE"] == "3.00 [3.00, 3.00]"
    measured(outputs / latency.FILE, cells, {"SE": [2.0]})
    assert shown(page(outputs)[0].sections[0], "latency / none, batch 1")["SE"] == "2.00 [2.00, 2.00]"


@pytest.mark.parametrize("text", ["", "[]", "{}", json.dumps({"command": "gates", "rows": [], "machine": MACHINE})])
def test_a_file_of_another_command_is_refused(outputs, text):
    (outputs / "bench").mkdir()
    (outputs / latency.FILE).write_text(text)
    with pytest.raises(ConfigError, match=r"^not a file that attnlab.bench latency wrote: .*latency\.json$"):
        page(outputs)


def test_a_net_is_known_by_what_decides_its_cost():
    def net(*overrides):
        (cell,) = read_grid(["table=demo", "attention=se", *overrides]).cells
        return latency.net_digest(cell.config)

    assert net() == net("recipe.epochs=1") == net("attention.draw=3") == net("machine.precision=32-true")
    assert len({net(), net("attention.place=pre"), net("dataset.image_size=64"), net("model=resnet14")}) == 4


@pytest.mark.parametrize(
    ("name", "device", "batch", "engine", "heading"),
    [
        ("cost/latency_b1", "cpu", 1, "eager", "latency / plain, batch 1"),
        ("cost/latency_b128_onnx", "cpu", 128, "onnx", "latency / plain, batch 128, ONNX Runtime"),
        ("cost/latency_gpu_b32_compiled", "cuda", 32, "compiled", "latency / plain, batch 32, GPU, compiled"),
    ],
)
def test_names(name, device, batch, engine, heading):
    assert latency.column(device, batch, engine) == name
    assert latency.is_latency(name)
    assert latency.heading(name, "plain") == heading


@pytest.mark.parametrize("name", ["cost/latency", "cost/latency_b0", "cost/latency_b1_eager", "cost/latency_b1_tpu"])
def test_a_wrong_name_is_one_message(name):
    with pytest.raises(
        ConfigError, match=rf"^table\.metrics: {name}: unknown; allowed are .*; latencies: cost/latency_b1"
    ):
        read_grid(["table=demo", f"table.metrics=[test/top1_error,{name}]"])
    with pytest.raises(ConfigError, match="the first gets verdicts"):
        read_grid(["table=demo", "table.metrics=[cost/latency_b1]"])


def test_the_figure_of_costs_shows_latencies_in_place_of_training_times(outputs, cells):
    declared = ["table=demo", f"output_dir={outputs}", f"table.metrics=[test/top1_error,{B1}]"]
    assert cost_figure(compare_table(declared)).axes[2].get_xlabel() == "training time a run, s"
    measured(outputs / "bench" / "latency.json", cells, {"SE": (1.5, 1.6, 1.4)})
    axis = cost_figure(compare_table(declared)).axes[2]
    assert axis.get_xlabel() == "latency / none, batch 1"
    places = {container.get_label(): container.lines[0].get_xdata()[0] for container in axis.containers}
    assert places == {"none": 1.0, "SE": pytest.approx(1.5)}  # the other rows were not measured
    plt.close("all")
