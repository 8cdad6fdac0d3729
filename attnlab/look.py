"""Draw where a finished run looks: its masks and class activation maps on test images.

python -m attnlab.look run=ID              every gate, Grad-CAM and HiResCAM, soft and hard; channel masks by class
python -m attnlab.look table=NAME [...]    the same for one run of every cell, and all cells side by side

run: an id or its first characters, last, or values: run="attention=se seed=0".
images=6: number of test images, spread over the classes;  output_dir, dataset.root, machine.*: as of attnlab.run.
Written to OUTPUT_DIR/<id>/look/ (PNG files and one self-contained HTML page) and to OUTPUT_DIR/tables/NAME_maps.png.
`python -m attnlab.report table=NAME` shows the latter in its page, as long as it shows the runs of that table.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from attnlab.configuration.cli import command_line
from attnlab.evaluation.chosen_runs import choose_runs, read_positive
from attnlab.records.source_code import print_warnings

IMAGES = 6


def look(arguments: Sequence[str]) -> list[Path]:
    """Draw the runs that the arguments choose; return the files. Raises ConfigError for a run or table not found."""
    chosen = choose_runs(arguments, ("images",))
    images = read_positive(chosen.own, "images", IMAGES)
    from attnlab.evaluation.drawing.page import draw_run, draw_table  # imports torch; the checks above need none

    if chosen.grid is None:
        return draw_run(chosen.records[0], chosen, images)[0]
    return draw_table(chosen, images)


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
