"""results/README.md: its figures and blocks are what results/summary.py writes from the tracked records."""

import importlib
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from synthetic import of_config

from attnlab.tables.comparison import compare
from attnlab.tables.grid import read_grid
from attnlab.tables.latency import read_latencies
from attnlab.tables.statistics import paired
from attnlab.tables.write import compare_table

ROOT = Path(__file__).parents[2]


@pytest.fixture
def summary(monkeypatch):
    """results/summary.py as a module, at home in the checkout."""
    monkeypatch.chdir(ROOT)
    monkeypatch.syspath_prepend(ROOT / "results")
    return importlib.import_module("summary")


@pytest.fixture
def figures(summary):
    """results/summary_figures.py as a module."""
    return importlib.import_module("summary_figures")


def test_blocks_are_replaced_and_an_unknown_one_is_named(summary):
    text = "a\n<!-- x -->\nold\n<!-- end -->\nb\n<!-- y -->\n<!-- end -->\n"
    found = summary.with_blocks(text, {"x": "new", "y": "two\nlines"})
    assert found == "a\n<!-- x -->\n\nnew\n\n<!-- end -->\nb\n<!-- y -->\n\ntwo\nlines\n\n<!-- end -->\n"
    assert summary.with_blocks(found, {"x": "new", "y": "two\nlines"}) == found
    with pytest.raises(SystemExit, match=r"^unknown block <!-- y -->; allowed are x$"):
        summary.with_blocks(text, {"x": "new"})


NONE = [20.0, 20.6, 19.7, 20.3, 20.1, 19.9]


def compared(table, errors, **changes):
    """A table on photographs with these errors of its rows, seed by seed; changes: {row: of its records}."""
    grid = read_grid([f"table={table}"])
    made = [
        of_config(cell.config | {"seed": seed}, error) | changes.get(cell.row, {})
        for cell in grid.cells
        for seed, error in enumerate(errors.get(cell.row, []))
    ]
    return compare(grid, made)


def shifted(by, wobble=0.02):
    return [error + by + wobble * (-1) ** seed for seed, error in enumerate(NONE)]


def test_an_unfinished_table_says_how_far_it_is_and_nothing_else(summary):
    for errors in ({"none": NONE}, {"none": NONE, "SE": shifted(-1)[:1]}, {"none": NONE, "SE": shifted(-1)}):
        table = compared("cifar10_tuned", errors)
        recorded = sum(map(len, errors.values()))
        (line,) = summary.headline([table])
        text = f"{recorded} of 18 runs are recorded. Verdicts follow when all are."
        assert line == f"- **CIFAR-10, 3 epochs, tuned learning rates:** {text}"
    assert summary.verdicts([table])[2:] == [
        "| SE | -1.00 [-1.02, -0.98] | open (6 of 6 seeds) |", "| CBAM | – | open (0 of 6 seeds) |"
    ]  # fmt: skip
    assert "this table does not measure chance" in summary.evidence(table)[0]


def test_a_complete_table_gives_its_verdicts(summary):
    table = compared("cifar10_tuned", {"none": NONE, "SE": shifted(0.01), "CBAM": shifted(1)})
    text = " ".join(" ".join(summary.headline([table])).split())
    assert "Worse than none in top-1 error %: CBAM +1.00 [+0.98, +1.02]." in text
    assert "Equivalent to none within ±0.5: SE +0.01 [-0.01, +0.03]." in text
    assert [line.rsplit(" | ", 1)[1] for line in summary.verdicts([table])[2:]] == [
        "equivalent within ±0.5 |",
        "worse |",
    ]


def test_a_row_of_another_setup_is_not_judged(summary):
    errors = {"none": NONE, "SE": shifted(-1), "CBAM": shifted(1)}
    table = compared("cifar10_tuned", errors, SE={"precision": "bf16-mixed"})
    assert "not tested: precision (bf16-mixed, not 32-true)" in summary.verdicts([table])[2]


def test_repeated_models_are_known_before_they_are_recorded(figures):
    assert figures.repeats(compared("cifar10_cpu", {"none": NONE})) == {"SE twin", "ISE", "ICBAM"}
    assert figures.repeats(compared("cifar10_tuned", {"none": NONE})) == set()


def test_the_figures_leave_out_what_is_not_known(figures, monkeypatch, tmp_path):
    errors = {"none": NONE, "none, ResNet-14": shifted(-4), "SE": shifted(0.4), "BAM": shifted(1)[:1]}
    tables = [compared("cifar10_cpu", errors), compared("cifar100_cpu", {"none": NONE, "SE": shifted(1)})]
    figures.draw_differences(tables, tmp_path / "differences.png")
    drawn = []
    original = figures.draw_runtime
    monkeypatch.setattr(
        figures, "draw_runtime", lambda axis, table, column: (original(axis, table, column), drawn.append(axis))
    )
    latencies = read_latencies(ROOT / "results")
    figures.draw_latency([replace(table, latencies=latencies) for table in tables], tmp_path / "latency.png")
    assert len(drawn) == 3  # of CIFAR-10 alone: the nets of CIFAR-100 were not measured
    for axis in drawn:
        assert {text.get_text() for text in axis.texts} == {"ResNet-8", "ResNet-14", "depth", "SE", "BAM"}
    figures.draw_latency(tables[1:], tmp_path / "nothing.png")
    assert not (tmp_path / "nothing.png").exists()


@pytest.mark.parametrize("page", ["README.md", "results/README.md"])
def test_the_short_answer_is_what_the_tracked_tables_say(summary, figures, page):
    text = " ".join((ROOT / page).read_text().split())
    table, *others = map(summary.comparison, ("cifar10_cpu", "cifar10_tuned", "cifar100_cpu"))
    found, at_3, of_100 = (
        {result.cell.row: result for result in one.results(one.metrics[0]).values()} for one in (table, *others)
    )

    def by(row, found=found):
        d = found[row].difference
        low, high = sorted((abs(d.low), abs(d.high)))
        return f"by {abs(d.mean):.2f} points [{low:.2f}, {high:.2f}]"

    assert f"SimAM lowers the test error {by('SimAM')} and CBAM raises it {by('CBAM')}." in text
    assert "After Holm's correction, six seeds cannot tell SE, ECA and BAM from no attention." in text
    verdicts = {"SimAM": "better", "CBAM": "worse", "SE": "undecided", "ECA": "undecided", "BAM": "undecided"}
    assert {row: found[row].verdict for row in verdicts} == verdicts
    deeper = found["none, ResNet-14"]
    assert deeper.verdict == "better"
    share = found["SimAM"].difference.mean / deeper.difference.mean
    assert f"lowers the error {by('none, ResNet-14')}, about five times as much as SimAM." in text
    assert 4.5 < 1 / share < 5.5
    simam, depth = (
        [table.latency(column, found[row].cell).median for column in figures.RUNTIMES]
        for row in ("SimAM", deeper.cell.row)
    )
    eager, compiled, onnx = (f"{ratio:.2f}" for ratio in simam)
    assert f"SimAM takes {eager} times as long as ResNet-8 for one image in PyTorch, {onnx} times in ONNX" in text
    assert f"and {compiled} times with torch.compile." in text
    line = [1 + share * (ratio - 1) for ratio in depth]
    times = f"{line[0]:.2f} times (PyTorch), {line[2]:.2f} times (ONNX Runtime) and {line[1]:.2f} times (torch.compile)"
    assert f"that gains as much would take {times}. So, on this CPU" in text
    assert "for one image at a time, SimAM beats this line only with torch.compile." in text
    assert [ratio < other for ratio, other in zip(simam, line, strict=True)] == [False, True, False]
    assert "with a tuned learning rate, CBAM raises the error too, and SE is undecided." in text
    assert (at_3["CBAM"].verdict, at_3["SE"].verdict) == ("worse", "undecided")
    ltpa = f"LTPA att2 {by('LTPA att2', of_100)}."
    assert f"**CIFAR-100.** CBAM raises the error {by('CBAM', of_100)}, and {ltpa}" in text
    assert of_100["LTPA att2"].cell.config["head"]["dropout"] == 0.5
    assert "has dropout of 0.5, whose part in this is not known." in text
    assert f"ResNet-14 lowers the error {by('none, ResNet-14', of_100)}." in text
    assert "Six seeds cannot tell SE and small spatial from no attention." in text
    verdicts = {"CBAM": "worse", "LTPA att2": "worse", "none, ResNet-14": "better", "SE": "undecided"}
    assert {row: of_100[row].verdict for row in verdicts} == verdicts
    assert of_100["small spatial"].verdict == "undecided"


def test_pairs_of_one_model_have_the_p_values_that_the_report_names(summary):
    text = (ROOT / "results" / "README.md").read_text()
    found = {}
    for name, folder in [("cifar10_cpu",) * 2, ("cifar100_cpu",) * 2, ("placebo",) * 2, ("placebo_ratio16", "placebo")]:
        compared = compare_table([f"table={name}", f"output_dir={ROOT / 'results' / folder}"])
        found |= {(name, *floor.rows): floor for floor in compared.noise_floors(compared.metrics[0])}
    small = sum(floor.difference.p < 0.05 for floor in found.values())
    assert f"{small} of {len(found)} have a p below 0.05 before Holm" in text
    of_ten = found["cifar10_cpu", "SE twin", "ISE"].p_holm
    of_hundred = found["cifar100_cpu", "SE", "SE twin"].difference.p
    assert f"SE twin and ISE {of_ten:.3f} after Holm, SE and its twin on CIFAR-100 {of_hundred:.3f}." in text


def test_the_gates_of_cifar100_have_the_effects_that_the_report_names(summary):
    text = " ".join((ROOT / "results" / "README.md").read_text().split())
    folder = ROOT / "results" / "cifar100_cpu"
    rows = {run: key[0] for key, run in summary.comparison("cifar100_cpu").grid.run_ids.items()}
    judged = {path.stem: json.loads(path.read_text())["parts"] for path in (folder / "judged").glob("*.json")}
    gates = {run: parts["health"]["details"]["gates"] for run, parts in judged.items() if "health" in parts}
    small = [found["all"] for run, found in gates.items() if found and rows[run] == "small spatial"]
    others = [found["all"] for run, found in gates.items() if found and rows[run] != "small spatial"]
    for together, sentence in (
        (others, "with SE, its twin, CBAM and LTPA att2, significantly in {used} of these {all} networks."),
        (small, "significantly in {used} of {all}."),
    ):
        growth = [found["error_change"] for found in together]
        used = sum(found["verdict"] == "helps" for found in together)  # p below 0.05 after Holm over its gates
        assert f"it grows by {min(growth):.1f} to {max(growth):.1f} points" in text
        assert sentence.format(used=used, all=len(together)) in text
    single = [gate for found in gates.values() for name, gate in found.items() if name != "all"]
    own = sum(gate["verdict"] == "helps" for gate in single)
    assert f"{own} of {len(single)} in `cifar100_cpu`." in text


def test_cbam_uses_its_channel_gates_more_on_photographs(summary):
    text = " ".join((ROOT / "results" / "README.md").read_text().split())
    named = {"channel": [], "spatial": []}
    for table in ("cifar10_cpu", "cifar10_tuned", "cifar100_cpu"):
        rows = {run: key[0] for key, run in summary.comparison(table).grid.run_ids.items()}
        folder = ROOT / "results" / table / "judged"
        of_cbam = [
            json.loads(path.read_text())["parts"]["health"]["details"]["gates"]
            for path in folder.glob("*.json")
            if rows[path.stem] == "CBAM"
        ]
        for part, counts in named.items():
            own = [gate["verdict"] for gates in of_cbam for name, gate in gates.items() if part in name]
            counts.append(f"{own.count('helps')} of {len(own)}")
    first, second, third = named["channel"]
    assert f"of the former {first}, {second} and {third} show an effect of their own" in text
    first, second, third = named["spatial"]
    assert f"of the latter {first}, {second} and {third}." in text


def test_the_maps_point_as_the_report_says(summary):
    text = " ".join((ROOT / "results" / "README.md").read_text().split())
    compared, judged = summary.comparison("where_they_look"), {}
    for key, run in compared.grid.run_ids.items():
        path = ROOT / "results" / "where_they_look" / "judged" / f"{run}.json"
        judged.setdefault(key[0], []).append(json.loads(path.read_text())["parts"])

    def scores(row, part, name):
        return [parts[part]["scores"][name]["value"] for parts in judged[row]]

    def gates(row):
        return [parts["health"]["details"]["gates"] for parts in judged[row]]

    bare = scores("none", "localisation", "pointing/gradcam")
    assert f"which hits the object in {np.mean(bare):.1f} % of the test images" in text
    blind = np.mean(scores("none", "localisation", "pointing/blind"))
    assert f"the mean object, in {blind:.1f} %)" in text
    for row in ("LTPA", "small spatial", "CBAM", "BAM"):
        own = scores(row, "localisation", "pointing/mask")
        d = paired(own, bare)
        named = rf"{row}'s (mask hits it )?" + re.escape(
            f"in {np.mean(own):.1f} % ({d.mean:+.1f} [{d.low:+.1f}, {d.high:+.1f}]"
        )
        assert re.search(named, text), row
        d = paired(own, scores(row, "localisation", "pointing/gradcam"))
        assert re.search(rf"{row}'s {re.escape(f'{d.mean:+.1f} [{d.low:+.1f}, {d.high:+.1f}]')}", text), row
        assert d.p > 0.05
    left = scores("LTPA", "sanity", "sanity/mask")
    assert "(rank correlation {:.2f}, {:.2f} and {:.2f}); the other masks and Grad-CAM have".format(*left) in text
    others = [scores(row, "sanity", "sanity/gradcam") for row in judged]
    others += [scores(row, "sanity", "sanity/mask") for row in ("small spatial", "CBAM", "BAM")]
    assert f"and Grad-CAM have {np.max(others):.2f} at most." in text
    chosen = [parts["localisation"]["details"]["gate"] for parts in judged["CBAM"]]
    assert sorted(re.search(r"stage\d", name).group() for name in chosen) == ["stage2", "stage2", "stage3"]
    single = [
        gate for row in ("SE", "SE twin") for found in gates(row) for name, gate in found.items() if name != "all"
    ]
    assert len(single) == 18
    assert {gate["verdict"] for gate in single} <= {"no effect seen", "does nothing"}
    changed = [value for row in ("SE", "SE twin") for value in scores(row, "health", "still/changed")]
    assert f"held still, {min(changed):.1f} to {max(changed):.1f} % of the predictions change" in text
    of_cbam = [(name, gate["verdict"]) for found in gates("CBAM") for name, gate in found.items() if name != "all"]
    assert [verdict for name, verdict in of_cbam if "spatial" in name] == ["helps"] * 9
    assert "helps" not in [verdict for name, verdict in of_cbam if "channel" in name]
    growth = scores("CBAM", "health", "still/error_change")
    assert f"the error grows by {min(growth):.1f} to {max(growth):.1f} points. That does not mean" in text
    found = {result.cell.row: result for result in compared.results(compared.metrics[0]).values()}
    errors = {row: sorted(result.runs.values(compared.metrics[0])) for row, result in found.items()}
    means = [np.mean(values) for row, values in errors.items() if row != "LTPA"]
    low, middle, high = errors["LTPA"]
    assert (
        f"({min(means):.1f} to {max(means):.1f} % for the other rows, {low:.1f}, {middle:.1f} and {high:.1f} %" in text
    )
    assert {result.verdict for result in found.values() if result.verdict} == {"undecided"}


@pytest.mark.slow
def test_the_pages_and_the_figures_are_those_of_the_records(summary, tmp_path, monkeypatch):
    copy = tmp_path / "results"
    for name in (*summary.TABLES, *summary.OTHERS):
        if (ROOT / "results" / name).is_dir():
            shutil.copytree(ROOT / "results" / name, copy / name)
    emptied = dict.fromkeys(("headline", "verdicts", *summary.TABLES, *summary.OTHERS), "to be written")
    for page in ("README.md", "results/README.md"):
        (tmp_path / page).write_text(summary.with_blocks((ROOT / page).read_text(), emptied))
    monkeypatch.setattr(summary, "HERE", copy)
    summary.main()
    for name in ("README.md", "results/README.md", "results/differences.png", "results/latency.png"):
        assert (tmp_path / name).read_bytes() == (ROOT / name).read_bytes(), name
    assert "<!-- cifar10_cpu -->" in (ROOT / "results" / "README.md").read_text()
