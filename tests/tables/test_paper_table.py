"""The table of a paper in LaTeX: columns, backbones side by side, bold and marks, caption; it compiles."""

import re
import shutil
import subprocess
import sys

import pytest
from synthetic import of_config, record, write
from warm import warm

from attnlab.errors import ConfigError
from attnlab.tables.comparison import compare
from attnlab.tables.grid import read_grid
from attnlab.tables.overview import compare_selected, write_paper_of_records
from attnlab.tables.paper_table import paper_table
from attnlab.tables.spec import check_table

NONE = [8.0, 8.4, 7.9, 8.2]


def moved(offset, wobble=0.01):
    return [error + offset + wobble * (-1) ** seed for seed, error in enumerate(NONE)]


ERRORS = {"none": NONE, "SE": moved(-0.5), "ISE": moved(-0.3), "CBAM": moved(0.6), "ICBAM": moved(0.001, 0.02)}


def table(*arguments, errors=ERRORS, name="demo"):
    grid = read_grid([f"table={name}", "table.seeds=[0,1,2,3]", *arguments])
    return compare(grid, [
        of_config(cell.config | {"seed": seed}, error, params=272_474)
        for cell in grid.cells for seed, error in enumerate(errors.get(cell.row, []))
    ])  # fmt: skip


def lines_of(text):
    return {line.split(" & ")[0]: line for line in text.splitlines() if " & " in line}


def test_bold_and_marks_stand_only_where_the_statistics_allow():
    text = paper_table(table("+table.margin=0.1"))
    lines = lines_of(text)
    assert r"& \bfseries 7.62(21){\textsuperscript{*}} &" in lines["SE"]
    assert r"& 7.83(21){\textsuperscript{*}} &" in lines["ISE"]  # significant, but not the best
    assert r"{\textsuperscript{\dag}}" in lines["CBAM"]
    assert r"{\textsuperscript{\ddag}}" in lines["ICBAM"]
    assert lines["none"] == r"none & 272.47 & 2.00 & 8.12(22) & {--} \\"
    caption = re.search(r"\\caption\{(.*)\}", text)[1]
    assert r"mean $\pm$ sample standard deviation over 4 seeds" in caption
    assert r"Against none: * better, \dag{} worse, \ddag{} equivalent within $\pm$0.1" in caption
    assert r"paired t test over seeds, p $\le$ 0.05 after Holm's correction over 4 comparisons" in caption
    assert "Bold: the lowest mean of its column, where it is significantly better." in caption


def test_chance_gets_no_bold_and_the_caption_says_so():
    errors = {"none": NONE, "SE": moved(-0.2, 0.9), "ISE": moved(0.1, 0.8), "CBAM": NONE, "ICBAM": moved(0.1, 0.7)}
    text = paper_table(table(errors=errors))
    assert r"\bfseries" not in text
    assert "textsuperscript" not in text
    assert "No row differs significantly from none" in text
    unfinished = paper_table(table(errors={"none": NONE, "SE": moved(-0.5)}))
    assert "Unfinished: 8 of 20 runs are recorded." in unfinished
    assert "nothing was tested" in unfinished
    assert r"\bfseries" not in unfinished


def test_columns_are_chosen_and_are_no_change_of_protocol():
    comparison = table(
        "+table.paper_columns=[n,test/top1_error,p,test/loss]", "table.metrics=[test/top1_error,test/loss]"
    )
    head = next(line for line in paper_table(comparison).splitlines() if line.startswith(" & {n}"))
    assert head == r" & {n} & {top-1 error \%} & {p (Holm)} & {test loss} \\"
    assert not any("paper_columns" in argument for argument in comparison.grid.changed)
    with pytest.raises(
        ConfigError, match=r"wrong value table\.paper_columns=\['macs', 'speed'\]; allowed is a list of"
    ):
        check_table("t", {"rows": {"none": []}, "seeds": [0], "paper_columns": ["macs", "speed"]})


def two_backbones(*more):
    errors = {"none": NONE, "SE": moved(-0.5)}
    return table("model=resnet20,resnet56", "attention=none,se", *more, name="simam_cifar10", errors=errors)


def eight_backbones():
    return table(name="simam_cifar10", errors={"none": NONE, "SE": moved(-0.5)})


def test_backbones_stand_side_by_side():
    text = paper_table(two_backbones())
    assert r" & \multicolumn{1}{c}{ResNet-20} & \multicolumn{1}{c}{ResNet-56} \\" in text
    assert "top-1 error" not in text.partition(r"\begin{tabular}")[2]  # the caption says it
    two = paper_table(two_backbones("+table.paper_columns=[test/top1_error,n]"))
    assert r"\cmidrule(lr){2-3}\cmidrule(lr){4-5}" in two
    assert r" & {top-1 error \%} & {n} & {top-1 error \%} & {n} \\" in two
    assert lines_of(text)["none"].count("8.12(22)") == 2
    assert text.count(r"\begin{tabular}") == 1
    wide = paper_table(eight_backbones())
    assert [line.count("multicolumn") for line in wide.splitlines() if "multicolumn" in line] == [4, 4]
    assert r"\begin{table*}" in wide


def test_the_door_prints_only_latex(tmp_path):
    for cell in read_grid(["table=demo"]).cells[:2]:
        for seed in (0, 1):
            write(tmp_path, of_config(cell.config | {"seed": seed}, 8.0 + seed))
    done = warm([sys.executable, "-m", "attnlab.report", "table=demo", f"output_dir={tmp_path}", "format=paper"])
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("% Demo: attend and ignore")
    assert done.stdout.rstrip().endswith(r"\end{table*}") or done.stdout.rstrip().endswith(r"\end{table}")
    assert f"wrote {tmp_path}/tables/demo.tex" in done.stderr
    assert [path.name for path in (tmp_path / "tables").iterdir()] == ["demo.tex"]
    wrong = warm([sys.executable, "-m", "attnlab.report", "table=demo", "format=pdf"])
    assert wrong.stderr == "attnlab: unknown choice format=pdf; allowed are report, paper\n"


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex with booktabs and siunitx")
@pytest.mark.parametrize("made", [lambda: table("+table.margin=0.1"), two_backbones, eight_backbones])
def test_it_compiles_within_two_columns(made, tmp_path):
    document = (
        "\\documentclass[twocolumn]{article}\\usepackage[margin=2cm]{geometry}\\usepackage{booktabs,siunitx}\n"
        f"\\begin{{document}}\n{paper_table(made())}\nText.\\end{{document}}\n"
    )
    (tmp_path / "paper.tex").write_text(document)
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"], cwd=tmp_path, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout


def test_records_have_a_table_of_a_paper_too(tmp_path):
    for overrides in (["attention=none"], ["attention=se"], ["attention=none", "recipe.epochs=9"]):
        write(tmp_path, record(overrides))
    chosen = [f"output_dir={tmp_path}", "attention=none,se", "+table.paper_columns=[params,test/top1_error]"]
    path = write_paper_of_records(compare_selected(chosen), tmp_path)
    assert path == tmp_path / "tables" / "results.tex"
    text = path.read_text()
    assert text.count(r"\begin{table}") == 2
    assert text.count("& {params (k)} & {top-1 error \\%} \\\\") == 2
