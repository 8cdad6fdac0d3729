"""Judge a finished run: does its attention look at the object, and does it have an effect?

python -m attnlab.judge run=ID                          all parts except the slow ones
python -m attnlab.judge run=ID parts=localisation,pgd   the named parts
python -m attnlab.judge table=NAME [...]                every recorded run of a table; arguments as of attnlab.run

run: an id or its first characters, last, a printed name, or values: run="attention=se seed=0".
parts=all;  images=1000: number of test images, drawn evenly over the classes;  force=true: judge again;
n_jobs=2: how many runs of a table are judged at a time, each on one core, or on machine.threads cores. By default: on a
CPU one for each core, as memory permits; on a GPU, and if the table has fewer runs than cores, one at a time;
transfer=DATASET transfer.root=DIR: a linear classifier on the frozen features, on another dataset;
output_dir, dataset.root, machine.*: as of attnlab.run.
Each score of a run is printed beside a reference value and written to OUTPUT_DIR/<id>/judge.json; the run's record is
not changed. A part that was judged before is kept, unless the images, the masks, the settings or the code that judges
have changed since. A table shows a score as the metric judge/<score>.
"""

import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress, TextColumn

from attnlab.configuration.cli import command_line
from attnlab.evaluation.chosen_runs import choose_runs, read_boolean, read_positive, share_machine
from attnlab.evaluation.judge_run import DEFAULT, IMAGES, PARTS, judge
from attnlab.evaluation.judgement_table import show
from attnlab.machine.processes import map_forked
from attnlab.records.judgement import FILE
from attnlab.records.run_folder import title_in
from attnlab.records.source_code import print_warnings

__all__ = ["DEFAULT", "PARTS", "judge", "judge_chosen_runs", "show"]

OWN = ("parts", "images", "force", "n_jobs", "transfer", "transfer.root")


def judge_chosen_runs(arguments: Sequence[str]) -> Iterator[tuple[dict[str, Any], Path]]:
    """(judgement, its file) for each chosen run, in their order, as soon as it is judged.

    Several runs at a time are judged in processes that are forked at this call: see attnlab.machine.processes.
    Raises ConfigError, and AttnlabError if such a process was killed.
    """
    chosen = choose_runs(arguments, OWN)
    named = chosen.own.get("parts", ())
    parts = [str(part) for part in named] if isinstance(named, list) else [str(named)] if named else []
    parts = list(PARTS) if parts == ["all"] else parts
    if transfer := chosen.own.get("transfer"):
        parts.append(f"transfer/{transfer}")
    root = chosen.own.get("transfer.root")
    folders = (*chosen.folders, *([f"transfer.root={root}"] if root is not None else []))
    images, force = read_positive(chosen.own, "images", IMAGES), read_boolean(chosen.own, "force")
    ids = [record["id"] for record in chosen.records]
    processes, machine = share_machine(chosen, len(ids))
    if processes > 1:
        import attnlab.evaluation.suite  # noqa: F401  every process inherits the imports of torch and lightning
    if chosen.missing:
        print(f"{chosen.missing} runs of the table are not in output_dir={chosen.output_dir}", flush=True)
    judge_one = partial(
        judge, output_dir=chosen.output_dir, parts=parts, images=images, force=force, machine=machine, folders=folders
    )
    files = [chosen.output_dir / name / FILE for name in ids]
    return zip(map_forked(judge_one, ids, processes), files, strict=True)


@command_line(interrupted="interrupted; the same command goes on from here")
def main() -> None:
    """The command line."""
    arguments = sys.argv[1:]
    print_warnings()
    if {"-h", "--help"} & set(arguments) or not arguments:
        print(__doc__)
        return
    if any(argument.startswith("run=") for argument in arguments):
        for found, path in judge_chosen_runs(arguments):
            show(found, title_in(path.parent))
            print(f"{title_in(path.parent)}: judged {', '.join(found['parts'])}; written to {path}", flush=True)
        return
    # A table may have many runs: one line at the end, and a bar that vanishes.
    judged = judge_chosen_runs(arguments)  # forks before the bar, whose thread may hold a lock at any time
    bar = Progress(TextColumn("judged {task.completed:.0f} runs"), console=Console(stderr=True), transient=True)
    with bar:
        paths = [path for _, path in bar.track(judged, description="")]
    if paths:
        print(f"judged {len(paths)} runs; written to {paths[0].parents[1]}/<run>/{FILE}", flush=True)


if __name__ == "__main__":
    main()
