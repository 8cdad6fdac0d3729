"""Draw where a finished run looks: its masks and class activation maps on test images, or on images of your own.

python -m attnlab.look run=ID              every gate, Grad-CAM and HiResCAM, soft and hard; channel masks by class
python -m attnlab.look run=ID,ID           the same for several runs, and all of them side by side
python -m attnlab.look table=NAME [...]    the same for one run of every cell, and all cells side by side

run: an id or its first characters, last, a printed name, or values: run="attention=se seed=0".
images=6: number of test images, spread over the classes;  image=FILE,FILE or image=DIR: images of your own instead;
class=NAME: draw the maps of this class (a name or a number), or of each image's own (class=label), instead of the
predicted one;  cams=NAME,NAME: gradcam, hirescam, ablationcam, occlusion, saliency, integrated_gradients; with
attnlab[cams] also gradcam++, layercam, xgradcam, eigencam, scorecam;  n_jobs=2: how many runs of a table are drawn at a
time, as of attnlab.judge;  output_dir, dataset.root, machine.*: as of
attnlab.run. The image folder of the run's training is remembered.
Written to OUTPUT_DIR/<id>/look/ (PNG files and one self-contained HTML page; own images: look/own/) and, side by side,
to OUTPUT_DIR/tables/. `python -m attnlab.report table=NAME` shows the latter in its page, as long as it shows the runs
of that table.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from attnlab.configuration.cli import command_line
from attnlab.evaluation.chosen_runs import choose_runs, read_positive
from attnlab.evaluation.drawing.options import IMAGES, read_options
from attnlab.machine.terminal import print_wrapped
from attnlab.records.source_code import print_warnings

OWN = ("images", "image", "class", "cams", "n_jobs")


def look(arguments: Sequence[str]) -> list[Path]:
    """Draw the runs that the arguments choose; return the files. Raises ConfigError for a run or table not found."""
    several = [choose_runs(one, OWN) for one in _one_by_one(arguments)]
    chosen = several[0]
    options = read_options(chosen.own, read_positive(chosen.own, "images", IMAGES))
    from attnlab.evaluation.drawing.page import draw_run, draw_runs, draw_table  # torch; the checks above need none

    if chosen.grid is not None:
        return draw_table(chosen, options)
    return draw_runs(several, options) if several[1:] else draw_run(chosen.records[0], chosen, options)[0]


def _one_by_one(arguments: Sequence[str]) -> list[list[str]]:
    """The arguments for each run of run=ID,ID. The values of run="attention=se seed=0" may have commas of their own."""
    runs = [argument for argument in arguments if argument.startswith("run=") and "," in argument]
    if len(runs) != 1 or "=" in runs[0].removeprefix("run="):
        return [list(arguments)]
    rest = [argument for argument in arguments if argument not in runs]
    return [[f"run={run}", *rest] for run in dict.fromkeys(runs[0].removeprefix("run=").split(",")) if run]


@command_line()
def main() -> None:
    """The command line."""
    arguments = sys.argv[1:]
    print_warnings()
    if {"-h", "--help"} & set(arguments) or not arguments:
        print(__doc__)
        return
    print_wrapped("wrote " + ", ".join(str(path) for path in look(arguments)))


if __name__ == "__main__":
    main()
