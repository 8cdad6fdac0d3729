"""The demo: train the fifteen networks of table=demo, judge them, draw where they look, and print the table.

python -m attnlab.demo          needs no GPU and downloads no images; a second call finds the finished runs
python -m attnlab.demo [...]    arguments as of attnlab.run table=demo

The same as these four, in one process, which imports everything once:
python -m attnlab.run table=demo
python -m attnlab.judge table=demo parts=localisation,health images=200
python -m attnlab.look table=demo images=8
python -m attnlab.report table=demo source=outputs notes=false
"""

import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

from attnlab import judge, report, run
from attnlab.configuration.cli import command_line
from attnlab.configuration.compose import compose_file
from attnlab.look import look
from attnlab.records.judgement import FILE
from attnlab.tables.grid import Grid, read_grid
from attnlab.tables.maps_picture import shown_runs

TABLE = "table=demo"
JUDGED = ("parts=localisation,health", "images=200")
DRAWN = ("images=8",)


@command_line(interrupted="interrupted; the same command goes on from here")
def main() -> None:
    """The command line."""
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(__doc__)
        return
    if "hydra.mode=RUN" in sys.argv[1:]:  # a further rank of one of the runs
        run.main()
        return
    arguments = [TABLE, *sys.argv[1:]]
    grid = read_grid(arguments)  # wrong arguments fail here
    config = compose_file("run", [a for a in arguments if a.startswith(("output_dir=", "dry_run="))])
    sys.argv[1:] = arguments
    run.main()
    if config.dry_run:
        return
    output_dir = Path(config.output_dir)
    if not _is_drawn(grid, output_dir):
        sys.argv[1:] = [*arguments, *JUDGED]
        judge.main()
        with redirect_stdout(StringIO()):  # the names of some fifty files
            look([*arguments, *DRAWN])
    sys.argv[1:] = [*arguments, f"source={output_dir}", "notes=false"]
    report.main()


def _is_drawn(grid: Grid, output_dir: Path) -> bool:
    """Whether every run has been judged, and the picture, which is made last, shows these rows and is newer."""
    picture = output_dir / "tables" / f"{grid.file_name}_maps.png"
    folders = [output_dir / name for name in grid.run_ids.values()]
    try:
        shown = {name for name, _ in shown_runs(picture).values()}
        trained = max((folder / "result.json").stat().st_mtime for folder in folders)
        judged = all((folder / FILE).exists() for folder in folders)
    except (OSError, ValueError, KeyError, TypeError):
        return False
    first = {cell.run_id(grid.seeds[0]) for cell in grid.cells}
    return judged and shown == first and picture.stat().st_mtime > trained


if __name__ == "__main__":
    main()
